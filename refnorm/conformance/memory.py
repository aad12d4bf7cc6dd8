"""How the same values may lie in memory: strides that kernels misread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def contiguous(a: np.ndarray) -> np.ndarray:
    return np.array(a, order="C")


def transposed(a: np.ndarray) -> np.ndarray:
    """Fortran order: the first axis runs fastest."""
    return np.array(a, order="F")


def reversed_axes(a: np.ndarray) -> np.ndarray:
    """Negative strides along every axis."""
    if a.ndim == 0:
        return a.copy()  # indexed, it would be no array any more
    flip = (slice(None, None, -1),) * a.ndim
    return np.array(a[flip], order="C")[flip]


def strided(a: np.ndarray) -> np.ndarray:
    """Every second entry of a larger array along the last axis; what lies between is NaN."""
    if a.ndim == 0:
        return a.copy()
    room = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    room[..., ::2] = a
    return room[..., ::2]


def rows_apart(a: np.ndarray) -> np.ndarray:
    """Rows of a wider array (a leading dimension larger than the row), NaN in the margin."""
    if a.ndim == 0:
        return a.copy()
    room = np.full((*a.shape[:-1], a.shape[-1] + 3), np.nan, a.dtype)
    room[..., : a.shape[-1]] = a
    return room[..., : a.shape[-1]]


def offset(a: np.ndarray) -> np.ndarray:
    """A slice that starts one element into its buffer: aligned for no vector load."""
    room = np.full(a.size + 1, np.nan, a.dtype)
    room[1:] = a.ravel()
    return room[1:].reshape(a.shape)


def channels_last(a: np.ndarray) -> np.ndarray:
    """(N, C, *spatial) over memory laid out (N, *spatial, C)."""
    return contiguous(a) if a.ndim < 3 else np.moveaxis(np.array(np.moveaxis(a, 1, -1), order="C"), -1, 1)


def channels_last_offset(a: np.ndarray) -> np.ndarray:
    """Channels last, one element into its buffer."""
    return offset(a) if a.ndim < 3 else np.moveaxis(offset(np.moveaxis(a, 1, -1)), -1, 1)


def broadcast(a: np.ndarray) -> np.ndarray:
    """Zero strides along every axis whose entries are all equal: what y.sum().backward() hands to a backward."""
    alike = (bool(np.all(a == np.take(a, [0], axis=k))) if a.size else False for k in range(a.ndim))
    return np.broadcast_to(a[tuple(slice(1) if same else slice(None) for same in alike)].copy(), a.shape)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": contiguous,
    "Fortran-ordered": transposed,
    "reversed": reversed_axes,
    "every second entry": strided,
    "rows apart": rows_apart,
    "offset by one": offset,
    "channels last": channels_last,
    "channels last, offset by one": channels_last_offset,
    "broadcast": broadcast,
}

SOURCE = {
    "contiguous": "{0}",
    "Fortran-ordered": "np.asfortranarray({0})",
    "reversed": "{0}[(slice(None, None, -1),) * {0}.ndim].copy()[(slice(None, None, -1),) * {0}.ndim]",
    "every second entry": "np.repeat({0}, 2, axis=-1)[..., ::2]",
    "rows apart": "np.concatenate([{0}, {0}[..., :1]], axis=-1)[..., :-1]",
    "offset by one": "np.append({0}.ravel()[:1], {0}.ravel())[1:].reshape({0}.shape)",
    "channels last": "np.moveaxis(np.ascontiguousarray(np.moveaxis({0}, 1, -1)), -1, 1)",
    "channels last, offset by one": "np.moveaxis(np.append({0}.ravel()[:1], np.moveaxis({0}, 1, -1))[1:]"
    ".reshape(np.moveaxis({0}, 1, -1).shape), -1, 1)",
    "broadcast": "np.broadcast_to({0}[tuple(slice(1) if (np.take({0}, [0], k) == {0}).all() else slice(None) "
    "for k in range({0}.ndim))], {0}.shape)",
}
"""The same as source, for a reproduction."""


def layout_of(layout: str, name: str) -> str:
    """How one array lies.  layout: that of all of them ("reversed"), or of some ("dy is broadcast and x is reversed")."""
    if " is " not in layout:
        return layout
    asked = dict(part.split(" is ") for part in layout.split(" and "))
    return asked.get(name, "contiguous" if name in ("x", "dy") else asked.get("a parameter", "contiguous"))


def laid(layout: str, name: str, array: np.ndarray) -> np.ndarray:
    return LAYOUTS[layout_of(layout, name)](array)


def source(layout: str, name: str) -> str:
    """The expression that lays an array out so."""
    return SOURCE[layout_of(layout, name)].format(name)
