"""Sums down columns: what columns.py spends its time on.  A plain loop, and one for float32 in vector lanes.

Going down one column at a time would touch one entry of every cache line; these go along memory, with one accumulator a
column.  Eight rows at once, so that an accumulator is read and written once for eight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .jit import elementwise, kernel, overload
from .simd import add, fma, load, splat, store, sub, widen
from .storage import read


def add_squares(first: Any, last: Any, x: Any, pivot: Any, sums: Any) -> Any:
    """sums[0] += sum(x - pivot), sums[1] += sum((x - pivot)^2) down rows first..last of x (M, C); pivot (C,), float64."""


def add_products(first: Any, last: Any, dy: Any, x: Any, mean: Any, sums: Any) -> Any:
    """sums[0] += sum(dy), sums[1] += sum(dy (x - mean)) down rows first..last of dy, x (M, C); mean (C,), float64."""


@overload(add_squares)
def _add_squares(first, last, x, pivot, sums):
    return _squares_in_lanes if x.dtype == types.float32 else _squares


@overload(add_products)
def _add_products(first, last, dy, x, mean, sums):
    return _products_in_lanes if x.dtype == types.float32 else _products


def _squares(first, last, x, pivot, sums):
    for m in range(first, last):
        add_row_of_squares(x[m], pivot, sums[0], sums[1])


@elementwise
def add_row_of_squares(x: Any, pivot: Any, total: Any, squares: Any) -> None:
    for j in range(pivot.size):
        d = read(x, j) - pivot[j]
        total[j] += d
        squares[j] += d * d


def _products(first, last, dy, x, mean, sums):
    for m in range(first, last):
        add_row_of_products(dy[m], x[m], mean, sums[0], sums[1])


@elementwise
def add_row_of_products(dy: Any, x: Any, mean: Any, total: Any, along: Any) -> None:
    for j in range(mean.size):
        d = np.float64(read(dy, j))
        total[j] += d
        along[j] += d * (read(x, j) - mean[j])


# In lanes: written out because with so many arrays the compiler gives up proving that they do not overlap.


def _squares_in_lanes(first, last, x, pivot, sums):
    columns = x.shape[1]
    flat, full = x.reshape(-1), columns // 16 * 16
    for m in range(first, last, 8):
        count = min(8, last - m)
        if count == 8:
            eight_rows_of_squares(flat, m * columns, columns, full, pivot, sums[0], sums[1])
            for r in range(m, m + 8 if full < columns else m):
                add_row_of_squares(x[r, full:], pivot[full:], sums[0, full:], sums[1, full:])
        else:
            for r in range(m, m + count):
                add_row_of_squares(x[r], pivot, sums[0], sums[1])


@kernel
def eight_rows_of_squares(x: Any, o: Any, columns: Any, full: Any, pivot: Any, total: Any, squares: Any) -> None:
    for j in range(0, full, 16):
        p, s, q = load(pivot, j), load(total, j), load(squares, j)
        for r in range(8):
            d = sub(widen(load(x, o + r * columns + j)), p)
            s, q = add(s, d), fma(d, d, q)
        store(total, j, s)
        store(squares, j, q)


def _products_in_lanes(first, last, dy, x, mean, sums):
    columns = x.shape[1]
    dys, xs, full = dy.reshape(-1), x.reshape(-1), columns // 16 * 16
    high = mean.astype(np.float32)
    low = (mean - high).astype(np.float32)
    for m in range(first, last, 8):
        count = min(8, last - m)
        if count == 8:
            eight_rows_of_products(dys, xs, m * columns, columns, full, high, low, sums[0], sums[1])
            for r in range(m, m + 8 if full < columns else m):
                add_row_of_products(dy[r, full:], x[r, full:], mean[full:], sums[0, full:], sums[1, full:])
        else:
            for r in range(m, m + count):
                add_row_of_products(dy[r], x[r], mean, sums[0], sums[1])


@kernel
def eight_rows_of_products(
    dy: Any, x: Any, o: Any, columns: Any, full: Any, high: Any, low: Any, total: Any, along: Any
) -> None:
    """Eight rows' sums in float32, which are added to the float64 sums of all."""
    zero = splat(np.float32(0))
    for j in range(0, full, 16):
        h, e, s, q = load(high, j), load(low, j), zero, zero
        for r in range(8):
            d = load(dy, o + r * columns + j)
            s, q = add(s, d), fma(d, sub(sub(load(x, o + r * columns + j), h), e), q)
        store(total, j, add(load(total, j), widen(s)))
        store(along, j, add(load(along, j), widen(q)))
