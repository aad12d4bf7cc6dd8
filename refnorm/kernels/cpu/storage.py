"""Storage of 16 bits, arithmetic of 32: how a kernel reads and writes one element.

Numba's CPU target takes neither float16 nor bfloat16 arrays.  A kernel gets them as integer views, and the integer's sign says
which: uint16 is bfloat16, int16 is float16.  Conversions are integer arithmetic without branches, so loops that read and write
through them are vectorized like any other, on any processor.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numba import types

from .jit import intrinsic, kernel, overload

FLOAT64, BFLOAT16 = np.dtype(np.float64), np.dtype(ml_dtypes.bfloat16)
VIEWS = {np.dtype(np.float16): np.dtype(np.int16), BFLOAT16: np.dtype(np.uint16)}


def as_stored(array: np.ndarray) -> np.ndarray:
    """What a kernel is given: the array itself, or its bits; never a copy.

    Numba compiles a second time for arrays that are read-only.  Kernels write to their outputs only, so an alias will do.
    """
    if not array.flags.writeable:
        array = np.asarray(_Alias(array)).view(array.dtype)
    return array.view(VIEWS.get(array.dtype, array.dtype))


class _Alias:
    def __init__(self, array: np.ndarray) -> None:
        integers = array.view(f"u{array.dtype.itemsize}")
        (address, _), rest = integers.__array_interface__["data"], integers.__array_interface__
        self.__array_interface__ = {**rest, "data": (address, False)}
        self.keeps = array


def arithmetic(dtype: np.dtype) -> Any:
    """The type that entries of a dtype are computed in."""
    return np.float64 if dtype == FLOAT64 else np.float32


def read(array: Any, j: Any) -> Any:
    """array[j] in the arithmetic's type."""


def write(array: Any, j: Any, value: Any) -> Any:
    """array[j] = value, rounded once to nearest, ties to even."""


@intrinsic
def entry(typing, array, j):
    """array[j] of a contiguous array, 0 <= j.  Plain indexing asks at every j whether it counts from the end, unless it can see
    that j starts at 0; asked at every j, no loop is vectorized."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]], inbounds=True))

    return array.dtype(array, types.intp), generate


@intrinsic
def set_entry(typing, array, j, value):
    """array[j] = value; entry's counterpart."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store(arguments[2], builder.gep(data, [arguments[1]], inbounds=True))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


@overload(read)
def _read(array, j):
    if array.dtype == types.uint16:
        return _read_bfloat16
    if array.dtype == types.int16:
        return _read_float16
    return lambda array, j: entry(array, j)


@overload(write)
def _write(array, j, value):
    if array.dtype == types.uint16:
        return _write_bfloat16
    if array.dtype == types.int16:
        return _write_float16
    return lambda array, j, value: set_entry(array, j, value)


# Numba's integer arithmetic is done in 64 bits: masks are written out, and conversions go through these two.


@kernel
def _float_of(bits: Any) -> Any:
    return np.uint32(bits).view(np.float32)


@kernel
def _bits_of(value: Any) -> Any:
    return np.float32(value).view(np.uint32)


def _read_bfloat16(array, j):
    return _float_of(np.uint32(entry(array, j)) << 16)


def _write_bfloat16(array, j, value):
    bits = np.int64(_bits_of(value))
    # add half of the last kept place, less one bit where that place is even: ties go to even
    near = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    set_entry(array, j, 0x7FC0 if bits & 0x7FFFFFFF > 0x7F800000 else near)


def _read_float16(array, j):
    bits = np.int64(entry(array, j))
    sign, size = (bits & 0x8000) << 16, bits & 0x7FFF
    # exponent and fraction in float32's places are the value times 2^-112, subnormals included
    value = np.int64(_bits_of(_float_of(size << 13) * np.float32(2.0**112)))
    return _float_of((size << 13 | 0x7F800000 if size >= 0x7C00 else value) | sign)


def _write_float16(array, j, value):
    bits = np.int64(_bits_of(value))
    sign, size = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    # normal: rebias the exponent by 112 and round as above, at bit 13
    normal = (size - 0x38000000 + 0xFFF + ((size >> 13) & 1)) >> 13
    # subnormal: adding 1/2 puts the unit of float16's subnormals, 2^-24, at the last place of the sum, which rounds
    small = np.int64(_bits_of(_float_of(size) + np.float32(0.5))) - 0x3F000000
    finite = small if size < 0x38800000 else normal
    special = 0x7C00 if size <= 0x7F800000 else 0x7E00
    near = finite if size < 0x477FF000 else special
    set_entry(array, j, near | sign)
