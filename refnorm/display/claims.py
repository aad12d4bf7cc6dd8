"""`refnorm reproduce`: a bar for the claims, a bar for the sweep; a table of numbers and a verdict a claim."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from refnorm.claims import CLAIMS, Claim, Number, Result, Sweep
from refnorm.claims.executors import executor
from refnorm.claims.record import write
from refnorm.claims.sweep import on_one_thread
from refnorm.display import console

COLOUR = {"holds": "green", "holds under conditions": "yellow", "does not hold": "magenta", "reported": "cyan"}


def list_claims() -> None:
    """A line a claim."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("claim", "section", "what is measured", "of"):
        table.add_column(column, no_wrap=column == "claim")
    for claim in CLAIMS.values():
        first, *others = claim.cite.authors.split(", ")
        who = f"{first} et al." if others else first
        of = "refnorm" if claim.origin == "refnorm" else f"{who}, {claim.cite.venue} {claim.cite.year}"
        table.add_row(Text(claim.name, "cyan"), str(claim.section), claim.title, of)
    console().print(table)


def reproduce(names: Sequence[str], folder: Path | None, where: str, workers: int) -> int:
    """Measure the claims of these names, all without names.  0: every asserted number holds, 1: one does not, 2: unusable."""
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        return _unusable(f"no claim is called {unknown[0]!r}; there are {', '.join(CLAIMS)}")
    absent = [name for name in ("matplotlib", "sklearn") if importlib.util.find_spec(name) is None]
    if absent:
        return _unusable(f"{' and '.join(absent)} not installed: pip install 'refnorm[plots]'")
    try:
        open_ = executor(where, workers)
    except (ValueError, ImportError) as error:
        return _unusable(str(error))
    out, failed = console(), []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress, Sweep(open_) as sweep:
        claims, items = progress.add_task("claims", total=len(names or CLAIMS)), progress.add_task("", visible=False)
        sweep.watch = lambda done, total: progress.update(items, completed=done, total=total, visible=done < total)
        for name in names or CLAIMS:
            claim = CLAIMS[name]
            progress.update(claims, description=name)
            progress.update(items, description="  sweep", visible=False)
            start = time.perf_counter()
            result = on_one_thread(claim.measure, sweep)
            seconds = time.perf_counter() - start
            if folder is not None:
                write(claim, result, seconds, folder)
            _show(out, claim, result, seconds)
            failed += [name] * (not result.ok)
            progress.advance(claims)
    wrong = f"out of its range is a number of {', '.join(failed)}" if failed else "all asserted numbers hold"
    out.print(Text(f"{len(names or CLAIMS)} claims, {wrong}", "bold red" if failed else "bold green"))
    return 1 if failed else 0


def _show(out: Console, claim: Claim, result: Result, seconds: float) -> None:
    out.print()
    out.print(Text.assemble((claim.name, "bold cyan"), f"  {claim.title}"))
    own = "refnorm's own; after " if claim.origin == "refnorm" else ""
    out.print(Text(f"{own}{claim.cite}", "dim"))
    out.print(Text(f"says: {claim.says}"))
    if claim.conditions:
        out.print(Text(f"conditions: {claim.conditions}"))
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2))
    for column in ("", "number", "paper", "measured", "range", "note"):
        table.add_column(column, justify="right" if column in ("paper", "measured") else "left")
    for n in result.numbers:
        table.add_row(_mark(n), Text(n.what), Text(_short(n.paper)), _short(n.measured), _range(n), Text(n.note, "dim"))
    out.print(table)
    out.print(Text.assemble((result.verdict, f"bold {COLOUR[result.verdict]}"), f": {result.conclusion}"))
    several = len(claim.seeds) > 3 and claim.seeds == tuple(range(claim.seeds[0], claim.seeds[-1] + 1))
    seeds = f"{claim.seeds[0]} to {claim.seeds[-1]}" if several else ", ".join(map(str, claim.seeds)) or "none"
    out.print(Text(f"seeds {seeds}; {seconds:.1f} s", "dim"))


def _mark(n: Number) -> Text:
    return {None: Text("·", "dim"), True: Text("✓", "green"), False: Text("✗", "bold red")}[n.ok]


def _short(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.6g}"


def _range(n: Number) -> str:
    if not n.asserted:
        return "reported"
    if n.low == n.high:
        return f"= {_short(n.low)}"
    if n.low is None or n.high is None:
        return f"<= {_short(n.high)}" if n.low is None else f">= {_short(n.low)}"
    return f"{_short(n.low)} .. {_short(n.high)}"


def _unusable(line: str) -> int:
    print(f"refnorm: {line}", file=sys.stderr)
    return 2
