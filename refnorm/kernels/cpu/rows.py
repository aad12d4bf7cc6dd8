"""Rows: statistics along the last axis, parameters along it too.  Layer norm, positional norm of (N, *spatial, C).

x (R, n); scale, shift (P, n), row i has those of i % P; statistics (3, R), float64: mean, variance, 1 / std.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from . import row
from .jit import kernel, parallel
from .storage import read


@kernel
def forward_plainly(operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any) -> None:
    """The one to read first: row by row."""
    for i in range(len(x)):
        p = i % len(scale)
        mean, var, rstd = row.normalize_plainly(operation, x[i], scale[p], shift[p], eps, y[i])
        statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd


@kernel
def forward_row(
    i: Any, n: Any, operation: Any, x: Any, scale: Any, shift: Any, p: Any, eps: Any, y: Any, statistics: Any
) -> None:
    """Row i of the flat x, with the parameters' entries from p on: one pass for the sums, one to apply, while it is in the
    first cache."""
    o = i * n
    pivot = 0.0 if operation == row.RMS else np.float64(read(x, o))
    total, squares = row.shifted_sums(x, o, n, pivot)
    mean, var = row.moments(operation, pivot, total, squares, n)
    rstd = row.spread(operation, var, n, eps)
    statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
    if row.within_float32(rstd):
        high, drift = row.centre(mean, rstd, scale)
        row.apply(x, o, n, high, scale.dtype.type(rstd), scale.dtype.type(drift), scale, shift, p, y)
    else:
        row.apply_plainly(x[o : o + n], mean, rstd, scale[p : p + n], shift[p : p + n], y[o : o + n])


@parallel
def forward(operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any) -> None:
    rows, n = x.shape
    period = len(scale)
    flat, out, scales, shifts = x.reshape(-1), y.reshape(-1), scale.reshape(-1), shift.reshape(-1)
    for i in prange(rows):
        forward_row(i, n, operation, flat, scales, shifts, i % period * n, eps, out, statistics)


@kernel
def backward_plainly(
    operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    """The one to read first.  dscale, dshift (P, n), float64, are overwritten."""
    dscale[:], dshift[:] = 0, 0
    for i in range(len(x)):
        p = i % len(scale)
        mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
        row.pull_back_plainly(operation, True, dy[i], x[i], mean, var, rstd, scale[p], eps, dx[i], dscale[p], dshift[p])


@kernel
def backward_rows(
    first: Any, last: Any, operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any,
    dx: Any, dscale: Any, dshift: Any,
) -> None:  # fmt: skip
    """Rows first..last, their parts of the parameter gradients added up in dscale and dshift."""
    n, number = x.shape[1], scale.dtype.type
    ds, xs, out, flat = dy.reshape(-1), x.reshape(-1), dx.reshape(-1), scale.reshape(-1)
    along_scale, along_shift = dscale.reshape(-1), dshift.reshape(-1)
    for i in range(first, last):
        p, o = i % len(scale), i * n
        mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
        if not row.within_float32(rstd):
            row.pull_back_plainly(operation, True, dy[i], x[i], mean, var, rstd, scale[p], eps, dx[i], dscale[p], dshift[p])
            continue
        total, along = row.scaled_sums(ds, xs, o, n, flat, p * n, mean)
        a = number(0 if operation == row.RMS else total / n)
        b = number(along / n * row.response(operation, var, rstd, n, eps))
        high, drift = row.centre(mean, rstd, scale)
        r, t = number(rstd), number(drift)
        row.pull_back(ds, xs, o, n, high, r, t, a, b, flat, p * n, out)
        row.add_parameters(ds, xs, o, n, high, r, t, along_scale, along_shift, p * n)


@kernel
def blocks_of(rows: Any) -> Any:
    """How many blocks of rows: the shape decides and not the threads, so that sums over rows come out the same."""
    return min(16, max(1, rows // 16))


@kernel
def empty_sums(blocks: Any, scale: Any) -> Any:
    """For each block dscale and dshift, (blocks, 2, P, n)."""
    return np.zeros((blocks, 2, scale.shape[0], scale.shape[1]))


@kernel
def add_blocks(partial: Any, dscale: Any, dshift: Any) -> None:
    """The blocks' sums, added in order."""
    dscale[:], dshift[:] = partial[0, 0], partial[0, 1]
    for k in range(1, len(partial)):
        for p in range(len(dscale)):
            for j in range(dscale.shape[1]):
                dscale[p, j] += partial[k, 0, p, j]
                dshift[p, j] += partial[k, 1, p, j]


@parallel
def backward(
    operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    rows, blocks = len(x), blocks_of(len(x))
    partial = empty_sums(blocks, scale)
    for k in prange(blocks):
        first, last = rows * k // blocks, rows * (k + 1) // blocks
        backward_rows(first, last, operation, dy, x, statistics, scale, eps, dx, partial[k, 0], partial[k, 1])
    add_blocks(partial, dscale, dshift)
