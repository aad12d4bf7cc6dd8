"""Subtract the mean: the projector P = I - 11'/M, alone.

    zhat = z - mean(z) = P z          dL/dz = P g,  since P is symmetric.

Weighted by w, sum(w) = 1: zhat = z - sum(w z), dL/dz = g - w sum(g).
Shapes: z, zhat, g (B, D, M); the mean (B, D, 1); weight (B, 1, M), sums to 1 along M, or None.
"""

from typing import Any, NamedTuple

from .standardize import average, stacked, total


class Saved(NamedTuple):
    """float64, shape (B, D, 1)."""

    mean: Any


def forward(z: Any, *, weight: Any = None) -> tuple[Any, Saved]:
    mean = average(z, weight)
    saved = Saved(mean + average(z - mean, weight))
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return z - saved.mean


def backward(g: Any, z: Any, saved: Saved, *, weight: Any = None) -> Any:
    return g - (average(g) if weight is None else weight * total(g))


def apply_backward(g: Any, saved: Saved) -> Any:
    return g


def residuals(zhat: Any, saved: Saved, weight: Any = None) -> Any:
    """Zero, exactly: mean(zhat); shape (B, D)."""
    return stacked(average(zhat, weight))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved) -> Any:
    """Zero, exactly: <dz, 1>; shape (B, D)."""
    return stacked(total(dz))
