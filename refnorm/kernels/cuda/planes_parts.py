"""Planes in parts: blocks of planes.py that are too large for one team of threads, forward and backward.

A piece is cut into parts of `length` entries: part p is entries s length .. of piece p // chunks, with s = p % chunks.  Any
number of teams read them, a team a part, and a second kernel adds the sums of a block in their order.  All parts are shifted by
the same entry, the block's first, so that merging their moments is adding their sums.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from . import planes, planes_backward
from .jit import cuda, float64, int64
from .memory import read, write
from .planes import place_of, shift_of, slope_of
from .reduction import WARP, block_sums
from .statistics import RMS, moments, response, spread


@cuda.jit(device=True)
def part_of(part: Any, pieces: Any, channels: Any, n: Any, length: Any) -> Any:
    """b, m, c, first, last of a part."""
    chunks = (n + length - 1) // length
    piece, s = part // chunks, part % chunks
    c, bm = piece % channels, piece // channels
    first = s * length
    return bm // pieces, bm % pieces, c, first, min(first + length, n)


@cache
def squares_of_parts(width: int, number: Any) -> Any:
    """sums (2, parts): sum(x - pivot) and sum((x - pivot)^2), the pivot the first entry of the part's block."""
    squares_of, _ = planes.sweeps(width, number)

    @cuda.jit
    def planes_squares(
        operation: Any, x: Any, parts: Any, pieces: Any, channels: Any, n: Any, length: Any, aligned: Any, sums: Any
    ) -> None:
        shared = cuda.shared.array((2, WARP), float64)
        mine = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        part = mine if mine < parts else int64(parts - 1)
        b, m, c, first, last = part_of(part, pieces, channels, n, length)
        pivot = float64(0)
        if operation != RMS:
            pivot = float64(read(x, (b * pieces * channels + c) * n))
        o = ((b * pieces + m) * channels + c) * n
        total, squares = squares_of(
            x, o, first, last, cuda.threadIdx.x, cuda.blockDim.x, aligned, pivot, float64(0), float64(0)
        )
        total, squares = block_sums(total, squares, shared)
        if cuda.threadIdx.x == 0 and mine < parts:
            sums[0, part], sums[1, part] = total, squares

    return planes_squares


@cuda.jit
def settle(
    operation: Any, x: Any, pieces: Any, channels: Any, n: Any, chunks: Any, eps: Any, sums: Any, statistics: Any
) -> None:
    """Statistics of a block from its parts' sums; one thread block a block."""
    shared = cuda.shared.array((2, WARP), float64)
    i = int64(cuda.blockIdx.x)
    b, c = i // channels, i % channels
    total, squares = float64(0), float64(0)
    for k in range(cuda.threadIdx.x, pieces * chunks, cuda.blockDim.x):
        part = ((b * pieces + k // chunks) * channels + c) * chunks + k % chunks
        total += sums[0, part]
        squares += sums[1, part]
    total, squares = block_sums(total, squares, shared)
    if cuda.threadIdx.x == 0:
        pivot = float64(0)
        if operation != RMS:
            pivot = float64(read(x, (b * pieces * channels + c) * n))
        mean, var = moments(operation, pivot, total, squares, pieces * n)
        statistics[0, i], statistics[1, i], statistics[2, i] = mean, var, spread(operation, var, pieces * n, eps)


@cache
def apply_to_parts(width: int, number: Any) -> Any:
    """y from x and the statistics; also the whole forward in evaluation."""
    _, apply = planes.sweeps(width, number)

    @cuda.jit
    def planes_apply(
        x: Any, parts: Any, pieces: Any, channels: Any, n: Any, length: Any, aligned: Any, statistics: Any, gamma: Any,
        has_gamma: Any, beta: Any, has_beta: Any, where: Any, offset: Any, factor: Any, y: Any,
    ) -> None:  # fmt: skip
        part = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        if part >= parts:
            return
        b, m, c, first, last = part_of(part, pieces, channels, n, length)
        place, i = place_of(where, b, m, c), b * channels + c
        slope, shift = slope_of(gamma, has_gamma, place, offset, factor), shift_of(beta, has_beta, place)
        o = ((b * pieces + m) * channels + c) * n
        threads = cuda.blockDim.x
        apply(x, o, first, last, cuda.threadIdx.x, threads, aligned, statistics[0, i], statistics[2, i], slope, shift, y)

    return planes_apply


@cache
def sums_of_parts(width: int, number: Any) -> Any:
    """sums (2, parts): sum(dy), sum(dy xhat)."""
    sums_of, _ = planes_backward.sweeps(width, number)

    @cuda.jit
    def planes_sums(
        dy: Any, x: Any, parts: Any, pieces: Any, channels: Any, n: Any, length: Any, aligned: Any, statistics: Any, sums: Any
    ) -> None:
        shared = cuda.shared.array((2, WARP), float64)
        mine = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        part = mine if mine < parts else int64(parts - 1)
        b, m, c, first, last = part_of(part, pieces, channels, n, length)
        i, o, threads = b * channels + c, ((b * pieces + m) * channels + c) * n, cuda.blockDim.x
        total, along = sums_of(
            dy, x, o, first, last, cuda.threadIdx.x, threads, aligned, statistics[0, i], statistics[2, i]
        )
        total, along = block_sums(total, along, shared)
        if cuda.threadIdx.x == 0 and mine < parts:
            sums[0, part], sums[1, part] = total, along

    return planes_sums


@cuda.jit
def join(
    operation: Any, training: Any, pieces: Any, channels: Any, n: Any, chunks: Any, statistics: Any, gamma: Any, has_gamma: Any,
    where: Any, offset: Any, factor: Any, eps: Any, sums: Any, joint: Any,
) -> None:  # fmt: skip
    """joint (2, B C): a and c of a block from its parts' sums; one thread block a block."""
    shared = cuda.shared.array((2, WARP), float64)
    i = int64(cuda.blockIdx.x)
    b, c = i // channels, i % channels
    whole, product = float64(0), float64(0)
    for k in range(cuda.threadIdx.x, pieces * chunks, cuda.blockDim.x):
        m = k // chunks
        part = ((b * pieces + m) * channels + c) * chunks + k % chunks
        slope = slope_of(gamma, has_gamma, place_of(where, b, m, c), offset, factor)
        whole += slope * sums[0, part]
        product += slope * sums[1, part]
    whole, product = block_sums(whole, product, shared)
    if cuda.threadIdx.x == 0:
        var, rstd, count = statistics[1, i], statistics[2, i], pieces * n
        joint[0, i] = whole / count if training and operation != RMS else 0.0
        joint[1, i] = product / count * response(operation, var, rstd, count, eps) if training else 0.0


@cache
def pull_back_parts(width: int, number: Any) -> Any:
    _, pull_back = planes_backward.sweeps(width, number)

    @cuda.jit
    def planes_pull_back(
        dy: Any, x: Any, parts: Any, pieces: Any, channels: Any, n: Any, length: Any, aligned: Any, statistics: Any, gamma: Any,
        has_gamma: Any, where: Any, offset: Any, factor: Any, joint: Any, dx: Any,
    ) -> None:  # fmt: skip
        part = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        if part >= parts:
            return
        b, m, c, first, last = part_of(part, pieces, channels, n, length)
        i, o, threads = b * channels + c, ((b * pieces + m) * channels + c) * n, cuda.blockDim.x
        slope = slope_of(gamma, has_gamma, place_of(where, b, m, c), offset, factor)
        pull_back(
            dy, x, o, first, last, cuda.threadIdx.x, threads, aligned, statistics[0, i], statistics[2, i], slope,
            joint[0, i], joint[1, i], dx,
        )  # fmt: skip

    return planes_pull_back


@cuda.jit
def add_pieces(
    blocks: Any, pieces: Any, channels: Any, chunks: Any, period: Any, own_m: Any, own_c: Any, factor: Any, sums: Any,
    wants_gamma: Any, dgamma: Any, wants_beta: Any, dbeta: Any,
) -> None:  # fmt: skip
    """dgamma, dbeta (P, M or 1, C or 1) from the sums (2, parts) of x (B, M, C, n); one thread block an entry.

    own_m, own_c: does each m, each c have a parameter of its own, or do they share one?
    """
    shared = cuda.shared.array((2, WARP), float64)
    q = int64(cuda.blockIdx.x)
    ms, cs = (pieces if own_m else 1), (channels if own_c else 1)
    c, rest = q % cs, q // cs
    m, p = rest % ms, rest // ms
    shared_m, shared_c = pieces // ms, channels // cs
    along, total = float64(0), float64(0)
    for k in range(cuda.threadIdx.x, blocks // period * shared_m * shared_c * chunks, cuda.blockDim.x):
        s, rest = k % chunks, k // chunks
        c1, rest = rest % shared_c, rest // shared_c
        m1, b = rest % shared_m, rest // shared_m * period + p
        part = ((b * pieces + m + m1) * channels + c + c1) * chunks + s
        total += sums[0, part]
        along += sums[1, part]
    total, along = block_sums(total, along, shared)
    if cuda.threadIdx.x == 0:
        if wants_gamma:
            write(dgamma, q, along * factor)
        if wants_beta:
            write(dbeta, q, total)
