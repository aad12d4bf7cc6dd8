"""Planes: a block of statistics is made of contiguous pieces of n entries, one scale and one shift for each piece.

x (B, M, C, n): a block is (b, c), its pieces lie along M.  In memory order, nothing moved:

    batch norm     (N, C, *spatial)    (1, N, C, n)            a block is a channel, its pieces one a sample
    group norm     (N, C, *spatial)    (N G, C / G, 1, n)      a block is a group, its pieces one a channel
    instance norm  (N, C, *spatial)    (N C, 1, 1, n)
    weights        (out, in, *kernel)  (out, 1, 1, n)

scale, shift (P, M or 1, C or 1): piece (b, m, c) has those of (b % P, m, c).  statistics (3, B C): mean, variance, 1 / std.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from . import row, row_lanes
from .jit import kernel, parallel
from .simd import fence
from .storage import read
from .streaming import may_stream

STRIPS = 64
"""Of blocks, for the threads to share; what each streams is fenced once, for a fence a block took a fifth of the time."""


@kernel
def of_piece(parameter: Any, b: Any, m: Any, c: Any) -> Any:
    """A parameter of one piece; an axis of length 1 is shared."""
    p, q, r = parameter.shape
    return parameter[b % p if p > 1 else 0, m if q > 1 else 0, c if r > 1 else 0]


@kernel
def forward_plainly(
    operation: Any, training: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any
) -> None:
    """The one to read first: a block at a time, two passes, corrected.  In evaluation the statistics are given."""
    blocks, pieces, channels, n = x.shape
    count = pieces * n
    for b in range(blocks):
        for c in range(channels):
            i = b * channels + c
            if training:
                mean, var = 0.0, 0.0
                if operation != row.RMS:
                    for m in range(pieces):
                        for j in range(n):
                            mean += read(x[b, m, c], j)
                    mean /= count
                    lost = 0.0
                    for m in range(pieces):
                        for j in range(n):
                            lost += read(x[b, m, c], j) - mean
                    mean += lost / count
                for m in range(pieces):
                    for j in range(n):
                        var += (read(x[b, m, c], j) - mean) ** 2
                var /= count
                statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, row.spread(operation, var, count, eps)
            mean, rstd = statistics[0, i], statistics[2, i]
            for m in range(pieces):
                slope, constant = rstd * of_piece(scale, b, m, c), of_piece(shift, b, m, c)
                row.apply_one_plainly(x[b, m, c], mean, slope, constant, y[b, m, c])


@kernel
def forward_block(
    i: Any, operation: Any, training: Any, x: Any, flat: Any, scale: Any, shift: Any, eps: Any, y: Any, out: Any,
    statistics: Any, streaming: Any,
) -> None:  # fmt: skip
    """One block while it is in the second cache: one pass for the sums, one to apply; flat, out are x, y in one dimension."""
    _, pieces, channels, n = x.shape
    b, c = i // channels, i % channels
    o, step = (b * pieces * channels + c) * n, channels * n
    if training:
        pivot = 0.0 if operation == row.RMS else np.float64(read(flat, o))
        total, squares = 0.0, 0.0
        for m in range(pieces):
            t, s = row_lanes.shifted_sums(flat, o + m * step, n, pivot)
            total += t
            squares += s
        mean, var = row.moments(operation, pivot, total, squares, pieces * n)
        statistics[0, i], statistics[1, i] = mean, var
        statistics[2, i] = row.spread(operation, var, pieces * n, eps)
    mean, rstd = statistics[0, i], statistics[2, i]
    high, drift = row.centre(mean, rstd, scale)
    for m in range(pieces):
        s, constant = np.float64(of_piece(scale, b, m, c)), of_piece(shift, b, m, c)
        if row.within_float32(rstd):
            slope, constant = scale.dtype.type(rstd * s), scale.dtype.type(constant + drift * s)
            row_lanes.apply_one(flat, o + m * step, n, high, slope, constant, out, streaming)
        else:
            row.apply_one_plainly(x[b, m, c], mean, rstd * s, constant, y[b, m, c])


@kernel
def forward_blocks(
    first: Any, last: Any, operation: Any, training: Any, x: Any, flat: Any, scale: Any, shift: Any, eps: Any, y: Any, out: Any,
    statistics: Any, streaming: Any,
) -> None:  # fmt: skip
    for i in range(first, last):
        forward_block(i, operation, training, x, flat, scale, shift, eps, y, out, statistics, streaming)
    if streaming:
        fence()


@parallel
def forward(operation: Any, training: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any) -> None:
    blocks, flat, out = x.shape[0] * x.shape[2], x.reshape(-1), y.reshape(-1)
    streaming, strips = may_stream(out, x.shape[3]), min(blocks, STRIPS)
    for k in prange(strips):
        first, last = blocks * k // strips, blocks * (k + 1) // strips
        forward_blocks(first, last, operation, training, x, flat, scale, shift, eps, y, out, statistics, streaming)


@kernel
def backward_plainly(
    operation: Any, training: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    """The one to read first.  dscale, dshift (B, M, C), float64: one number a piece, for the caller to add up."""
    blocks, pieces, channels, n = x.shape
    count = pieces * n
    for b in range(blocks):
        for c in range(channels):
            i = b * channels + c
            mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
            a, along = 0.0, 0.0
            for m in range(pieces):
                total, product = 0.0, 0.0
                for j in range(n):
                    d = np.float64(read(dy[b, m, c], j))
                    total += d
                    product += d * (read(x[b, m, c], j) - mean)
                dscale[b, m, c], dshift[b, m, c] = product * rstd, total
                a += total * of_piece(scale, b, m, c)
                along += product * of_piece(scale, b, m, c)
            a = a / count if training and operation != row.RMS else 0.0
            along = along / count * row.response(operation, var, rstd, count, eps) if training else 0.0
            for m in range(pieces):
                s = of_piece(scale, b, m, c)
                row.pull_back_one_plainly(dy[b, m, c], x[b, m, c], mean, rstd, a, along, s, dx[b, m, c])


@kernel
def backward_block(
    i: Any, operation: Any, training: Any, dy: Any, x: Any, ds: Any, xs: Any, statistics: Any, scale: Any, eps: Any,
    dx: Any, out: Any, dscale: Any, dshift: Any, streaming: Any,
) -> None:  # fmt: skip
    """One block while it is in the second cache: a pass for the sums of each piece, a pass for dx; ds, xs, out are flat."""
    _, pieces, channels, n = x.shape
    b, c, count, number = i // channels, i % channels, pieces * n, scale.dtype.type
    o, step = (b * pieces * channels + c) * n, channels * n
    mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
    a, along = 0.0, 0.0
    for m in range(pieces):
        total, product = row_lanes.sums(ds, xs, o + m * step, n, mean)
        dscale[b, m, c], dshift[b, m, c] = product * rstd, total
        a += total * of_piece(scale, b, m, c)
        along += product * of_piece(scale, b, m, c)
    a = a / count if training and operation != row.RMS else 0.0
    along = along / count * row.response(operation, var, rstd, count, eps) if training else 0.0
    high, drift = row.centre(mean, rstd, scale)
    r = 0.0 if training and count == 1 and operation != row.RMS else rstd              # the mean of one entry is that entry
    constant, quotient = number((a + drift * along) * r), number(along * r * r)
    for m in range(pieces):
        s = np.float64(of_piece(scale, b, m, c))
        if row.within_float32(rstd):
            slope = number(s * r)
            row_lanes.pull_back_one(ds, xs, o + m * step, n, high, slope, constant, quotient, out, streaming)
        else:
            row.pull_back_one_plainly(dy[b, m, c], x[b, m, c], mean, rstd, a, along, s, dx[b, m, c])


@kernel
def backward_blocks(
    first: Any, last: Any, operation: Any, training: Any, dy: Any, x: Any, ds: Any, xs: Any, statistics: Any, scale: Any,
    eps: Any, dx: Any, out: Any, dscale: Any, dshift: Any, streaming: Any,
) -> None:  # fmt: skip
    for i in range(first, last):
        backward_block(i, operation, training, dy, x, ds, xs, statistics, scale, eps, dx, out, dscale, dshift, streaming)
    if streaming:
        fence()


@parallel
def backward(
    operation: Any, training: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    blocks, ds, xs, out = x.shape[0] * x.shape[2], dy.reshape(-1), x.reshape(-1), dx.reshape(-1)
    streaming, strips = may_stream(out, x.shape[3]), min(blocks, STRIPS)
    for k in prange(strips):
        first, last = blocks * k // strips, blocks * (k + 1) // strips
        given = (dy, x, ds, xs, statistics, scale, eps, dx, out, dscale, dshift, streaming)
        backward_blocks(first, last, operation, training, *given)
