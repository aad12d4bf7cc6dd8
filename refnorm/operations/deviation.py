"""Standardize with eps added to the deviation, outside the root (ONNX's MeanVarianceNormalization, weight standardization).

    s = sqrt(mean((z - mu)^2))      r = 1 / (s + eps)      zhat = r (z - mu)

The gradient.  Let n = (z - mu) / s, the row standardized exactly.  ds = mean(n dz), dr = -r^2 ds, and zhat = s r n, so
dzhat = r (dz - mean(dz)) - (z - mu) r^2 ds = r (dz - mean(dz) - s r n mean(n dz)), a symmetric map of dz:

    dL/dz = r (g - mean(g) - s r n mean(n g)).

A constant row has s = 0: there n is taken as 0, since zhat = (z - mu) / eps to first order.
Exactly: mean(zhat) = 0, mean(zhat^2) = (s r)^2, <dz, 1> = 0 and <dz, zhat> = <g, zhat> eps r^2.

Shapes: z, zhat, g (B, D, M); statistics (B, D, 1); weight (B, D or 1, M), sums to 1 along M, or None.
"""

from typing import Any, NamedTuple

import numpy as np

from .standardize import average, moments, stacked, total


class Saved(NamedTuple):
    """float64, shape (B, D, 1)."""

    mean: Any
    var: Any
    rstd: Any


def forward(z: Any, *, eps: float, weight: Any = None) -> tuple[Any, Saved]:
    mean, var = moments(z, weight)
    saved = Saved(mean, var, 1 / (np.sqrt(var) + eps))
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return (z - saved.mean) * saved.rstd


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    s = np.sqrt(saved.var)
    unit = np.where(s > 0, (z - saved.mean) / np.where(s > 0, s, 1), 0)
    shrink = s * saved.rstd
    if weight is None:
        return saved.rstd * (g - average(g) - shrink * unit * average(unit * g))
    return saved.rstd * (g - weight * (total(g) + shrink * unit * total(unit * g)))


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rstd * g


def residuals(zhat: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    """Zero, exactly: mean(zhat) and mean(zhat^2) - (s r)^2; shape (B, 2 D)."""
    return stacked(average(zhat, weight), average(np.square(zhat), weight) - saved.var * np.square(saved.rstd))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float) -> Any:
    """Zero, exactly: <dz, 1> and <dz, zhat> - <g, zhat> eps r^2; shape (B, 2 D)."""
    return stacked(total(dz), total(dz * zhat) - total(g * zhat) * eps * np.square(saved.rstd))
