"""Planes, backward, in the terms of planes.py.  With s the piece's scale, g = s dy and xhat = r (x - mean):

    dx = r (g - a - xhat c)      a = mean(g) (0 without a mean)      c = mean(g xhat) response

and for each piece sum(dy) and sum(dy xhat), of which all the rest is made: a and c of a block, and dgamma and dbeta, by adding
in order what shares them.  In evaluation a = c = 0.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .jit import cuda, float64, int64
from .memory import read, write
from .planes import place_of, slope_of
from .reduction import WARP, block_sums, lanes_sums
from .rows import loads, stores
from .statistics import RMS, response, within_float32


@cuda.jit
def backward_by_thread(
    operation: Any, training: Any, dy: Any, x: Any, blocks: Any, pieces: Any, channels: Any, n: Any, statistics: Any,
    gamma: Any, has_gamma: Any, where: Any, offset: Any, factor: Any, eps: Any, dx: Any, sums: Any,
) -> None:  # fmt: skip
    """The one to read first: one thread a block, in float64.  sums (2, pieces): sum(dy), sum(dy xhat)."""
    i = int64(cuda.grid(1))
    if i >= blocks:
        return
    b, c = i // channels, i % channels
    mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
    whole, product = float64(0), float64(0)
    for m in range(pieces):
        piece = (b * pieces + m) * channels + c
        total, along = float64(0), float64(0)
        for j in range(n):
            d = float64(read(dy, piece * n + j))
            total += d
            along += d * (float64(read(x, piece * n + j)) - mean) * rstd
        sums[0, piece], sums[1, piece] = total, along
        slope = slope_of(gamma, has_gamma, place_of(where, b, m, c), offset, factor)
        whole += slope * total
        product += slope * along
    a = 0.0 if operation == RMS or not training else whole / (pieces * n)
    k = product / (pieces * n) * response(operation, var, rstd, pieces * n, eps) if training else 0.0
    for m in range(pieces):
        piece = (b * pieces + m) * channels + c
        slope = slope_of(gamma, has_gamma, place_of(where, b, m, c), offset, factor)
        for j in range(n):
            hat = (float64(read(x, piece * n + j)) - mean) * rstd
            write(dx, piece * n + j, rstd * (slope * read(dy, piece * n + j) - a - hat * k))


@cache
def sweeps(width: int, number: Any) -> Any:
    """What a team does with entries first .. last of the piece at o, as in planes.py: (sums, pull_back)."""
    fetch, put = loads(width), stores(width)

    @cuda.jit(device=True)
    def sums_of(
        dy: Any, x: Any, o: Any, first: Any, last: Any, t: Any, threads: Any, aligned: Any, mean: Any, rstd: Any
    ) -> Any:
        """sum(dy), sum(dy xhat), this thread's part; a vector's entries in their own type, all else in float64."""
        d, hat = cuda.local.array(width, number), cuda.local.array(width, number)
        total, along = float64(0), float64(0)
        high = number(mean)
        r, drift = number(rstd), number((float64(high) - mean) * rstd)
        narrow = within_float32(rstd)
        for at in range(first + t * width, last, threads * width):
            fetch(d, 0, dy, o, at, last, aligned, number(0))
            fetch(hat, 0, x, o, at, last, aligned, high)
            few, product = number(0), number(0)
            for j in range(width):
                if narrow:
                    hat[j] = (hat[j] - high) * r + drift
                else:
                    hat[j] = number((float64(hat[j]) - mean) * rstd)
                few += d[j]
                product += d[j] * hat[j]
            total += float64(few)
            along += float64(product)
        return total, along

    @cuda.jit(device=True)
    def pull_back(
        dy: Any, x: Any, o: Any, first: Any, last: Any, t: Any, threads: Any, aligned: Any, mean: Any, rstd: Any, slope: Any,
        a: Any, c: Any, dx: Any,
    ) -> None:  # fmt: skip
        """dx = r (slope dy - a - xhat c)."""
        d, hat = cuda.local.array(width, number), cuda.local.array(width, number)
        high = number(mean)
        steep, quotient = number(slope * rstd), number(c * rstd * rstd)
        constant = number((a + (float64(high) - mean) * rstd * c) * rstd)
        narrow = within_float32(rstd)
        for at in range(first + t * width, last, threads * width):
            fetch(d, 0, dy, o, at, last, aligned, number(0))
            fetch(hat, 0, x, o, at, last, aligned, high)
            for j in range(width):
                if narrow:
                    d[j] = d[j] * steep - constant - (hat[j] - high) * quotient
                else:
                    d[j] = rstd * (float64(d[j]) * slope - a - (float64(hat[j]) - mean) * rstd * c)
            put(dx, o, at, last, aligned, d, 0)

    return sums_of, pull_back


@cache
def backward(width: int, number: Any, bound: int) -> Any:
    """A team a block, as planes.forward; sums (2, pieces) as in backward_by_thread."""
    sums_of, pull_back = sweeps(width, number)

    @cuda.jit(launch_bounds=bound)
    def planes_backward(
        operation: Any, dy: Any, x: Any, blocks: Any, pieces: Any, channels: Any, n: Any, aligned: Any, by_warp: Any,
        statistics: Any, gamma: Any, has_gamma: Any, where: Any, offset: Any, factor: Any, eps: Any, dx: Any, sums: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, 2, WARP), float64)
        t, threads, start, step = cuda.threadIdx.x, cuda.blockDim.x, 0, 1
        if by_warp:
            t, threads, start, step = cuda.threadIdx.x % WARP, WARP, cuda.threadIdx.x // WARP, cuda.blockDim.x // WARP
        block = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        live = block < blocks
        i = block if live else int64(blocks - 1)
        b, c = i // channels, i % channels
        mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
        whole, product = float64(0), float64(0)
        for m in range(start, pieces, step):
            piece = (b * pieces + m) * channels + c
            total, along = sums_of(dy, x, piece * n, 0, n, t, threads, aligned, mean, rstd)
            if by_warp:
                total, along = lanes_sums(total, along, WARP)
            else:
                total, along = block_sums(total, along, shared[m & 1])
            if t == 0 and live:
                sums[0, piece], sums[1, piece] = total, along
            slope = slope_of(gamma, has_gamma, place_of(where, b, m, c), offset, factor)
            whole += slope * total
            product += slope * along
        if by_warp:                                  # every lane of a warp has the warp's sums: one of them may add them
            whole, product = (whole, product) if t == 0 else (float64(0), float64(0))
            whole, product = block_sums(whole, product, shared[0])
        if not live:
            return
        a = float64(0) if operation == RMS else whole / (pieces * n)
        k = product / (pieces * n) * response(operation, var, rstd, pieces * n, eps)
        for m in range(start, pieces, step):
            slope = slope_of(gamma, has_gamma, place_of(where, b, m, c), offset, factor)
            o = ((b * pieces + m) * channels + c) * n
            pull_back(dy, x, o, 0, n, t, threads, aligned, mean, rstd, slope, a, k, dx)

    return planes_backward
