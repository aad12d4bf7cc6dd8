"""Whitening: D coordinates of a block decorrelated together over its M samples, in the CPU kernels' four loops.

    means        mu_i = mean(x_i)
    products     P_ij = sum (dy_i - centre_i) (x_j - mu_j)               with dy = x: M times the covariance
    apply        y = U dy + V (x - mu) + shift                           forward with V alone

A block is read in place, as kernels/cpu/lie.py has it: sample k = (o, s) of coordinate d of block b is the entry
o so + b sb + d sd + s, `lie` = (O, B, D, S, so, sb, sd).  Statistics (B D) and matrices (B D D) are float64, in one dimension.
Products go through tiles of 16 x 16 in shared memory: an entry that is read once serves 16 sums.
"""

from __future__ import annotations

from typing import Any

from .jit import cuda, float64, int64
from .memory import read, write
from .reduction import WARP, block_sums

TILE = 16
PITCH = TILE + 1
"""Of a tile's rows in shared memory: one more, so that a column's entries are in different banks."""


@cuda.jit(device=True)
def at(lie: Any, b: Any, d: Any, k: Any) -> Any:
    """Where sample k of coordinate d of block b lies."""
    return int64(k) // lie[3] * lie[4] + b * lie[5] + d * lie[6] + k % lie[3]


@cuda.jit
def means(x: Any, lie: Any, mean: Any) -> None:
    """One thread block a coordinate; two passes, the second adds what rounding took from the first."""
    shared = cuda.shared.array((2, 2, WARP), float64)
    i, count = int64(cuda.blockIdx.x), lie[0] * lie[3]
    b, d = i // lie[2], i % lie[2]
    total, lost, none = float64(0), float64(0), float64(0)
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        total += float64(read(x, at(lie, b, d, k)))
    total, none = block_sums(total, none, shared[0])
    total /= count
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        lost += float64(read(x, at(lie, b, d, k))) - total
    lost, none = block_sums(lost, none, shared[1])
    if cuda.threadIdx.x == 0:
        mean[i] = total + lost / count


@cuda.jit
def products(dy: Any, x: Any, lie: Any, centre: Any, mean: Any, length: Any, parts: Any) -> None:
    """parts (chunks, B D D): the sums over `length` samples; blockIdx.x counts (chunk, b), blockIdx.y the tiles."""
    left = cuda.shared.array((TILE, PITCH), float64)
    right = cuda.shared.array((TILE, PITCH), float64)
    coordinates, blocks, count = lie[2], lie[1], lie[0] * lie[3]
    tiles = (coordinates + TILE - 1) // TILE
    chunk, b = int64(cuda.blockIdx.x) // blocks, int64(cuda.blockIdx.x) % blocks
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    i, j = int64(cuda.blockIdx.y) // tiles * TILE + ty, int64(cuda.blockIdx.y) % tiles * TILE
    last, total = min((chunk + 1) * length, count), float64(0)
    for first in range(chunk * length, last, TILE):
        k = first + tx
        left[ty, tx], right[ty, tx] = float64(0), float64(0)
        if k < last and i < coordinates:
            left[ty, tx] = float64(read(dy, at(lie, b, i, k))) - centre[b * coordinates + i]
        if k < last and j + ty < coordinates:
            right[ty, tx] = float64(read(x, at(lie, b, j + ty, k))) - mean[b * coordinates + j + ty]
        cuda.syncthreads()
        for n in range(TILE):
            total += left[ty, n] * right[tx, n]
        cuda.syncthreads()
    if i < coordinates and j + tx < coordinates:
        parts[chunk, (b * coordinates + i) * coordinates + j + tx] = total


@cuda.jit
def add_chunks(parts: Any, chunks: Any, count: Any, total: Any) -> None:
    """total = the sum of the parts, in order; one thread an entry."""
    i = int64(cuda.grid(1))
    if i >= count:
        return
    found = float64(0)
    for chunk in range(chunks):
        found += parts[chunk, i]
    total[i] = found


@cuda.jit
def apply(
    dy: Any, direct: Any, has_direct: Any, x: Any, lie: Any, mean: Any, matrix: Any, has_matrix: Any, shift: Any, y: Any
) -> None:
    """y = direct dy + matrix (x - mean) + shift; blockIdx.x counts tiles of samples, blockIdx.y (b, tile of coordinates)."""
    left = cuda.shared.array((TILE, PITCH), float64)
    right = cuda.shared.array((TILE, PITCH), float64)
    coordinates, count = lie[2], lie[0] * lie[3]
    tiles = (coordinates + TILE - 1) // TILE
    b, tx, ty = int64(cuda.blockIdx.y) // tiles, cuda.threadIdx.x, cuda.threadIdx.y
    i, k = int64(cuda.blockIdx.y) % tiles * TILE + ty, int64(cuda.blockIdx.x) * TILE + tx
    total = shift[b * coordinates + i] if i < coordinates else float64(0)
    for term in range(2):
        if (term == 0 and has_direct) or (term == 1 and has_matrix):
            for first in range(0, coordinates, TILE):
                left[ty, tx], right[ty, tx] = float64(0), float64(0)
                if i < coordinates and first + tx < coordinates:
                    place = (b * coordinates + i) * coordinates + first + tx
                    left[ty, tx] = direct[place] if term == 0 else matrix[place]
                if first + ty < coordinates and k < count:
                    if term == 0:
                        right[ty, tx] = float64(read(dy, at(lie, b, first + ty, k)))
                    else:
                        right[ty, tx] = float64(read(x, at(lie, b, first + ty, k))) - mean[b * coordinates + first + ty]
                cuda.syncthreads()
                for n in range(TILE):
                    total += left[ty, n] * right[n, tx]
                cuda.syncthreads()
    if i < coordinates and k < count:
        write(y, at(lie, b, i, k), total)
