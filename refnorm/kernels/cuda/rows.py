"""Rows: statistics along the last axis, parameters along it too.  Layer norm, RMS norm.  START READING HERE.

x, y (R n) in one dimension, row i at i n; gamma, beta (P n), row i has those of i % P; statistics (3, R), float64: mean,
variance, 1 / std.  An absent parameter is a flag, and offset is 0 then; some other array stands in its place and is not read.

    mu = mean(x)      s2 = mean((x - mu)^2)      r = 1 / sqrt(s2 + eps)      y = factor (offset + gamma) r (x - mu) + beta

Three kernels, each the one before made faster: a thread a row; a block a row; a team of threads a row, the row in registers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from . import memory
from .jit import cuda, float32, float64, int64
from .memory import read, write
from .reduction import WARP, team_sums
from .statistics import RMS, moments, spread, within_float32


@cuda.jit
def forward_by_thread(
    operation: Any, x: Any, rows: Any, n: Any, period: Any, gamma: Any, has_gamma: Any, beta: Any, has_beta: Any,
    offset: Any, factor: Any, eps: Any, y: Any, statistics: Any,
) -> None:  # fmt: skip
    """The one to read first: one thread a row, in float64.

    Two passes over the row.  Neighbouring threads are n entries apart, so that each access of a warp touches 32 lines of
    memory.
    """
    i = int64(cuda.grid(1))
    if i >= rows:
        return
    o, q = i * n, i % period * n
    pivot = float64(0) if operation == RMS else float64(read(x, o))
    total, squares = float64(0), float64(0)
    for j in range(n):
        d = float64(read(x, o + j)) - pivot
        total += d
        squares += d * d
    mean, var = moments(operation, pivot, total, squares, n)
    rstd = spread(operation, var, n, eps)
    statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
    for j in range(n):
        slope = factor * (offset + read(gamma, q + j)) if has_gamma else factor * 1.0
        shift = float64(read(beta, q + j)) if has_beta else 0.0
        write(y, o + j, (float64(read(x, o + j)) - mean) * rstd * slope + shift)


@cuda.jit
def forward_by_block(
    operation: Any, x: Any, rows: Any, n: Any, period: Any, gamma: Any, has_gamma: Any, beta: Any, has_beta: Any,
    offset: Any, factor: Any, eps: Any, y: Any, statistics: Any,
) -> None:  # fmt: skip
    """One block a row: neighbouring threads read neighbouring entries, and add up in shared memory."""
    sums = cuda.shared.array((2, 1024), float64)
    i, t, threads = int64(cuda.blockIdx.x), cuda.threadIdx.x, cuda.blockDim.x
    o, q = i * n, i % period * n
    pivot = float64(0) if operation == RMS else float64(read(x, o))
    total, squares = float64(0), float64(0)
    for j in range(t, n, threads):
        d = float64(read(x, o + j)) - pivot
        total += d
        squares += d * d
    sums[0, t], sums[1, t] = total, squares
    cuda.syncthreads()
    half = threads // 2                              # a power of two
    while half > 0:
        if t < half:
            sums[0, t] += sums[0, t + half]
            sums[1, t] += sums[1, t + half]
        cuda.syncthreads()
        half //= 2
    mean, var = moments(operation, pivot, sums[0, 0], sums[1, 0], n)
    rstd = spread(operation, var, n, eps)
    if t == 0:
        statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
    for j in range(t, n, threads):
        slope = factor * (offset + read(gamma, q + j)) if has_gamma else factor * 1.0
        shift = float64(read(beta, q + j)) if has_beta else 0.0
        write(y, o + j, (float64(read(x, o + j)) - mean) * rstd * slope + shift)


# The fast forward.  A row is read once, in 16-byte accesses that are all under way at the same time, and stays in registers:
# thread t of a team has the vectors t, t + T, t + 2 T ... of `width` entries.  Rows that are short share a warp, rows that are
# longer have a block.  The order of every sum depends on n and on x's type alone, not on the batch and not on how the
# array is aligned: where it is not aligned, the same entries are read one by one.


@cache
def loads(width: int, again: bool = False) -> Any:
    """fetch(entry, k, x, o, i, n, aligned, rest): entry[k : k + width] = x[o + i ...], `rest` from entry n of the row on.

    again: for what the same block reads again, which stays in its cache.
    """
    streamed = memory.kept(width) if again else memory.streamed(width)

    @cuda.jit(device=True)
    def fetch(entry: Any, k: Any, x: Any, o: Any, i: Any, n: Any, aligned: Any, rest: Any) -> None:
        if aligned and i < n:
            streamed(entry, k, x, o + i)
        else:
            for j in range(width):
                entry[k + j] = read(x, o + i + j) if i + j < n else rest

    return fetch


@cache
def parameters(width: int) -> Any:
    """fetch_kept(entry, p, o, i, n, aligned, given, neutral): a vector of a parameter, `neutral` where there is none."""
    kept = memory.kept(width)

    @cuda.jit(device=True)
    def fetch_kept(entry: Any, p: Any, o: Any, i: Any, n: Any, aligned: Any, given: Any, neutral: Any) -> None:
        if given and aligned and i < n:
            kept(entry, 0, p, o + i)
        else:
            for j in range(width):
                entry[j] = read(p, o + i + j) if given and i + j < n else neutral

    return fetch_kept


@cache
def stores(width: int) -> Any:
    """put(y, o, i, n, aligned, entry, k): y[o + i ...] = entry[k : k + width], up to entry n of the row."""
    stored = memory.stored(width)

    @cuda.jit(device=True)
    def put(y: Any, o: Any, i: Any, n: Any, aligned: Any, entry: Any, k: Any) -> None:
        if aligned and i < n:
            stored(y, o + i, entry, k)
        else:
            for j in range(width):
                if i + j < n:
                    write(y, o + i + j, entry[k + j])

    return put


@cache
def forward(width: int, vectors: int, number: Any, bound: int) -> Any:
    """The kernel for teams of blockDim.x threads with `vectors` vectors each; blockDim.y teams a block of at most `bound`
    threads.

    blockDim.x is a power of two up to 32 or a multiple of 32.  Aligned: n a multiple of width, all arrays on 16-byte
    boundaries.
    """
    entries = width * vectors
    fetch, fetch_kept, put = loads(width), parameters(width), stores(width)

    @cuda.jit(launch_bounds=bound)
    def rows_forward(
        operation: Any, x: Any, rows: Any, n: Any, period: Any, aligned: Any, gamma: Any, has_gamma: Any, beta: Any,
        has_beta: Any, offset: Any, factor: Any, eps: Any, y: Any, statistics: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, WARP), float64)
        entry, g, b = cuda.local.array(entries, number), cuda.local.array(width, number), cuda.local.array(width, number)
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        row = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        live = row < rows
        i = row if live else int64(rows - 1)         # shuffles need every lane: teams past the end repeat the last row
        o, q = i * n, i % period * n
        first = number(0) if operation == RMS else number(read(x, o))
        for k in range(vectors):
            fetch(entry, k * width, x, o, (k * threads + t) * width, n, aligned, first)
        pivot, total, squares = float64(first), float64(0), float64(0)
        for j in range(entries):                     # past the end an entry is the pivot, or 0: it adds nothing
            d = float64(entry[j]) - pivot
            total += d
            squares += d * d
        total, squares = team_sums(total, squares, shared)
        mean, var = moments(operation, pivot, total, squares, n)
        rstd = spread(operation, var, n, eps)
        if not live:
            return
        if t == 0:
            statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
        narrow = within_float32(rstd)
        high = number(mean)                          # x - high is exact where it cancels; drift is what high lost of the mean
        r, drift = number(rstd), number((float64(high) - mean) * rstd)
        for k in range(vectors):
            at = (k * threads + t) * width
            fetch_kept(g, gamma, q, at, n, aligned, has_gamma, number(1))
            fetch_kept(b, beta, q, at, n, aligned, has_beta, number(0))
            for j in range(width):
                slope = number(factor) * (number(offset) + g[j])
                if narrow:
                    entry[k * width + j] = ((entry[k * width + j] - high) * r + drift) * slope + b[j]
                else:                                # beyond float32's range on the way
                    entry[k * width + j] = (float64(entry[k * width + j]) - mean) * rstd * float64(slope) + float64(b[j])
            put(y, o, at, n, aligned, entry, k * width)

    return rows_forward


NUMBERS = {np.dtype(np.float64): float64}


def number_of(dtype: np.dtype) -> Any:
    """The type that entries of a dtype are computed in."""
    return NUMBERS.get(np.dtype(dtype), float32)
