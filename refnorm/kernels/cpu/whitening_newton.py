"""Products of symmetric matrices that commute, in float64: what Newton-Schulz iterations are made of.

    root(N, T)      P_T of Y_0 = N, P_0 = I:    K = (3 I - P Y) / 2      Y <- Y K      P <- K P

The product of two such matrices is symmetric: tiles on and under the diagonal are computed, and mirrored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from .jit import kernel, parallel
from .panels import room, rows_apart, store_tile, tile


@kernel
def root_plainly(n: Any, steps: Any) -> Any:
    """The one to read first."""
    identity = np.eye(len(n))
    y, p = n.copy(), np.eye(len(n))
    for _ in range(steps):
        k = (3 * identity - p @ y) / 2
        y, p = y @ k, k @ p
    return p


@kernel
def multiply_columns(j: Any, n: Any, ld: Any, a: Any, b: Any, out: Any) -> None:
    """Columns j..j + 32 of a b, on and under the diagonal, and their mirror; a's rows are its columns."""
    for i in range(j, n, 8):
        store_tile(tile(a, i, 1, ld, b, j, ld, 0, n), out, i * ld + j, ld)
    for i in range(j, n):
        for c in range(j, min(j + 32, i)):
            out[c * ld + i] = out[i * ld + c]
    for i in range(j, min(j + 32, n)):                       # of a tile on the diagonal, what is over it is rounded otherwise
        for c in range(i + 1, min(j + 32, n)):
            out[i * ld + c] = out[c * ld + i]


@parallel
def multiply(n: Any, ld: Any, a: Any, b: Any, out: Any) -> None:
    """out = a b.  The first block of columns is the longest: a task is one from either end."""
    blocks = (n + 31) // 32
    for t in prange((blocks + 1) // 2):
        multiply_columns(32 * t, n, ld, a, b, out)
        if blocks - 1 - t != t:
            multiply_columns(32 * (blocks - 1 - t), n, ld, a, b, out)


@kernel
def step_from(product: Any, n: Any, ld: Any) -> None:
    """K = (3 I - product) / 2, in its place."""
    for i in range(n):
        for j in range(n):
            product[i * ld + j] *= -0.5
        product[i * ld + i] += 1.5


@kernel
def root(n: Any, steps: Any) -> Any:
    """root_plainly, symmetric to the bit; half its work."""
    d = len(n)
    ld = rows_apart(d, 8)
    y, p, k, spare = room((d + 7) * ld, n), room((d + 7) * ld, n), room((d + 7) * ld, n), room((d + 7) * ld, n)
    for i in range(d):
        for j in range(d):
            y[i * ld + j] = n[i, j]
            k[i * ld + j] = n[i, j]
    for t in range(steps):
        if t > 0:
            multiply(d, ld, p, y, k)
        step_from(k, d, ld)
        if t == 0:
            p[:] = k
        else:
            multiply(d, ld, k, p, spare)
            p, spare = spare, p
        if t + 1 < steps:
            multiply(d, ld, y, k, spare)
            y, spare = spare, y
    out = np.empty((d, d))
    for i in range(d):
        for j in range(d):
            out[i, j] = p[i * ld + j]
    return out
