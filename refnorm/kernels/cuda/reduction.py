"""Sums over the threads of a team: lanes of a warp by shuffles, warps through shared memory.

A team is a power of two of lanes within a warp, or a whole block of several warps.  Every thread of it gets the sums, the same
bits in all: a butterfly adds a + b here and b + a there.  The order depends on the team's size alone.
"""

from __future__ import annotations

from typing import Any

from .jit import cuda, float64

WARP = 32
EVERY_LANE = 0xFFFFFFFF


@cuda.jit(device=True)
def lanes_sums(a: Any, b: Any, lanes: Any) -> Any:
    """a and b summed over groups of `lanes` adjacent lanes; every lane of the warp must be here."""
    step = lanes >> 1
    while step > 0:
        a += cuda.shfl_xor_sync(EVERY_LANE, a, step)
        b += cuda.shfl_xor_sync(EVERY_LANE, b, step)
        step >>= 1
    return a, b


@cuda.jit(device=True)
def block_sums(a: Any, b: Any, shared: Any) -> Any:
    """a and b summed over a block of one or more warps; shared (2, WARP) float64, which no thread may still be reading."""
    a, b = lanes_sums(a, b, WARP)
    warps = cuda.blockDim.x // WARP
    if warps > 1:
        lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
        if lane == 0:
            shared[0, warp], shared[1, warp] = a, b
        cuda.syncthreads()
        a = shared[0, lane] if lane < warps else float64(0)
        b = shared[1, lane] if lane < warps else float64(0)
        a, b = lanes_sums(a, b, WARP)
    return a, b


@cuda.jit(device=True)
def team_sums(a: Any, b: Any, shared: Any) -> Any:
    """a and b summed over a team of blockDim.x threads, a power of two of lanes or whole warps; shared as in block_sums."""
    if cuda.blockDim.x < WARP:
        return lanes_sums(a, b, cuda.blockDim.x)
    return block_sums(a, b, shared)
