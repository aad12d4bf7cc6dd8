"""Divide a row by its p-norm, which puts it onto the unit sphere of that norm.

    n = (sum |z|^p)^(1/p)        zhat = z / den(n)

What keeps den away from zero differs between frameworks (DIALECTS.md); `slope` is d den / d n:

    floor       den                          slope
    "max"       max(n, eps)                  1 where n > eps, else 0         PyTorch, Keras
    "plus"      n + eps                      1                               Chainer
    "inside"    (n^p + eps)^(1/p)            (n / den)^(p - 1)               Haiku
    "zero"      n, and zhat = 0 where n = 0  1                               ONNX

The gradient.  dn = sum(q dz) with q = sign(z) (|z| / n)^(p - 1), and dzhat = dz / den - z / den^2 slope dn, so

    dL/dz = (g - slope q <g, zhat>) / den.

A zero row has q = 0 (the subgradient); under "zero" its gradient is 0.
Exactly: sum |zhat|^p = (n / den)^p, and <dz, zhat> = <g, zhat> (1 - slope n / den) / den, since <q, z> = n.

Shapes: z, zhat, g (B, D, M); statistics (B, D, 1).
"""

from typing import Any, NamedTuple

import numpy as np

from .standardize import stacked, total


class Saved(NamedTuple):
    """float64, shape (B, D, 1): n, 1 / den and slope."""

    norm: Any
    rate: Any
    slope: Any


def forward(z: Any, *, p: float, eps: float, floor: str) -> tuple[Any, Saved]:
    norm = power(total(power(np.abs(z), p)), 1 / p)
    if floor == "max":
        rate, slope = 1 / np.maximum(norm, eps), np.where(norm > eps, 1.0, 0.0)
    elif floor == "plus":
        rate, slope = 1 / (norm + eps), np.ones(np.shape(norm))
    elif floor == "inside":
        rate = 1 / power(total(power(np.abs(z), p)) + eps, 1 / p)
        slope = power(norm * rate, p - 1)
    else:
        rate, slope = np.where(norm > 0, 1 / np.where(norm > 0, norm, 1), 0), np.ones(np.shape(norm))
    saved = Saved(norm, rate, slope)
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return z * saved.rate


def backward(g: Any, z: Any, saved: Saved, *, p: float, eps: float, floor: str) -> Any:
    q = np.sign(z) * power(np.abs(z) / np.where(saved.norm > 0, saved.norm, 1), p - 1)
    return (g - saved.slope * q * total(g * apply(z, saved))) * saved.rate


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rate * g


def residuals(zhat: Any, saved: Saved, *, p: float, eps: float, floor: str, weight: Any = None) -> Any:
    """Zero, exactly: mean |zhat|^p - mean |z|^p / den^p; shape (B, D)."""
    m = np.shape(zhat)[2]
    return stacked(total(power(np.abs(zhat), p)) - power(saved.norm * saved.rate, p)) / m


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, p: float, eps: float, floor: str) -> Any:
    """Zero, exactly: <dz, zhat> - <g, zhat> (1 - slope n / den) / den; shape (B, D)."""
    return stacked(total(dz * zhat) - total(g * zhat) * (1 - saved.slope * saved.norm * saved.rate) * saved.rate)


def power(a: Any, exponent: float) -> Any:
    """a^exponent for a >= 0, with the roots and squares of p = 1 and 2 as they are."""
    if exponent == 1:
        return a
    if exponent == 2:
        return np.square(a)
    return np.sqrt(a) if exponent == 0.5 else np.power(a, exponent)
