"""Standardize: subtract the mean, divide by the standard deviation.  START READING HERE.

One row z_1..z_M of entries that share statistics; batch norm, layer norm, group norm, instance norm and weight
standardization differ only in which entries make a row (anatomy/area.py).

    mu = mean(z)      s2 = mean((z - mu)^2)      r = 1 / sqrt(s2 + eps)      zhat = r (z - mu)

The gradient.  Let g = dL/dzhat.  Nudge the row by dz; the mean moves by mean(dz), so the centred row zc = z - mu moves by
dz - mean(dz), and the variance by d s2 = 2 mean(zc (dz - mean(dz))) = 2 mean(zc dz), since zc sums to zero.  With
dr = -r^3 / 2 * d s2 and zc = zhat / r,

    dzhat = r (dz - mean(dz)) + zc dr = r (dz - mean(dz) - zhat mean(zhat dz)) = r P dz.

P = I - 11'/M - zhat zhat'/M is symmetric, so the gradient is the same map applied to g (S. Ioffe and C. Szegedy,
arXiv 1502.03167, section 3, who write it as a chain of six sums):

    dL/dz = r (g - mean(g) - zhat mean(g zhat))

At eps = 0, P is the orthogonal projector that removes the directions 1 and zhat: the output cannot answer to a shift or to a
scale of its input.  With eps, <dz, 1> = 0 still, while <dz, zhat> = <g, zhat> eps r^3: a little of the scale is seen.

Masked and weighted statistics: w_i >= 0 with sum(w) = 1 in the place of 1/M,

    mu = sum(w z)    s2 = sum(w (z - mu)^2)    dL/dz = r (g - w sum(g) - w zhat sum(g zhat)).

Shapes: z, zhat, g (B, D, M); statistics (B, D, 1); weight (B, 1, M), sums to 1 along M, or None.
"""

from typing import Any, NamedTuple

import numpy as np


class Saved(NamedTuple):
    """What the backward needs beside z itself; float64, shape (B, D, 1)."""

    mean: Any
    var: Any
    rstd: Any


def average(a: Any, weight: Any = None) -> Any:
    """The mean along M, keeping the axis."""
    return np.mean(a, axis=2, keepdims=True) if weight is None else np.sum(weight * a, axis=2, keepdims=True)


def moments(z: Any, weight: Any = None) -> tuple[Any, Any]:
    """Mean and biased variance, two-pass and corrected: the second pass also removes what the first mean lost."""
    mean = average(z, weight)
    mean = mean + average(z - mean, weight)
    return mean, average(np.square(z - mean), weight)


def forward(z: Any, *, eps: float, weight: Any = None) -> tuple[Any, Saved]:
    mean, var = moments(z, weight)
    saved = Saved(mean, var, 1 / np.sqrt(var + eps))
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return (z - saved.mean) * saved.rstd


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    zhat = apply(z, saved)
    if weight is None:
        return saved.rstd * (g - average(g) - zhat * average(g * zhat))
    return saved.rstd * (g - weight * (total(g) + zhat * total(g * zhat)))


def total(a: Any) -> Any:
    return np.sum(a, axis=2, keepdims=True)


# In evaluation mode the statistics are constants, the map is affine, and its gradient is a scale: dL/dz = r g.


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rstd * g


# In evaluation mode the statistics come from a population.


def from_population(mean: Any, var: Any, *, eps: float) -> Saved:
    return Saved(mean, var, 1 / np.sqrt(var + eps))


# What holds exactly, for any input and any eps.


def residuals(zhat: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    """Zero, exactly: mean(zhat) and mean(zhat^2) - s2 / (s2 + eps); shape (B, 2 D)."""
    return stacked(average(zhat, weight), average(np.square(zhat), weight) - saved.var * np.square(saved.rstd))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float) -> Any:
    """Zero, exactly: <dz, 1> and <dz, zhat> - <g, zhat> eps r^3; shape (B, 2 D)."""
    return stacked(total(dz), total(dz * zhat) - total(g * zhat) * eps * saved.rstd**3)


def stacked(*rows: Any) -> Any:
    """Statistics of shape (B, D, 1), side by side: (B, number of rows x D)."""
    return np.concatenate(rows, axis=1)[:, :, 0]
