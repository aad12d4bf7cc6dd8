"""Subtract the mean, divide by the mean absolute deviation.

    mu = mean(z)      a = mean|z - mu|      r = 1 / (factor a + eps)      zhat = r (z - mu)

(S. Wu et al., arXiv 1802.09769; E. Hoffer et al., arXiv 1803.01814.)  With factor = sqrt(pi / 2), factor a estimates the
standard deviation of normal samples, E|z - mu| = sigma sqrt(2 / pi); no square and no root is taken.

The gradient.  With t = sign(z - mu), a moves by da = mean(t (dz - mean(dz))) = mean((t - mean(t)) dz): the centre moves too,
which does not cancel as it does for a variance, since the signs need not sum to zero.  zhat = r zc with dr = -factor r^2 da, so
dzhat = r (dz - mean(dz)) - factor r zhat da, and the transpose of that map is

    dL/dz = r (g - mean(g) - factor (t - mean(t)) mean(g zhat)).

Where z = mu, |.| has no derivative and t = 0 is taken.  Exactly: mean(zhat) = 0, mean|zhat| = r a, <dz, 1> = 0 and
<dz, zhat> = <g, zhat> eps r^2, since <t, zc> = M a.

Shapes: z, zhat, g (B, D, M); statistics (B, D, 1); weight (B, 1, M), sums to 1 along M, or None.
"""

from typing import Any, NamedTuple

import numpy as np

from .standardize import average, stacked, total


class Saved(NamedTuple):
    """float64, shape (B, D, 1)."""

    mean: Any
    deviation: Any
    rate: Any


def forward(z: Any, *, eps: float, factor: float, weight: Any = None) -> tuple[Any, Saved]:
    mean = average(z, weight)
    mean = mean + average(z - mean, weight)
    saved = from_population(mean, average(np.abs(z - mean), weight), eps=eps, factor=factor)
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return (z - saved.mean) * saved.rate


def backward(g: Any, z: Any, saved: Saved, *, eps: float, factor: float, weight: Any = None) -> Any:
    zhat, t = apply(z, saved), np.sign(z - saved.mean)
    t = factor * (t - average(t, weight))
    if weight is None:
        return saved.rate * (g - average(g) - t * average(g * zhat))
    return saved.rate * (g - weight * (total(g) + t * total(g * zhat)))


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rate * g


def from_population(mean: Any, deviation: Any, *, eps: float, factor: float) -> Saved:
    return Saved(mean, deviation, 1 / (factor * deviation + eps))


def residuals(zhat: Any, saved: Saved, *, eps: float, factor: float, weight: Any = None) -> Any:
    """Zero, exactly: mean(zhat) and mean|zhat| - r a; shape (B, 2 D)."""
    return stacked(average(zhat, weight), average(np.abs(zhat), weight) - saved.deviation * saved.rate)


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float, factor: float) -> Any:
    """Zero, exactly: <dz, 1> and <dz, zhat> - <g, zhat> eps r^2; shape (B, 2 D)."""
    return stacked(total(dz), total(dz * zhat) - total(g * zhat) * eps * np.square(saved.rate))
