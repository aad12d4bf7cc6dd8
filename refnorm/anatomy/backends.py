"""Backends by name, loaded when asked for: the one late binding of the house.

A backend is a module with `METHODS`, method name -> (forward, backward), under the contract of anatomy/method.py:
forward(arguments) -> y, saved [, state];  backward(dy, cache) -> gradients.  It may have `adopt`, (value, argument) -> value,
which makes arrays of other libraries known to the checks (precision.Elsewhere), and `unavailable`, what the machine lacks.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ROOMS = {"numba": "refnorm.kernels.cpu", "cuda": "refnorm.kernels.cuda"}


class NoKernel(ValueError):
    """A call that is right, and that a backend has no kernel for; the message says which backend has."""


def names() -> tuple[str, ...]:
    return ("numpy", *ROOMS)


def available() -> tuple[str, ...]:
    """The backends that this installation has."""
    return ("numpy", *(name for name, room in ROOMS.items() if _exists(room)))


def methods(backend: str) -> Mapping[str, tuple[Callable, Callable]]:
    """What a backend has, by method.  Raises ValueError that says what exists and how to get it."""
    if backend not in ROOMS:
        raise ValueError(f"backend is {backend!r}; it must be one of {', '.join(names())}")
    if not _exists(ROOMS[backend]):
        raise ValueError(f"backend {backend!r} has no kernels in this version of refnorm; here are: {', '.join(available())}")
    found: Mapping[str, tuple[Callable, Callable]] = _room(ROOMS[backend]).METHODS
    return found


def load(backend: str, method: str) -> tuple[Callable, Callable]:
    """The forward and backward of a method on a backend.  Raises ValueError that says what exists and how to get it."""
    found = methods(backend)
    if method not in found:
        raise NoKernel(f"backend {backend!r} has no kernel for {method}; it has {', '.join(found)}; 'numpy' has all")
    return found[method]


def adopted(backend: str, value: Any, argument: str) -> Any:
    """An argument as a backend reads it: one that computes in another memory takes arrays that are there already."""
    if isinstance(value, np.ndarray) or value is None or backend not in ROOMS or not _exists(ROOMS[backend]):
        return value
    adopt = getattr(_room(ROOMS[backend]), "adopt", None)
    return value if adopt is None else adopt(value, argument)


def unavailable(backend: str) -> str:
    """What this machine lacks for a backend, in words; nothing where it can compute."""
    if backend not in ROOMS or not _exists(ROOMS[backend]):
        return ""
    asked = getattr(_room(ROOMS[backend]), "unavailable", None)
    return "" if asked is None else asked()


@functools.cache
def _room(room: str) -> Any:
    return importlib.import_module(room)


@functools.cache
def _exists(room: str) -> bool:
    parent, _, _ = room.rpartition(".")
    return importlib.util.find_spec(parent) is not None and importlib.util.find_spec(room) is not None
