"""Arrays of other libraries: what is handed in, in place, and results in the caller's own library, on the caller's own stream.

NumPy arrays are copied to the device and back.  PyTorch's CUDA tensors, and anything with `__cuda_array_interface__` (CuPy,
Numba, JAX) or `__dlpack__`, are read where they are.  Results and working memory come from the library's own allocator where
there is one (PyTorch, CuPy), so that they follow its streams; elsewhere from Numba's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.precision import BFLOAT16, NAMES, Elsewhere

from .arrays import STORED, Library, Span, c_strides, pointer_of
from .device import reported


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
    with reported():
        array = cuda.to_device(stored.reshape(-1) if stored.size else np.zeros(1, stored.dtype), stream=library.stream())
    return Span(pointer_of(array), np.shape(value), c_strides(np.shape(value)), host.dtype, library, array)
