"""Kinds: all that the checks of a call read of its arguments, so that calls of one kind are checked and laid out once.

Of an array they read its shape and dtype, of a state those of its arrays, of anything else what it is.  What is kept for a kind
was made from stand-ins, arrays of that shape and dtype without entries of their own: no array is kept alive, and no check can
come to depend on what is in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

KEPT = 512
"""Kinds of calls that are remembered, by each function that remembers."""

PLAIN = frozenset({type(None), bool, int, float, str})


def kinds(arguments: Mapping[str, Any], arrays: tuple[str, ...]) -> tuple | None:
    """The kind of a call; None where it has none and is checked each time: a traced or foreign array, a mask, a list."""
    return _kinds(arguments.items(), arrays)


def _kinds(named: Iterable[tuple[Any, Any]], arrays: Any) -> tuple | None:
    found: list[tuple] = []
    for name, value in named:
        of: Any = type(value)
        if of is np.ndarray and name in arrays:
            found.append((name, np.ndarray, value.shape, value.dtype))
        elif of in PLAIN or (of.__hash__ is object.__hash__ and name not in arrays):
            found.append((name, of, value))                 # a dialect, a function: itself
        elif isinstance(value, tuple) and (inner := _kinds(enumerate(value), range(len(value)))) is not None:
            found.append((name, of, inner))                 # a state, several axes
        else:
            return None
    return tuple(found)


def stand_ins(kinds: tuple) -> dict[Any, Any]:
    """Arguments of a kind."""
    found: dict[Any, Any] = {}
    for name, of, *rest in kinds:
        if of is np.ndarray:
            shape, dtype = rest
            found[name] = np.broadcast_to(np.zeros((), dtype), shape)
        elif issubclass(of, tuple):
            parts = stand_ins(rest[0]).values()
            found[name] = of(*parts) if hasattr(of, "_fields") else of(parts)
        else:
            (found[name],) = rest
    return found


def held(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a stand-in stands for."""
    return {name: value for name, value in arguments.items() if isinstance(value, (np.ndarray, tuple))}
