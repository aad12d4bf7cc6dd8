"""Columns: statistics down an axis, for many adjacent columns at once; groups of adjacent columns may share theirs.

x (B, M, C), a block is (b, group of K columns), in memory order, nothing moved:

    batch norm     (N, C)            (1, N, C), K = 1           (N, *spatial, C)    (1, N S, C), K = 1
    instance norm  (N, *spatial, C)  (N, S, C), K = 1
    group norm     (N, *spatial, C)  (N, S, C), K = C / num_groups

scale, shift (P, C): columns of b have those of b % P.  statistics (3, B C / K): mean, variance, 1 / std.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from . import row
from .columns_apply import apply_rows
from .columns_sums import add_squares
from .jit import kernel, parallel
from .storage import read, write
from .streaming import may_stream


@kernel
def forward_plainly(
    operation: Any, training: Any, groups: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any
) -> None:
    """The one to read first: a group of columns at a time, two passes, corrected.  In evaluation the statistics are given."""
    blocks, rows, columns = x.shape
    k = columns // groups
    count = rows * k
    for b in range(blocks):
        for group in range(groups):
            i, first, last = b * groups + group, group * k, group * k + k
            if training:
                mean, var = 0.0, 0.0
                if operation != row.RMS:
                    for m in range(rows):
                        for j in range(first, last):
                            mean += read(x[b, m], j)
                    mean /= count
                    lost = 0.0
                    for m in range(rows):
                        for j in range(first, last):
                            lost += read(x[b, m], j) - mean
                    mean += lost / count
                for m in range(rows):
                    for j in range(first, last):
                        var += (read(x[b, m], j) - mean) ** 2
                var /= count
                statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, row.spread(operation, var, count, eps)
            p, mean, rstd = b % len(scale), statistics[0, i], statistics[2, i]
            for m in range(rows):
                for j in range(first, last):
                    write(y[b, m], j, (read(x[b, m], j) - mean) * rstd * scale[p, j] + shift[p, j])


# The fast forward goes along memory: strips of rows, all columns of a row side by side in vector lanes.


@kernel
def strips_of(blocks: Any, rows: Any) -> Any:
    """Into how many strips a block's rows are cut: the shape decides and not the threads, so that sums come out the same."""
    return max(1, min(16 // max(blocks, 1), rows // 32))


@kernel
def room(blocks: Any, strips: Any, columns: Any) -> Any:
    """For each strip two sums a column, (blocks, strips, 2, columns)."""
    return np.zeros((blocks, strips, 2, columns))


@kernel
def pivots(operation: Any, x: Any) -> Any:
    """The first row of each block; 0 for RMS.  float64 (B, C)."""
    blocks, _, columns = x.shape
    pivot = np.zeros((blocks, columns))
    if operation != row.RMS:
        for b in range(blocks):
            for j in range(columns):
                pivot[b, j] = read(x[b, 0], j)
    return pivot


@kernel
def settle(operation: Any, groups: Any, rows: Any, eps: Any, pivot: Any, partial: Any, statistics: Any) -> None:
    """Statistics of each group: strips added in order, then columns joined by mean of means, and var of and between them."""
    blocks, strips, _, columns = partial.shape
    k = columns // groups
    for b in range(blocks):
        for s in range(1, strips):
            for j in range(columns):
                partial[b, 0, 0, j] += partial[b, s, 0, j]
                partial[b, 0, 1, j] += partial[b, s, 1, j]
        for group in range(groups):
            i, mean, var = b * groups + group, 0.0, 0.0
            first = group * k
            for j in range(first, first + k):               # about the group's first pivot, so that no digits are lost
                m, v = row.moments(operation, pivot[b, j], partial[b, 0, 0, j], partial[b, 0, 1, j], rows)
                partial[b, 0, 0, j] = m - pivot[b, first]
                mean += (m - pivot[b, first]) / k
                var += v / k
            for j in range(first, first + k):
                var += (partial[b, 0, 0, j] - mean) ** 2 / k
            mean = 0.0 if operation == row.RMS else pivot[b, first] + mean
            statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, row.spread(operation, var, rows * k, eps)


@kernel
def per_column(groups: Any, statistics: Any, scale: Any, shift: Any, blocks: Any) -> Any:
    """(B, 3, C): high, slope and shift of row.apply_one for each column; and can float32 hold them?"""
    columns = scale.shape[1]
    k = columns // groups
    out = np.empty((blocks, 3, columns), scale.dtype)
    fits = True
    for b in range(blocks):
        p = b % len(scale)
        for j in range(columns):
            mean, rstd = statistics[0, b * groups + j // k], statistics[2, b * groups + j // k]
            high, drift = row.centre(mean, rstd, scale)
            s = np.float64(scale[p, j])
            out[b, 0, j], out[b, 1, j], out[b, 2, j] = high, rstd * s, shift[p, j] + drift * s
            fits = fits and row.within_float32(rstd)
    return out, fits


@kernel
def apply_row_plainly(b: Any, groups: Any, x: Any, statistics: Any, scale: Any, shift: Any, y: Any) -> None:
    k = x.size // groups
    for j in range(x.size):
        i = b * groups + j // k
        write(y, j, (read(x, j) - statistics[0, i]) * statistics[2, i] * scale[j] + shift[j])


@parallel
def forward(
    operation: Any, training: Any, groups: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any, statistics: Any
) -> None:
    blocks, rows, columns = x.shape
    strips = strips_of(blocks, rows)
    if training:
        pivot, partial = pivots(operation, x), room(blocks, strips, columns)
        for s in prange(blocks * strips):
            b, t = s // strips, s % strips
            add_squares(rows * t // strips, rows * (t + 1) // strips, x[b], pivot[b], partial[b, t])
        settle(operation, groups, rows, eps, pivot, partial, statistics)
    factors, fits = per_column(groups, statistics, scale, shift, blocks)
    for s in prange(blocks * strips):
        forward_strip(s // strips, s % strips, strips, fits, groups, x, factors, statistics, scale, shift, y)


@kernel
def forward_strip(
    b: Any, t: Any, strips: Any, fits: Any, groups: Any, x: Any, factors: Any, statistics: Any, scale: Any, shift: Any, y: Any
) -> None:
    p, rows = b % len(scale), x.shape[1]
    first, last = rows * t // strips, rows * (t + 1) // strips
    if fits:
        apply_rows(first, last, x[b], factors[b, 0], factors[b, 1], factors[b, 2], y[b], may_stream(y, x.shape[2]))
    else:
        for m in range(first, last):
            apply_row_plainly(b, groups, x[b, m], statistics, scale[p], shift[p], y[b, m])
