"""`refnorm facts`: the two matrices, methods x invariances and methods x constraints, each cell measured as it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import track
from rich.table import Table
from rich.text import Text

from refnorm.anatomy.facts import TRANSFORMATIONS
from refnorm.anatomy.method import Method
from refnorm.display import console
from refnorm.proofs import Finding, facts, problems

STYLE = {"yes": "green", "forward": "yellow", "dense": "yellow", "no": "dim"}


def matrices(methods: Sequence[Method], in_words: bool) -> bool:
    """Print both; True where every declared cell is what was found."""
    out = console()
    bar = track(methods, "measuring", console=out, transient=True, disable=not out.is_terminal)
    measured = {m.name: (list(facts.invariances(m)), counts(m)) for m in bar}
    out.print(_invariances(methods, measured))
    out.print("yes: the output stays, to rounding, and the gradient answers with the column's exponent", style="dim")
    out.print("forward: the output stays, its gradient does not know, since the method stops a value in it", style="dim")
    out.print("dense: only where there are no spatial axes;  no: the output moves by this much of its scale", style="dim")
    out.print()
    out.print(_constraints(methods, measured))
    findings = [f for m in methods for part in measured[m.name] for f in part]
    for f in findings:
        if in_words or not f.ok:
            out.print(Text(f"{f.proof}: {f.words}", "" if f.ok else "bold red"))
    return all(f.ok for f in findings)


def counts(method: Method) -> list[Finding]:
    """The constraints of a method's first example: which, how many by formula and by rank, feasible when."""
    if method.operation is None or method.operation.constraints is None:
        return []
    return list(facts.constraints(next(problems(method))))


def _invariances(methods: Sequence[Method], measured: dict) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title="methods x invariances", title_justify="left")
    table.add_column("method", no_wrap=True)
    for name, t in TRANSFORMATIONS.items():
        table.add_column(f"{name.replace('_', ' ')}\n{t.words}\ngradient {t.exponent:+d}")
    for m in methods:
        cells = []
        for f, (name, declared) in zip(measured[m.name][0], m.facts.invariances.items(), strict=True):
            moved = moved_by(f.words) if declared == "no" else ""
            said = f"{declared} ({moved})" if moved else declared
            cells.append(Text(said if f.ok else f"✗ {name}", STYLE[declared] if f.ok else "bold red"))
        table.add_row(Text(m.name, "cyan"), *cells)
    return table


def _constraints(methods: Sequence[Method], measured: dict) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title="methods x constraints", title_justify="left")
    for column in ("method", "the output has, exactly", "a block of D x M", "by formula", "by rank", "feasible when"):
        table.add_column(column, no_wrap=column == "method")
    for m in methods:
        found = [f for f in measured[m.name][1] if f.proof == "constraint count"]
        if not found:
            continue
        rank, formula, block = read_count(found[0].words)
        constraints = m.operation.constraints
        style = "green" if all(f.ok for f in measured[m.name][1]) else "bold red"
        table.add_row(Text(m.name, "cyan"), constraints.words, block, formula, Text(rank, style), constraints.feasible_when)
    return table


def moved_by(words: str) -> str:
    """By how much of its scale the output moves, out of an invariance's finding; nothing where it does not."""
    _, said, after = words.rpartition("moves the output by ")
    return after.split(" ")[0] if said else ""


def read_count(words: str) -> tuple[str, str, str]:
    """rank, formula and block out of a finding's words: "rank 2, formula 2 a block of 1 x 12, ..."."""
    parts = words.split("rank ")[1].replace(",", "").split()
    return parts[0], parts[2], " ".join(parts[6:9])
