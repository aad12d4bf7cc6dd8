"""Planes: a block of statistics is made of contiguous pieces of n entries, one scale and one shift for each piece.

x (B, M, C, n), in one dimension: a block i is (b, c), its pieces lie along M, piece (b, m, c) at ((b M + m) C + c) n.

    batch norm     (N, C, *spatial)    (1, N, C, n)            a block is a channel, its pieces one a sample
    group norm     (N, C, *spatial)    (N G, C / G, 1, n)      a block is a group, its pieces one a channel
    instance norm  (N, C, *spatial)    (N C, 1, 1, n)
    weights        (out, in, *kernel)  (out, 1, 1, n)

`where` is (P, steps along b, m and c): piece (b, m, c) has the parameter at (b % P) sb + m sm + c sc, so parameters are read
where they are.  statistics (3, B C), float64: mean, variance, 1 / std.

A block of moderate size has a team of threads of its own, which reads it twice; the second time it is in a cache.  A larger one
is cut into parts (planes_parts.py).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .jit import cuda, float64, int64
from .memory import read, write
from .reduction import WARP, block_sums
from .rows import loads, stores
from .statistics import RMS, moments, spread, within_float32


@cuda.jit(device=True)
def place_of(where: Any, b: Any, m: Any, c: Any) -> Any:
    """Where piece (b, m, c) has its parameters."""
    return int64(b) % where[0] * where[1] + m * where[2] + c * where[3]


@cuda.jit(device=True)
def slope_of(gamma: Any, has_gamma: Any, place: Any, offset: Any, factor: Any) -> Any:
    """factor (offset + gamma), float64."""
    return factor * (offset + float64(read(gamma, place))) if has_gamma else float64(factor)


@cuda.jit(device=True)
def shift_of(beta: Any, has_beta: Any, place: Any) -> Any:
    return float64(read(beta, place)) if has_beta else float64(0)


@cuda.jit
def forward_by_thread(
    operation: Any, x: Any, blocks: Any, pieces: Any, channels: Any, n: Any, gamma: Any, has_gamma: Any, beta: Any,
    has_beta: Any, where: Any, offset: Any, factor: Any, eps: Any, y: Any, statistics: Any,
) -> None:  # fmt: skip
    """The one to read first: one thread a block, in float64."""
    i = int64(cuda.grid(1))
    if i >= blocks:
        return
    b, c = i // channels, i % channels
    pivot = float64(0) if operation == RMS else float64(read(x, (b * pieces * channels + c) * n))
    total, squares = float64(0), float64(0)
    for m in range(pieces):
        for j in range(n):
            d = float64(read(x, ((b * pieces + m) * channels + c) * n + j)) - pivot
            total += d
            squares += d * d
    mean, var = moments(operation, pivot, total, squares, pieces * n)
    rstd = spread(operation, var, pieces * n, eps)
    statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
    for m in range(pieces):
        place = place_of(where, b, m, c)
        slope, shift = slope_of(gamma, has_gamma, place, offset, factor) * rstd, shift_of(beta, has_beta, place)
        for j in range(n):
            o = ((b * pieces + m) * channels + c) * n + j
            write(y, o, (float64(read(x, o)) - mean) * slope + shift)


@cache
def sweeps(width: int, number: Any) -> Any:
    """What a team does with entries first .. last of the piece at o: (squares, apply).

    Thread t of `threads` has the vectors first + t width, and on by threads width; `aligned` as in rows.py.
    """
    fetch, put = loads(width), stores(width)

    @cuda.jit(device=True)
    def squares_of(
        x: Any, o: Any, first: Any, last: Any, t: Any, threads: Any, aligned: Any, pivot: Any, total: Any, squares: Any
    ) -> Any:
        """total + sum(x - pivot), squares + sum((x - pivot)^2), this thread's part."""
        entry = cuda.local.array(width, number)
        for at in range(first + t * width, last, threads * width):
            fetch(entry, 0, x, o, at, last, aligned, number(pivot))
            for j in range(width):
                d = float64(entry[j]) - pivot
                total += d
                squares += d * d
        return total, squares

    @cuda.jit(device=True)
    def apply(
        x: Any, o: Any, first: Any, last: Any, t: Any, threads: Any, aligned: Any, mean: Any, rstd: Any, slope: Any,
        shift: Any, y: Any,
    ) -> None:  # fmt: skip
        """y = slope rstd (x - mean) + shift."""
        entry = cuda.local.array(width, number)
        high = number(mean)
        steep, constant = number(slope * rstd), number((float64(high) - mean) * rstd * slope + shift)
        narrow = within_float32(rstd)
        for at in range(first + t * width, last, threads * width):
            fetch(entry, 0, x, o, at, last, aligned, high)
            for j in range(width):
                if narrow:
                    entry[j] = (entry[j] - high) * steep + constant
                else:                                # beyond float32's range on the way
                    entry[j] = (float64(entry[j]) - mean) * rstd * slope + shift
            put(y, o, at, last, aligned, entry, 0)

    return squares_of, apply


@cache
def forward(width: int, number: Any, bound: int) -> Any:
    """A team of blockDim.x threads a block, blockDim.y teams; a warp, or several with blockDim.y = 1; at most `bound` threads.

    by_warp: each warp of a team takes pieces of its own; otherwise all of them share every piece.
    """
    squares_of, apply = sweeps(width, number)

    @cuda.jit(launch_bounds=bound)
    def planes_forward(
        operation: Any, x: Any, blocks: Any, pieces: Any, channels: Any, n: Any, aligned: Any, by_warp: Any, gamma: Any,
        has_gamma: Any, beta: Any, has_beta: Any, where: Any, offset: Any, factor: Any, eps: Any, y: Any, statistics: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, WARP), float64)
        t, threads, start, step = cuda.threadIdx.x, cuda.blockDim.x, 0, 1
        if by_warp:
            t, threads, start, step = cuda.threadIdx.x % WARP, WARP, cuda.threadIdx.x // WARP, cuda.blockDim.x // WARP
        block = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        live = block < blocks
        i = block if live else int64(blocks - 1)
        b, c = i // channels, i % channels
        o, apart = (b * pieces * channels + c) * n, channels * n
        pivot, total, squares = float64(0), float64(0), float64(0)
        if operation != RMS:
            pivot = float64(read(x, o))
        for m in range(start, pieces, step):
            total, squares = squares_of(x, o + m * apart, 0, n, t, threads, aligned, pivot, total, squares)
        total, squares = block_sums(total, squares, shared)
        mean, var = moments(operation, pivot, total, squares, pieces * n)
        rstd = spread(operation, var, pieces * n, eps)
        if not live:
            return
        if cuda.threadIdx.x == 0:
            statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, rstd
        for m in range(start, pieces, step):
            place = place_of(where, b, m, c)
            slope, shift = slope_of(gamma, has_gamma, place, offset, factor), shift_of(beta, has_beta, place)
            apply(x, o + m * apart, 0, n, t, threads, aligned, mean, rstd, slope, shift, y)

    return planes_forward
