"""Columns: statistics down an axis, for many adjacent columns at once; groups of K adjacent columns may share theirs.

x (B, M, C) in one dimension, a block is (b, group of K columns):

    batch norm      (N, C)            (1, N, C), K = 1         (N, *spatial, C)    (1, N S, C), K = 1
    instance norm   (N, *spatial, C)  (N, S, C), K = 1
    group norm      (N, *spatial, C)  (N, S, C), K = C / num_groups
    positional norm (N, C, *spatial)  (N, C, S), K = 1, parameters down the columns

`where` is (P, steps along b, m and c, R): entry (b, m, c) has the parameter at (b % P) sb + m sm + (c // R) sc.
statistics (3, B C / K), float64: mean, variance, 1 / std.

A thread block reads `blockDim.x` vectors of adjacent columns in a strip of rows, blockDim.y rows at a time, so that every
access is of 16 bytes and adjacent threads read adjacent vectors.  The shape decides how many strips; their sums are added in
order.  All strips of a column are shifted by the same entry, the column's first, so that merging their moments is adding their
sums; columns of a group are merged by Chan's rule, the mean of the means and the variance within and between them.  Where all
rows of some columns stay in a cache one thread block does all of it (columns_team.py).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .jit import cuda, float64, int64
from .memory import read, write
from .reduction import WARP, block_sums
from .rows import loads, stores
from .statistics import RMS, moments, spread, within_float32

MOST_THREADS = 256


@cuda.jit
def forward_by_thread(
    operation: Any, x: Any, blocks: Any, rows: Any, columns: Any, k: Any, gamma: Any, has_gamma: Any, beta: Any, has_beta: Any,
    where: Any, offset: Any, factor: Any, eps: Any, y: Any, statistics: Any,
) -> None:  # fmt: skip
    """The one to read first: one thread a block, in float64.  blocks: B C / K."""
    i = int64(cuda.grid(1))
    if i >= blocks:
        return
    b, first = i // (columns // k), i % (columns // k) * k
    pivot = float64(0) if operation == RMS else float64(read(x, b * rows * columns + first))
    total, squares = float64(0), float64(0)
    for m in range(rows):
        for c in range(first, first + k):
            d = float64(read(x, (b * rows + m) * columns + c)) - pivot
            total += d
            squares += d * d
    mean, var = moments(operation, pivot, total, squares, rows * k)
    rstd = spread(operation, var, rows * k, eps)
    statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
    for m in range(rows):
        for c in range(first, first + k):
            place, o = entry_of(where, b, m, c), (b * rows + m) * columns + c
            slope = factor * (offset + float64(read(gamma, place))) if has_gamma else float64(factor)
            shift = float64(read(beta, place)) if has_beta else float64(0)
            write(y, o, (float64(read(x, o)) - mean) * rstd * slope + shift)


@cuda.jit(device=True)
def entry_of(where: Any, b: Any, m: Any, c: Any) -> Any:
    """Where entry (b, m, c) has its parameters."""
    return int64(b) % where[0] * where[1] + m * where[2] + int64(c) // where[4] * where[3]


@cuda.jit(device=True)
def strip_of(rows: Any, strips: Any) -> Any:
    """b, first row and last of the strip that this thread block has; blockIdx.x counts (b, strip)."""
    b, s = int64(cuda.blockIdx.x) // strips, int64(cuda.blockIdx.x) % strips
    return b, rows * s // strips, rows * (s + 1) // strips


@cuda.jit(device=True)
def down_the_block(a: Any, b: Any, shared: Any) -> Any:
    """a and b summed over threadIdx.y, halves upon halves, for the threads of row 0; shared (2, threads) float64.

    blockDim.y is a power of two.
    """
    x, y, width = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockDim.x
    half = cuda.blockDim.y // 2
    while half > 0:
        cuda.syncthreads()                           # whoever still reads what was here before
        if half <= y < 2 * half:
            shared[0, y * width + x], shared[1, y * width + x] = a, b
        cuda.syncthreads()
        if y < half:
            a += shared[0, (y + half) * width + x]
            b += shared[1, (y + half) * width + x]
        half //= 2
    return a, b


@cache
def squares_down(width: int, number: Any, again: bool = False) -> Any:
    """sums (B, strips, 2, C): sum(x - pivot) and sum((x - pivot)^2) of each column from column `at` on, the pivot its first
    entry, over rows first .. last, strip s; by one thread block, with `shared` as in down_the_block."""
    fetch = loads(width, again)

    @cuda.jit(device=True)
    def squares_of(
        operation: Any, x: Any, rows: Any, columns: Any, aligned: Any, b: Any, s: Any, first: Any, last: Any, at: Any,
        shared: Any, sums: Any,
    ) -> None:  # fmt: skip
        entry, pivot = cuda.local.array(width, number), cuda.local.array(width, number)
        total, squares = cuda.local.array(width, float64), cuda.local.array(width, float64)
        fetch(pivot, 0, x, b * rows * columns, at, columns, aligned, number(0))
        for j in range(width):
            if operation == RMS:
                pivot[j] = number(0)
            total[j], squares[j] = float64(0), float64(0)
        for m in range(first + cuda.threadIdx.y, last, cuda.blockDim.y):
            fetch(entry, 0, x, (b * rows + m) * columns, at, columns, aligned, number(0))
            for j in range(width):
                d = float64(entry[j]) - float64(pivot[j])
                total[j] += d
                squares[j] += d * d
        for j in range(width):
            whole, square = down_the_block(total[j], squares[j], shared)
            if cuda.threadIdx.y == 0 and at + j < columns:
                sums[b, s, 0, at + j], sums[b, s, 1, at + j] = whole, square

    return squares_of


@cache
def squares_of_strips(width: int, number: Any) -> Any:
    """sums as in squares_down, a thread block a strip."""
    squares_of = squares_down(width, number)

    @cuda.jit(launch_bounds=(MOST_THREADS, 2))
    def columns_squares(operation: Any, x: Any, rows: Any, columns: Any, strips: Any, aligned: Any, sums: Any) -> None:
        shared = cuda.shared.array((2, MOST_THREADS), float64)
        b, first, last = strip_of(rows, strips)
        at = (int64(cuda.blockIdx.y) * cuda.blockDim.x + cuda.threadIdx.x) * width
        s = int64(cuda.blockIdx.x) % strips
        squares_of(operation, x, rows, columns, aligned, b, s, first, last, at, shared, sums)

    return columns_squares


@cuda.jit
def settle_columns(operation: Any, rows: Any, columns: Any, strips: Any, sums: Any) -> None:
    """Of each column its mean, less its pivot, and its variance, into sums[:, 0]; one thread a column, strips in order."""
    i = int64(cuda.grid(1))
    b, c = i // columns, i % columns
    if b >= len(sums):
        return
    total, squares = float64(0), float64(0)
    for s in range(strips):
        total += sums[b, s, 0, c]
        squares += sums[b, s, 1, c]
    mean, var = moments(operation, float64(0), total, squares, rows)
    sums[b, 0, 0, c], sums[b, 0, 1, c] = mean, var


@cuda.jit
def settle_groups(operation: Any, x: Any, rows: Any, columns: Any, k: Any, eps: Any, sums: Any, statistics: Any) -> None:
    """Statistics of the groups of K columns; one warp a group.  Means are taken from the group's first pivot: no digit is
    lost."""
    shared = cuda.shared.array((2, WARP), float64)
    groups = columns // k
    i = int64(cuda.blockIdx.x)
    b, first = i // groups, i % groups * k
    o = b * rows * columns
    pivot, mean, var, between, none = float64(0), float64(0), float64(0), float64(0), float64(0)
    if operation != RMS:
        pivot = float64(read(x, o + first))
    for c in range(first + cuda.threadIdx.x, first + k, cuda.blockDim.x):
        if operation != RMS:
            mean += float64(read(x, o + c)) - pivot + sums[b, 0, 0, c]
        var += sums[b, 0, 1, c]
    mean, var = block_sums(mean, var, shared)
    mean, var = mean / k, var / k
    if operation != RMS:
        for c in range(first + cuda.threadIdx.x, first + k, cuda.blockDim.x):
            d = float64(read(x, o + c)) - pivot + sums[b, 0, 0, c] - mean
            between += d * d
    between, none = block_sums(between, none, shared)
    var += between / k
    if cuda.threadIdx.x == 0:
        statistics[0, i], statistics[1, i] = pivot + mean, var
        statistics[2, i] = spread(operation, var, rows * k, eps)


@cache
def apply_down(width: int, number: Any) -> Any:
    """y of the columns from `at` on in rows first .. last."""
    fetch, put = loads(width), stores(width)

    @cuda.jit(device=True)
    def apply(
        x: Any, rows: Any, columns: Any, k: Any, aligned: Any, b: Any, first: Any, last: Any, at: Any, statistics: Any,
        gamma: Any, has_gamma: Any, beta: Any, has_beta: Any, where: Any, offset: Any, factor: Any, y: Any,
    ) -> None:  # fmt: skip
        entry, high, r = cuda.local.array(width, number), cuda.local.array(width, number), cuda.local.array(width, number)
        drift, slope, shift = cuda.local.array(width, number), cuda.local.array(width, number), cuda.local.array(width, number)
        narrow = True
        down = where[2] != 0                         # parameters down the columns: another one in each row
        for j in range(width):
            c = min(at + j, int64(columns - 1))
            i = b * (columns // k) + c // k
            mean, rstd = statistics[0, i], statistics[2, i]
            narrow = narrow and within_float32(rstd)
            high[j], r[j] = number(mean), number(rstd)
            drift[j] = number((float64(high[j]) - mean) * rstd)
            place = entry_of(where, b, 0, c)
            slope[j] = number(factor) * (number(offset) + number(read(gamma, place))) if has_gamma else number(factor)
            shift[j] = number(read(beta, place)) if has_beta else number(0)
        for m in range(first + cuda.threadIdx.y, last, cuda.blockDim.y):
            o = (b * rows + m) * columns
            fetch(entry, 0, x, o, at, columns, aligned, number(0))
            for j in range(width):
                if down:
                    place = entry_of(where, b, m, 0)
                    slope[j] = number(factor) * (number(offset) + number(read(gamma, place))) if has_gamma else number(factor)
                    shift[j] = number(read(beta, place)) if has_beta else number(0)
                if narrow:
                    entry[j] = ((entry[j] - high[j]) * r[j] + drift[j]) * slope[j] + shift[j]
                else:                                # beyond float32's range on the way
                    i = b * (columns // k) + min(at + j, int64(columns - 1)) // k
                    hat = (float64(entry[j]) - statistics[0, i]) * statistics[2, i]
                    entry[j] = hat * float64(slope[j]) + float64(shift[j])
            put(y, o, at, columns, aligned, entry, 0)

    return apply


@cache
def apply_to_strips(width: int, number: Any) -> Any:
    """y from x and the statistics; also the whole forward in evaluation."""
    apply = apply_down(width, number)

    @cuda.jit(launch_bounds=(MOST_THREADS, 2))
    def columns_apply(
        x: Any, rows: Any, columns: Any, k: Any, strips: Any, aligned: Any, statistics: Any, gamma: Any, has_gamma: Any,
        beta: Any, has_beta: Any, where: Any, offset: Any, factor: Any, y: Any,
    ) -> None:  # fmt: skip
        b, first, last = strip_of(rows, strips)
        at = (int64(cuda.blockIdx.y) * cuda.blockDim.x + cuda.threadIdx.x) * width
        scale = (gamma, has_gamma, beta, has_beta, where, offset, factor)
        apply(x, rows, columns, k, aligned, b, first, last, at, statistics, *scale, y)

    return columns_apply
