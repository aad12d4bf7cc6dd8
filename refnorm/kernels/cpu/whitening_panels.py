"""Whitening of 16 coordinates and more: whitening.py's loops as matrix products, by panels of samples.

A panel is a few dozen samples, centred, in the arithmetic's type, side by side in the second cache: however the array lies and
whatever it stores, a product then reads rows of one kind.  Products are made of tiles of 4 x 32 numbers that stay in
registers.

Covariances are float64 throughout: the product of two float32 is exact there, so that what a large condition number multiplies
is not the rounding of a covariance.  Of them only tiles on and under the diagonal are computed, and of a product with a
triangular matrix only what is not zero.

From row to row of a panel it is an odd number of cache lines, or the entries of a column would share a few sets of the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from .jit import elementwise, kernel, overload, parallel
from .simd import F64, add, fma, load, splat, store, widen
from .storage import entry, read, write

SAMPLES = 64
"""Of a panel."""
FULL, LOWER, UPPER = range(3)
"""What of a matrix (inner, columns) is not zero: all, inner <= column, inner >= column."""


@kernel
def rows_apart(columns: Any, width: Any) -> Any:
    """Entries from one row of a panel to the next: up to a multiple of 32, and one cache line of `width` entries more."""
    return (columns + 31) // 32 * 32 + width


@kernel
def panels_of(lie: Any) -> Any:
    """How many panels a block has."""
    outer, inner = lie[0], lie[3]
    return (outer + SAMPLES - 1) // SAMPLES if inner == 1 else outer * ((inner + SAMPLES - 1) // SAMPLES)


@kernel
def panel(p: Any, b: Any, lie: Any) -> Any:
    """Where panel p of block b starts, from one sample to the next, from one coordinate to the next, how many samples."""
    outer, _, _, inner, so, sb, sd = lie
    if inner == 1:
        return p * SAMPLES * so + b * sb, so, sd, min(SAMPLES, outer - p * SAMPLES)
    each = (inner + SAMPLES - 1) // SAMPLES
    first = p % each * SAMPLES
    return p // each * so + b * sb + first, 1, sd, min(SAMPLES, inner - first)


@elementwise
def fetch_row(x: Any, o: Any, centre: Any, out: Any, q: Any, n: Any) -> None:
    for d in range(n):
        write(out, q + d, read(x, o + d) - read(centre, d))


@kernel
def fetch(x: Any, where: Any, n: Any, centre: Any, out: Any, first: Any, ld: Any) -> None:
    """Coordinates less their centre: out[k ld + first + d], for all samples k and coordinates d of a panel."""
    start, step, sd, count = where
    if sd == 1:
        for k in range(count):
            fetch_row(x, start + k * step, centre, out, k * ld + first, n)
    else:
        for d in range(n):
            c = centre[d]
            for k in range(count):
                write(out, k * ld + first + d, read(x, start + k * step + d * sd) - c)


@elementwise
def put_row(values: Any, q: Any, shift: Any, y: Any, o: Any, n: Any) -> None:
    for d in range(n):
        write(y, o + d, read(values, q + d) + read(shift, d))


@kernel
def put(values: Any, ld: Any, where: Any, n: Any, shift: Any, y: Any) -> None:
    """fetch's counterpart: a panel's results, with the shift, to where they belong."""
    start, step, sd, count = where
    if sd == 1:
        for k in range(count):
            put_row(values, k * ld, shift, y, start + k * step, n)
    else:
        for d in range(n):
            c = shift[d]
            for k in range(count):
                write(y, start + k * step + d * sd, values[k * ld + d] + c)


@kernel
def tile(a: Any, ao: Any, ar: Any, ak: Any, b: Any, bo: Any, ld: Any, first: Any, last: Any) -> Any:
    """sum over k of a[ao + r ar + k ak] b[bo + k ld + j], first <= k < last, for 4 r and 32 j, as 8 vectors."""
    zero = splat(b.dtype.type(0))
    p0, p1, p2, p3, q0, q1, q2, q3 = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(first, last):
        left, right, o = load(b, bo + k * ld), load(b, bo + k * ld + 16), ao + k * ak
        s = splat(entry(a, o))
        p0, q0 = fma(s, left, p0), fma(s, right, q0)
        s = splat(entry(a, o + ar))
        p1, q1 = fma(s, left, p1), fma(s, right, q1)
        s = splat(entry(a, o + 2 * ar))
        p2, q2 = fma(s, left, p2), fma(s, right, q2)
        s = splat(entry(a, o + 3 * ar))
        p3, q3 = fma(s, left, p3), fma(s, right, q3)
    return p0, q0, p1, q1, p2, q2, p3, q3


def in_float64(lanes: Any) -> Any:
    """A vector of float32 or float64 as one of float64."""


@overload(in_float64)
def _in_float64(lanes):
    return (lambda lanes: lanes) if lanes is F64 else (lambda lanes: widen(lanes))


@kernel
def add_two(left: Any, right: Any, out: Any, o: Any) -> None:
    store(out, o, add(load(out, o), in_float64(left)))
    store(out, o + 16, add(load(out, o + 16), in_float64(right)))


@kernel
def add_tile(t: Any, out: Any, o: Any, ld: Any) -> None:
    """out, float64, += a tile."""
    add_two(t[0], t[1], out, o)
    add_two(t[2], t[3], out, o + ld)
    add_two(t[4], t[5], out, o + 2 * ld)
    add_two(t[6], t[7], out, o + 3 * ld)


@kernel
def store_two(left: Any, right: Any, out: Any, o: Any) -> None:
    store(out, o, left)
    store(out, o + 16, right)


@kernel
def store_tile(t: Any, out: Any, o: Any, ld: Any) -> None:
    store_two(t[0], t[1], out, o)
    store_two(t[2], t[3], out, o + ld)
    store_two(t[4], t[5], out, o + 2 * ld)
    store_two(t[6], t[7], out, o + 3 * ld)


@kernel
def strips_of(lie: Any) -> Any:
    """Into how many strips a block's panels are cut: the shape decides and not the threads, so that sums come out the same."""
    return max(1, min(max(1, 16 // lie[1]), panels_of(lie) // 4))


def panelled(matrix: np.ndarray, number: Any) -> np.ndarray:
    """matrix' (B, inner, columns) with rows apart as in a panel, in the arithmetic's type."""
    blocks, columns, inner = matrix.shape
    out = np.zeros((blocks, inner, (columns + 31) // 32 * 32 + 64 // np.dtype(number).itemsize), number)
    out[:, :, :columns] = np.swapaxes(matrix, 1, 2)
    return out


def kind_of(matrix: np.ndarray, transposed: bool) -> int:
    """What of matrix' is not zero, for a matrix that may be lower triangular, or upper if it is a transposed one."""
    rest = np.tril(matrix, -1) if transposed else np.triu(matrix, 1)
    return FULL if np.any(rest) else UPPER if transposed else LOWER


# Sums over samples: each strip's own, added in order.


@kernel
def square_strip(b: Any, first: Any, last: Any, x: Any, lie: Any, pivot: Any, sums: Any, out: Any, ld: Any) -> None:
    """Panels first..last: sums += sum (x - pivot), out += the lower triangle of sum (x - pivot)(x - pivot)'."""
    n = lie[2]
    panel_of_x = np.zeros(SAMPLES * ld)
    for p in range(first, last):
        where = panel(p, b, lie)
        fetch(x, where, n, pivot, panel_of_x, 0, ld)
        add_rows(panel_of_x, where[3], n, ld, sums)
        for j in range(0, n, 32):
            for i in range(j, n, 4):
                add_tile(tile(panel_of_x, i, 1, ld, panel_of_x, j, ld, 0, where[3]), out, i * ld + j, ld)


@elementwise
def add_rows(values: Any, count: Any, n: Any, ld: Any, sums: Any) -> None:
    for k in range(count):
        for d in range(n):
            write(sums, d, read(sums, d) + np.float64(read(values, k * ld + d)))


@parallel
def statistics(x: Any, lie: Any, pivot: Any, mean: Any, covariance: Any) -> None:
    """whitening.statistics, shifted by pivot (B, D), float64, which is near the mean."""
    blocks, n, panels, strips = lie[1], lie[2], panels_of(lie), strips_of(lie)
    ld, samples = rows_apart(n, 8), lie[0] * lie[3]
    sums, out = np.zeros((blocks * strips, n)), np.zeros((blocks * strips, (n + 3) * ld))
    for t in prange(blocks * strips):
        b, s = t // strips, t % strips
        square_strip(b, panels * s // strips, panels * (s + 1) // strips, x, lie, pivot[b], sums[t], out[t], ld)
    for b in range(blocks):
        add_strips(b, strips, sums, out)
        for i in range(n):
            drift = sums[b * strips, i] / samples
            mean[b, i] = pivot[b, i] + drift
            for j in range(i + 1):
                value = out[b * strips, i * ld + j] / samples - drift * (sums[b * strips, j] / samples)
                covariance[b, i, j], covariance[b, j, i] = value, value


@elementwise
def add_strips(b: Any, strips: Any, sums: Any, out: Any) -> None:
    """A block's strips into its first."""
    for t in range(b * strips + 1, (b + 1) * strips):
        for i in range(sums.shape[1]):
            sums[b * strips, i] += sums[t, i]
        for i in range(out.shape[1]):
            out[b * strips, i] += out[t, i]


@kernel
def product_strip(
    b: Any, first: Any, last: Any, dy: Any, x: Any, lie: Any, high: Any, zero: Any, sums: Any, out: Any, ld: Any
) -> None:
    """Panels first..last: sums += sum dy, out += sum dy (x - high)', panels of SAMPLES in the arithmetic's type."""
    n, apart = lie[2], rows_apart(lie[2], 64 // high.itemsize)
    panel_of_dy, panel_of_x = np.zeros(SAMPLES * apart, high.dtype), np.zeros(SAMPLES * apart, high.dtype)
    for p in range(first, last):
        where = panel(p, b, lie)
        fetch(dy, where, n, zero, panel_of_dy, 0, apart)
        fetch(x, where, n, high, panel_of_x, 0, apart)
        add_rows(panel_of_dy, where[3], n, apart, sums)
        for j in range(0, n, 32):
            for i in range(0, n, 4):
                add_tile(tile(panel_of_dy, i, 1, apart, panel_of_x, j, apart, 0, where[3]), out, i * ld + j, ld)


@parallel
def products(dy: Any, x: Any, lie: Any, high: Any, mean: Any, sums: Any, out: Any) -> None:
    """whitening.products; high (B, D) is the mean in the arithmetic's type, and what it lacks of the mean is added here."""
    blocks, n, panels, strips = lie[1], lie[2], panels_of(lie), strips_of(lie)
    ld = rows_apart(n, 8)
    zero = np.zeros(n, high.dtype)
    parts, of_dy = np.zeros((blocks * strips, (n + 3) * ld)), np.zeros((blocks * strips, n))
    for t in prange(blocks * strips):
        b, s = t // strips, t % strips
        first, last = panels * s // strips, panels * (s + 1) // strips
        product_strip(b, first, last, dy, x, lie, high[b], zero, of_dy[t], parts[t], ld)
    for b in range(blocks):
        add_strips(b, strips, of_dy, parts)
        for i in range(n):
            sums[b, i] = of_dy[b * strips, i]
            for j in range(n):
                out[b, i, j] = parts[b * strips, i * ld + j] + sums[b, i] * (np.float64(high[b, j]) - mean[b, j])


# Products with a matrix.


@kernel
def multiply(values: Any, apart: Any, count: Any, matrix: Any, ld: Any, inner: Any, columns: Any, kind: Any, out: Any) -> None:
    """out (count, columns) = values (count, inner) times a matrix (inner, columns), of which `kind` says what is not zero."""
    for j in range(0, columns, 32):
        first = j if kind == UPPER else 0
        last = min(inner, j + 32) if kind == LOWER else inner
        for k in range(0, count, 4):
            store_tile(tile(values, k * apart, apart, 1, matrix, j, ld, first, last), out, k * ld + j, ld)


@parallel
def apply(x: Any, lie: Any, high: Any, matrix: Any, kind: Any, shift: Any, y: Any) -> None:
    """y = (x - high) matrix + shift; matrix (B, D, ld), its columns beyond D zero."""
    blocks, n, panels, ld = lie[1], lie[2], panels_of(lie), matrix.shape[2]
    strips = min(panels, 32)
    for t in prange(blocks * strips):
        b, s = t // strips, t % strips
        values, out, flat = np.zeros(SAMPLES * ld, high.dtype), np.empty(SAMPLES * ld, high.dtype), matrix[b].reshape(-1)
        for p in range(panels * s // strips, panels * (s + 1) // strips):
            where = panel(p, b, lie)
            fetch(x, where, n, high[b], values, 0, ld)
            multiply(values, ld, where[3], flat, ld, n, n, kind, out)
            put(out, ld, where, n, shift[b], y)


@parallel
def pull_back(dy: Any, x: Any, lie: Any, high: Any, matrix: Any, kind: Any, shift: Any, dx: Any) -> None:
    """dx = [dy, x - high] matrix + shift; matrix (B, 2 D, ld)."""
    blocks, n, panels, ld = lie[1], lie[2], panels_of(lie), matrix.shape[2]
    strips, apart = min(panels, 32), rows_apart(2 * lie[2], 64 // high.itemsize)
    zero = np.zeros(n, high.dtype)
    for t in prange(blocks * strips):
        b, s = t // strips, t % strips
        values, out, flat = np.zeros(SAMPLES * apart, high.dtype), np.empty(SAMPLES * ld, high.dtype), matrix[b].reshape(-1)
        for p in range(panels * s // strips, panels * (s + 1) // strips):
            where = panel(p, b, lie)
            fetch(dy, where, n, zero, values, 0, apart)
            fetch(x, where, n, high[b], values, n, apart)
            multiply(values, apart, where[3], flat, ld, 2 * n, n, kind, out)
            put(out, ld, where, n, shift[b], dx)
