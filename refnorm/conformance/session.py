"""Session: one candidate, one norm, one dialect; what the checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method

from . import strata, strata_examples, values
from .candidate import Candidate, Unusable
from .cases import Case
from .conventions import convention_of, method_named
from .detection import Spoken, detect
from .examination import Examination, judge
from .excuses import ran
from .plan import Plan
from .shapes import has_rows
from .tolerance_arithmetic import NAMES, Arithmetic
from .trial import PATIENCE, Caller, Trial

Progress = Callable[[int, int, str], None]
SLOW = 4.0
"""Seconds that one case may be expected to take; a slower one is not run, and the report says so."""
BUDGET = 90.0
"""Seconds of a candidate's own time in one examination, after which only its small cases are run."""


@dataclass
class Session:
    candidate: Candidate
    norm: str
    asked: str | None = None  # the dialect asked for
    quick: bool = False
    seed: int = 0
    dtypes: tuple[str, ...] | None = None
    patience: float = PATIENCE
    progress: Progress | None = None
    hung: int = 0
    _rate: float = 0.0  # seconds an entry, as measured
    _spent: float = 0.0
    skipped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.method: Method = method_named(self.norm)
        if self.asked is not None and self.asked not in self.method.dialects:
            names = ", ".join(self.method.dialects)
            raise Unusable(f"dialect {self.asked!r} is unknown to {self.norm}; it must be one of {names}")
        self.convention = convention_of(self.method)
        self.caller = Caller(self.candidate, self.patience)

    @cached_property
    def arithmetics(self) -> list[Arithmetic]:
        declared = self.candidate.arithmetics()
        if self.dtypes is None:
            return declared
        for name in self.dtypes:
            if name not in NAMES:
                raise Unusable(f"dtype {name!r} is unknown; it must be one of {', '.join(NAMES)}")
        known = {a.x.name: a for a in declared}
        return [known.get(name) or Arithmetic.of(name, compute=self.candidate.compute) for name in self.dtypes]

    @cached_property
    def main(self) -> Arithmetic:
        """The arithmetic in which the largest cases and the facts run: 32 bits where there are."""
        return min(self.arithmetics, key=lambda a: (a.x != np.float32, -a.x.itemsize))

    @cached_property
    def spoken(self) -> Spoken:
        """What the candidate was found to speak; detected once."""
        return detect(self)

    @property
    def dialect(self) -> str:
        """The dialect by which it is judged: the one asked for, or the one that it speaks."""
        return self.asked or self.spoken.dialect

    @cached_property
    def casts(self) -> int:
        spoken = (self.asked,) if self.asked else self.spoken.consistent or (self.dialect,)
        return max(self.method.dialects[name].casts for name in spoken)

    def plan(self, arithmetic: Arithmetic, **changes: Any) -> Plan:
        """The plan of this candidate in one arithmetic; `changes` are Plan's fields."""
        dialect = changes.pop("dialect", None) or self.dialect
        default = self.method.dialects[dialect].defaults.get("eps", 1e-5)
        c, fixed = self.candidate, changes.pop("fixed", None)
        common = {
            "eps": 1e-6 if default is None else default, "seed": self.seed, "channel_axis": c.channel_axis,
            "normalized_ndim": c.normalized_ndim, "fixed": self.spoken.fixed if fixed is None else fixed, "absent": self.absent,
            "heavy": arithmetic is self.main, "dialect": dialect, "prologue": c.prologue, "epilogue": c.epilogue,
            "masked": self.offers("mask"), "sharded": self.offers("num_shards"),
        }  # fmt: skip
        return Plan(self.method, arithmetic, **{**common, **changes})

    @cached_property
    def absent(self) -> frozenset[str]:
        """Parameters that the candidate does not take."""
        binding = self.caller.binding(self.blank)
        return frozenset(name for name in self.convention.arrays[1:] if not binding.takes(name))

    @cached_property
    def blank(self) -> Case:
        """A small ordinary case before anything is known of the candidate."""
        c = self.candidate
        fused: Any = {"prologue": c.prologue, "epilogue": c.epilogue}
        plan = Plan(self.method, self.main, 1e-5, self.seed, c.channel_axis, c.normalized_ndim, **fused)
        if self.has_rows():
            return plan.rows("ordinary", "the first call", values.ordinary, 3, 8)
        found = (plan.example("ordinary", "the first call", example) for example in self.method.examples)
        return next(case for case in found if case is not None)

    def offers(self, *names: str) -> bool:
        """Does the candidate take these arguments?"""
        binding = self.caller.binding(self.blank)
        return all(binding.takes(name) for name in names)

    def offers_option(self, name: str) -> bool:
        """Does the norm have this option, and the candidate too?"""
        return name in self.convention.options and self.offers(name)

    @property
    def has_backward(self) -> bool:
        return self.candidate.backward is not None

    def cases(self) -> Iterator[Case]:
        tried = strata.STRATA if self.has_rows() else strata_examples.STRATA
        for arithmetic in self.arithmetics:
            yield from strata.cases(self.plan(arithmetic), self.quick, tried)

    @property
    def plain(self) -> bool:
        """Is y the norm's own output, with nothing fused around it?"""
        return self.candidate.prologue is None and self.candidate.epilogue is None

    def examples(self) -> list[Case]:
        """A few cases of a method without rows, in the main arithmetic, for the facts."""
        plan = self.plan(self.main)
        found = [plan.example("ordinary", f"example {k}", e) for k, e in enumerate(strata_examples.examples(plan))]
        return [case for case in found if case is not None]

    def refusal(self, case: Case) -> str:
        """Why a case is not run; empty where it is."""
        if self.hung >= 2:
            return "not run after it hung twice"
        if self._rate * case.x.size > SLOW or (self._spent > BUDGET and case.x.size > 2000):
            return "too slow for the larger cases"
        if self.candidate.supports is not None:
            said = self.candidate.supports(case)
            if said is not True:
                return f"not supported: {said or 'no reason given'}"
        return ""

    def call(self, case: Case, backward: bool = True) -> Trial | None:
        """One watched call; None where it is not run, with the reason kept for the report."""
        reason = self.refusal(case)
        if reason:
            self.skipped[reason] = self.skipped.get(reason, 0) + 1
            return None
        caller = self.caller if self.candidate.factory is None else Caller(self.candidate.factory(case), self.patience)
        trial = caller.forward(case)
        if backward:
            caller.backward(trial)
        if trial.fault("hangs"):
            self.hung += 1
        self._spent += trial.seconds
        if case.x.size >= 256:
            self._rate = max(self._rate * 0.9, trial.seconds / case.x.size)
        return trial

    @cached_property
    def examination(self) -> Examination:
        """Every case of every stratum, judged."""
        return self.examine(list(self.cases()), self.progress)

    def examine(
        self, cases: Sequence[Case], progress: Progress | None = None, dialect: str | None = None, backward: bool = True
    ) -> Examination:
        """Cases judged; by the session's dialect, or another."""
        found, none = Examination(), self.none_is_offered
        by = dialect or self.dialect
        lone, casts = self.method.dialects[by].lone_value == "error", self.casts if dialect is None else 0
        for k, case in enumerate(cases):
            trial = self.call(case, backward)
            if trial is not None:
                found.cases += 1
                if ran(trial, by, found, none_is_offered=none, lone_is_error=lone):
                    judge(trial, by, casts, found)
            if progress is not None:
                progress(k + 1, len(cases), case.stratum)
        return found

    @cached_property
    def none_is_offered(self) -> bool:
        """Does the signature say that parameters may be None?"""
        defaults = self.caller.binding(self.blank).defaults
        return any(name in defaults and defaults[name] is None for name in self.convention.parameters)

    def has_rows(self) -> bool:
        """Is every statistic of this method one of a row: mean, variance, mean square?"""
        return has_rows(self.method)
