"""Session: one candidate, one norm, one dialect; what the checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method

from . import ranks, strata, strata_examples, values
from .caller import PATIENCE, Caller
from .candidate import Candidate, Unusable
from .cases import Case
from .conventions import convention_of, method_named
from .detection import Spoken, detect
from .examination import Examination, judge
from .excuses import ran
from .pace import Pace
from .plan import Plan
from .shapes import has_rows
from .taken import Taken
from .tolerance_arithmetic import NAMES, Arithmetic
from .trial import Trial

Progress = Callable[[int, int, str], None]


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
    pace: Pace = field(default_factory=Pace)
    skipped: dict[str, int] = field(default_factory=dict)
    probes: dict[Any, Any] = field(default_factory=dict)  # `evidence.probed`

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
        other = {name: Arithmetic.of(name, compute=self.candidate.compute) for name in self.dtypes}
        return [a for name in self.dtypes for a in [d for d in declared if d.x.name == name] or [other[name]]]

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
        """Roundings to storage before the last one, by the dialect asked for or as they were measured."""
        return self.spoken.casts

    def plan(self, arithmetic: Arithmetic, **changes: Any) -> Plan:
        """The plan of this candidate in one arithmetic; `changes` are Plan's fields."""
        dialect = changes.pop("dialect", None) or self.dialect
        default = self.method.dialects[dialect].defaults.get("eps", 1e-5)
        c, fixed = self.candidate, changes.pop("fixed", None)
        common = {
            "eps": 1e-6 if default is None else default, "seed": self.seed, "channel_axis": c.channel_axis,
            "normalized_ndim": self.normalized_ndim, "fixed": self.spoken.fixed if fixed is None else fixed,
            "absent": self.absent, "heavy": arithmetic is self.main, "dialect": dialect,
            "prologue": c.prologue, "epilogue": c.epilogue,
            "masked": self.offers("mask"), "sharded": self.offers("num_shards"), "stateless": self.stateless,
            "taken": self.taken,
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
            yield from strata.cases(self.plan(arithmetic, brief=self.quick), self.quick, tried)

    @property
    def plain(self) -> bool:
        """Is y the norm's own output, with nothing fused around it?"""
        return self.candidate.prologue is None and self.candidate.epilogue is None

    def examples(self) -> list[Case]:
        """A few cases of a method without rows, in the main arithmetic, for the facts."""
        plan = self.plan(self.main)
        found = [plan.example("ordinary", f"example {k}", e) for k, e in enumerate(strata_examples.examples(plan))]
        return [case for case in found if case is not None]

    @cached_property
    def taken(self) -> Taken | None:
        """The shapes that it takes; None where it takes all."""
        if self.candidate.supports is None and not self.raises_on:
            return None
        return Taken(lambda case: not self.unsupported(case))

    @cached_property
    def normalized_ndim(self) -> int | None:
        """How many trailing axes layer_norm and rms_norm are asked to normalize; None: one and more."""
        return ranks.normalized(self)

    @cached_property
    def raises_on(self) -> dict[int, str]:
        """Numbers of axes that it does not take, with what it says there."""
        return ranks.raises_on(self)

    def declined(self, case: Case) -> str:
        """What `supports` says against a case; empty where it is supported."""
        if self.candidate.supports is None:
            return ""
        try:
            said = self.candidate.supports(case)
        except Exception as error:
            return f"not supported: supports raises {type(error).__name__}: {error}"
        return "" if said is True else f"not supported: {said or 'no reason given'}"

    def unsupported(self, case: Case) -> str:
        """Why the candidate does not take a case; empty where it does."""
        words = self.raises_on.get(case.x.ndim)
        return f"takes no arrays of {case.x.ndim} axes ({words})" if words else self.declined(case)

    def refusal(self, case: Case) -> str:
        """Why a case is not run; empty where it is."""
        if self.hung >= 2:
            return "not run after it hung twice"
        return self.unsupported(case) or ("too slow for the larger cases" if self.pace.too_slow(case, self._seconds) else "")

    def call(self, case: Case, backward: bool = True) -> Trial | None:
        """One watched call; None where it is not run, with the reason kept for the report."""
        reason = self.refusal(case)
        if reason:
            self.skipped[reason] = self.skipped.get(reason, 0) + 1
            return None
        trial = self._run(case, backward)
        if trial.fault("hangs"):
            self.hung += 1
        self.pace.took(case, trial.seconds)
        return trial

    def caller_of(self, case: Case) -> Caller:
        """Who answers a case: one for all, or the one that is built for its shape."""
        return self.caller if self.candidate.factory is None else Caller(self.candidate.factory(case), self.patience)

    def _run(self, case: Case, backward: bool) -> Trial:
        caller = self.caller_of(case)
        trial = caller.forward(case)
        return caller.backward(trial) if backward else trial

    def _seconds(self, case: Case) -> float:
        """The least of three calls: on a busy machine any one may wait; one of a second and more is not repeated."""
        least = self._run(case, True).seconds
        return min([least, *(self._run(case, True).seconds for _ in range(2))]) if least < 1 else least

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
            found.asked[case.stratum] += 1
            if trial is not None:
                found.cases += 1
                if ran(trial, by, found, none_is_offered=none, lone_is_error=lone, absent=self.absent):
                    judge(trial, by, casts, found)
            if progress is not None:
                progress(k + 1, len(cases), case.stratum)
        return found

    @cached_property
    def none_is_offered(self) -> bool:
        """Does the signature say that parameters may be None?"""
        defaults = self.caller.binding(self.blank).defaults
        return any(name in defaults and defaults[name] is None for name in self.convention.parameters)

    @cached_property
    def stateless(self) -> bool:
        """Does the signature say that running statistics may be None?"""
        defaults = self.caller.binding(self.blank).defaults
        return bool(self.convention.state) and all(n in defaults and defaults[n] is None for n in self.convention.state)

    def has_rows(self) -> bool:
        """Is every statistic of this method one of a row: mean, variance, mean square?"""
        return has_rows(self.method)
