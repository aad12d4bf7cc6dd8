"""What is fused around a norm: a residual that is added before it, an activation after it.

Residual.  h = x + residual, y = norm(h); backward (dy, dh) -> dx = dresidual = norm's dx + dh.  The kit hands over parts whose
sum is exactly the case's x: each entry of x is cut into its leading and its trailing bits, and every other entry has them
swapped, so that a kernel that forgets either part is far off, and h needs no rounding.

Activation.  y = a(z), z the norm's own output with error E_z: a moves by at most Lip(a) E_z and its own evaluation is off by
some roundings.  Backward, g = dy a'(z): its error dy Lip(a') E_z reaches dx through the same linear map as g does,
r (|dg| + mean|dg| + |xhat| mean(|dg| |xhat|)).  A ReLU has no derivative within E_z of 0: such rows are not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .cases import stored
from .rows import Expected

if TYPE_CHECKING:
    from .expected import Expectation

ROUNDINGS = 16
"""Of exp, erf, division and the products around them, in units of u."""


class Activation(NamedTuple):
    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    steepest: float  # sup |a'|
    bend: float  # sup |a''|; infinite where a' jumps at 0


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _normal(z: Any) -> Any:
    from scipy.special import erf

    return (1 + erf(np.asarray(z, float) / math.sqrt(2))) / 2


def _density(z: Any) -> Any:
    return np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)


ACTIVATIONS = {
    "relu": Activation(lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0, 1.0, np.inf),
    "silu": Activation(
        lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * (1 - _sigmoid(z))), 1.1, 0.5
    ),
    "gelu": Activation(lambda z: z * _normal(z), lambda z: _normal(z) + z * _density(z), 1.13, 0.8),
}  # fmt: skip


def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x', residual) in the type of x, x' + residual = x exactly; cut towards 0, so that neither part overflows."""
    wide = x.astype(np.float64)
    digits = {8: 26, 4: 12}.get(x.dtype.itemsize, 4)
    mantissa, exponent = np.frexp(np.where(np.isfinite(wide), wide, 0))
    head = np.where(np.isfinite(wide), np.ldexp(np.trunc(np.ldexp(mantissa, digits)), exponent - digits), wide)
    with np.errstate(invalid="ignore"):
        tail = np.where(np.isfinite(wide), wide - head, 0)
    odd = (np.arange(x.size) % 2 == 1).reshape(x.shape)
    return stored(np.where(odd, tail, head), x.dtype), stored(np.where(odd, head, tail), x.dtype)


def upstream(dy: np.ndarray) -> np.ndarray:
    """dh: a cotangent of h that is linear in dy, and not it."""
    return np.roll(dy.ravel(), 1).reshape(dy.shape)


def activated(z: Expected, name: str, expectation: Expectation) -> Expected:
    a, u = ACTIVATIONS[name], expectation.case.arithmetic.u
    form = expectation.case.arithmetic.storage("out")
    with np.errstate(all="ignore"):
        value = np.asarray(a.value(z.value), z.value.dtype)
        bound = (
            a.steepest * z.bound + ROUNDINGS * u * (np.abs(value) + np.abs(z.value)) + form.unit * np.abs(value) + form.least
        )
        return Expected(value, bound, z.unit)


def cotangent(expectation: Expectation, z: np.ndarray) -> np.ndarray:
    """dy a'(z)."""
    slope = ACTIVATIONS[str(expectation.case.epilogue)].slope
    with np.errstate(all="ignore"):
        return expectation.case.dy.astype(expectation.wide) * slope(z)


def loosened(found: dict[str, Expected], expectation: Expectation, z: Expected) -> dict[str, Expected]:
    """Gradients behind an activation, their bounds widened by the error of a'(z)."""
    a, rows, u = ACTIVATIONS[str(expectation.case.epilogue)], expectation.rows, expectation.case.arithmetic.u
    first = expectation.method.arrays[0]
    with np.errstate(all="ignore"):
        dy = np.abs(expectation.case.dy.astype(expectation.wide))
        if np.isinf(a.bend):
            moved = np.where((np.abs(z.value) <= z.bound) & (dy > 0), np.nan, 0)
        else:
            moved = dy * (a.bend * z.bound + ROUNDINGS * u)
        g = rows.split(moved) * np.abs(rows.gamma)
        size = np.abs(rows.stats.xhat)
        dx = rows.stats.rstd * (g + g.mean(axis=1, keepdims=True) + size * (g * size).mean(axis=1, keepdims=True))
        more = {"d" + first: rows.merge(dx)}
        if len(found) > 1:
            terms = rows.reducer()
            more |= {"dgamma": terms(rows.split(moved) * size).sum(axis=1), "dbeta": terms(rows.split(moved)).sum(axis=1)}
        return {k: e._replace(bound=e.bound + np.reshape(more[k], e.bound.shape)) for k, e in found.items()}


def joined(found: dict[str, Expected], expectation: Expectation) -> dict[str, Expected]:
    """dx and dresidual, which are the norm's dx + dh."""
    first = "d" + expectation.method.arrays[0]
    form, dx = expectation.case.arithmetic.storage("dx"), found[first]
    dh = upstream(expectation.case.dy).astype(dx.value.dtype)
    value = dx.value + dh
    bound = dx.bound + (expectation.case.arithmetic.u + form.unit) * (np.abs(value) + np.abs(dx.value))
    whole = Expected(value, bound, dx.unit)
    return {**found, first: whole, "dresidual": whole}
