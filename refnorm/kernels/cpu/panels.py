"""Panels: some samples of a block, centred, in the arithmetic's type, side by side in the second cache; and products of them.

However an array lies and whatever it stores, a product reads rows of one kind.  It is made of tiles of 8 x 32 numbers, which
stay in registers while all of the inner axis goes by.

From row to row of a panel it is an odd number of cache lines, or the entries of a column would share a few sets of the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .jit import elementwise, kernel, overload
from .simd import F64, add, fma, load, splat, store, widen
from .storage import entry, read, write

SAMPLES = 64
"""Of a panel."""


@kernel
def rows_apart(columns: Any, width: Any) -> Any:
    """Entries from one row of a panel to the next: up to a multiple of 32, and one cache line of `width` entries more."""
    return (columns + 31) // 32 * 32 + width


@kernel
def room(size: Any, like: Any) -> Any:
    """Zeros of the dtype of `like` from a cache line on: vectors that lie over two lines cost a fifth more."""
    whole = np.zeros(size + 64 // like.itemsize, like.dtype)
    start = (64 - whole.ctypes.data % 64) % 64 // like.itemsize
    return whole[start : start + size]


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


def tile(a: Any, ao: Any, ar: Any, ak: Any, b: Any, bo: Any, ld: Any, first: Any, last: Any) -> Any:
    """sum over k of a[ao + r ar + k ak] b[bo + k ld + j], first <= k < last, for 8 r and 32 j, as 16 vectors.

    Sums of float32 take 16 registers, enough that none waits for the one before; of float64 32, too many: two halves.
    """


@overload(tile)
def _tile(a, ao, ar, ak, b, bo, ld, first, last):
    return _eight_rows if b.dtype == types.float32 else _two_halves


def _two_halves(a, ao, ar, ak, b, bo, ld, first, last):
    return four_rows(a, ao, ar, ak, b, bo, ld, first, last) + four_rows(a, ao + 4 * ar, ar, ak, b, bo, ld, first, last)


@kernel
def four_rows(a: Any, ao: Any, ar: Any, ak: Any, b: Any, bo: Any, ld: Any, first: Any, last: Any) -> Any:
    zero = splat(b.dtype.type(0))
    p0, p1, p2, p3, q0, q1, q2, q3 = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(first, last):
        left, right, o = load(b, bo + k * ld), load(b, bo + k * ld + 16), ao + k * ak
        p0, q0 = two_sums(a, o, left, right, p0, q0)
        p1, q1 = two_sums(a, o + ar, left, right, p1, q1)
        p2, q2 = two_sums(a, o + 2 * ar, left, right, p2, q2)
        p3, q3 = two_sums(a, o + 3 * ar, left, right, p3, q3)
    return p0, q0, p1, q1, p2, q2, p3, q3


def _eight_rows(a, ao, ar, ak, b, bo, ld, first, last):
    zero = splat(b.dtype.type(0))
    p0, p1, p2, p3, q0, q1, q2, q3 = zero, zero, zero, zero, zero, zero, zero, zero
    p4, p5, p6, p7, q4, q5, q6, q7 = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(first, last):
        left, right, o = load(b, bo + k * ld), load(b, bo + k * ld + 16), ao + k * ak
        p0, q0 = two_sums(a, o, left, right, p0, q0)
        p1, q1 = two_sums(a, o + ar, left, right, p1, q1)
        p2, q2 = two_sums(a, o + 2 * ar, left, right, p2, q2)
        p3, q3 = two_sums(a, o + 3 * ar, left, right, p3, q3)
        p4, q4 = two_sums(a, o + 4 * ar, left, right, p4, q4)
        p5, q5 = two_sums(a, o + 5 * ar, left, right, p5, q5)
        p6, q6 = two_sums(a, o + 6 * ar, left, right, p6, q6)
        p7, q7 = two_sums(a, o + 7 * ar, left, right, p7, q7)
    return p0, q0, p1, q1, p2, q2, p3, q3, p4, q4, p5, q5, p6, q6, p7, q7


@kernel
def two_sums(a: Any, o: Any, left: Any, right: Any, p: Any, q: Any) -> Any:
    s = splat(entry(a, o))
    return fma(s, left, p), fma(s, right, q)


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
    add_two(t[8], t[9], out, o + 4 * ld)
    add_two(t[10], t[11], out, o + 5 * ld)
    add_two(t[12], t[13], out, o + 6 * ld)
    add_two(t[14], t[15], out, o + 7 * ld)


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
    store_two(t[8], t[9], out, o + 4 * ld)
    store_two(t[10], t[11], out, o + 5 * ld)
    store_two(t[12], t[13], out, o + 6 * ld)
    store_two(t[14], t[15], out, o + 7 * ld)


@kernel
def strips_of(lie: Any) -> Any:
    """Into how many strips a block's panels are cut: the shape decides and not the threads, so that sums come out the same."""
    return max(1, min(max(1, 16 // lie[1]), panels_of(lie) // 4))
