"""Columns by a team: all rows of some groups of columns by one thread block, which reads them again from a cache.

The steps of columns.py and columns_backward.py in one launch each, where there is no other strip to wait for: x, and dy, cross
the memory's bus once.  blockIdx.x counts (b, tile of columns), a tile blockDim.x vectors that hold whole groups.  sums, of one
strip, and joint are as there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .columns import apply_down, entry_of, squares_down
from .columns_backward import pull_back_down, sums_down
from .jit import cuda, float64, int64
from .memory import read
from .statistics import RMS, moments, response, spread

TEAM = 512
"""The most threads."""


@cuda.jit(device=True)
def tile_of(columns: Any, tile: Any) -> Any:
    """b, first column and last of the tile that this thread block has."""
    across = (columns + tile - 1) // tile
    left = int64(cuda.blockIdx.x) % across * tile
    return int64(cuda.blockIdx.x) // across, left, min(left + tile, columns)


@cuda.jit(device=True)
def settle_group(
    operation: Any, x: Any, rows: Any, columns: Any, k: Any, eps: Any, b: Any, g: Any, sums: Any, statistics: Any
) -> None:
    """As columns.settle_columns and settle_groups, by one thread."""
    o, i = b * rows * columns, b * (columns // k) + g
    pivot, mean, var, between = float64(0), float64(0), float64(0), float64(0)
    if operation != RMS:
        pivot = float64(read(x, o + g * k))
    for c in range(g * k, g * k + k):
        drift, own = moments(operation, float64(0), sums[b, 0, 0, c], sums[b, 0, 1, c], rows)
        if operation != RMS:
            drift += float64(read(x, o + c)) - pivot
        sums[b, 0, 0, c] = drift
        mean += drift
        var += own
    mean, var = mean / k, var / k
    for c in range(g * k, g * k + k):
        between += (sums[b, 0, 0, c] - mean) * (sums[b, 0, 0, c] - mean)
    var += between / k
    statistics[0, i], statistics[1, i] = pivot + mean, var
    statistics[2, i] = spread(operation, var, rows * k, eps)


@cache
def forward(width: int, number: Any) -> Any:
    squares_of, apply = squares_down(width, number, True), apply_down(width, number)

    @cuda.jit(launch_bounds=TEAM)
    def columns_forward(
        operation: Any, x: Any, rows: Any, columns: Any, k: Any, aligned: Any, gamma: Any, has_gamma: Any, beta: Any,
        has_beta: Any, where: Any, offset: Any, factor: Any, eps: Any, y: Any, sums: Any, statistics: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, TEAM), float64)
        b, left, right = tile_of(columns, cuda.blockDim.x * width)
        at, t = left + cuda.threadIdx.x * width, cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        squares_of(operation, x, rows, columns, aligned, b, 0, 0, rows, at, shared, sums)
        cuda.syncthreads()
        for g in range(left // k + t, right // k, cuda.blockDim.x * cuda.blockDim.y):
            settle_group(operation, x, rows, columns, k, eps, b, g, sums, statistics)
        cuda.syncthreads()
        scale = (gamma, has_gamma, beta, has_beta, where, offset, factor)
        apply(x, rows, columns, k, aligned, b, 0, rows, at, statistics, *scale, y)

    return columns_forward


@cuda.jit(device=True)
def join_group(
    operation: Any, rows: Any, columns: Any, k: Any, statistics: Any, gamma: Any, has_gamma: Any, where: Any, offset: Any,
    factor: Any, eps: Any, b: Any, g: Any, sums: Any, joint: Any,
) -> None:  # fmt: skip
    """As columns_backward.join, by one thread."""
    i, count, whole, product = b * (columns // k) + g, rows * k, float64(0), float64(0)
    for c in range(g * k, g * k + k):
        slope = float64(factor)
        if has_gamma:
            slope = factor * (offset + float64(read(gamma, entry_of(where, b, 0, c))))
        whole += slope * sums[b, 0, 0, c]
        product += slope * sums[b, 0, 1, c]
    joint[0, i] = whole / count if operation != RMS else float64(0)
    joint[1, i] = product / count * response(operation, statistics[1, i], statistics[2, i], count, eps)


@cache
def backward(width: int, number: Any) -> Any:
    sums_of, pull_back = sums_down(width, number, True), pull_back_down(width, number)

    @cuda.jit(launch_bounds=TEAM)
    def columns_backward(
        operation: Any, dy: Any, x: Any, rows: Any, columns: Any, k: Any, aligned: Any, statistics: Any, gamma: Any,
        has_gamma: Any, where: Any, offset: Any, factor: Any, eps: Any, dx: Any, sums: Any, joint: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, TEAM), float64)
        b, left, right = tile_of(columns, cuda.blockDim.x * width)
        at, t = left + cuda.threadIdx.x * width, cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        scale = (gamma, has_gamma, where, offset, factor)
        sums_of(dy, x, rows, columns, k, aligned, b, 0, 0, rows, at, statistics, False, *scale, shared, sums)
        cuda.syncthreads()
        for g in range(left // k + t, right // k, cuda.blockDim.x * cuda.blockDim.y):
            join_group(operation, rows, columns, k, statistics, *scale, eps, b, g, sums, joint)
        cuda.syncthreads()
        pull_back(dy, x, rows, columns, k, aligned, b, 0, rows, at, statistics, *scale, joint, dx)

    return columns_backward
