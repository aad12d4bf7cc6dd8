"""What is measured of a method while its page is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from refnorm.anatomy.facts import TRANSFORMATIONS
from refnorm.anatomy.method import Method
from refnorm.display.facts import moved_by, read_count
from refnorm.proofs import Finding, prove

from . import accuracy


@dataclass(frozen=True)
class Cell:
    """One cell of the invariances: what is declared, what was found, and how it sorts."""

    name: str
    words: str
    declared: str
    found: str
    ok: bool

    @property
    def kind(self) -> str:
        return self.declared

    @property
    def said(self) -> str:
        moved = moved_by(self.found) if self.declared == "no" else ""
        return f"{self.declared} ({moved})" if moved else self.declared

    @property
    def value(self) -> str:
        order = ["yes", "forward", "dense", "no"].index(self.declared)
        return f"{order} {float(moved_by(self.found) or 0):.6f}"


@dataclass(frozen=True)
class Count:
    """The constraints of a method's first example."""

    words: str
    block: str
    formula: str
    rank: str
    feasible: str
    ok: bool


@dataclass(frozen=True)
class Evidence:
    method: Method
    findings: Sequence[Finding]
    curves: accuracy.Curves

    @property
    def cells(self) -> list[Cell]:
        found = {f.proof.split(":")[1]: f for f in self.findings if f.proof.startswith("invariance:")}
        return [
            Cell(name.replace("_", " "), t.words, self.method.facts.invariances[name], found[name].words, found[name].ok)
            for name, t in TRANSFORMATIONS.items()
        ]

    @property
    def count(self) -> Count | None:
        found = next((f for f in self.findings if f.proof == "constraint count"), None)
        if found is None:
            return None
        rank, formula, block = read_count(found.words)
        held = self.method.operation.constraints
        return Count(held.words, block.replace("x", "\u00d7"), formula, rank, held.feasible_when, found.ok)


def gather(method: Method) -> Evidence:
    return Evidence(method, list(prove(method)), accuracy.measure(method))
