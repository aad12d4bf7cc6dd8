"""How many threads BLAS has, which NumPy and SciPy call: Numba's and PyTorch's settings are none of its.

What the environment says is kept: with OPENBLAS_NUM_THREADS=1 no second thread of BLAS spins on a core that the kernels need.
Where it says nothing, BLAS has as many threads as the others; only threadpoolctl can set that after the import, where it is
installed (`pip install threadpoolctl`; scikit-learn brings it).
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def settable() -> bool:
    """Is it ours to set?"""
    return not any(name in os.environ for name in VARIABLES) and importlib.util.find_spec("threadpoolctl") is not None


def limited(threads: int) -> AbstractContextManager:
    """Within it every BLAS of this process has `threads` threads, where that can be set."""
    if not settable():
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager = threadpool_limits(threads, user_api="blas")
    return limits


def described() -> dict[str, Any]:
    """For the report: the libraries and what they run on, or which variables hold where that cannot be told."""
    if not settable():
        return {"threads": "as set by the environment", **{name: os.environ.get(name) for name in VARIABLES}}
    import numpy  # noqa: F401  libraries are seen once they are loaded
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    kept = ("internal_api", "version", "architecture", "threading_layer", "prefix")
    found = [{k: pool.get(k) for k in kept} for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {"threads": "as many as Numba and PyTorch", "libraries": found}
