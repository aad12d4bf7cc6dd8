"""Whitening of 16 coordinates and more: whitening.py's loops as matrix products, by panels of samples (panels.py).

Covariances are float64 throughout: the product of two float32 is exact there, so that what a large condition number multiplies
is not the rounding of a covariance.  Of them only tiles on and under the diagonal are computed, and of a product with a
triangular matrix only what is not zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from .jit import elementwise, kernel, parallel
from .panels import SAMPLES, add_tile, fetch, panel, panels_of, put, room, rows_apart, store_tile, strips_of, tile
from .storage import read, write

FULL, LOWER, UPPER = range(3)
"""What of a matrix (inner, columns) is not zero: all, inner <= column, inner >= column."""


def panelled(matrix: np.ndarray, number: Any) -> np.ndarray:
    """matrix' (B, inner, columns) with rows apart as in a panel, aligned as a panel is, in the arithmetic's type."""
    blocks, columns, inner = matrix.shape
    width = 64 // np.dtype(number).itemsize
    apart = (columns + 31) // 32 * 32 + width
    whole = np.zeros(blocks * inner * apart + width, number)
    start = -whole.ctypes.data % 64 * width // 64
    out = whole[start : len(whole) - width + start].reshape(blocks, inner, apart)
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
    panel_of_x = room(SAMPLES * ld, pivot)
    for p in range(first, last):
        where = panel(p, b, lie)
        fetch(x, where, n, pivot, panel_of_x, 0, ld)
        add_rows(panel_of_x, where[3], n, ld, sums)
        for j in range(0, n, 32):
            for i in range(j, n, 8):
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
    sums, out = np.zeros((blocks * strips, n)), np.zeros((blocks * strips, (n + 7) * ld))
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
    panel_of_dy, panel_of_x = room(SAMPLES * apart, high), room(SAMPLES * apart, high)
    for p in range(first, last):
        where = panel(p, b, lie)
        fetch(dy, where, n, zero, panel_of_dy, 0, apart)
        fetch(x, where, n, high, panel_of_x, 0, apart)
        add_rows(panel_of_dy, where[3], n, apart, sums)
        for j in range(0, n, 32):
            for i in range(0, n, 8):
                add_tile(tile(panel_of_dy, i, 1, apart, panel_of_x, j, apart, 0, where[3]), out, i * ld + j, ld)


@parallel
def products(dy: Any, x: Any, lie: Any, high: Any, mean: Any, sums: Any, out: Any) -> None:
    """whitening.products; high (B, D) is the mean in the arithmetic's type, and what it lacks of the mean is added here."""
    blocks, n, panels, strips = lie[1], lie[2], panels_of(lie), strips_of(lie)
    ld = rows_apart(n, 8)
    zero = np.zeros(n, high.dtype)
    parts, of_dy = np.zeros((blocks * strips, (n + 7) * ld)), np.zeros((blocks * strips, n))
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
        for k in range(0, count, 8):
            store_tile(tile(values, k * apart, apart, 1, matrix, j, ld, first, last), out, k * ld + j, ld)


@parallel
def apply(x: Any, lie: Any, high: Any, matrix: Any, kind: Any, shift: Any, y: Any) -> None:
    """y = (x - high) matrix + shift; matrix (B, D, ld), its columns beyond D zero."""
    blocks, n, panels, ld = lie[1], lie[2], panels_of(lie), matrix.shape[2]
    strips = min(panels, 32)
    for t in prange(blocks * strips):
        b, s = t // strips, t % strips
        values, out, flat = room(SAMPLES * ld, high), room(SAMPLES * ld, high), matrix[b].reshape(-1)
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
        values, out, flat = room(SAMPLES * apart, high), room(SAMPLES * ld, high), matrix[b].reshape(-1)
        for p in range(panels * s // strips, panels * (s + 1) // strips):
            where = panel(p, b, lie)
            fetch(dy, where, n, zero, values, 0, apart)
            fetch(x, where, n, high[b], values, n, apart)
            multiply(values, apart, where[3], flat, ld, 2 * n, n, kind, out)
            put(out, ld, where, n, shift[b], dx)
