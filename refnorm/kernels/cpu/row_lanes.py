"""One row for any storage, float32 in vector lanes: what row.py has under these names, and why again.

Sums: the compiler takes 32 or 64 entries at a time and the rest one by one, of pieces of 196 entries (14 x 14) for a third of
the time.  Outputs: they can be streamed past the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from . import row
from .jit import kernel, overload
from .simd import add, fma, load, mul, splat, sub, total, widen
from .streaming import put


def shifted_sums(x: Any, o: Any, n: Any, pivot: Any) -> Any:
    """sum(x - pivot), sum((x - pivot)^2) of x[o : o + n], in float64."""


def sums(dy: Any, x: Any, o: Any, n: Any, mean: Any) -> Any:
    """sum(dy), sum(dy (x - mean)) of entries o to o + n."""


def apply_one(x: Any, o: Any, n: Any, high: Any, slope: Any, shift: Any, y: Any, streaming: Any) -> Any:
    """y = slope (x - high) + shift in entries o to o + n."""


def pull_back_one(dy: Any, x: Any, o: Any, n: Any, high: Any, slope: Any, a: Any, b: Any, dx: Any, streaming: Any) -> Any:
    """dx = slope dy - a - b (x - high) in entries o to o + n."""


@overload(shifted_sums)
def _shifted_sums(x, o, n, pivot):
    if x.dtype == types.float32:
        return lambda x, o, n, pivot: shifted_sums_in_lanes(x, o, n, pivot)
    return lambda x, o, n, pivot: row.shifted_sums(x, o, n, pivot)


@overload(sums)
def _sums(dy, x, o, n, mean):
    if x.dtype == types.float32:
        return lambda dy, x, o, n, mean: sums_in_lanes(dy, x, o, n, mean)
    return lambda dy, x, o, n, mean: row.sums(dy, x, o, n, mean)


@overload(apply_one)
def _apply_one(x, o, n, high, slope, shift, y, streaming):
    if x.dtype == types.float32:
        return lambda x, o, n, high, slope, shift, y, streaming: apply_one_in_lanes(x, o, n, high, slope, shift, y, streaming)
    return lambda x, o, n, high, slope, shift, y, streaming: row.apply_one(x, o, n, high, slope, shift, y)


@overload(pull_back_one)
def _pull_back_one(dy, x, o, n, high, slope, a, b, dx, streaming):
    return _pull_back_in_lanes if x.dtype == types.float32 else _pull_back


def _pull_back(dy, x, o, n, high, slope, a, b, dx, streaming):
    row.pull_back_one(dy, x, o, n, high, slope, a, b, dx)


def _pull_back_in_lanes(dy, x, o, n, high, slope, a, b, dx, streaming):
    h, s, t, q = splat(high), splat(slope), splat(a), splat(b)
    j = o
    while j + 16 <= o + n:
        put(dx, j, sub(sub(mul(load(dy, j), s), t), mul(sub(load(x, j), h), q)), streaming)
        j += 16
    row.pull_back_one(dy, x, j, o + n - j, high, slope, a, b, dx)


@kernel
def apply_one_in_lanes(x: Any, o: Any, n: Any, high: Any, slope: Any, shift: Any, y: Any, streaming: Any) -> None:
    h, s, t = splat(high), splat(slope), splat(shift)
    j = o
    while j + 16 <= o + n:
        put(y, j, fma(sub(load(x, j), h), s, t), streaming)
        j += 16
    row.apply_one(x, j, o + n - j, high, slope, shift, y)


@kernel
def shifted_sums_in_lanes(x: Any, o: Any, n: Any, pivot: Any) -> Any:
    """row.shifted_sums of x[o : o + n]; four accumulators, so that an addition need not wait for the one before."""
    p, zero = splat(pivot), splat(0.0)
    s, t, q, r = zero, zero, zero, zero
    j = 0
    while j + 32 <= n:
        d = sub(widen(load(x, o + j)), p)
        e = sub(widen(load(x, o + j + 16)), p)
        s, q = add(s, d), fma(d, d, q)
        t, r = add(t, e), fma(e, e, r)
        j += 32
    if j + 16 <= n:
        d = sub(widen(load(x, o + j)), p)
        s, q = add(s, d), fma(d, d, q)
        j += 16
    sums, squares = total(add(s, t)), total(add(q, r))
    while j < n:
        d = np.float64(x[o + j]) - pivot
        sums += d
        squares += d * d
        j += 1
    return sums, squares


@kernel
def sums_in_lanes(dy: Any, x: Any, o: Any, n: Any, mean: Any) -> Any:
    """At most 32 float32 additions a lane, 1024 entries, and the rest in float64."""
    high = np.float32(mean)
    h, full, zero = splat(high), n // 32 * 32, splat(np.float32(0))
    whole, along = 0.0, 0.0
    for first in range(0, full, 1024):
        s, t, q, r = zero, zero, zero, zero
        for j in range(o + first, o + min(first + 1024, full), 32):
            d, e = load(dy, j), load(dy, j + 16)
            s, q = add(s, d), fma(d, sub(load(x, j), h), q)
            t, r = add(t, e), fma(e, sub(load(x, j + 16), h), r)
        whole += np.float64(total(add(s, t)))
        along += np.float64(total(add(q, r)))
    if full + 16 <= n:
        d = load(dy, o + full)
        whole += np.float64(total(d))
        along += np.float64(total(fma(d, sub(load(x, o + full), h), zero)))
        full += 16
    for j in range(o + full, o + n):
        whole += np.float64(dy[j])
        along += np.float64(dy[j]) * np.float64(x[j] - high)
    return whole, along + whole * (np.float64(high) - mean)
