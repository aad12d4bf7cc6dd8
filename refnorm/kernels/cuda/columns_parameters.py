"""Columns, gradients of the parameters, in the terms of columns_backward.py."""

from __future__ import annotations

from typing import Any

from .jit import cuda, float64, int64
from .memory import read, write
from .reduction import WARP, block_sums


@cuda.jit
def add_columns(
    blocks: Any, columns: Any, repeat: Any, period: Any, own: Any, factor: Any, sums: Any, wants_gamma: Any, dgamma: Any,
    wants_beta: Any, dbeta: Any,
) -> None:  # fmt: skip
    """dgamma, dbeta (P, own) from the sums of the columns, `repeat` adjacent ones to a parameter; one warp an entry."""
    shared = cuda.shared.array((2, WARP), float64)
    q = int64(cuda.blockIdx.x)
    p, first = q // own, q % own * repeat
    total, along = float64(0), float64(0)
    for n in range(cuda.threadIdx.x, blocks // period * repeat, cuda.blockDim.x):
        b, c = n // repeat * period + p, first + n % repeat
        total += sums[b, 0, 0, c]
        along += sums[b, 0, 1, c]
    total, along = block_sums(total, along, shared)
    if cuda.threadIdx.x == 0:
        if wants_gamma:
            write(dgamma, q, along * factor)
        if wants_beta:
            write(dbeta, q, total)


@cuda.jit
def sums_along_rows(dy: Any, x: Any, rows: Any, columns: Any, k: Any, statistics: Any, sums: Any) -> None:
    """Parameters down the columns: sums (2, B M), sum(dy) and sum(dy xhat) of each row; one thread block a row."""
    shared = cuda.shared.array((2, WARP), float64)
    bm = int64(cuda.blockIdx.x)
    total, along = float64(0), float64(0)
    for c in range(cuda.threadIdx.x, columns, cuda.blockDim.x):
        i = bm // rows * (columns // k) + c // k
        d = float64(read(dy, bm * columns + c))
        total += d
        along += d * ((float64(read(x, bm * columns + c)) - statistics[0, i]) * statistics[2, i])
    total, along = block_sums(total, along, shared)
    if cuda.threadIdx.x == 0:
        sums[0, bm], sums[1, bm] = total, along
