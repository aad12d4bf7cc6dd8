"""Smaller versions of a case: shorter axes, fewer axes, simpler numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .cases import Case, stored
from .conventions import TRAILING, method_named
from .expected import Expectation, OutsideDialect


def sliced(case: Case, axis: int, size: int) -> Case | None:
    """The first `size` entries along an axis of x, parameters cut to fit; None where no such call exists."""
    return _taken(case, axis, range(size))


def single(case: Case, axis: int, index: int) -> Case | None:
    """The one entry at `index` along an axis, parameters with it; None where no such call exists."""
    return _taken(case, axis, (index,)) if case.x.shape[axis] > 1 else None


def _taken(case: Case, axis: int, places: Sequence[int]) -> Case | None:
    x = np.take(case.x, places, axis=axis)
    return _fitted(case, x, np.take(case.dy, places, axis=axis) if case.dy.shape == case.x.shape else case.dy)


def squeezed(case: Case, axis: int) -> Case | None:
    """Without an axis of length 1; None where the method needs it."""
    if case.x.shape[axis] != 1 or "axes" in case.arguments or case.x.ndim == 2 or case.dy.shape != case.x.shape:
        return None
    if axis >= case.x.ndim - case.normalized_ndim and case.norm in TRAILING:
        return None
    return _fitted(case, np.squeeze(case.x, axis), np.squeeze(case.dy, axis))


def _fitted(case: Case, x: np.ndarray, dy: np.ndarray) -> Case | None:
    method, convention = method_named(case.norm), case.convention
    changes: dict[str, Any] = {convention.arrays[0]: np.ascontiguousarray(x)}
    groups = case.arguments.get("num_groups")
    if groups is not None:
        channels = x.shape[case.channel_axis] if x.ndim > 1 else 0
        if not channels or channels % groups:
            return None
    if "mask" in case.arguments or "num_shards" in case.arguments:
        return None
    smaller = replace(case, arguments={**case.arguments, **changes}, dy=np.ascontiguousarray(dy))
    bare = smaller.replaced(**dict.fromkeys((*convention.parameters, *convention.state)))  # of the old lengths still
    try:
        arguments, _ = method.resolve(**bare.reference())
        shapes = method.shapes(**arguments)
        if method.triple is not None:
            method.triple.partition(**arguments)
    except (ValueError, TypeError, IndexError, StopIteration):
        return None
    for name in convention.state:
        if name in ("u", "v"):  # of a spectral norm: the first axis, and all others
            shapes[name] = (x.shape[0],) if name == "u" else (x.size // max(x.shape[0], 1),)
        else:
            shapes[name] = (x.shape[case.channel_axis],)
    for name, shape in shapes.items():
        given = case.arguments.get(name)
        if given is not None:
            if given.ndim != len(shape) or any(a < b for a, b in zip(given.shape, shape, strict=True)):
                return None
            changes[name] = np.ascontiguousarray(given[tuple(slice(n) for n in shape)])
    smaller = replace(smaller, arguments={**smaller.arguments, **changes})
    return smaller if method.triple is not None else _answered(smaller, case.dy)


def _answered(case: Case, dy: np.ndarray) -> Case | None:
    """With a cotangent of the shape of y, which is not x's for every layer: cut from the larger one where it must be."""
    for dialect in method_named(case.norm).dialects:
        try:
            shape = np.shape(Expectation(case, dialect).computed[0])
        except (OutsideDialect, TypeError, IndexError):
            continue
        if shape == case.dy.shape:
            return case
        if len(shape) == dy.ndim and all(a <= b for a, b in zip(shape, dy.shape, strict=True)):
            return replace(case, dy=np.ascontiguousarray(dy[tuple(slice(n) for n in shape)]))
    return None


def regrouped(case: Case, groups: int) -> Case | None:
    """The same with another number of groups, of as many channels as now."""
    now = case.arguments.get("num_groups")
    if now is None or not 1 <= groups < now:
        return None
    size = case.x.shape[case.channel_axis] // now * groups
    smaller = replace(case, arguments={**case.arguments, "num_groups": groups})
    return sliced(smaller, case.channel_axis % case.x.ndim, size)


PATTERNS: tuple[tuple[str, Any], ...] = (
    ("zeros", lambda n: np.zeros(n)),
    ("ones", lambda n: np.ones(n)),
    ("first", lambda n: (np.arange(n) == 0) * 1.0),
    ("last", lambda n: (np.arange(n) == n - 1) * 1.0),
    ("signs", lambda n: 1.0 - 2.0 * (np.arange(n) % 2)),
    ("steps", lambda n: np.arange(n) % 3 - 1.0),
    ("ramp", lambda n: np.arange(n) * 1.0 if n <= 64 else np.arange(n) % 7 - 3.0),
)
"""Whole arrays that a reader takes in at a glance, simplest first."""


def pattern_order(name: str) -> tuple[int, ...]:
    """Indices into PATTERNS in the order in which they are tried: scales begin with ones, x with what varies."""
    order = {"gamma": (1, 5, 6), "g": (1, 6), "running_var": (1,), "beta": (0, 1, 6), "running_mean": (0, 1, 6)}
    return order.get(name, (2, 3, 4, 5, 6, 1, 0))


def patterned(array: np.ndarray, kind: int) -> np.ndarray:
    return stored(PATTERNS[kind][1](array.size).reshape(array.shape), array.dtype)


def rounded(array: np.ndarray, digits: int) -> np.ndarray:
    """To so many significant decimal digits."""
    wide = array.astype(np.float64)
    with np.errstate(all="ignore"):
        size = np.where(wide == 0, 0, np.floor(np.log10(np.where(wide == 0, 1, np.abs(wide)))))
        unit = np.power(10.0, size - digits + 1)
        return stored(np.where(np.isfinite(wide), np.round(wide / unit) * unit, wide), array.dtype)


def arrays_of(case: Case, backward: bool) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays that may be simplified, those that matter least first."""
    for name in reversed(case.convention.arrays):
        if case.arguments.get(name) is not None:
            yield name, case.arguments[name]
    if backward:
        yield "dy", case.dy
