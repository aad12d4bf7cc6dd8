"""How fast a candidate is, and which cases would take it too long.

The speed is that of a second call at the same shape: a first one may compile (jax.jit, torch.compile, numba, Triton).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .cases import Case

SLOW = 4.0
"""Seconds that one case may be expected to take; a slower one is not run, and the report says so."""
BUDGET = 90.0
"""Seconds of a candidate's own time in one examination, after which only cases of ..."""
BRIEF = 0.25
"""... fewer seconds than these are run."""
ENOUGH = 256
"""Entries from which on a call tells the time that one entry takes."""


@dataclass
class Pace:
    """overhead: seconds of the shortest call (starting a process, for one); rate: seconds an entry beyond it."""

    overhead: float = float("inf")
    rate: float = 0.0
    spent: float = 0.0
    quickest: Case | None = None
    slowest: Case | None = None
    again: dict[tuple[int, ...], float] = field(default_factory=dict)

    def took(self, case: Case, seconds: float) -> None:
        self.spent += seconds
        if seconds < self.overhead:
            self.overhead, self.quickest = seconds, case
        if case.x.size >= ENOUGH:
            rate = (seconds - self.overhead) / case.x.size
            if rate >= self.rate * 0.9:
                self.rate, self.slowest = rate, case
            else:
                self.rate *= 0.9

    def too_slow(self, case: Case, seconds: Callable[[Case], float]) -> bool:
        """Is it expected to take too long?  seconds(case): what one more call takes; asked before a case is given up."""
        if not self._beyond(case):
            return False
        if self.quickest is not None and self.overhead > BRIEF and self.quickest.x.shape not in self.again:
            known = self.quickest
            taken = self.again[known.x.shape] = seconds(known)
            self.overhead = min(self.overhead, taken)
        if self.slowest is not None and self.slowest.x.shape not in self.again:
            known = self.slowest
            taken = self.again[known.x.shape] = seconds(known)
            self.rate, self.slowest = max(taken - self.overhead, 0.0) / known.x.size, None
        return self._beyond(case)

    def _beyond(self, case: Case) -> bool:
        expected = self.rate * case.x.size + (self.overhead if self.spent else 0.0)
        return expected > SLOW or (self.spent > BUDGET and expected > BRIEF and case.x.size > ENOUGH)
