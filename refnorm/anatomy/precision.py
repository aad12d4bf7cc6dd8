"""The reference computes in float64 whatever comes in, and rounds once to the input's dtype.

`wide` is the way in, `narrow` the way out; a traced array (refnorm.autodiff.Box) passes through both untouched.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from refnorm.autodiff import Box

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16), BFLOAT16)
NAMES = {"float64": FLOATS[0], "float32": FLOATS[1], "float16": FLOATS[2], "bfloat16": BFLOAT16}


class Elsewhere:
    """An array in another memory, as its backend sees it: shape and dtype (NumPy's) are all that checks read."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def dtype_named(name: str) -> np.dtype:
    """"bfloat16" -> its dtype.  Raises ValueError that lists what exists."""
    if name not in NAMES:
        raise ValueError(f"dtype {name!r} is unknown; it must be one of {', '.join(NAMES)}")
    return NAMES[name]


def dtype_of(x: Any, argument: str) -> np.dtype:
    """The dtype that a result for x is rounded to.  Raises TypeError where x is no real floating-point array."""
    if isinstance(x, Box):
        return x.value.dtype
    if not isinstance(x, np.ndarray | np.generic | Elsewhere):
        raise TypeError(f"{argument} is a {type(x).__name__}; it must be a NumPy array of {', '.join(NAMES)}")
    if x.dtype not in FLOATS:
        raise TypeError(f"{argument} has dtype {x.dtype}; it must be one of {', '.join(NAMES)}")
    return x.dtype


def accumulation_epsilon(dtype: np.dtype) -> float:
    """Machine epsilon of the type that frameworks accumulate in: float64 for float64, float32 for all shorter types."""
    return float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps)


def wide(x: Any) -> Any:
    """x in float64, by reference where it is float64 already."""
    return x if isinstance(x, Box) else np.asarray(x, np.float64)


def narrow(x: Any, dtype: np.dtype) -> Any:
    """x rounded once, to nearest, ties to even."""
    if isinstance(x, Box) or x is None or x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):                # beyond the type's range: infinity, as its arithmetic has it
        return _to_odd_float32(x).astype(dtype) if dtype == BFLOAT16 else np.asarray(x).astype(dtype)


def _to_odd_float32(x: Any) -> np.ndarray:
    """float64 to float32 with rounding to odd, after which a second rounding to 8 bits equals one rounding.

    ml_dtypes rounds float64 to bfloat16 by way of float32, to nearest twice: 1 + 2^-8 + 2^-40 came out as 1.
    (S. Boldo and G. Melquiond, IEEE Trans. Computers 57 (2008) 462.)
    """
    x = np.asarray(x, np.float64)
    near = x.astype(np.float32)
    inexact = np.isfinite(near) & (near.astype(np.float64) != x)
    toward_zero = np.where(inexact & (np.abs(near) > np.abs(x)), np.nextafter(near, np.float32(0)), near)
    return (toward_zero.view(np.uint32) | inexact.astype(np.uint32)).view(np.float32)
