"""EvoNorm: normalization and activation in one formula, found by search (H. Liu et al., arXiv 2004.02967, table 2).

    B0      zhat = z / max(s_b, v z + s_i)        s_b = sqrt(var_b + eps) over n s,  s_i = sqrt(var_i + eps) over s
    S0      zhat = z sigmoid(v z) / s_g           s_g = sqrt(var_g + eps) over the group's channels and s

The gradient of B0, d = max(s_b, v z + s_i).  e := dL/dd = -g zhat / d splits by which side is larger:

    dL/dz = g / d + [right] v e + (z - mu_b) / (m_b s_b) sum_ns [left] e + (z - mu_i) / (m_i s_i) sum_s [right] e
    dL/dv = sum_ns [right] e z                    from ds = mean((z - mu) dz) / s, the derivative of any of these deviations.

The gradient of S0, t = sigmoid(v z) and zhat = z t / s_g:

    dL/dz = g (t + v z t (1 - t)) / s_g - (z - mu_g) / (m_g s_g^2) sum_g g zhat        dL/dv = sum_ns g z^2 t (1 - t) / s_g

m counts the entries of a statistic, less one where a dialect takes the variance unbiased.  Masked statistics: 1 / m becomes
an entry's share, and 0 for an entry that is left out.
Shapes: z, zhat, g (N, C, S); v (1, C, 1); counted, 1 where an entry counts and 0 where not, as z, or None; S0's z in groups:
(N, G, K, S).
"""

from typing import Any, NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Mean and deviation sqrt(var + eps) of one kind of statistic, keeping axes; and what each entry counts in the variance."""

    mean: Any
    std: Any
    share: Any


def spread(z: Any, axes: tuple[int, ...], *, eps: float, unbiased: bool = False, counted: Any = None) -> Spread:
    """Two-pass and corrected."""
    counted = np.ones(np.shape(z)) if counted is None else counted
    m = np.sum(counted, axis=axes, keepdims=True)
    mean = np.sum(counted * z, axis=axes, keepdims=True) / m
    mean = mean + np.sum(counted * (z - mean), axis=axes, keepdims=True) / m
    share = counted / (m - int(unbiased))
    return Spread(mean, np.sqrt(np.sum(share * np.square(z - mean), axis=axes, keepdims=True) + eps), share)


def through(e: Any, z: Any, s: Spread, axes: tuple[int, ...]) -> Any:
    """dL/dz of a deviation with dL/ds = e at each entry that uses it."""
    return s.share * (z - s.mean) / s.std * np.sum(e, axis=axes, keepdims=True)


def b0(z: Any, v: Any, batch: Any, instance: Spread) -> Any:
    """batch: s_b, (1, C, 1)."""
    return z / np.maximum(batch, v * z + instance.std)


def b0_backward(g: Any, z: Any, v: Any, batch: Spread, instance: Spread, *, evaluation: bool = False) -> tuple[Any, Any]:
    """dL/dz and dL/dv, (1, C, 1); in evaluation s_b is a constant."""
    right = v * z + instance.std
    d = np.maximum(batch.std, right)
    e = -g * z / np.square(d)
    e_right = np.where(right > batch.std, e, 0)
    dz = g / d + v * e_right + through(e_right, z, instance, (2,))
    if not evaluation:
        dz = dz + through(e - e_right, z, batch, (0, 2))
    return dz, np.sum(e_right * z, axis=(0, 2), keepdims=True)


def s0(z: Any, v: Any, group: Spread) -> Any:
    return z * sigmoid(v * z) / group.std


def s0_backward(g: Any, z: Any, v: Any, group: Spread) -> tuple[Any, Any]:
    """dL/dz and dL/dv, (1, G, K, 1)."""
    t = sigmoid(v * z)
    slope = t * (1 - t)
    dz = g * (t + v * z * slope) / group.std + through(-g * z * t / np.square(group.std), z, group, (2, 3))
    return dz, np.sum(g * np.square(z) * slope / group.std, axis=(0, 3), keepdims=True)


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))
