"""Anything that speaks DLPack: arrays are handed over by the library's own `from_dlpack`, results come back by NumPy's.

NumPy cannot export bfloat16, read-only arrays or, to some libraries, negative strides; the first is refused, the others are
copied.  Results on a device are copied to the host by their own library (`__dlpack__` with dl_device, DLPack 1.0).  A plain
Candidate may answer such arrays, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..candidate import Candidate

HOST = (1, 0)
"""DLPack's device type kDLCPU, number 0."""


def candidate(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None, *, from_dlpack: Callable[[Any], Any], **fields: Any
) -> Candidate:
    """A Candidate from functions over a library's arrays, under the contract's calling convention.

    from_dlpack: the library's importer, `cupy.from_dlpack`, `mlx.core.array`; it is given a NumPy array.
    Saved values (saves=True) are passed from forward to backward as they are.
    """
    saves = bool(fields.get("saves", False))

    def run(*args: Any, **kwargs: Any) -> Any:
        outputs = forward(*(_export(a, from_dlpack) for a in args), **_named(kwargs, from_dlpack))
        if saves and isinstance(outputs, tuple | list) and len(outputs) == 2:
            return _import(outputs[0]), outputs[1]
        return _import(outputs)

    def back(*args: Any, **kwargs: Any) -> Any:
        assert backward is not None
        as_they_are = {1} if saves else set()
        given = [a if k in as_they_are else _export(a, from_dlpack) for k, a in enumerate(args)]
        return _import(backward(*given, **_named(kwargs, from_dlpack)))

    run.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    if backward is not None:
        back.__signature__ = inspect.signature(backward)  # type: ignore[attr-defined]
    named = {"name": getattr(forward, "__name__", None), **fields}
    return replace(Candidate(run, back if backward is not None else None, **named), convert="dlpack")


def _named(kwargs: Mapping[str, Any], importer: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: _export(value, importer) for name, value in kwargs.items()}


def _export(value: Any, importer: Callable[[Any], Any]) -> Any:
    """A NumPy array as the library's; anything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "V":
        raise TypeError(f"NumPy cannot export {value.dtype} by DLPack; declare dtypes without it")
    if not value.flags.writeable or any(stride < 0 for stride in value.strides):
        value = value.copy()
    return importer(value)


def _import(value: Any) -> Any:
    """The library's arrays as NumPy's, tuples member by member."""
    return tuple(_import(v) for v in value) if isinstance(value, tuple | list) else on_host(value)


def on_host(value: Any) -> Any:
    """One array of any library as NumPy's; anything else as it is, for the kit to say so."""
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "__dlpack__"):
        return value
    if type(value).__module__.partition(".")[0] == "torch":  # which exports none that has a gradient
        from .torch import to_numpy

        return to_numpy(value)
    here = getattr(value, "__dlpack_device__", lambda: HOST)()[0] == HOST[0]
    try:
        return np.from_dlpack(value) if here else np.from_dlpack(value, device="cpu")
    except (BufferError, RuntimeError, TypeError, ValueError):  # bfloat16, for one
        return np.asarray(value) if hasattr(value, "__array__") else value
