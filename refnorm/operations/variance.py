"""Divide by the standard deviation and leave the mean where it is.

    s2 = mean((z - mu)^2)      r = 1 / sqrt(s2 + eps)      zhat = r z

(H. Daneshmand et al., arXiv 2003.01652; E. S. Lubana et al., arXiv 2106.05956.)  A shift of the row passes through, a scale
does not.

The gradient.  The variance moves by d s2 = 2 mean((z - mu) dz), so dr = -r^3 mean((z - mu) dz); with u = r (z - mu), the row
standardized, dzhat = r dz + z dr = r (dz - zhat mean(u dz)), and the transpose of that map is

    dL/dz = r (g - u mean(g zhat)).

Exactly: var(zhat) = s2 / (s2 + eps), <dz, 1> = r <g, 1> since <u, 1> = 0, and <dz, zhat> = <g, zhat> eps r^3.

Shapes: z, zhat, g (B, D, M); statistics (B, D, 1); weight (B, 1, M), sums to 1 along M, or None.
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
    saved = Saved(mean, var, 1 / np.sqrt(var + eps))
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return z * saved.rstd


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    zhat, u = apply(z, saved), (z - saved.mean) * saved.rstd
    if weight is None:
        return saved.rstd * (g - u * average(g * zhat))
    return saved.rstd * (g - weight * u * total(g * zhat))


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rstd * g


def from_population(var: Any, *, eps: float) -> Saved:
    return Saved(np.zeros_like(var), var, 1 / np.sqrt(var + eps))


def residuals(zhat: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    """Zero, exactly: var(zhat) - s2 / (s2 + eps); shape (B, D)."""
    return stacked(moments(zhat, weight)[1] - saved.var * np.square(saved.rstd))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float) -> Any:
    """Zero, exactly: <dz, 1> - r <g, 1> and <dz, zhat> - <g, zhat> eps r^3; shape (B, 2 D)."""
    return stacked(total(dz) - saved.rstd * total(g), total(dz * zhat) - total(g * zhat) * eps * saved.rstd**3)
