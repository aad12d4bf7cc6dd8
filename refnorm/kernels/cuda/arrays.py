"""Arrays on the device: a Span says where one lies, a Library makes new ones and gives them back.  Here Numba's own, and
NumPy's; others are in libraries.py."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnorm.anatomy.precision import BFLOAT16, Elsewhere

from .device import reported

STORED = {np.dtype(np.float16): np.dtype(np.int16), BFLOAT16: np.dtype(np.uint16)}
"""How kernels see 16-bit types; the others as they are."""


@dataclass(frozen=True, eq=False)
class Span(Elsewhere):
    """An array on the device: where it lies, and whose it is."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]                      # in entries
    dtype: np.dtype
    library: Any                                  # a Library
    owner: Any                                    # keeps the memory; what the caller gets back, for a result

    @property
    def contiguous(self) -> bool:
        return self.strides == c_strides(self.shape) or self.size == 0

    def flat(self) -> Any:
        """The entries of a contiguous array as a kernel takes them, in one dimension."""
        return self.library.view(self.pointer, self.size, self.dtype, self.owner)

    def seen(self, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0) -> Span:
        """The same memory in another shape, from entry `offset` on."""
        pointer = self.pointer + offset * self.dtype.itemsize
        return replace(self, pointer=pointer, shape=shape, strides=c_strides(shape) if strides is None else strides)

    def given_back(self) -> Any:
        """As an array of the caller's library."""
        return self.library.given_back(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """On the host: for backends that compute there, from what a forward here has kept."""
        host = self.library.to_host(self)
        return host if dtype is None else host.astype(dtype)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """In entries."""
    return tuple(math.prod(shape[a + 1 :]) for a in range(len(shape)))


class Library:
    """Numba's own device arrays, and the base of all others."""

    name = "numba"
    device: int | None = None                     # None: the current one

    def __init__(self, stream: int | None = None) -> None:
        self.stream_pointer = stream

    def stream(self) -> Any:
        """As Numba takes it: 0 is the default stream."""
        from .jit import cuda

        special = {1: cuda.legacy_default_stream, 2: cuda.per_thread_default_stream}
        if not self.stream_pointer:
            return 0
        return special[self.stream_pointer]() if self.stream_pointer in special else cuda.external_stream(self.stream_pointer)

    def view(self, pointer: int, count: int, dtype: np.dtype, owner: Any) -> Any:
        from .jit import cuda

        stored = STORED.get(dtype, dtype)
        described = {"shape": (count,), "strides": None, "typestr": stored.str, "data": (pointer, False), "version": 3}
        return cuda.from_cuda_array_interface(described, owner=owner, sync=False)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Span:
        from .jit import cuda

        stored = STORED[dtype] if dtype == BFLOAT16 else dtype
        with reported():
            array = cuda.device_array(shape if math.prod(shape) else (1,), stored, stream=self.stream())
        return Span(pointer_of(array), shape, c_strides(shape), dtype, self, array)

    def given_back(self, span: Span) -> Any:
        """bfloat16 as bits: Numba's arrays have no such type."""
        from .jit import cuda

        stored = STORED[BFLOAT16] if span.dtype == BFLOAT16 else span.dtype
        strides = tuple(s * stored.itemsize for s in span.strides)
        place = {"shape": span.shape, "strides": strides, "data": (span.pointer, False)}
        described = {**place, "typestr": stored.str, "version": 3}
        return cuda.from_cuda_array_interface(described, owner=span.owner, sync=False)

    def to_host(self, span: Span) -> np.ndarray:
        from .gather import gathered

        dense = span if span.contiguous else gathered(span, tuple(range(len(span.shape))))
        if not span.size:
            return np.empty(span.shape, span.dtype)
        with reported():
            host = self.view(dense.pointer, dense.size, dense.dtype, dense.owner).copy_to_host(stream=self.stream())
            synchronize(self.stream())
        return host.view(span.dtype).reshape(span.shape)


class Host(Library):
    """NumPy's arrays: copied to the device, results copied back."""

    name = "numpy"

    def given_back(self, span: Span) -> np.ndarray:
        return self.to_host(span)


def pointer_of(array: Any) -> int:
    return int(array.__cuda_array_interface__["data"][0])


def synchronize(stream: Any) -> None:
    from .jit import cuda

    if stream:
        stream.synchronize()
    else:
        cuda.synchronize()
