"""Products of D x D matrices in float64, by tiles; where the product is symmetric, half of it is enough.

Tiles on and under the diagonal are computed, and mirrored.  At D = 256 a product takes 300 us, where NumPy's takes 800 (its
BLAS knows no AVX-512 of this processor).  Matrices are flat, with rows `ld` apart, as panels are; a' stands on the left, for
tiles read the rows of their left side side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from .jit import kernel, parallel
from .panels import add_tile, room, rows_apart, store_tile, tile


@kernel
def laid(matrix: Any, ld: Any) -> Any:
    """A matrix with rows `ld` apart, and room for the rest of its last tiles."""
    d = len(matrix)
    out = room((d + 7) * ld, matrix)
    for i in range(d):
        for j in range(d):
            out[i * ld + j] = matrix[i, j]
    return out


@kernel
def taken(values: Any, d: Any, ld: Any) -> Any:
    out = np.empty((d, d))
    for i in range(d):
        for j in range(d):
            out[i, j] = values[i * ld + j]
    return out


@kernel
def multiply_columns(j: Any, n: Any, ld: Any, a: Any, b: Any, c: Any, d: Any, terms: Any, out: Any) -> None:
    """Columns j..j + 32 of a' b, or of a' b + c' d, on and under the diagonal, and their mirror."""
    for i in range(j, n, 8):
        store_tile(tile(a, i, 1, ld, b, j, ld, 0, n), out, i * ld + j, ld)
        if terms == 2:
            add_tile(tile(c, i, 1, ld, d, j, ld, 0, n), out, i * ld + j, ld)
    for i in range(j, n):
        for q in range(j, min(j + 32, i)):
            out[q * ld + i] = out[i * ld + q]
    for i in range(j, min(j + 32, n)):                       # of a tile on the diagonal, what is over it is rounded otherwise
        for q in range(i + 1, min(j + 32, n)):
            out[i * ld + q] = out[q * ld + i]


@parallel
def multiply(n: Any, ld: Any, a: Any, b: Any, c: Any, d: Any, terms: Any, out: Any) -> None:
    """out = a' b, or of 2 terms a' b + c' d, where that is symmetric.

    The first block of columns is the longest: a task is one from either end.
    """
    blocks = (n + 31) // 32
    for t in prange((blocks + 1) // 2):
        multiply_columns(32 * t, n, ld, a, b, c, d, terms, out)
        if blocks - 1 - t != t:
            multiply_columns(32 * (blocks - 1 - t), n, ld, a, b, c, d, terms, out)


@kernel
def product(n: Any, ld: Any, a: Any, b: Any, out: Any) -> None:
    """out = a' b, symmetric."""
    multiply(n, ld, a, b, a, b, 1, out)


@kernel
def sum_of_products(n: Any, ld: Any, a: Any, b: Any, c: Any, d: Any, out: Any) -> None:
    """out = a' b + c' d, symmetric, though its terms need not be."""
    multiply(n, ld, a, b, c, d, 2, out)


@parallel
def multiply_whole(n: Any, ld: Any, a: Any, b: Any, out: Any) -> None:
    """out = a' b."""
    for t in prange((n + 31) // 32):
        for i in range(0, n, 8):
            store_tile(tile(a, i, 1, ld, b, 32 * t, ld, 0, n), out, i * ld + 32 * t, ld)


@kernel
def congruence(s: Any, v: Any) -> Any:
    """v' s v for a symmetric s, symmetric to the bit."""
    d = len(s)
    ld = rows_apart(d, 8)
    left, right, out = laid(s, ld), laid(v, ld), room((d + 7) * ld, v)
    multiply_whole(d, ld, left, right, out)
    product(d, ld, right, out, left)
    return taken(left, d, ld)
