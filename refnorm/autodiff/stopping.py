"""stop(x), the identity with a zero derivative, and frozen(f, *xs), the function that it makes of f.

The tape of a function with stops is not the derivative of that function, but of the one in which each stopped value stays
what it was.  `frozen` is that function, so that finite differences can be held against the tape.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from .core import plain

_watchers: ContextVar[tuple[Callable[[Any], Any], ...]] = ContextVar("watchers of stop", default=())
"""What each `frozen` around the present call does with a stopped value, the outermost first."""


def stop(x: Any) -> Any:
    """x, as a constant: a traced array comes out as its plain value."""
    value = plain(x)
    for watch in _watchers.get():
        value = watch(value)
    return value


def frozen(f: Callable[..., Any], *xs: Any) -> Callable[..., Any]:
    """f with each value that passes through `stop` replaced by the one that it had in f(*xs), in the order of the calls.

    The tape of frozen(f, *xs) at xs is the tape of f there.  A frozen function that stops a different number of values, or
    values of other shapes, than f(*xs) did raises ValueError.
    """
    kept: list[Any] = []

    def keep(value: Any) -> Any:
        kept.append(value)
        return value

    _watched(keep, f, *xs)

    def call(*others: Any) -> Any:
        count = 0

        def replay(value: Any) -> Any:
            nonlocal count
            count += 1
            if count > len(kept):
                raise ValueError(f"frozen: a stop number {count}, where f(*xs) had {len(kept)}")
            if np.shape(value) != np.shape(kept[count - 1]):
                raise ValueError(f"frozen: stop number {count} has shape {np.shape(value)}, in f(*xs) it had "
                                 f"{np.shape(kept[count - 1])}")
            return kept[count - 1]

        y = _watched(replay, f, *others)
        if count != len(kept):
            raise ValueError(f"frozen: {count} stops, where f(*xs) had {len(kept)}")
        return y

    return call


def _watched(watch: Callable[[Any], Any], f: Callable[..., Any], *xs: Any) -> Any:
    token = _watchers.set((*_watchers.get(), watch))
    try:
        return f(*xs)
    finally:
        _watchers.reset(token)
