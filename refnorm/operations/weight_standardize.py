"""Standardize the rows of a weight, in each way that is in use; they differ in one function of the variance.

    mu = mean(z)      zc = z - mu      s2 = mean(zc^2)      zhat = r(s2) zc

    inside    r = 1 / sqrt(s2 + eps)                       S. Qiao et al., arXiv 1903.10520; timm
    outside   r = 1 / (sqrt(s2 M / (M - 1)) + eps)         their code: the unbiased deviation
    floor     r = 1 / sqrt(max(s2, eps / M))               NFNet's code, which floors the sum of squares

The gradient.  The variance moves by d s2 = 2 mean(zc dz), so dzhat = r (dz - mean(dz)) + zc r' 2 mean(zc dz), with r' = dr/ds2.
Both terms are symmetric in dz, so whatever r is,

    dL/dz = r (g - mean(g)) + 2 r' zc mean(zc g)

and <dz, 1> = 0,  <dz, zc> = <g, zc> (r + 2 s2 r').  The last factor is 0 where r falls like 1 / sqrt(s2): at eps = 0, and
over the floor; there no gradient answers to the scale of a row.  Under the floor r is a constant.

Shapes: z, zhat, g (B, D, M); statistics (B, D, 1).
"""

from typing import Any, NamedTuple

import numpy as np

from .standardize import average, moments, stacked, total


class Saved(NamedTuple):
    """float64, shape (B, D, 1): mean and variance, r and dr/ds2."""

    mean: Any
    var: Any
    rstd: Any
    slope: Any


def forward(z: Any, *, eps: float, spread: str) -> tuple[Any, Saved]:
    mean, var = moments(z)
    saved = Saved(mean, var, *SPREADS[spread](var, eps, np.shape(z)[2]))
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return (z - saved.mean) * saved.rstd


def backward(g: Any, z: Any, saved: Saved, *, eps: float, spread: str) -> Any:
    centred = z - saved.mean
    return saved.rstd * (g - average(g)) + 2 * saved.slope * centred * average(centred * g)


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rstd * g


# Each spread: (s2, eps, M) -> r, dr/ds2.


def inside(var: Any, eps: float, m: int) -> tuple[Any, Any]:
    r = 1 / np.sqrt(var + eps)
    return r, -(r**3) / 2


def outside(var: Any, eps: float, m: int) -> tuple[Any, Any]:
    """At s2 = 0 the slope has a pole where zc = 0: the row is treated as the linear map zc / eps that it is to first order."""
    bessel = m / max(m - 1, 1)
    flat = var == 0
    s = np.sqrt(bessel * np.where(flat, 1, var))
    r = 1 / (np.where(flat, 0, s) + eps)
    return r, np.where(flat, 0, -(r**2) * bessel / (2 * s))


def floor(var: Any, eps: float, m: int) -> tuple[Any, Any]:
    above = var > eps / m
    r = 1 / np.sqrt(np.where(above, var, eps / m))
    return r, np.where(above, -(r**3) / 2, 0)


SPREADS = {"inside": inside, "outside": outside, "floor": floor}


# What holds exactly, for any input, eps and spread.


def residuals(zhat: Any, saved: Saved, *, eps: float, spread: str) -> Any:
    """Zero, exactly: mean(zhat) and mean(zhat^2) - s2 r^2; shape (B, 2 D)."""
    return stacked(average(zhat), average(np.square(zhat)) - saved.var * np.square(saved.rstd))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float, spread: str) -> Any:
    """Zero, exactly: <dz, 1> and <dz, zhat> - <g, zhat> (r + 2 s2 r'); shape (B, 2 D)."""
    answer = saved.rstd + 2 * saved.var * saved.slope
    return stacked(total(dz), total(dz * zhat) - total(g * zhat) * answer)
