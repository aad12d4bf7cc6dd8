"""`refnorm check`: a row a method, a column a proof."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from refnorm.anatomy.method import Method
from refnorm.display import console
from refnorm.proofs import Finding, prove

SHORT = {
    "differences": "diff",
    "curvature": "hvp",
    "constraints": "con",
    "constraint count": "rank",
    "identities": "ident",
    "purity": "pure",
    "confinement": "NaN",
    "invariance": "invar",
}


def proofs(methods: Sequence[Method], seed: int, verbose: bool) -> list[Finding]:
    """Prove, with a progress bar on a terminal, and show a row a method and a column a proof."""
    out = console()
    findings: list[Finding] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        task = progress.add_task("proving", total=len(methods))
        for m in methods:
            progress.update(task, description=f"proving {m.name}")
            findings += prove(m, seed)
            progress.advance(task)
    out.print(_proof_table(methods, findings))
    for f in findings:
        if verbose or not f.ok:
            out.print(Text(str(f), "red" if not f.ok else "dim"))
    for reason in sorted({f.skipped for f in findings if f.skipped}):
        names = ", ".join(sorted({f.method for f in findings if f.skipped == reason}))
        out.print(Text(f"not asked: {reason} ({names})", "yellow"))
    wrong = sum(not f.ok for f in findings)
    said = f"{len(methods)} methods, {len(findings)} findings, {wrong} red"
    out.print(Text(said, "bold red" if wrong else "bold green"))
    return findings


def _proof_table(methods: Sequence[Method], findings: Sequence[Finding]) -> Table:
    proofs_ = list(dict.fromkeys(f.proof.split(":")[0] for f in findings))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("method", no_wrap=True)
    for proof in proofs_:
        table.add_column(SHORT.get(proof, proof), justify="center")
    for m in methods:
        row = [Text(m.name, "cyan")]
        for proof in proofs_:
            mine = [f for f in findings if f.method == m.name and f.proof.split(":")[0] == proof]
            row.append(_mark(mine))
        table.add_row(*row)
    return table


def _mark(findings: Sequence[Finding]) -> Text:
    if not findings:
        return Text("·", "dim")
    red = sum(not f.ok for f in findings)
    if red:
        return Text(f"✗ {red}/{len(findings)}", "bold red")
    if all(f.skipped for f in findings):
        return Text("–", "yellow")
    return Text(f"✓ {sum(not f.skipped for f in findings)}", "green")
