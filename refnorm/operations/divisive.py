"""Divide each entry by what its neighbourhood holds: divisive normalization.

    v = z - A z        q = bias + B v^2        zhat = v q^(-power)

A and B are linear maps that pool over a neighbourhood (of channels, of positions, of both), so this one line holds

    local response norm     A = 0, B = alpha times a window over channels, power = beta
    generalized (GDN)       A = 0, B = a learned matrix over channels, power = 1/2, a learned bias for each channel
    divisive norm           A, B = means over windows of positions and all channels, power = 1/2, bias = sigma^2
    layer norm              A = B = the mean over everything, power = 1/2, bias = eps

(M. Ren et al., arXiv 1611.04520, who see batch and layer norm as divisive normalizations with their own neighbourhoods.)

The gradient.  dzhat = q^(-power) dv - power v q^(-power-1) dq, dq = 2 B (v dv), dv = dz - A dz.  With s = g v q^(-power-1),

    dL/dv = g q^(-power) - 2 power v B' s        dL/dz = dL/dv - A' dL/dv
    dL/dbias = -power s                          dL/dB = -power s (v^2)', where B is a learned matrix.

A pooling is a sequence of (axis, matrix): the matrix multiplies along that axis, one after the other; its transpose is the same
with transposed matrices.  () is the identity; None stands for the map 0.
Shapes: z, zhat, g of any shape; bias broadcasts to z.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Pooling = Sequence[tuple[int, Any]]


class Saved(NamedTuple):
    """float64, of z's shape."""

    centred: Any
    pooled: Any


def forward(z: Any, *, bias: Any, power: float, pool: Pooling, centre: Pooling | None = None) -> tuple[Any, Saved]:
    v = z if centre is None else z - pooled(z, centre)
    saved = Saved(v, bias + pooled(np.square(v), pool))
    return v * saved.pooled ** (-power), saved


def backward(g: Any, saved: Saved, *, power: float, pool: Pooling, centre: Pooling | None = None) -> tuple[Any, Any]:
    """dL/dz and dL/dq, the latter for those who learn the bias or the pooling."""
    v, q = saved
    dq = -power * g * v * q ** (-power - 1)
    dv = g * q ** (-power) + 2 * v * pooled(dq, transposed(pool))
    return (dv if centre is None else dv - pooled(dv, transposed(centre))), dq


def pooled(a: Any, pool: Pooling) -> Any:
    for axis, matrix in pool:
        a = np.moveaxis(np.tensordot(matrix, a, axes=(1, axis)), 0, axis)
    return a


def transposed(pool: Pooling) -> Pooling:
    return tuple((axis, np.transpose(matrix)) for axis, matrix in reversed(pool))


def window(length: int, before: int, after: int) -> np.ndarray:
    """The matrix that sums over i - before .. i + after, cut off at both ends: ones in a band, (length, length)."""
    i, j = np.ogrid[:length, :length]
    return ((j >= i - before) & (j <= i + after)).astype(np.float64)
