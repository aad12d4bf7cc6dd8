"""How kernels are compiled: three licences, and when threads share a call.

Compiled on the first call, kept on disk (cache=True), nothing at import.  Only functions at module level: a closure over a
jitted function never finds its own cache again.  No two compilations of one Python function: they would share a cache file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numba import extending, get_num_threads, njit, set_num_threads


def forget_stale(room: Path) -> None:
    """Remove compiled code that is older than any source of the room.

    Numba recompiles a function when its own file has changed, not when a function of another file that was compiled into it
    has: whoever edits row.py would go on running the old one out of rows.py.
    """
    newest = max(source.stat().st_mtime for source in room.glob("*.py"))
    for compiled in room.glob("__pycache__/*.nb[ic]"):
        try:
            if compiled.stat().st_mtime < newest:
                compiled.unlink()
        except OSError:                             # another process was first, or the folder is read-only, as its sources are
            continue


forget_stale(Path(__file__).parent)

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

kernel: Any = njit(**OPTIONS)
"""Every operation as written."""

elementwise: Any = njit(fastmath={"contract"}, **OPTIONS)
"""a * b + c may be one rounding instead of two; (x - high) - low stays what it says."""

reduction: Any = njit(fastmath={"reassoc", "nsz", "contract", "arcp"}, **OPTIONS)
"""Sums may be taken in any order, hence in vector lanes: a sum of 768 floats went from 370 to 13 ns.  Never plain fastmath,
which also promises the compiler that there are no NaN."""

ONLY_PRANGE: Any = {
    "prange": True, "comprehension": False, "reduction": False, "inplace_binop": False,
    "setitem": False, "numpy": False, "stencil": False, "fusion": False,
}  # fmt: skip
parallel: Any = njit(parallel=ONLY_PRANGE, **OPTIONS)
"""Loops that say prange are shared among threads, nothing else is.  Each iteration owns its outputs, and what is summed over
iterations is kept apart and summed in order: results are the same bits whatever the number of threads."""

intrinsic: Any = extending.intrinsic
overload: Any = extending.overload
"""As Any: to a type checker a function written for the compiler has arguments that its callers do not see."""

SHARED_FROM = 1 << 20
"""Bytes read and written from which threads share a call.  Waking one that sleeps took 41 us (Intel Xeon, two virtual cores,
OpenMP's passive waiting), in which one core moves a megabyte: a layer norm of 64 x 768 takes 13 us alone, and took
58 us on two threads.  Where threads spin while they wait, it is 1 us, and what lies below is too little to miss."""


def run(kernel: Any, size: int, *arguments: Any) -> Any:
    """kernel(*arguments), which moves `size` bytes; on the calling thread alone where that is too little to share."""
    if size >= SHARED_FROM or (threads := get_num_threads()) == 1:
        return kernel(*arguments)
    set_num_threads(1)
    try:
        return kernel(*arguments)
    finally:
        set_num_threads(threads)
