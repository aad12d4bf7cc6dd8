"""Rows of float32 in vector lanes: rows.py, where the output is worth it.

Against rows.py, 1 thread (float32, AVX-512):   see examples/benchmarks; what each step gave is said where it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from . import row
from .jit import kernel, parallel
from .row_lanes import shifted_sums_in_lanes
from .rows import add_blocks, backward_rows, blocks_of, empty_sums
from .simd import add, fence, fma, load, mul, splat, store, sub, total, widen
from .streaming import STREAM_FROM, may_stream, put


def pays_forward(x: np.ndarray, scale: np.ndarray) -> bool:
    """Short rows, which are unrolled, and outputs that are streamed; in between rows.forward is as fast."""
    return x.dtype == np.float32 and len(scale) == 1 and (x.shape[1] == 64 or x.size >= STREAM_FROM)


def pays_backward(x: np.ndarray, scale: np.ndarray) -> bool:
    """Fours of rows are added in float32, which is as good as float64 where there are many."""
    return x.dtype == np.float32 and len(scale) == 1 and len(x) >= 64


@kernel
def apply(x: Any, o: Any, n: Any, high: Any, rstd: Any, drift: Any, scale: Any, shift: Any, y: Any, streaming: Any) -> None:
    """row.apply with the parameters' first n entries."""
    h, r, t = splat(high), splat(rstd), splat(drift)
    j = n // 16 * 16
    for k in range(0, j, 16):
        put(y, o + k, fma(fma(sub(load(x, o + k), h), r, t), load(scale, k), load(shift, k)), streaming)
    while j < n:
        y[o + j] = ((x[o + j] - high) * rstd + drift) * scale[j] + shift[j]
        j += 1


@kernel
def forward_row(
    i: Any, n: Any, operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any, streaming: Any
) -> None:
    o = i * n
    pivot = 0.0 if operation == row.RMS else np.float64(x[o])
    sums, squares = shifted_sums_in_lanes(x, o, n, pivot)
    mean, var = row.moments(operation, pivot, sums, squares, n)
    rstd = row.spread(operation, var, n, eps)
    statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
    if row.within_float32(rstd):
        high, drift = row.centre(mean, rstd, scale)
        apply(x, o, n, high, np.float32(rstd), np.float32(drift), scale, shift, y, streaming)
    else:
        row.apply_plainly(x[o : o + n], mean, rstd, scale, shift, y[o : o + n])


@kernel
def forward_rows(
    first: Any, last: Any, operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any, streaming: Any
) -> None:
    """Rows first..last.  With the length a constant, short rows are unrolled: 2 to 2.5 times the speed at 64."""
    n = x.shape[1]
    xs, ys = x.reshape(-1), y.reshape(-1)
    if n == 64:
        for i in range(first, last):
            forward_row(i, 64, operation, xs, scale, shift, eps, ys, statistics, streaming)
    else:
        for i in range(first, last):
            forward_row(i, n, operation, xs, scale, shift, eps, ys, statistics, streaming)
    if streaming:
        fence()


@parallel
def forward(operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any) -> None:
    """rows.forward for one scale and one shift, (1, n)."""
    rows, g, s = len(x), scale[0], shift[0]
    streaming = may_stream(y, x.shape[1])
    strips = min(rows, 64)
    for k in prange(strips):
        forward_rows(rows * k // strips, rows * (k + 1) // strips, operation, x, g, s, eps, y, statistics, streaming)


# Backward: four rows at once, which share the loads of scale and the sums over rows.


@kernel
def scaled_sums_of_lanes(dy: Any, x: Any, o: Any, first: Any, last: Any, scale: Any, h: Any) -> Any:
    """sum(g), sum(g (x - h)) of entries first..last, a multiple of 32, in float32 lanes."""
    zero = splat(np.float32(0))
    s, t, q, r = zero, zero, zero, zero
    for j in range(first, last, 32):
        g = mul(load(dy, o + j), load(scale, j))
        s, q = add(s, g), fma(g, sub(load(x, o + j), h), q)
        g = mul(load(dy, o + j + 16), load(scale, j + 16))
        t, r = add(t, g), fma(g, sub(load(x, o + j + 16), h), r)
    return np.float64(total(add(s, t))), np.float64(total(add(q, r)))


@kernel
def scaled_sums(dy: Any, x: Any, o: Any, n: Any, scale: Any, high: Any) -> Any:
    """sum(g), sum(g (x - high)) of one row: at most 32 float32 additions a lane, 1024 entries, and the rest in float64.

    They enter dx as means, in which float32 sums of 1024 are not seen; all in float64 took twice the time.
    """
    h, j = splat(high), n // 32 * 32
    sums, along = scaled_sums_of_lanes(dy, x, o, 0, min(j, 1024), scale, h)
    for first in range(1024, j, 1024):
        s, a = scaled_sums_of_lanes(dy, x, o, first, min(first + 1024, j), scale, h)
        sums += s
        along += a
    while j < n:
        d = np.float64(dy[o + j] * scale[j])
        sums += d
        along += d * (x[o + j] - high)
        j += 1
    return sums, along


@kernel
def factors(i: Any, n: Any, operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any) -> Any:
    """high, r, drift of a row, and a and b of dx = r (g - a - xhat b); a and b negated, for fma."""
    mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
    high, drift = row.centre(mean, rstd, scale)
    sums, along = scaled_sums(dy, x, i * n, n, scale, high)
    along += sums * (np.float64(high) - mean)
    a = 0.0 if operation == row.RMS else sums / n
    b = along / n * row.response(operation, var, rstd, n, eps)
    return high, np.float32(rstd), np.float32(drift), np.float32(-a), np.float32(-b)


@kernel
def spread_out(f: Any) -> Any:
    return splat(f[0]), splat(f[1]), splat(f[2]), splat(f[3]), splat(f[4])


@kernel
def pull_back_lanes(dy: Any, x: Any, dx: Any, o: Any, g: Any, f: Any, streaming: Any) -> Any:
    """dx of sixteen entries is written; dy and xhat."""
    d, xhat = load(dy, o), fma(sub(load(x, o), f[0]), f[1], f[2])
    put(dx, o, mul(fma(xhat, f[4], fma(d, g, f[3])), f[1]), streaming)
    return d, xhat


@kernel
def backward_four(
    i: Any, n: Any, operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any,
    dx: Any, dscale: Any, dshift: Any, streaming: Any,
) -> None:  # fmt: skip
    """Rows i..i + 4.  Four rows' parts of dscale and dshift are added in float32, and all fours in float64."""
    s0 = factors(i, n, operation, dy, x, statistics, scale, eps)
    s1 = factors(i + 1, n, operation, dy, x, statistics, scale, eps)
    s2 = factors(i + 2, n, operation, dy, x, statistics, scale, eps)
    s3 = factors(i + 3, n, operation, dy, x, statistics, scale, eps)
    f0, f1, f2, f3 = spread_out(s0), spread_out(s1), spread_out(s2), spread_out(s3)
    j, o = 0, i * n
    while j + 16 <= n:
        g = load(scale, j)
        d0, x0 = pull_back_lanes(dy, x, dx, o + j, g, f0, streaming)
        d1, x1 = pull_back_lanes(dy, x, dx, o + n + j, g, f1, streaming)
        d2, x2 = pull_back_lanes(dy, x, dx, o + 2 * n + j, g, f2, streaming)
        d3, x3 = pull_back_lanes(dy, x, dx, o + 3 * n + j, g, f3, streaming)
        along = fma(d3, x3, fma(d2, x2, fma(d1, x1, mul(d0, x0))))
        store(dscale, j, add(load(dscale, j), widen(along)))
        store(dshift, j, add(load(dshift, j), widen(add(add(d0, d1), add(d2, d3)))))
        j += 16
    for m, f in enumerate((s0, s1, s2, s3)):
        for t in range(j, n):
            d, xhat = dy[o + m * n + t], (x[o + m * n + t] - f[0]) * f[1] + f[2]
            dx[o + m * n + t] = (d * scale[t] + f[3] + xhat * f[4]) * f[1]
            dscale[t] += np.float64(d) * np.float64(xhat)
            dshift[t] += d


@kernel
def in_float32(statistics: Any, first: Any, last: Any) -> Any:
    fits = True
    for i in range(first, last):
        fits = fits and row.within_float32(statistics[2, i])
    return fits


@kernel
def backward_strip(
    first: Any, last: Any, operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any,
    dx: Any, dscale: Any, dshift: Any, streaming: Any,
) -> None:  # fmt: skip
    n, i = x.shape[1], first
    ds, xs, out, g = dy.reshape(-1), x.reshape(-1), dx.reshape(-1), scale[0]
    while i + 4 <= last:
        if not in_float32(statistics, i, i + 4):
            backward_rows(i, i + 4, operation, dy, x, statistics, scale, eps, dx, dscale, dshift)
        elif n == 64:
            backward_four(i, 64, operation, ds, xs, statistics, g, eps, out, dscale[0], dshift[0], streaming)
        else:
            backward_four(i, n, operation, ds, xs, statistics, g, eps, out, dscale[0], dshift[0], streaming)
        i += 4
    backward_rows(i, last, operation, dy, x, statistics, scale, eps, dx, dscale, dshift)
    if streaming:
        fence()


@parallel
def backward(
    operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    """rows.backward for one scale (1, n)."""
    rows, blocks = len(x), blocks_of(len(x))
    partial, streaming = empty_sums(blocks, scale), may_stream(dx, x.shape[1])
    for k in prange(blocks):
        first, last = rows * k // blocks, rows * (k + 1) // blocks
        backward_strip(
            first, last, operation, dy, x, statistics, scale, eps, dx, partial[k, 0], partial[k, 1], streaming
        )
    add_blocks(partial, dscale, dshift)
