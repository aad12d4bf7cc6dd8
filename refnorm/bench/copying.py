"""A copy as fast as this machine makes one: what the kernels' bandwidth is measured against.

NumPy's runs on one thread.  This one has as many as the kernels, and streams past the cache where they do.
"""

from __future__ import annotations

from typing import Any

from numba import prange

from refnorm.kernels.cpu.jit import kernel, parallel
from refnorm.kernels.cpu.simd import fence, load
from refnorm.kernels.cpu.streaming import may_stream, put


@kernel
def copy_strip(first: Any, last: Any, x: Any, y: Any, streaming: Any) -> None:
    """Entries first..last, a multiple of 16."""
    for j in range(first, last, 16):
        put(y, j, load(x, j), streaming)
    if streaming:
        fence()


@parallel
def copy(x: Any, y: Any) -> None:
    """y = x, float32 of one dimension."""
    lines, streaming = x.size // 16, may_stream(y, 16)
    for k in prange(64):
        copy_strip(lines * k // 64 * 16, lines * (k + 1) // 64 * 16, x, y, streaming)
    y[lines * 16 :] = x[lines * 16 :]
