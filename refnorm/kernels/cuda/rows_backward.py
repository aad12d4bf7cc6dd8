"""Rows, backward.  With g = dy factor (offset + gamma) and xhat = r (x - mean):

    dx = r (g - mean(g) - xhat mean(g xhat) response)      dgamma_j = factor sum_i dy_ij xhat_ij      dbeta_j = sum_i dy_ij

(the mean of g only where the operation has a mean).  Sums over a row as in rows.py.  Sums over rows: every team walks through
rows `teams` apart and keeps its own parts of dgamma and dbeta in registers, in float64; `add_teams` adds the teams' parts in
their order.  The number of teams follows from the shape alone: no atomics, the same bits every time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .jit import cuda, float64, int64
from .memory import read, write
from .reduction import WARP, team_sums
from .rows import loads, parameters, stores
from .statistics import RMS, response, within_float32


@cuda.jit
def backward_by_thread(
    operation: Any, dy: Any, x: Any, rows: Any, n: Any, period: Any, statistics: Any, gamma: Any, has_gamma: Any,
    offset: Any, factor: Any, eps: Any, dx: Any,
) -> None:  # fmt: skip
    """The one to read first: dx of one row a thread, in float64."""
    i = int64(cuda.grid(1))
    if i >= rows:
        return
    o, q = i * n, i % period * n
    mean, var, rstd = statistics[0, i], statistics[1, i], statistics[2, i]
    a, b = float64(0), float64(0)
    for j in range(n):
        g = read(dy, o + j) * (factor * (offset + read(gamma, q + j)) if has_gamma else factor * 1.0)
        a += g
        b += g * (float64(read(x, o + j)) - mean) * rstd
    a = 0.0 if operation == RMS else a / n
    b = b / n * response(operation, var, rstd, n, eps)
    for j in range(n):
        g = read(dy, o + j) * (factor * (offset + read(gamma, q + j)) if has_gamma else factor * 1.0)
        write(dx, o + j, rstd * (g - a - (float64(read(x, o + j)) - mean) * rstd * b))


@cuda.jit
def parameters_by_thread(
    dy: Any, x: Any, rows: Any, n: Any, period: Any, statistics: Any, factor: Any, dgamma: Any, dbeta: Any
) -> None:
    """The one to read first: dgamma and dbeta (P n), one thread an entry."""
    q = int64(cuda.grid(1))
    if q >= period * n:
        return
    along, total = float64(0), float64(0)
    for i in range(q // n, rows, period):
        d = float64(read(dy, i * n + q % n))
        along += d * (float64(read(x, i * n + q % n)) - statistics[0, i]) * statistics[2, i]
        total += d
    write(dgamma, q, along * factor)
    write(dbeta, q, total)


@cache
def terms(width: int, number: Any, kept: bool) -> Any:
    """term(...): hat[at : at + width] = xhat and d[at ...] = g of vector `vector` of row i; sums of dy xhat and dy into along
    and total where `adds`."""
    fetch, fetch_kept = loads(width, kept), parameters(width)

    @cuda.jit(device=True)
    def term(
        dy: Any, x: Any, i: Any, n: Any, vector: Any, aligned: Any, statistics: Any, gamma: Any, q: Any, has_gamma: Any,
        offset: Any, factor: Any, hat: Any, d: Any, at: Any, adds: Any, along: Any, total: Any, first: Any,
    ) -> None:  # fmt: skip
        g = cuda.local.array(width, number)
        mean, rstd = statistics[0, i], statistics[2, i]
        narrow, high = within_float32(rstd), number(mean)
        r, drift = number(rstd), number((float64(high) - mean) * rstd)
        fetch(hat, at, x, i * n, vector * width, n, aligned, high)
        fetch(d, at, dy, i * n, vector * width, n, aligned, number(0))
        fetch_kept(g, gamma, q, vector * width, n, aligned, has_gamma, number(1))
        for j in range(width):
            if narrow:
                hat[at + j] = (hat[at + j] - high) * r + drift
            else:                                    # beyond float32's range on the way
                hat[at + j] = number((float64(hat[at + j]) - mean) * rstd)
            if adds:
                along[first + j] += float64(d[at + j] * hat[at + j])
                total[first + j] += float64(d[at + j])
            d[at + j] *= number(factor) * (number(offset) + g[j])

    return term


@cache
def backward(width: int, vectors: int, number: Any, bound: int, accumulate: bool, again: bool) -> Any:
    """The kernel for teams as in rows.forward; the number of teams is a multiple of `period`, so that a team's rows share their
    parameters.  With `accumulate` parts (teams, 2, n), float64, are written.

    A row stays in registers, or, where sums of the parameters need these, is read again from a cache: `again`.
    """
    entries, sums = width if again else width * vectors, width * vectors if accumulate else 1
    term, put = terms(width, number, again), stores(width)

    @cuda.jit(launch_bounds=bound)
    def rows_backward(
        operation: Any, dy: Any, x: Any, rows: Any, n: Any, period: Any, teams: Any, aligned: Any, statistics: Any, gamma: Any,
        has_gamma: Any, offset: Any, factor: Any, eps: Any, dx: Any, parts: Any,
    ) -> None:  # fmt: skip
        shared = cuda.shared.array((2, 2, WARP), float64)
        hat, d = cuda.local.array(entries, number), cuda.local.array(entries, number)
        along, total = cuda.local.array(sums, float64), cuda.local.array(sums, float64)
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        team = int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        scale = (gamma, team % period * n, has_gamma, offset, factor)
        for j in range(sums):
            along[j], total[j] = float64(0), float64(0)
        for step in range((rows + teams - 1) // teams):      # as many for every team: shuffles need every lane
            row = team + step * teams
            live = team < teams and row < rows
            i = row if live else int64(rows - 1)
            a, b = number(0), number(0)
            for k in range(vectors):
                at, adds = 0 if again else k * width, accumulate and live
                term(dy, x, i, n, k * threads + t, aligned, statistics, *scale, hat, d, at, adds, along, total, k * width)
                for j in range(at, at + width):
                    a += d[j]                        # a thread's few entries in their own type, all else in float64
                    b += d[j] * hat[j]
            whole, product = team_sums(float64(a), float64(b), shared[step & 1])
            var, rstd = statistics[1, i], statistics[2, i]
            m = float64(0) if operation == RMS else whole / n
            c = product / n * response(operation, var, rstd, n, eps)
            if live:
                for k in range(vectors):
                    at = 0 if again else k * width
                    if again:
                        term(dy, x, i, n, k * threads + t, aligned, statistics, *scale, hat, d, 0, False, along, total, 0)
                    for j in range(at, at + width):
                        if within_float32(rstd):
                            d[j] = (d[j] - number(m) - hat[j] * number(c)) * number(rstd)
                        else:
                            d[j] = number((float64(d[j]) - m - float64(hat[j]) * c) * rstd)
                    put(dx, i * n, (k * threads + t) * width, n, aligned, d, at)
        if accumulate and team < teams:
            for k in range(vectors):
                for j in range(width):
                    at = (k * threads + t) * width + j
                    if at < n:
                        parts[team, 0, at], parts[team, 1, at] = along[k * width + j], total[k * width + j]

    return rows_backward


COLUMNS, STRIPS = 32, 8


@cuda.jit
def add_teams(
    parts: Any, teams: Any, n: Any, period: Any, factor: Any, wants_gamma: Any, dgamma: Any, wants_beta: Any, dbeta: Any
) -> None:
    """dgamma, dbeta (P n): the parts of the teams p, p + P ..., in order.

    A block is (columns, strips): strip s adds every blockDim.y-th team's part, then the strips are added in order.  blockIdx.x
    counts (p, columns).
    """
    strips = cuda.shared.array((2, STRIPS, COLUMNS), float64)
    c, s = cuda.threadIdx.x, cuda.threadIdx.y
    across = (n + cuda.blockDim.x - 1) // cuda.blockDim.x
    j, p = int64(cuda.blockIdx.x) % across * cuda.blockDim.x + c, int64(cuda.blockIdx.x) // across
    along, total = float64(0), float64(0)
    if j < n:
        for team in range(p + s * period, teams, period * cuda.blockDim.y):
            along += parts[team, 0, j]
            total += parts[team, 1, j]
    strips[0, s, c], strips[1, s, c] = along, total
    cuda.syncthreads()
    if s == 0 and j < n:
        for k in range(1, cuda.blockDim.y):
            along += strips[0, k, c]
            total += strips[1, k, c]
        if wants_gamma:
            write(dgamma, p * n + j, along * factor)
        if wants_beta:
            write(dbeta, p * n + j, total)
