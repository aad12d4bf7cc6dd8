"""Columns, backward: columns.py says what a column is.

dscale, dshift (B, C), float64: a block's own, for the caller to add up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from . import row
from .columns import room, strips_of
from .columns_apply import pull_back_rows
from .columns_sums import add_products
from .jit import kernel, parallel
from .storage import read, write
from .streaming import may_stream


@kernel
def backward_plainly(
    operation: Any, training: Any, groups: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any,
    dx: Any, dscale: Any, dshift: Any,
) -> None:  # fmt: skip
    """The one to read first: a group of columns at a time."""
    blocks, rows, columns = x.shape
    k = columns // groups
    for b in range(blocks):
        p = b % len(scale)
        for group in range(groups):
            i, first, last = b * groups + group, group * k, group * k + k
            mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
            a, along = 0.0, 0.0
            for j in range(first, last):
                total, product = 0.0, 0.0
                for m in range(rows):
                    d = np.float64(read(dy[b, m], j))
                    total += d
                    product += d * (read(x[b, m], j) - mean)
                dscale[b, j], dshift[b, j] = product * rstd, total
                a += total * scale[p, j]
                along += product * scale[p, j]
            a = a / (rows * k) if training and operation != row.RMS else 0.0
            along = along / (rows * k) * row.response(operation, var, rstd, rows * k, eps) if training else 0.0
            for m in range(rows):
                for j in range(first, last):
                    xhat = (read(x[b, m], j) - mean) * rstd
                    write(dx[b, m], j, rstd * (read(dy[b, m], j) * scale[p, j] - a - xhat * along))


@kernel
def means(groups: Any, statistics: Any, blocks: Any, columns: Any) -> Any:
    """The mean that each column is centred by, float64 (B, C)."""
    mean = np.empty((blocks, columns))
    for b in range(blocks):
        for j in range(columns):
            mean[b, j] = statistics[0, b * groups + j // (columns // groups)]
    return mean


@kernel
def settle(
    operation: Any, training: Any, groups: Any, rows: Any, eps: Any, partial: Any, statistics: Any, scale: Any,
    dscale: Any, dshift: Any,
) -> Any:  # fmt: skip
    """dscale, dshift from the strips, in order; a and b of each column, (B, 2, C), both times 1 / std."""
    blocks, strips, _, columns = partial.shape
    k = columns // groups
    answer = np.zeros((blocks, 2, columns))
    for b in range(blocks):
        p = b % len(scale)
        for s in range(1, strips):
            for j in range(columns):
                partial[b, 0, 0, j] += partial[b, s, 0, j]
                partial[b, 0, 1, j] += partial[b, s, 1, j]
        for group in range(groups):
            i, first, last = b * groups + group, group * k, group * k + k
            var, rstd = statistics[1, i], statistics[2, i]
            a, along = 0.0, 0.0
            for j in range(first, last):
                dshift[b, j], dscale[b, j] = partial[b, 0, 0, j], partial[b, 0, 1, j] * rstd
                a += partial[b, 0, 0, j] * scale[p, j] / (rows * k)
                along += partial[b, 0, 1, j] * scale[p, j] / (rows * k)
            along *= row.response(operation, var, rstd, rows * k, eps)
            if training:
                answer[b, 0, first:last] = 0.0 if operation == row.RMS else a * rstd
                answer[b, 1, first:last] = along * rstd
    return answer


@kernel
def per_column(groups: Any, statistics: Any, scale: Any, answer: Any) -> Any:
    """(B, 4, C): high, slope, a and b of row.pull_back_one for each column; and can float32 hold them?"""
    blocks, _, columns = answer.shape
    k = columns // groups
    out = np.empty((blocks, 4, columns), scale.dtype)
    fits = True
    for b in range(blocks):
        p = b % len(scale)
        for j in range(columns):
            mean, rstd = statistics[0, b * groups + j // k], statistics[2, b * groups + j // k]
            high, drift = row.centre(mean, rstd, scale)
            out[b, 0, j], out[b, 1, j] = high, rstd * scale[p, j]
            out[b, 2, j], out[b, 3, j] = answer[b, 0, j] + drift * answer[b, 1, j], answer[b, 1, j] * rstd
            fits = fits and row.within_float32(rstd)
    return out, fits


@kernel
def pull_back_row_plainly(b: Any, groups: Any, dy: Any, x: Any, statistics: Any, scale: Any, answer: Any, dx: Any) -> None:
    k = x.size // groups
    for j in range(x.size):
        i = b * groups + j // k
        xhat = (read(x, j) - statistics[0, i]) * statistics[2, i]
        write(dx, j, read(dy, j) * scale[j] * statistics[2, i] - answer[0, j] - xhat * answer[1, j])


@kernel
def backward_strip(
    b: Any, t: Any, strips: Any, fits: Any, groups: Any, dy: Any, x: Any, factors: Any, statistics: Any, scale: Any,
    answer: Any, dx: Any,
) -> None:  # fmt: skip
    rows, f = x.shape[1], factors[b]
    first, last = rows * t // strips, rows * (t + 1) // strips
    if fits:
        pull_back_rows(first, last, dy[b], x[b], f[0], f[1], f[2], f[3], dx[b], may_stream(dx, x.shape[2]))
    else:
        for m in range(first, last):
            pull_back_row_plainly(b, groups, dy[b, m], x[b, m], statistics, scale[b % len(scale)], answer[b], dx[b, m])


@parallel
def backward(
    operation: Any, training: Any, groups: Any, dy: Any, x: Any, statistics: Any, scale: Any, eps: Any,
    dx: Any, dscale: Any, dshift: Any,
) -> None:  # fmt: skip
    blocks, rows, columns = x.shape
    strips = strips_of(blocks, rows)
    mean, partial = means(groups, statistics, blocks, columns), room(blocks, strips, columns)
    for s in prange(blocks * strips):
        b, t = s // strips, s % strips
        add_products(rows * t // strips, rows * (t + 1) // strips, dy[b], x[b], mean[b], partial[b, t])
    answer = settle(operation, training, groups, rows, eps, partial, statistics, scale, dscale, dshift)
    factors, fits = per_column(groups, statistics, scale, answer)
    for s in prange(blocks * strips):
        backward_strip(s // strips, s % strips, strips, fits, groups, dy, x, factors, statistics, scale, answer, dx)
