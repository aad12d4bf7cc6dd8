"""Positions: statistics down each column, parameters down it too.  Positional norm of (N, C, *spatial).

x (B, M, C) with the channels along M and one position a column; scale, shift (M,); statistics (3, B C).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from . import row
from .columns_sums import add_squares
from .jit import elementwise, kernel, parallel, reduction
from .storage import read, write


@kernel
def forward_plainly(operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any) -> None:
    """The one to read first: a column at a time, two passes, corrected."""
    blocks, rows, columns = x.shape
    for b in range(blocks):
        for j in range(columns):
            i, mean, lost, var = b * columns + j, 0.0, 0.0, 0.0
            if operation != row.RMS:
                for m in range(rows):
                    mean += read(x[b, m], j)
                mean /= rows
                for m in range(rows):
                    lost += read(x[b, m], j) - mean
                mean += lost / rows
            for m in range(rows):
                var += (read(x[b, m], j) - mean) ** 2 / rows
            rstd = row.spread(operation, var, rows, eps)
            statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
            for m in range(rows):
                write(y[b, m], j, (read(x[b, m], j) - mean) * rstd * scale[m] + shift[m])


@elementwise
def apply_row(x: Any, mean: Any, rstd: Any, scale: Any, shift: Any, y: Any) -> None:
    """In float64: the mean needs no second part."""
    for j in range(x.size):
        write(y, j, (read(x, j) - mean[j]) * rstd[j] * scale + shift)


@kernel
def forward_block(b: Any, operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any) -> None:
    """One sample, along memory: a pass for the sums of all columns, a pass to apply."""
    rows, columns = x.shape[1:]
    pivot, sums = np.zeros(columns), np.zeros((2, columns))
    if operation != row.RMS:
        for j in range(columns):
            pivot[j] = read(x[b, 0], j)
    add_squares(0, rows, x[b], pivot, sums)
    first = b * columns
    for j in range(columns):
        mean, var = row.moments(operation, pivot[j], sums[0, j], sums[1, j], rows)
        i = first + j
        statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, row.spread(operation, var, rows, eps)
    mine = statistics[:, first : first + columns]
    for m in range(rows):
        apply_row(x[b, m], mine[0], mine[2], scale[m], shift[m], y[b, m])


@parallel
def forward(operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any) -> None:
    for b in prange(len(x)):
        forward_block(b, operation, x, scale, shift, eps, y, statistics)


@kernel
def backward_plainly(
    operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    """The one to read first.  dscale, dshift (B, M), float64: a block's own, for the caller to add up."""
    blocks, rows, columns = x.shape
    dscale[:], dshift[:] = 0, 0
    for b in range(blocks):
        for j in range(columns):
            i = b * columns + j
            mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
            a, along = 0.0, 0.0
            for m in range(rows):
                g = read(dy[b, m], j) * scale[m]
                a += g / rows
                along += g * (read(x[b, m], j) - mean) / rows
            a = 0.0 if operation == row.RMS else a
            along *= row.response(operation, var, rstd, rows, eps)
            for m in range(rows):
                d, xhat = np.float64(read(dy[b, m], j)), (read(x[b, m], j) - mean) * rstd
                write(dx[b, m], j, rstd * (d * scale[m] - a - xhat * along))
                dscale[b, m] += d * xhat
                dshift[b, m] += d


@elementwise
def add_row(dy: Any, x: Any, mean: Any, scale: Any, total: Any, product: Any) -> None:
    for j in range(dy.size):
        g = np.float64(read(dy, j)) * scale
        total[j] += g
        product[j] += g * (read(x, j) - mean[j])


@reduction
def sums_of_row(dy: Any, x: Any, mean: Any, rstd: Any) -> Any:
    """sum(dy xhat), sum(dy)."""
    along, total = 0.0, 0.0
    for j in range(dy.size):
        d = np.float64(read(dy, j))
        along += d * ((read(x, j) - mean[j]) * rstd[j])
        total += d
    return along, total


@elementwise
def pull_back_row(dy: Any, x: Any, mean: Any, rstd: Any, scale: Any, a: Any, b: Any, dx: Any) -> None:
    for j in range(dy.size):
        xhat = (read(x, j) - mean[j]) * rstd[j]
        write(dx, j, rstd[j] * (read(dy, j) * scale - a[j] - xhat * b[j]))


@kernel
def backward_block(
    b: Any, operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    rows, columns = x.shape[1:]
    mine = statistics[:, b * columns : (b + 1) * columns]
    mean, var, rstd, sums = mine[0], mine[1], mine[2], np.zeros((2, columns))
    for m in range(rows):
        add_row(dy[b, m], x[b, m], mean, scale[m], sums[0], sums[1])
        dscale[b, m], dshift[b, m] = sums_of_row(dy[b, m], x[b, m], mean, rstd)
    for j in range(columns):
        sums[0, j] = 0.0 if operation == row.RMS else sums[0, j] / rows
        sums[1, j] = sums[1, j] / rows * row.response(operation, var[j], rstd[j], rows, eps)
    for m in range(rows):
        pull_back_row(dy[b, m], x[b, m], mean, rstd, scale[m], sums[0], sums[1], dx[b, m])


@parallel
def backward(
    operation: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any, dx: Any, dscale: Any, dshift: Any
) -> None:
    for b in prange(len(x)):
        backward_block(b, operation, dy, x, statistics, scale, eps, dx, dscale, dshift)
