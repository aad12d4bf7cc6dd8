"""Whitening: D coordinates of a block decorrelated together over its M samples; the kernels that read samples.

    means        mu_i = mean(x_i)
    products     P_ij = sum dy_i (x_j - mu_j), with dy = x - mu: M times the covariance
    apply        y = s (W (x - mu)) + beta
    pull_back    dx = W' (s dy) + V (x - mu) + shift

A block is read in place, as kernels/cpu/lie.py has it: sample k = (o, i) of coordinate d of block b is the entry
o so + b sb + d sd + i, `lie` = (O, B, D, I, so, sb, sd).  Matrices (B D D) are in one dimension, as matrices.py has them.

`where` = (sb, sd, q, R) says where parameters are: sample k of coordinate d of block b has those at b sb + d sd + k // q % R.

    batch whitening, a parameter a coordinate       (D, 1, 1, 1)
    group whitening, D groups of R channels         (0, R, positions, R), channels last (0, R, 1, R)

So the samples of a coordinate fall into R parts that share a parameter, and sums are kept for each part: gamma is applied to
D x D sums, not to samples, and its gradient is read off them.

Entries are read as they are stored and y, dx rounded once; all between is float64, by which a covariance loses nothing that x
holds (its condition is the square of x's), and which runs at half float32's speed on the chips that train.  Products go
through tiles of 16 x 16 in shared memory: an entry that is read once serves 16 sums.
"""

from __future__ import annotations

from typing import Any

from .jit import cuda, float64, int64
from .matrices import PITCH, TILE, add_tile
from .memory import read, write
from .reduction import WARP, block_sums


@cuda.jit(device=True)
def at(lie: Any, b: Any, d: Any, k: Any) -> Any:
    """Where sample k of coordinate d of block b lies."""
    return int64(k) // lie[3] * lie[4] + b * lie[5] + d * lie[6] + k % lie[3]


@cuda.jit(device=True)
def sample_of(where: Any, part: Any, t: Any) -> Any:
    """The t-th sample of a part."""
    return (t // where[2] * where[3] + part) * where[2] + t % where[2]


@cuda.jit(device=True)
def place_of(where: Any, b: Any, d: Any, part: Any) -> Any:
    return b * where[0] + d * where[1] + part


@cuda.jit(device=True)
def slope_of(gamma: Any, has_gamma: Any, place: Any) -> Any:
    return float64(read(gamma, place)) if has_gamma else float64(1)


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
def totals(dy: Any, lie: Any, where: Any, sums: Any) -> None:
    """sums (R, B D): sum(dy) of each part of a coordinate's samples; one thread block each."""
    shared = cuda.shared.array((2, WARP), float64)
    i, rows = int64(cuda.blockIdx.x), lie[1] * lie[2]
    part, b, d = i // rows, i % rows // lie[2], i % lie[2]
    total, none = float64(0), float64(0)
    for t in range(cuda.threadIdx.x, lie[0] * lie[3] // where[3], cuda.blockDim.x):
        total += float64(read(dy, at(lie, b, d, sample_of(where, part, t))))
    total, none = block_sums(total, none, shared)
    if cuda.threadIdx.x == 0:
        sums[part, i % rows] = total


@cuda.jit
def products(dy: Any, centred: Any, x: Any, lie: Any, where: Any, mean: Any, length: Any, sums: Any) -> None:
    """sums (chunks R, B D D): sum dy_i (x_j - mu_j) over `length` samples of a part, dy less its mean too where `centred`.

    blockIdx.x counts (chunk, part, b, tile).
    """
    left = cuda.shared.array((TILE, PITCH), float64)
    right = cuda.shared.array((TILE, PITCH), float64)
    coordinates, blocks, count = lie[2], lie[1], lie[0] * lie[3] // where[3]
    tiles = (coordinates + TILE - 1) // TILE
    tile, rest = int64(cuda.blockIdx.x) % (tiles * tiles), int64(cuda.blockIdx.x) // (tiles * tiles)
    b, row = rest % blocks, rest // blocks
    chunk, part = row // where[3], row % where[3]
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    i, j = tile // tiles * TILE + ty, tile % tiles * TILE
    last, total = min((chunk + 1) * length, count), float64(0)
    for first in range(chunk * length, last, TILE):
        t, one, other = first + tx, float64(0), float64(0)
        if t < last and i < coordinates:
            one = float64(read(dy, at(lie, b, i, sample_of(where, part, t))))
            if centred:
                one -= mean[b * coordinates + i]
        if t < last and j + ty < coordinates:
            other = float64(read(x, at(lie, b, j + ty, sample_of(where, part, t)))) - mean[b * coordinates + j + ty]
        left[ty, tx], right[tx, ty] = one, other
        total = add_tile(left, right, total)
    if i < coordinates and j + tx < coordinates:
        sums[row, (b * coordinates + i) * coordinates + j + tx] = total


@cuda.jit
def add_parts(
    sums: Any, chunks: Any, where: Any, coordinates: Any, across: Any, gamma: Any, has_gamma: Any, factor: Any, out: Any
) -> None:
    """out (B, D, across) = factor sum of s times the parts' sums, in order; one thread an entry.  across: D of products, 1 of
    totals."""
    i = int64(cuda.grid(1))
    if i >= len(out):
        return
    b, d = i // across // coordinates, i // across % coordinates
    total = float64(0)
    for part in range(where[3]):
        found = float64(0)
        for chunk in range(chunks):
            found += sums[chunk * where[3] + part, i]
        total += found * slope_of(gamma, has_gamma, place_of(where, b, d, part))
    out[i] = total * factor


@cuda.jit
def parameter_sums(
    sums: Any, chunks: Any, along: Any, where: Any, blocks: Any, coordinates: Any, matrix: Any, wants_gamma: Any, dgamma: Any,
    wants_beta: Any, dbeta: Any,
) -> None:  # fmt: skip
    """dgamma = sum dy xhat = sum_j W_dj P_dj and dbeta = sum dy, over the blocks that share them; one warp a parameter.

    sums: of products, along: of totals, each part's own.
    """
    shared = cuda.shared.array((2, WARP), float64)
    p, alone = int64(cuda.blockIdx.x), where[0] > 0
    first, last = (p // where[0], p // where[0] + 1) if alone else (int64(0), int64(blocks))
    d, part = (p % where[0], int64(0)) if alone else (p // where[1], p % where[1])
    gain, shift = float64(0), float64(0)
    for b in range(first, last):
        row = b * coordinates + d
        for j in range(cuda.threadIdx.x, coordinates, cuda.blockDim.x):
            for chunk in range(chunks):
                gain += matrix[row * coordinates + j] * sums[chunk * where[3] + part, row * coordinates + j]
        if cuda.threadIdx.x == 0:
            shift += along[part, row]
    gain, shift = block_sums(gain, shift, shared)
    if cuda.threadIdx.x == 0:
        if wants_gamma:
            write(dgamma, p, gain)
        if wants_beta:
            write(dbeta, p, shift)


@cuda.jit
def apply(
    x: Any, lie: Any, mean: Any, matrix: Any, where: Any, gamma: Any, has_gamma: Any, beta: Any, has_beta: Any, y: Any
) -> None:
    """y = s (W (x - mu)) + beta; blockIdx.x counts (b, tile of coordinates, tile of samples)."""
    left = cuda.shared.array((TILE, PITCH), float64)
    right = cuda.shared.array((TILE, PITCH), float64)
    coordinates, count = lie[2], lie[0] * lie[3]
    tiles, across = (coordinates + TILE - 1) // TILE, (count + TILE - 1) // TILE
    tx, ty, row = cuda.threadIdx.x, cuda.threadIdx.y, int64(cuda.blockIdx.x) // across
    b, i, k = row // tiles, row % tiles * TILE + ty, int64(cuda.blockIdx.x) % across * TILE + tx
    total = float64(0)
    for first in range(0, coordinates, TILE):
        one, other = float64(0), float64(0)
        if i < coordinates and first + tx < coordinates:
            one = matrix[(b * coordinates + i) * coordinates + first + tx]
        if first + ty < coordinates and k < count:
            other = float64(read(x, at(lie, b, first + ty, k))) - mean[b * coordinates + first + ty]
        left[ty, tx], right[ty, tx] = one, other
        total = add_tile(left, right, total)
    if i < coordinates and k < count:
        place = place_of(where, b, i, k // where[2] % where[3])
        total *= slope_of(gamma, has_gamma, place)
        if has_beta:
            total += float64(read(beta, place))
        write(y, at(lie, b, i, k), total)


@cuda.jit
def shifts(matrix: Any, sums: Any, coordinates: Any, factor: Any, shift: Any) -> None:
    """shift (B D) = factor W' sums; one thread an entry."""
    i = int64(cuda.grid(1))
    if i >= len(shift):
        return
    first, total = i // coordinates * coordinates, float64(0)
    for j in range(first, first + coordinates):
        total += matrix[j * coordinates + i % coordinates] * sums[j]
    shift[i] = total * factor


@cuda.jit
def pull_back(
    dy: Any, matrix: Any, where: Any, gamma: Any, has_gamma: Any, x: Any, lie: Any, mean: Any, along: Any, has_along: Any,
    factor: Any, shift: Any, dx: Any,
) -> None:  # fmt: skip
    """dx = W' (s dy) + factor V (x - mu) + shift, the last two where statistics are the batch's; blockIdx.x as in apply."""
    left = cuda.shared.array((TILE, PITCH), float64)
    right = cuda.shared.array((TILE, PITCH), float64)
    coordinates, count = lie[2], lie[0] * lie[3]
    tiles, across = (coordinates + TILE - 1) // TILE, (count + TILE - 1) // TILE
    tx, ty, row = cuda.threadIdx.x, cuda.threadIdx.y, int64(cuda.blockIdx.x) // across
    b, top, k = row // tiles, row % tiles * TILE, int64(cuda.blockIdx.x) % across * TILE + tx
    i, part, total = top + ty, k // where[2] % where[3], float64(0)
    if has_along and i < coordinates:
        total = shift[b * coordinates + i]
    for first in range(0, coordinates, TILE):
        j, one, other = first + ty, float64(0), float64(0)
        if top + tx < coordinates and j < coordinates:
            one = matrix[(b * coordinates + j) * coordinates + top + tx]
        if j < coordinates and k < count:
            other = float64(read(dy, at(lie, b, j, k))) * slope_of(gamma, has_gamma, place_of(where, b, j, part))
        left[tx, ty], right[ty, tx] = one, other     # W is read along its rows, and is W' here
        total = add_tile(left, right, total)
    if has_along:
        for first in range(0, coordinates, TILE):
            j, one, other = first + ty, float64(0), float64(0)
            if i < coordinates and first + tx < coordinates:
                one = factor * along[(b * coordinates + i) * coordinates + first + tx]
            if j < coordinates and k < count:
                other = float64(read(x, at(lie, b, j, k))) - mean[b * coordinates + j]
            left[ty, tx], right[ty, tx] = one, other
            total = add_tile(left, right, total)
    if i < coordinates and k < count:
        write(dx, at(lie, b, i, k), total)
