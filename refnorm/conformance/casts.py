"""Which roundings to storage a candidate makes before the last one: found from y, in 16-bit storage.

The forms differ by more than half an ulp of y in a quarter of the entries, and each meets its own within half an ulp in nearly
all (but where an error of the arithmetic turns a rounding):

    0  y = fl(gamma xhat + beta)                     all in the arithmetic, then one rounding: PyTorch, Gemma
    1  y = fl(gamma fl(xhat) + beta)                 cast back before the product with the weight: Llama
    2  y = fl(fl(gamma fl(xhat)) + beta)             product and sum in storage as well: ONNX, stash_type 1
       y = fl(fl(gamma) xhat + beta)                 a float32 gamma is rounded: a bug in every dialect

xhat = r (x - mean), r as it should be or fitted to y itself: the eps of a candidate need not be right, nor known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import values
from .cases import stored
from .expected import Expectation
from .plan import Plan

if TYPE_CHECKING:
    from .session import Session

FITS = 0.93
"""The share of entries that a form must meet; those of another form meet it in three quarters."""
ROWS, LENGTH = 24, 64


class Casts(NamedTuple):
    """number: as `Dialect.casts`; parameters: is a parameter of more bits rounded to storage before it is used?"""

    number: int
    parameters: bool = False

    @property
    def words(self) -> str:
        if self.parameters:
            return "gamma is rounded to the storage type of x before the product"
        return (
            "", "xhat is rounded to storage before the product with gamma, Llama's order",
            "xhat and its product with gamma are rounded to storage, ONNX's order",
        )[self.number]  # fmt: skip


def measure(session: Session, plan: Plan, offset: int) -> Casts | None:
    """The form that y has in each 16-bit arithmetic, the largest number of them; None where there is none or none fits.

    offset: what the weight of an RMS norm is found to be beyond gamma.
    """
    short = [a for a in session.arithmetics if a.x.itemsize == 2 and a.out == a.x]
    if not short or not session.plain or "gamma" in plan.absent or "gamma" not in plan.convention.arrays:
        return None
    found = [_in(session, replace(plan, arithmetic=a), offset) for a in short]
    known = [c for c in found if c is not None]
    return Casts(max(c.number for c in known), any(c.parameters for c in known)) if known else None


def _in(session: Session, plan: Plan, offset: int) -> Casts | None:
    storage, params = plan.dtype("out"), plan.dtype("params")
    asked: Any = {"offset": offset} if "offset" in plan.convention.options else {}
    case = plan.rows("ordinary", "how often y is rounded", values.ordinary, ROWS, LENGTH, **asked)
    trial = session.call(case, backward=False)
    y = None if trial is None else trial.values.get("y")
    if y is None or not np.isfinite(y.astype(float)).all():
        return None
    dialect = session.asked or next(iter(session.method.dialects))
    rows = Expectation(case, dialect).rows
    gamma, beta = (np.broadcast_to(np.asarray(p, float), rows.shape) for p in (rows.gamma, rows.beta))
    y, c = rows.split(y.astype(float)), np.asarray(rows.stats.c, float)
    plain = gamma * c
    fitted = np.sum((y - beta) * plain, axis=1, keepdims=True) / np.sum(np.square(plain), axis=1, keepdims=True)
    longer = params.itemsize > storage.itemsize
    met: dict[Casts, float] = {}
    for r in (np.asarray(rows.stats.rstd, float), fitted):
        for form, value in _forms(r * c, gamma, beta, storage):
            share = float(np.mean(np.abs(y - value) <= 0.55 * _ulp(y, storage)))
            met[form] = max(met.get(form, 0.0), share if longer or not form.parameters else 0.0)
    best = max(met, key=lambda form: (met[form] >= FITS and form == Casts(0), met[form]))
    return best if met[best] >= FITS else None


def _forms(xhat: np.ndarray, gamma: np.ndarray, beta: np.ndarray, storage: np.dtype) -> list[tuple[Casts, np.ndarray]]:
    """y in each form, before its last rounding."""

    def fl(a: np.ndarray) -> np.ndarray:
        return stored(a, storage).astype(float)

    return [
        (Casts(0), gamma * xhat + beta),
        (Casts(1), gamma * fl(xhat) + beta),
        (Casts(2), fl(gamma * fl(xhat)) + beta),
        (Casts(0, True), fl(gamma) * xhat + beta),
        (Casts(0, True), fl(gamma) * xhat + fl(beta)),
    ]


def _ulp(y: np.ndarray, storage: np.dtype) -> np.ndarray:
    from .tolerance_arithmetic import FORMATS

    unit = FORMATS[storage].unit
    return np.ldexp(2 * unit, np.frexp(np.where(y == 0, 1, y))[1] - 1)
