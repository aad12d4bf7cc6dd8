"""A report on the terminal; rich is loaded only here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import Failure, Report

MARKS = {"passed": "ok", "failed": "FAIL", "vacuous": "vacuous", "not offered": "-"}


def plain(report: Report) -> str:
    """The report as text."""
    lines = [f"{report.candidate.title} as {report.norm}: {report.headline}"]
    lines += [f"  {words}" for words in report.traits.values()]
    lines += [f"  mismatch: {words}" for words in report.mismatches]
    for failure, others in _grouped(report):
        lines += ["", *_failure(failure)]
        lines += [f"  the same in {', '.join(f.check for f in others)}"] if others else []
    lines += ["", _counts(report)]
    bits = _bits(report)
    if bits:
        lines.append(bits)
    lines += [f"  not run: {reason} ({count} cases)" for reason, count in report.coverage.items()]
    lines += [f"  never run: {', '.join(report.never_run)}"] if report.never_run else []
    lines += [f"  note: {words}" for words in report.notes]
    if report.vacuous:
        lines.append(f"  vacuous: {', '.join(report.vacuous)}")
    if report.not_offered:
        lines.append(f"  not offered: {', '.join(report.not_offered)}")
    return "\n".join(lines)


def _grouped(report: Report) -> list[tuple[Failure, list[Failure]]]:
    """Failures, those with one diagnosis under the one that shows it best."""
    groups: dict[str, list[Failure]] = {}
    for failure in sorted(report.failures, key=lambda f: f is not report.chief):
        groups.setdefault(failure.diagnosis or failure.check, []).append(failure)
    return [(first, others) for first, *others in groups.values()]


def _failure(failure: Failure) -> list[str]:
    case = failure.case
    where = ", ".join(failure.strata) or failure.stratum
    lines = [f"FAIL {failure.check} ({where}): {failure.message}", f"  smallest input: {case.words}"]
    if case.layout != "contiguous":
        lines.append(f"  memory layout: {case.layout}")
    return [*lines, "  reproduce:", *("    " + line for line in failure.reproduce().splitlines())]


def _counts(report: Report) -> str:
    by: dict[str, int] = {}
    for outcome in report.outcomes:
        by[outcome.status] = by.get(outcome.status, 0) + 1
    counts = ", ".join(f"{n} {status}" for status, n in by.items())
    return f"{counts}; {report.cases} cases in {', '.join(report.dtypes)}, seed {report.seed}, {report.seconds:.1f} s"


def _bits(report: Report) -> str:
    shown = []
    for dtype, strata in report.accuracy.bits.items():
        growth = report.accuracy.growth.get(dtype)
        worst = max(strata, key=lambda s: strata[s])
        text = f"{dtype}: {strata.get('ordinary', 0):.1f} on ordinary values, {strata[worst]:.1f} on {worst}"
        shown.append(text + (f", error ~ (|mean|/std)^{growth:.1f}" if growth is not None else ""))
    return "  bits lost: " + "; ".join(shown) if shown else ""


def show(report: Report, console: Any = None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.syntax import Syntax
    from rich.table import Table

    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 128)  # a file or a pipe has no width
    colour = "green" if report.passed else "red"
    console.print(f"[bold]{escape(report.candidate.title)}[/] as {report.norm}: [{colour}]{escape(report.headline)}[/]")
    for words in (*report.traits.values(), *(f"mismatch: {w}" for w in report.mismatches)):
        console.print(f"  {escape(words)}", highlight=False)
    for failure, others in _grouped(report):
        title, small, *_ = _failure(failure)
        console.print()
        console.print(f"[red]{escape(title)}[/]", highlight=False)
        console.print(escape(small), highlight=False)
        source = failure.reproduce()
        if console.is_terminal:
            coloured = Syntax(source, "python", background_color="default").highlight(source)
            console.print(coloured, soft_wrap=True)  # a line that is broken would not run as it is copied
        else:
            console.print(source, soft_wrap=True, markup=False, highlight=False)  # so that it runs as it is printed
        if others:
            console.print(f"  the same in {', '.join(f.check for f in others)}", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("check", "", "cases", "what it says"):
        table.add_column(column)
    for outcome in (o for o in report.outcomes if o.status != "not offered"):
        mark = MARKS[outcome.status]
        style = {"passed": "green", "failed": "red", "vacuous": "yellow"}.get(outcome.status, "dim")
        table.add_row(outcome.check, f"[{style}]{mark}[/]", str(outcome.cases or ""), escape(_what(outcome)), style=None)
    console.print()
    console.print(table)
    for need, names in _absent(report).items():
        console.print(f"[dim]not offered, {escape(need)}: {', '.join(names)}[/]", highlight=False)
    bits = _bits(report)
    if bits:
        console.print(escape(bits.strip()), highlight=False)
    for reason, count in report.coverage.items():
        console.print(f"[dim]not run: {escape(reason)} ({count} cases)[/]", highlight=False)
    if report.never_run:
        console.print(f"[yellow]never run: {escape(', '.join(report.never_run))}[/]", highlight=False)
    for words in report.notes:
        console.print(f"note: {escape(words)}", highlight=False)
    console.print(_counts(report), highlight=False)


def _absent(report: Report) -> dict[str, list[str]]:
    """What the candidate does not have, and the checks that need it."""
    needs: dict[str, list[str]] = {}
    for check, need in report.not_offered.items():
        needs.setdefault(f"needs {need}" if need else "nothing to ask", []).append(check)
    return needs


def _what(outcome: Any) -> str:
    from .checks import CHECKS

    return CHECKS[outcome.check].words
