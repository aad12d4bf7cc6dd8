"""Rows that are too long for the registers of one block: several blocks a row.

A row is a plane of one piece, cut into parts: its statistics are those of planes_parts.py (squares_of_parts, settle), in two
stages, the second in order.  What is here has a parameter for each entry, as rows.py has.  parts, length: as there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .jit import cuda, float64, int64
from .reduction import WARP, block_sums
from .rows import loads, parameters, stores
from .statistics import within_float32


@cache
def apply_to_parts(width: int, number: Any) -> Any:
    """y = factor (offset + gamma) r (x - mean) + beta."""
    fetch, fetch_kept, put = loads(width), parameters(width), stores(width)

    @cuda.jit
    def long_apply(
        x: Any, parts: Any, n: Any, length: Any, period: Any, aligned: Any, statistics: Any, gamma: Any, has_gamma: Any,
        beta: Any, has_beta: Any, offset: Any, factor: Any, y: Any,
    ) -> None:  # fmt: skip
        entry, g, b = cuda.local.array(width, number), cuda.local.array(width, number), cuda.local.array(width, number)
        part, chunks = int64(cuda.blockIdx.x), (n + length - 1) // length
        i, first = part // chunks, part % chunks * length
        last, o, q = min(first + length, n), i * n, i % period * n
        mean, rstd = statistics[0, i], statistics[2, i]
        high, narrow = number(mean), within_float32(rstd)
        r, drift = number(rstd), number((float64(high) - mean) * rstd)
        for at in range(first + cuda.threadIdx.x * width, last, cuda.blockDim.x * width):
            fetch(entry, 0, x, o, at, last, aligned, high)
            fetch_kept(g, gamma, q, at, last, aligned, has_gamma, number(1))
            fetch_kept(b, beta, q, at, last, aligned, has_beta, number(0))
            for j in range(width):
                slope = number(factor) * (number(offset) + g[j])
                if narrow:
                    entry[j] = ((entry[j] - high) * r + drift) * slope + b[j]
                else:
                    entry[j] = (float64(entry[j]) - mean) * rstd * float64(slope) + float64(b[j])
            put(y, o, at, last, aligned, entry, 0)

    return long_apply


@cache
def sums_of_parts(width: int, number: Any) -> Any:
    """sums (2, parts): sum(g), sum(g xhat), g = dy factor (offset + gamma)."""
    fetch, fetch_kept = loads(width), parameters(width)

    @cuda.jit
    def long_sums(
        dy: Any, x: Any, parts: Any, n: Any, length: Any, period: Any, aligned: Any, statistics: Any, gamma: Any,
        has_gamma: Any, offset: Any, factor: Any, sums: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, WARP), float64)
        d, hat, g = cuda.local.array(width, number), cuda.local.array(width, number), cuda.local.array(width, number)
        part, chunks = int64(cuda.blockIdx.x), (n + length - 1) // length
        i, first = part // chunks, part % chunks * length
        last, o, q = min(first + length, n), i * n, i % period * n
        mean, rstd = statistics[0, i], statistics[2, i]
        high, narrow = number(mean), within_float32(rstd)
        r, drift = number(rstd), number((float64(high) - mean) * rstd)
        total, along = float64(0), float64(0)
        for at in range(first + cuda.threadIdx.x * width, last, cuda.blockDim.x * width):
            fetch(d, 0, dy, o, at, last, aligned, number(0))
            fetch(hat, 0, x, o, at, last, aligned, high)
            fetch_kept(g, gamma, q, at, last, aligned, has_gamma, number(1))
            few, product = number(0), number(0)
            for j in range(width):
                if narrow:
                    hat[j] = (hat[j] - high) * r + drift
                else:
                    hat[j] = number((float64(hat[j]) - mean) * rstd)
                scaled = d[j] * (number(factor) * (number(offset) + g[j]))
                few += scaled
                product += scaled * hat[j]
            total += float64(few)
            along += float64(product)
        total, along = block_sums(total, along, shared)
        if cuda.threadIdx.x == 0:
            sums[0, part], sums[1, part] = total, along

    return long_sums


@cache
def pull_back_teams(width: int, number: Any, accumulate: bool) -> Any:
    """dx = r (g - a - xhat c), with joint (2, R) of a and c, and in the same reading parts (teams, 2, n) of sum(dy xhat) and
    sum(dy) where there are sums to `accumulate`.

    A thread has a vector of columns in the rows team, team + teams ...; blockIdx.x counts (team, columns).  The number of teams
    is a multiple of `period`.
    """
    fetch, fetch_kept, put = loads(width), parameters(width), stores(width)

    @cuda.jit
    def long_pull_back(
        dy: Any, x: Any, rows: Any, n: Any, period: Any, teams: Any, aligned: Any, statistics: Any, gamma: Any, has_gamma: Any,
        offset: Any, factor: Any, joint: Any, dx: Any, parts: Any,
    ) -> None:  # fmt: skip
        d, hat, slope = cuda.local.array(width, number), cuda.local.array(width, number), cuda.local.array(width, number)
        along, total = cuda.local.array(width, float64), cuda.local.array(width, float64)
        across = cuda.gridDim.x // teams
        team = int64(cuda.blockIdx.x) // across
        at = (int64(cuda.blockIdx.x) % across * cuda.blockDim.x + cuda.threadIdx.x) * width
        fetch_kept(slope, gamma, team % period * n, at, n, aligned, has_gamma, number(1))
        for j in range(width):
            slope[j] = number(factor) * (number(offset) + slope[j])
            along[j], total[j] = float64(0), float64(0)
        for i in range(team, rows, teams):
            mean, rstd, a, c = statistics[0, i], statistics[2, i], joint[0, i], joint[1, i]
            high, narrow = number(mean), within_float32(rstd)
            r, drift = number(rstd), number((float64(high) - mean) * rstd)
            fetch(d, 0, dy, i * n, at, n, aligned, number(0))
            fetch(hat, 0, x, i * n, at, n, aligned, high)
            for j in range(width):
                whole = float64(0) if narrow else (float64(hat[j]) - mean) * rstd
                hat[j] = (hat[j] - high) * r + drift if narrow else number(whole)
                if accumulate:
                    along[j] += float64(d[j]) * float64(hat[j])
                    total[j] += float64(d[j])
                if narrow:
                    d[j] = (d[j] * slope[j] - number(a) - hat[j] * number(c)) * r
                else:                                # beyond float32's range on the way
                    d[j] = (float64(d[j]) * float64(slope[j]) - a - whole * c) * rstd
            put(dx, i * n, at, n, aligned, d, 0)
        if accumulate:
            for j in range(width):
                if at + j < n:
                    parts[team, 0, at + j], parts[team, 1, at + j] = along[j], total[j]

    return long_pull_back
