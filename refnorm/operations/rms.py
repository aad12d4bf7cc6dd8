"""Divide by the root mean square: a row is put onto a sphere of radius sqrt(M), and its direction is kept.

    q = mean(z^2)      r = 1 / sqrt(q + eps)      zhat = r z

(B. Zhang and R. Sennrich, arXiv 1910.07467.)  It is `standardize` with the mean left alone, and so is its gradient:

    dL/dz = r (g - zhat mean(g zhat)),       <dz, zhat> = <g, zhat> eps r^3.

Weighted: q = sum(w z^2), dL/dz = r (g - w zhat sum(g zhat)).
Shapes: z, zhat, g (B, D, M); statistics (B, D, 1); weight (B, 1, M), sums to 1 along M, or None.
"""

from typing import Any, NamedTuple

import numpy as np

from .standardize import average, stacked, total


class Saved(NamedTuple):
    """float64, shape (B, D, 1)."""

    square: Any
    rstd: Any


def forward(z: Any, *, eps: float, weight: Any = None) -> tuple[Any, Saved]:
    square = average(np.square(z), weight)
    saved = Saved(square, 1 / np.sqrt(square + eps))
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return z * saved.rstd


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    zhat = apply(z, saved)
    if weight is None:
        return saved.rstd * (g - zhat * average(g * zhat))
    return saved.rstd * (g - weight * zhat * total(g * zhat))


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rstd * g


def residuals(zhat: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    """Zero, exactly: mean(zhat^2) - q / (q + eps); shape (B, D)."""
    return stacked(average(np.square(zhat), weight) - saved.square * np.square(saved.rstd))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float) -> Any:
    """Zero, exactly: <dz, zhat> - <g, zhat> eps r^3; shape (B, D)."""
    return stacked(total(dz * zhat) - total(g * zhat) * eps * saved.rstd**3)
