"""Measured traits: what a candidate's answers say of its conventions, by calls whose answers differ between dialects.

What momentum weighs and which variance is kept: one training step.  The default of eps: rows of deviations from 1e-11 to 10.
The offset of an RMS norm that takes none: rows of +1 and -1.  Roundings before the last: `casts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import casts
from .cases import Case, stored
from .casts import Casts
from .plan import Plan

if TYPE_CHECKING:
    from .session import Session

WEIGHT = 0.3125
"""The momentum of the step that is measured: neither one half nor a value that anybody hard-codes."""


@dataclass(frozen=True)
class Traits:
    """None: not measured, since it is not offered.

    eps      its value where it is left out
    weight   that of the new batch, when momentum is WEIGHT or not taken; weighs: "new", "old", or "neither"
    variance "biased", "unbiased", "deviation", or "another"
    offset   0 or 1
    momentum the signature's default
    casts    which roundings y goes through, in 16-bit storage
    """

    eps: float | None = None
    weight: float | None = None
    weighs: str | None = None
    variance: str | None = None
    offset: int | None = None
    momentum: float | None = None
    casts: Casts | None = None

    def words(self) -> Iterator[tuple[str, str]]:
        """(trait, sentence) of what was measured."""
        if self.eps is not None:
            yield "eps", f"eps is {self.eps:.3g} by default"
        if self.weighs is not None and self.weighs != "neither":
            yield "momentum", f"momentum weighs the {self.weighs} value"
        elif self.weight is not None:
            yield "momentum", f"the new batch has weight {self.weight:.3g}"
        if self.variance is not None:
            yield "running_var", f"the running variance is {self.variance}"
        if self.offset is not None:
            yield "offset", f"the weight is {'1 + gamma' if self.offset else 'gamma'}"
        if self.casts is not None and self.casts.words:
            yield "casts", self.casts.words


def measure(session: Session) -> Traits:
    c = session.candidate
    plan = Plan(
        session.method, session.main, 1e-5, session.seed, c.channel_axis, session.normalized_ndim, absent=session.absent,
        prologue=c.prologue, epilogue=c.epilogue, taken=session.taken,
    )  # fmt: skip
    weight, weighs, variance = running_statistics(session, plan)
    momentum = session.caller.binding(session.blank).defaults.get("momentum")
    eps, offset = _eps(session, plan), _offset(session, plan)
    return Traits(eps, weight, weighs, variance, offset, momentum, casts.measure(session, plan, offset or 0))


def _eps(session: Session, plan: Plan) -> float | None:
    """eps where it is left out: from var / (var + eps), the mean square of y, on the rows where it is between 0.1 and 0.9."""
    binding = session.caller.binding(session.blank)
    if not session.plain or "eps" not in plan.convention.options or (binding.takes("eps") and "eps" not in binding.defaults):
        return None
    least = 1e-11 if plan.arithmetic.x.itemsize > 2 else 1e-4

    def spread(_: np.random.Generator, rows: int, n: int) -> np.ndarray:
        return np.geomspace(least, 10, rows)[:, None] * np.where(np.arange(n) % 2, -1.0, 1.0)

    asked: Any = {"gamma": "ones", "beta": "zeros", "offset": 0}
    case = plan.rows("ordinary", "the default of eps", spread, 24, 64, **asked)
    y = _y(session, replace(case, arguments={k: v for k, v in case.arguments.items() if k != "eps"}))
    if y is None:
        return None
    part = session.method.triple.partition(**session.method.resolve(**case.reference())[0])
    given, got = (part.split(a.astype(float)).reshape(-1, part.blocks[2]) for a in (case.x, y))
    with np.errstate(all="ignore"):
        var, kept = np.mean(np.square(given), axis=1), np.mean(np.square(got), axis=1)
        kept = kept / kept[-1]  # the last row is far above any eps: what is left is a weight that adds an offset
        telling = (kept > 0.1) & (kept < 0.9)
        outside = session.method.triple.operation.name == "deviation"
        eps = np.sqrt(var) * (1 / np.sqrt(kept) - 1) if outside else var * (1 / kept - 1)
        found = float(np.median(eps[telling])) if telling.any() else np.nan
        right = np.square(np.sqrt(var) / (np.sqrt(var) + found)) if outside else var / (var + found)
        miss = float(np.max(np.abs(kept - right)))
    return _rounded(found) if miss < 0.05 else None  # what adds no number to the variance has no eps: a clamp, for one


def running_statistics(session: Session, plan: Plan) -> tuple[float | None, str | None, str | None]:
    """(weight of the new batch, what momentum weighs, which variance is kept), from a step of four values a channel."""
    names = plan.convention.state
    if not names or not session.offers(*names):
        return None, None, None

    def steps(_: np.random.Generator, rows: int, n: int) -> np.ndarray:
        return np.resize([-3.0, -1.0, 1.0, 3.0], n) + 3.0 * (np.arange(rows)[:, None] % 2)

    case = plan.rows("momentum", "what momentum weighs", steps, 2, 4, spread="first", momentum=WEIGHT)
    channels = len(case.arguments[names[0]])
    z = steps(np.random.default_rng(0), channels, case.x.size // max(channels, 1))
    old_mean, old_var = np.resize([16.0, -8.0], channels), np.resize([64.0, 1.0], channels)
    olds = zip(names, (old_mean, old_var), strict=True)
    trial = session.call(case.replaced(**{k: stored(v, plan.dtype("state")) for k, v in olds}), backward=False)
    if trial is None or any(name not in trial.values for name in names):
        return None, None, None
    mean, var = (trial.values[name].astype(float) for name in names)
    w = float(np.median((mean - old_mean) / (z.mean(axis=1) - old_mean)))
    weighs = "new" if abs(w - WEIGHT) < 1e-2 else "old" if abs(w - 1 + WEIGHT) < 1e-2 else "neither"
    kinds = {"biased": z.var(axis=1), "unbiased": z.var(axis=1, ddof=1), "deviation": z.std(axis=1)}
    near = min(2e-2, 0.3 / z.shape[1]) if plan.arithmetic.x.itemsize == 2 else min(1e-3, 0.3 / z.shape[1])
    fits = [k for k, new in kinds.items() if np.allclose(var, (1 - w) * old_var + w * new, rtol=near)]
    return _rounded(w), weighs if session.offers("momentum") else None, fits[0] if fits else "another"


def _offset(session: Session, plan: Plan) -> int | None:
    """1 where the weight of a candidate that takes no offset is 1 + gamma."""
    if "offset" not in plan.convention.options or session.offers("offset") or "gamma" in plan.absent or not session.plain:
        return None

    def signs(_: np.random.Generator, rows: int, n: int) -> np.ndarray:
        return np.ones((rows, 1)) * np.where(np.arange(n) % 2, -1.0, 1.0)

    case = plan.rows("parameters", "what gamma is", signs, 2, 4, eps=1e-12)
    gamma = stored(np.full(np.shape(case.arguments["gamma"]), 3.0), plan.dtype("params"))
    y = _y(session, case.replaced(gamma=gamma))
    if y is None:
        return None
    size = float(np.median(np.abs(y.astype(float))))
    return 1 if abs(size - 4) < abs(size - 3) else 0


def _y(session: Session, case: Case) -> np.ndarray | None:
    trial = session.call(case, backward=False)
    return None if trial is None else trial.values.get("y")


def _rounded(value: float) -> float:
    """To three digits: what is measured is good for no more."""
    return float(f"{value:.3g}")
