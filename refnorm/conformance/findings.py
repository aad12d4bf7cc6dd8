"""What a check finds on one case, and what becomes of a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .cases import Case

Status = Literal["passed", "failed", "vacuous", "not offered"]


def times(worst: float) -> str:
    """As "12.3 times its tolerance"; where that is next to nothing, a ratio says no more than this does."""
    return f"{worst:.3g} times its tolerance" if worst < 1e6 else "far beyond its tolerance"


@dataclass(frozen=True, eq=False)
class Finding:
    """One judgement; the message of one that is `ok` is a note.  worst: largest error over its bound; index: where; `facts`
    are what a fact without an oracle needs to be shown again: "kind" and its arguments (`reproduction`)."""

    check: str
    case: Case
    ok: bool
    message: str = ""
    name: str = ""  # the output or gradient judged
    worst: float = 0.0
    index: tuple[int, ...] | None = None
    observed: np.ndarray | None = None  # of failures only
    expected: np.ndarray | None = None
    tolerance: np.ndarray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    sharp: bool = True  # could it have failed?

    @property
    def entry(self) -> str:
        """The entry that is worst: "y[1, 1024] is 0.25, expected 0.5 within 1e-6"."""
        if self.observed is None or self.expected is None or self.index is None:
            return ""
        at = ", ".join(map(str, self.index))
        got, right = self.observed[self.index], self.expected[self.index]
        text = f"{self.name}[{at}] is {float(got):.9g}, expected {float(right):.9g}"
        return text if self.tolerance is None else f"{text} within {float(self.tolerance[self.index]):.2g}"


@dataclass
class Outcome:
    """A check, judged: over how many cases, and why where it was not."""

    check: str
    stage: str
    status: Status
    cases: int = 0
    failures: list[Finding] = field(default_factory=list)
    words: str = ""
    notes: tuple[str, ...] = ()  # what passed, and is good to know

    @property
    def smallest(self) -> Finding:
        return min(self.failures, key=lambda f: (f.case.x.size, -f.worst))

    @property
    def telling(self) -> list[Finding]:
        """The small failures, those farthest off first: where a wrong formula is best told from a right one."""
        limit = 4 * self.smallest.case.x.size + 64
        return sorted((f for f in self.failures if f.case.x.size <= limit), key=lambda f: -min(f.worst, 1e300))


def settled(check: str, stage: str, findings: list[Finding], words: str = "") -> Outcome:
    """failed where one finding failed; vacuous where none could have; not offered where there is none."""
    failures, notes = [f for f in findings if not f.ok], tuple(dict.fromkeys(f.message for f in findings if f.ok and f.message))
    if failures:
        return Outcome(check, stage, "failed", len(findings), failures, notes=notes)
    if not findings:
        return Outcome(check, stage, "not offered", 0, [], words)
    if not any(f.sharp for f in findings):
        return Outcome(check, stage, "vacuous", len(findings), [], "no case could have shown a fault")
    return Outcome(check, stage, "passed", len(findings), notes=notes)
