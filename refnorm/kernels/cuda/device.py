"""The device: is there one, and what is missing; and how a kernel is started on it."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from .launch import Grid

PACKAGE = "pip install 'refnorm[cuda]' (numba-cuda and CUDA 13's toolkit)"


@cache
def ready() -> None:
    """Raise RuntimeError that says in one line what is missing and how to get it; asked once, where nothing is."""
    missing = unavailable()
    if missing:
        raise RuntimeError(f"backend 'cuda' cannot run here: {missing}; backend='numba' runs on the CPU")


def unavailable() -> str:
    """What is missing, in words; nothing where kernels can run."""
    if importlib.util.find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed: {PACKAGE}"
    try:
        from numba import cuda
        from numba.core import config
    except ImportError as error:
        return f"numba-cuda does not load ({error}): {PACKAGE}"
    if config.ENABLE_CUDASIM and not hasattr(cuda, "SHUFFLES"):  # type: ignore[attr-defined]
        return "NUMBA_ENABLE_CUDASIM is set, and Numba's simulator has no warp shuffles; unset it"
    if not cuda.is_available():
        reason = getattr(cuda, "cuda_error", lambda: None)()
        words = " ".join(str(reason or "is the driver, 580 or later, installed? nvidia-smi shows it").split())
        return f"no usable NVIDIA GPU was found: {words}"
    return ""


@contextmanager
def current(device: int | None) -> Iterator[None]:
    """On the caller's device; None is the current one."""
    if device is None:
        yield
        return
    from .jit import cuda

    with cuda.gpus[device]:
        yield


DRIVERS_ERRORS = ("CudaAPIError", "CUDAError")
"""Numba's for copies and allocations, cuda.core's for launches."""


@contextmanager
def reported() -> Iterator[None]:
    """The driver's own errors in words.  RuntimeError: such a context does not come back within the process."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ not in DRIVERS_ERRORS:
            raise
        raise RuntimeError(
            f"the CUDA driver reports {error}: out of memory, or a context that was lost to an earlier error (perhaps another "
            "library's); a lost one needs a new process, and compute-sanitizer finds the error"
        ) from error


def launch(kernel: Any, grid: Grid, library: Any, *arguments: Any) -> None:
    """Start a kernel on the stream of the caller's library; where there is nothing to do, nothing."""
    if 0 in grid.blocks:
        return
    with warnings.catch_warnings():                 # Numba warns of few blocks: a small array has no more
        warnings.simplefilter("ignore")
        configured = kernel[grid.blocks, grid.threads, library.stream()]
    with reported():
        configured(*arguments)
