"""D x D matrices, many at once: products, Cholesky's factor and its inverse, traces and norms.  (B, D, D) float64, in one
dimension, block b from entry b D D on.

A product goes through tiles of 16 x 16 in shared memory, a thread an entry of it.  What is sequential along D (a factorization,
a substitution) has one thread block a matrix, or one thread a column.  A matrix with a NaN or an infinity becomes NaN, and
leaves the others alone.
"""

from __future__ import annotations

import math
from typing import Any

from .jit import cuda, float64, int64
from .reduction import WARP, block_sums

TILE = 16
PITCH = TILE + 1
"""Of a tile's rows in shared memory: one more, so that a column's entries are in different banks."""
NAN = math.nan


@cuda.jit(device=True)
def add_tile(left: Any, right: Any, total: Any) -> Any:
    """total + sum_n left[y, n] right[n, x], when every thread (x, y) has written its entries; they are free again after."""
    cuda.syncthreads()
    for n in range(TILE):
        total += left[cuda.threadIdx.y, n] * right[n, cuda.threadIdx.x]
    cuda.syncthreads()
    return total


@cuda.jit
def multiply(
    d: Any, alpha: Any, a: Any, a_turned: Any, b: Any, b_turned: Any, c: Any, has_c: Any, diagonal: Any, out: Any
) -> None:
    """out = alpha A B + C + diagonal I, A and B transposed where turned.

    blockIdx.x counts (block, tile).
    """
    left = cuda.shared.array((TILE, PITCH), float64)
    right = cuda.shared.array((TILE, PITCH), float64)
    tiles = (d + TILE - 1) // TILE
    tile, o = int64(cuda.blockIdx.x) % (tiles * tiles), int64(cuda.blockIdx.x) // (tiles * tiles) * d * d
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    top, side = tile // tiles * TILE, tile % tiles * TILE
    total = float64(0)
    for first in range(0, d, TILE):                  # adjacent threads read adjacent entries, also of what is turned
        one, other = float64(0), float64(0)
        if a_turned:
            if first + ty < d and top + tx < d:
                one = a[o + (first + ty) * d + top + tx]
            left[tx, ty] = one
        else:
            if top + ty < d and first + tx < d:
                one = a[o + (top + ty) * d + first + tx]
            left[ty, tx] = one
        if b_turned:
            if side + ty < d and first + tx < d:
                other = b[o + (side + ty) * d + first + tx]
            right[tx, ty] = other
        else:
            if first + ty < d and side + tx < d:
                other = b[o + (first + ty) * d + side + tx]
            right[ty, tx] = other
        total = add_tile(left, right, total)
    i, j = top + ty, side + tx
    if i < d and j < d:
        total *= alpha
        if has_c:
            total += c[o + i * d + j]
        out[o + i * d + j] = total + diagonal if i == j else total


@cuda.jit
def move(a: Any, d: Any, alpha: Any, diagonal: Any, out: Any) -> None:
    """out = alpha A + diagonal I; one thread an entry."""
    i = int64(cuda.grid(1))
    if i < len(out):
        out[i] = alpha * a[i] + (diagonal if i // d % d == i % d else 0.0)


@cuda.jit
def regularize(covariance: Any, d: Any, eps: Any, by_trace: Any, s: Any, trace: Any) -> None:
    """S = covariance + eps I, over its trace where `by_trace`; and tr(S).  One thread block a matrix."""
    shared = cuda.shared.array((2, WARP), float64)
    b = int64(cuda.blockIdx.x)
    total, spoiled = float64(0), float64(0)
    for k in range(cuda.threadIdx.x, d * d, cuda.blockDim.x):
        value = covariance[b * d * d + k]
        spoiled += value * 0.0                       # 0, or NaN
        if k // d == k % d:
            total += value + eps
    total, spoiled = block_sums(total, spoiled, shared)
    for k in range(cuda.threadIdx.x, d * d, cuda.blockDim.x):
        value = covariance[b * d * d + k] + spoiled
        value = value + eps if k // d == k % d else value
        s[b * d * d + k] = value / total if by_trace else value
    if cuda.threadIdx.x == 0:
        trace[b] = total


@cuda.jit
def factorize(s: Any, d: Any, upper: Any, factor: Any) -> None:
    """L with L L' = S; all NaN from the first pivot on that is not positive.  One thread block a matrix, a column at a time:

        L_ij = (S_ij - sum_k<j L_ik L_jk) / L_jj

    upper = L' is what is read: adjacent threads have adjacent i.
    """
    pivot = cuda.shared.array(1, float64)
    o = int64(cuda.blockIdx.x) * d * d
    for j in range(d):
        for i in range(cuda.threadIdx.x, d, cuda.blockDim.x):
            total = float64(0)
            if i >= j:
                total = s[o + i * d + j]
                for k in range(j):
                    total -= upper[o + k * d + i] * upper[o + k * d + j]
            if i == j:
                pivot[0] = math.sqrt(total) if total > 0 else NAN
            upper[o + j * d + i] = total
        cuda.syncthreads()
        root = pivot[0]
        for i in range(cuda.threadIdx.x, d, cuda.blockDim.x):
            value = float64(0)
            if i >= j:
                value = root if i == j else upper[o + j * d + i] / root
            upper[o + j * d + i] = value
            factor[o + i * d + j] = value
        cuda.syncthreads()


@cuda.jit
def invert_lower(factor: Any, d: Any, count: Any, inverse: Any) -> None:
    """W = L^-1 by substitution, W_ic = (I_ic - sum_k<i L_ik W_kc) / L_ii; one thread a column, `count` = B D of them."""
    column = int64(cuda.grid(1))
    if column >= count:
        return
    o, c = column // d * d * d, column % d
    for i in range(d):
        total = float64(1) if i == c else float64(0)
        for k in range(c, i):
            total -= factor[o + i * d + k] * inverse[o + k * d + c]
        inverse[o + i * d + c] = total / factor[o + i * d + i] if i >= c else total


@cuda.jit
def mirror_lower(h: Any, d: Any, out: Any) -> None:
    """The lower triangle of each matrix and its mirror; one thread an entry."""
    i = int64(cuda.grid(1))
    if i >= len(out):
        return
    b, row, column = i // (d * d), i // d % d, i % d
    out[i] = h[b * d * d + max(row, column) * d + min(row, column)]


@cuda.jit
def scale_by_root(matrix: Any, d: Any, trace: Any, out: Any) -> None:
    """matrix / sqrt(trace); one thread an entry."""
    i = int64(cuda.grid(1))
    if i < len(out):
        t = trace[i // (d * d)]
        out[i] = matrix[i] / (math.sqrt(t) if t >= 0 else NAN)


@cuda.jit
def through_trace(dn: Any, dw: Any, w: Any, n: Any, d: Any, trace: Any, ds: Any) -> None:
    """The symmetric part of Sbar, where N = S / tr(S) and W = P / sqrt(tr(S)); one thread block a matrix.

        Sbar = (sym(Nbar) - (<Nbar, N> + <Wbar, W> / 2) I) / tr(S)
    """
    shared = cuda.shared.array((2, WARP), float64)
    o = int64(cuda.blockIdx.x) * d * d
    one, other = float64(0), float64(0)
    for k in range(cuda.threadIdx.x, d * d, cuda.blockDim.x):
        one += dn[o + k] * n[o + k]
        other += dw[o + k] * w[o + k]
    one, other = block_sums(one, other, shared)
    along, t = one + other / 2, trace[cuda.blockIdx.x]
    for k in range(cuda.threadIdx.x, d * d, cuda.blockDim.x):
        row, column = k // d, k % d
        value = (dn[o + k] + dn[o + column * d + row]) / 2
        ds[o + k] = (value - along if row == column else value) / t


@cuda.jit
def conditions(s: Any, w: Any, d: Any, found: Any) -> None:
    """sum(W^2) sum|S|, an upper bound of |W|^2 |S| in the 2-norm; infinite where a finite S has no finite W, and 0 where S is
    not finite.  One thread block a matrix."""
    shared = cuda.shared.array((2, WARP), float64)
    o = int64(cuda.blockIdx.x) * d * d
    of_s, of_w = float64(0), float64(0)
    for k in range(cuda.threadIdx.x, d * d, cuda.blockDim.x):
        of_s += abs(s[o + k])
        of_w += w[o + k] * w[o + k]
    of_s, of_w = block_sums(of_s, of_w, shared)
    if cuda.threadIdx.x == 0:
        bound = of_w * of_s if math.isfinite(of_w) else math.inf
        found[cuda.blockIdx.x] = bound if math.isfinite(of_s) else float64(0)
