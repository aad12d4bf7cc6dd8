"""Numba's CUDA target, as Any: to a type checker a kernel has arguments and indices that its callers do not see.

A kernel that depends on constants (how many entries an access has, how many a thread) is made by a cached function of them:
loops over small local arrays are unrolled, and the arrays become registers.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import cuda as _cuda

cuda: Any = _cuda
float32: Any = numba.float32
float64: Any = numba.float64
int64: Any = numba.int64
