"""Report: right or wrong, which dialect, how many bits, the smallest input that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .accuracy import Accuracy
from .candidate import Candidate
from .cases import Case
from .findings import Finding, Outcome

UNSTEADY = ("facts.determinism", "facts.purity", "facts.saved")
"""Checks whose failure explains that of others."""


@dataclass(frozen=True, eq=False)
class Failure:
    """One check that failed, on the smallest input found.  diagnosis names the wrong formula, where it is a known one."""

    finding: Finding
    candidate: Candidate
    dialect: str
    diagnosis: str = ""
    strata: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    cases: int = 0
    tried: int = 1  # in how many dtypes the check was made

    @property
    def check(self) -> str:
        return self.finding.check

    @property
    def stratum(self) -> str:
        return self.finding.case.stratum

    @property
    def case(self) -> Case:
        return self.finding.case

    @property
    def inputs(self) -> dict[str, Any]:
        """Arrays and scalars by the contract's names; dy where a gradient failed."""
        given = {k: v for k, v in self.case.arguments.items() if v is not None}
        return {**given, "dy": self.case.dy} if self.finding.name.startswith("d") else given

    @property
    def observed(self) -> np.ndarray | None:
        return self.finding.observed

    @property
    def expected(self) -> np.ndarray | None:
        return self.finding.expected

    @property
    def tolerance(self) -> np.ndarray | None:
        return self.finding.tolerance

    @property
    def message(self) -> str:
        parts = [self.diagnosis or self.finding.message]
        if self.diagnosis and self.dtypes and len(self.dtypes) < self.tried:
            parts[0] += f" ({', '.join(self.dtypes)})"
        if self.diagnosis and self.finding.message and self.finding.observed is not None:
            parts.append(self.finding.entry)
        elif self.finding.entry:
            parts.append(self.finding.entry)
        return "; ".join(p for p in parts if p)

    def reproduce(self) -> str:
        """Source that shows it with NumPy alone."""
        from .reproduction import source

        return source(self.finding, self.candidate)


@dataclass
class Report:
    candidate: Candidate
    norm: str
    dialect: str  # what it was found to speak
    asked: str | None = None
    mismatches: tuple[str, ...] = ()
    traits: Mapping[str, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    accuracy: Accuracy = field(default_factory=Accuracy)
    coverage: Mapping[str, int] = field(default_factory=dict)
    arithmetic: str = ""  # the class that explains the failures: "storage sums", "one-pass"
    dtypes: tuple[str, ...] = ()
    cases: int = 0
    seed: int = 0
    seconds: float = 0.0
    spoken_by: str = ""
    never_run: tuple[str, ...] = ()  # strata of which no case was run
    notes: tuple[str, ...] = ()  # what is no fault, and good to know

    @property
    def judged(self) -> bool:
        """Was there anything that could have failed?"""
        told = any(o.status == "passed" and o.stage not in ("contract", "dialect") for o in self.outcomes)
        return told or bool(self.failures)

    @property
    def passed(self) -> bool:
        """No check failed, and there was something to judge."""
        return not self.failures and self.judged

    @property
    def vacuous(self) -> list[str]:
        return [o.check for o in self.outcomes if o.status == "vacuous"]

    @property
    def not_offered(self) -> dict[str, str]:
        """Checks that were not run, with what they need."""
        return {o.check: o.words for o in self.outcomes if o.status == "not offered"}

    @property
    def headline(self) -> str:
        """What a kernel's author wants to read first."""
        also = self.accuracy.sentence()
        speaks = f"{self.dialect}'s dialect" if self.dialect else "no known dialect"
        if self.passed:
            right = f"right where it was run, never on {', '.join(self.never_run)}" if self.never_run else "right"
            return f"{right}: {speaks}" + (f"; {also}" if also else "")
        if not self.failures:
            return "nothing could be judged: " + ("; ".join(self.coverage) or "no case was run")
        chief = self.chief
        smallest = " x ".join(map(str, chief.case.x.shape))
        text = f"wrong: {chief.diagnosis or chief.finding.message}; here is a {smallest} input"
        if second := self._second(chief):
            text += f"; and {second.diagnosis}; here is a {' x '.join(map(str, second.case.x.shape))} input"
        if also:
            text += f"; also it {also}"
        if chief.check != "dialect" and self.dialect:
            text += f"; otherwise {speaks}"
        return text

    def _second(self, chief: Failure) -> Failure | None:
        """A failure of another result with a cause of its own, one that has a threshold before others."""
        others = [f for f in self.failures if f.diagnosis not in ("", chief.diagnosis) and f.finding.name != chief.finding.name]
        others = [f for f in others if f.finding.name and f.check != "numerics.scale"] if chief.finding.name else []
        return next((f for f in others if f.check.startswith("size.")), others[0] if others else None)

    @property
    def chief(self) -> Failure:
        """The failure that tells most.

        What overflows before its gradient, which is 0 there; results that change between runs, or under the caller's hands,
        before errors that no formula explains; then what fails on ordinary values, then a size, then any with a diagnosis.
        """
        plain = ("forward.y", "backward.dx", "backward.parameters", "state.running", "dialect")
        told = [f for f in self.failures if f.diagnosis and f.check != "numerics.scale"]
        if over := [f for f in told if "overflow" in f.diagnosis]:
            return over[0]
        unsteady = [f for name in UNSTEADY for f in self.failures if f.check == name]
        if unsteady and not any(f.check in plain for f in told):
            return unsteady[0]
        if self.arithmetic and told:
            return min(told, key=lambda f: (f.finding.worst < 4, f.case.x.size))
        first = (
            [f for name in plain for f in told if f.check == name] or [f for f in told if f.check.startswith("size.")] or told
        )
        return (first or self.failures)[0]

    def __str__(self) -> str:
        from .presentation import plain

        return plain(self)

    def print(self, console: Any = None) -> None:
        """To the terminal, in colour where it has any."""
        from .presentation import show

        show(self, console)

    def to_json(self) -> str:
        from .records import report_json

        return report_json(self)

    def to_junit(self) -> str:
        from .records import junit

        return junit([self])
