"""Arrays on the device: what is handed in, in place, and results in the caller's own library, on the caller's own stream.

NumPy arrays are copied there and back.  PyTorch's CUDA tensors, and anything with `__cuda_array_interface__` (CuPy, Numba,
JAX) or `__dlpack__`, are read where they are.  Results and working memory come from the library's own allocator where there is
one (PyTorch, CuPy), so that they follow its streams; elsewhere from Numba's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnorm.anatomy.precision import BFLOAT16, NAMES, Elsewhere

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


class Torch(Library):
    name = "torch"

    def __init__(self, tensor: Any) -> None:
        import torch

        self.device = tensor.device.index or 0
        super().__init__(torch.cuda.current_stream(tensor.device).cuda_stream)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Span:
        import torch

        named: Any = getattr(torch, dtype.name)
        tensor = torch.empty(shape, dtype=named, device=torch.device(f"cuda:{self.device}"))
        return Span(tensor.data_ptr(), shape, c_strides(shape), dtype, self, tensor)

    def given_back(self, span: Span) -> Any:
        same = span.shape == tuple(span.owner.shape) and span.pointer == span.owner.data_ptr()
        if same and span.strides == tuple(span.owner.stride()):
            return span.owner
        offset = span.owner.storage_offset() + (span.pointer - span.owner.data_ptr()) // span.dtype.itemsize
        return span.owner.as_strided(span.shape, span.strides, offset)


class CuPy(Library):
    name = "cupy"

    def __init__(self, array: Any) -> None:
        import cupy

        self.device = array.device.id
        super().__init__(cupy.cuda.get_current_stream().ptr)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Span:
        import cupy

        array = cupy.empty(shape, dtype)
        return Span(array.data.ptr, shape, c_strides(shape), dtype, self, array)

    def given_back(self, span: Span) -> Any:
        import cupy

        strides = tuple(s * span.dtype.itemsize for s in span.strides)
        offset = span.pointer - span.owner.data.ptr
        return cupy.ndarray(span.shape, span.dtype, memptr=span.owner.data + offset, strides=strides)


class Interface(Library):
    """Any other library: results are Numba's device arrays, or JAX's where the caller's are."""

    def __init__(self, array: Any, stream: int | None) -> None:
        super().__init__(stream)
        self.name = type(array).__module__.partition(".")[0]

    def given_back(self, span: Span) -> Any:
        array = super().given_back(span)
        if self.name not in ("jax", "jaxlib"):
            return array
        import jax  # type: ignore[import-not-found, unused-ignore]

        seen = jax.numpy.asarray(array)
        return seen.view(jax.numpy.bfloat16) if span.dtype == BFLOAT16 else seen


def pointer_of(array: Any) -> int:
    return int(array.__cuda_array_interface__["data"][0])


def synchronize(stream: Any) -> None:
    from .jit import cuda

    if stream:
        stream.synchronize()
    else:
        cuda.synchronize()


def adopt(value: Any, argument: str) -> Any:
    """A device array as a Span; NumPy's and everything else as they are.  TypeError for an array that is elsewhere."""
    if value is None or isinstance(value, (np.ndarray, np.generic, Elsewhere)):
        return value
    if type(value).__module__.partition(".")[0] == "torch":
        return _of_torch(value, argument)
    if hasattr(value, "__cuda_array_interface__"):
        return _of_interface(value, argument)
    if hasattr(value, "__dlpack__"):
        return _of_dlpack(value, argument)
    return value


def _of_torch(tensor: Any, argument: str) -> Span:
    if tensor.device.type != "cuda":
        where = f"a tensor on {tensor.device}"
        raise TypeError(f"{argument} is {where}; it must be on a CUDA device ({argument}.cuda()), or a NumPy array")
    dtype = _dtype(str(tensor.dtype).removeprefix("torch."), argument)
    library = Torch(tensor)
    return Span(tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), dtype, library, tensor.detach())


def _of_interface(array: Any, argument: str) -> Span:
    described = array.__cuda_array_interface__
    if described.get("mask") is not None:
        raise TypeError(f"{argument} has a mask; masked device arrays are not supported")
    name = str(array.dtype) if hasattr(array, "dtype") else np.dtype(described["typestr"]).name
    dtype = _dtype(name, argument)
    shape, strides = tuple(described["shape"]), described.get("strides")
    kind, stream = type(array).__module__.partition(".")[0], described.get("stream")
    library = CuPy(array) if kind == "cupy" else Library(stream) if kind == "numba" else Interface(array, stream)
    return Span(described["data"][0], shape, _in_entries(strides, shape, dtype, argument), dtype, library, array)


def _of_dlpack(array: Any, argument: str) -> Span:
    cpu, on_cuda, managed = 1, 2, 13
    kind, _ = array.__dlpack_device__()
    if kind not in (on_cuda, managed):
        where = "the host" if kind == cpu else f"DLPack's device type {kind}"
        raise TypeError(f"{argument} is a {type(array).__name__} on {where}; it must be on a CUDA device, or a NumPy array")
    from cuda.core.utils import StridedMemoryView

    view = StridedMemoryView.from_dlpack(array, stream_ptr=-1)
    dtype = _dtype(str(view.dtype), argument)
    strides = view.strides or c_strides(tuple(view.shape))
    return Span(view.ptr, tuple(view.shape), tuple(strides), dtype, Interface(array, None), (array, view))


def _dtype(name: str, argument: str) -> np.dtype:
    if name not in NAMES:
        raise TypeError(f"{argument} has dtype {name}; it must be one of {', '.join(NAMES)}")
    return NAMES[name]


def _in_entries(strides: Any, shape: tuple[int, ...], dtype: np.dtype, argument: str) -> tuple[int, ...]:
    if strides is None:
        return c_strides(shape)
    if any(s % dtype.itemsize for s in strides):
        size = f"its {dtype.itemsize} bytes an entry"
        raise ValueError(f"{argument} has strides of {tuple(strides)} bytes; they must be multiples of {size}")
    return tuple(s // dtype.itemsize for s in strides)


def on_device(value: Any, library: Library, argument: str) -> Span:
    """What a kernel can read: a Span as it is, a NumPy array copied to the device."""
    from .jit import cuda

    value = adopt(value, argument)
    if isinstance(value, Span):
        if value.library.device != library.device and None not in (value.library.device, library.device):
            there, here = value.library.device, library.device
            raise ValueError(f"{argument} is on device {there}, x on device {here}; they must be on the same one")
        return value
    host = np.ascontiguousarray(value)
    stored = host.view(STORED.get(host.dtype, host.dtype))
    array = cuda.to_device(stored.reshape(-1) if stored.size else np.zeros(1, stored.dtype), stream=library.stream())
    return Span(pointer_of(array), np.shape(value), c_strides(np.shape(value)), host.dtype, library, array)
