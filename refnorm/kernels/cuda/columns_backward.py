"""Columns, backward, in the terms of columns.py.  With s an entry's scale, g = s dy and xhat = r (x - mean):

    dx = r (g - a - xhat c)      a = mean(g) (0 without a mean)      c = mean(g xhat) response

from four sums down each column: of dy, dy xhat, and of g, g xhat where the scale differs from row to row.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .columns import MOST_THREADS, down_the_block, entry_of, strip_of
from .jit import cuda, float64, int64
from .memory import read, write
from .reduction import WARP, block_sums
from .rows import loads, stores
from .statistics import RMS, response, within_float32


@cuda.jit
def backward_by_thread(
    operation: Any, training: Any, dy: Any, x: Any, blocks: Any, rows: Any, columns: Any, k: Any, statistics: Any, gamma: Any,
    has_gamma: Any, where: Any, offset: Any, factor: Any, eps: Any, dx: Any,
) -> None:  # fmt: skip
    """The one to read first: dx of one block a thread, in float64."""
    i = int64(cuda.grid(1))
    if i >= blocks:
        return
    b, first = i // (columns // k), i % (columns // k) * k
    mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
    whole, product = float64(0), float64(0)
    for m in range(rows):
        for c in range(first, first + k):
            o = (b * rows + m) * columns + c
            slope = factor * (offset + float64(read(gamma, entry_of(where, b, m, c)))) if has_gamma else float64(factor)
            whole += slope * read(dy, o)
            product += slope * read(dy, o) * (float64(read(x, o)) - mean) * rstd
    a = 0.0 if operation == RMS or not training else whole / (rows * k)
    q = product / (rows * k) * response(operation, var, rstd, rows * k, eps) if training else 0.0
    for m in range(rows):
        for c in range(first, first + k):
            o = (b * rows + m) * columns + c
            slope = factor * (offset + float64(read(gamma, entry_of(where, b, m, c)))) if has_gamma else float64(factor)
            write(dx, o, rstd * (slope * read(dy, o) - a - (float64(read(x, o)) - mean) * rstd * q))


@cuda.jit(device=True)
def hat_of(value: Any, statistics: Any, i: Any, high: Any, r: Any, drift: Any, narrow: Any) -> Any:
    """xhat of one entry, float64 only where float32 does not reach."""
    if narrow:
        return float64((value - high) * r + drift)
    return (float64(value) - statistics[0, i]) * statistics[2, i]


@cache
def sums_down(width: int, number: Any, again: bool = False) -> Any:
    """sums (B, strips, 2, C): sum(s dy), sum(s dy xhat) of each column from `at` on over rows first .. last, strip `strip`, by
    one thread block; s is the row's scale (1 unless `down`)."""
    fetch = loads(width, again)

    @cuda.jit(device=True)
    def sums_of(
        dy: Any, x: Any, rows: Any, columns: Any, k: Any, aligned: Any, b: Any, strip: Any, first: Any, last: Any, at: Any,
        statistics: Any, down: Any, gamma: Any, has_gamma: Any, where: Any, offset: Any, factor: Any, shared: Any, sums: Any,
    ) -> None:  # fmt: skip
        entry, d = cuda.local.array(width, number), cuda.local.array(width, number)
        high, r, drift = cuda.local.array(width, number), cuda.local.array(width, number), cuda.local.array(width, number)
        total, along = cuda.local.array(width, float64), cuda.local.array(width, float64)
        narrow = True
        for j in range(width):
            i = b * (columns // k) + min(at + j, int64(columns - 1)) // k
            mean, rstd = statistics[0, i], statistics[2, i]
            narrow = narrow and within_float32(rstd)
            high[j], r[j] = number(mean), number(rstd)
            drift[j] = number((float64(high[j]) - mean) * rstd)
            total[j], along[j] = float64(0), float64(0)
        for m in range(first + cuda.threadIdx.y, last, cuda.blockDim.y):
            o, scale = (b * rows + m) * columns, number(1)
            if down:
                scale = number(factor)
                if has_gamma:
                    scale = number(factor) * (number(offset) + number(read(gamma, entry_of(where, b, m, 0))))
            fetch(d, 0, dy, o, at, columns, aligned, number(0))
            fetch(entry, 0, x, o, at, columns, aligned, number(0))
            for j in range(width):
                i = b * (columns // k) + min(at + j, int64(columns - 1)) // k
                g = float64(d[j] * scale)
                total[j] += g
                along[j] += g * hat_of(entry[j], statistics, i, high[j], r[j], drift[j], narrow)
        for j in range(width):
            whole, product = down_the_block(total[j], along[j], shared)
            if cuda.threadIdx.y == 0 and at + j < columns:
                sums[b, strip, 0, at + j], sums[b, strip, 1, at + j] = whole, product

    return sums_of


@cache
def sums_of_strips(width: int, number: Any) -> Any:
    """sums as in sums_down, a thread block a strip."""
    sums_of = sums_down(width, number)

    @cuda.jit(launch_bounds=(MOST_THREADS, 2))
    def columns_sums(
        dy: Any, x: Any, rows: Any, columns: Any, k: Any, strips: Any, aligned: Any, statistics: Any, down: Any, gamma: Any,
        has_gamma: Any, where: Any, offset: Any, factor: Any, sums: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, MOST_THREADS), float64)
        b, first, last = strip_of(rows, strips)
        at = (int64(cuda.blockIdx.y) * cuda.blockDim.x + cuda.threadIdx.x) * width
        strip, scale = int64(cuda.blockIdx.x) % strips, (gamma, has_gamma, where, offset, factor)
        sums_of(dy, x, rows, columns, k, aligned, b, strip, first, last, at, statistics, down, *scale, shared, sums)

    return columns_sums


@cuda.jit
def add_strips(columns: Any, strips: Any, sums: Any) -> None:
    """sums[:, 0] becomes the sum over the strips, in order; one thread a column."""
    i = int64(cuda.grid(1))
    b, c = i // columns, i % columns
    if b >= len(sums):
        return
    for s in range(1, strips):
        sums[b, 0, 0, c] += sums[b, s, 0, c]
        sums[b, 0, 1, c] += sums[b, s, 1, c]


@cuda.jit
def join(
    operation: Any, training: Any, rows: Any, columns: Any, k: Any, statistics: Any, down: Any, gamma: Any, has_gamma: Any,
    where: Any, offset: Any, factor: Any, eps: Any, sums: Any, joint: Any,
) -> None:  # fmt: skip
    """joint (2, B C / K): a and c of a group of columns from its columns' sums; one warp a group."""
    shared = cuda.shared.array((2, WARP), float64)
    groups = columns // k
    i = int64(cuda.blockIdx.x)
    b, first = i // groups, i % groups * k
    whole, product = float64(0), float64(0)
    for c in range(first + cuda.threadIdx.x, first + k, cuda.blockDim.x):
        slope = float64(1) if down else float64(factor)
        if has_gamma and not down:
            slope = factor * (offset + float64(read(gamma, entry_of(where, b, 0, c))))
        whole += slope * sums[b, 0, 0, c]
        product += slope * sums[b, 0, 1, c]
    whole, product = block_sums(whole, product, shared)
    if cuda.threadIdx.x == 0:
        var, rstd, count = statistics[1, i], statistics[2, i], rows * k
        joint[0, i] = whole / count if training and operation != RMS else 0.0
        joint[1, i] = product / count * response(operation, var, rstd, count, eps) if training else 0.0


@cache
def pull_back_down(width: int, number: Any) -> Any:
    """dx of the columns from `at` on in rows first .. last."""
    fetch, put = loads(width), stores(width)

    @cuda.jit(device=True)
    def pull_back(
        dy: Any, x: Any, rows: Any, columns: Any, k: Any, aligned: Any, b: Any, first: Any, last: Any, at: Any, statistics: Any,
        gamma: Any, has_gamma: Any, where: Any, offset: Any, factor: Any, joint: Any, dx: Any,
    ) -> None:  # fmt: skip
        entry, d, steep = cuda.local.array(width, number), cuda.local.array(width, number), cuda.local.array(width, number)
        high, constant = cuda.local.array(width, number), cuda.local.array(width, number)
        quotient = cuda.local.array(width, number)
        narrow = True
        down = where[2] != 0
        for j in range(width):
            c = min(at + j, int64(columns - 1))
            i = b * (columns // k) + c // k
            mean, rstd = statistics[0, i], statistics[2, i]
            narrow = narrow and within_float32(rstd)
            high[j], steep[j] = number(mean), number(factor * rstd)
            if has_gamma and not down:
                steep[j] = number(factor * (offset + float64(read(gamma, entry_of(where, b, 0, c)))) * rstd)
            quotient[j] = number(joint[1, i] * rstd * rstd)
            constant[j] = number((joint[0, i] + (float64(high[j]) - mean) * rstd * joint[1, i]) * rstd)
        for m in range(first + cuda.threadIdx.y, last, cuda.blockDim.y):
            o, scale = (b * rows + m) * columns, number(1)
            if has_gamma and down:
                scale = number(offset) + number(read(gamma, entry_of(where, b, m, 0)))
            fetch(d, 0, dy, o, at, columns, aligned, number(0))
            fetch(entry, 0, x, o, at, columns, aligned, number(0))
            for j in range(width):
                if narrow:
                    d[j] = d[j] * scale * steep[j] - constant[j] - (entry[j] - high[j]) * quotient[j]
                else:                                # beyond float32's range on the way
                    c = min(at + j, int64(columns - 1))
                    i = b * (columns // k) + c // k
                    slope = float64(factor)
                    if has_gamma:
                        slope = factor * (offset + float64(read(gamma, entry_of(where, b, m, c))))
                    hat = (float64(entry[j]) - statistics[0, i]) * statistics[2, i]
                    d[j] = statistics[2, i] * (float64(d[j]) * slope - joint[0, i] - hat * joint[1, i])
            put(dx, o, at, columns, aligned, d, 0)

    return pull_back


@cache
def pull_back_strips(width: int, number: Any) -> Any:
    pull_back = pull_back_down(width, number)

    @cuda.jit(launch_bounds=(MOST_THREADS, 2))
    def columns_pull_back(
        dy: Any, x: Any, rows: Any, columns: Any, k: Any, strips: Any, aligned: Any, statistics: Any, gamma: Any,
        has_gamma: Any, where: Any, offset: Any, factor: Any, joint: Any, dx: Any,
    ) -> None:  # fmt: skip
        b, first, last = strip_of(rows, strips)
        at = (int64(cuda.blockIdx.y) * cuda.blockDim.x + cuda.threadIdx.x) * width
        scale = (gamma, has_gamma, where, offset, factor)
        pull_back(dy, x, rows, columns, k, aligned, b, first, last, at, statistics, *scale, joint, dx)

    return columns_pull_back
