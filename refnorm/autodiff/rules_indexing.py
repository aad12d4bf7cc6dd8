"""Rules of indexing.  x[i] picks entries; its transpose adds each cotangent to the entry that it came from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .box import getitem
from .core import composite, primitive
from .recording import defvjp


@primitive
def scatter(g: Any, shape: tuple[int, ...], index: Any) -> Any:
    """Zeros of `shape` with g added at `index`: sums where an entry is picked more than once."""
    x = np.zeros(shape, g.dtype)
    if _at_most_once(index):
        x[index] = g
    else:
        np.add.at(x, index, g)
    return x


def _at_most_once(index: Any) -> bool:
    """No entry can be picked twice: slices, integers and masks only (np.add.at is slower by far)."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = (slice, int, np.integer, type(None), type(Ellipsis))
    return all(isinstance(i, basic) or getattr(i, "dtype", None) == np.bool for i in parts)


defvjp(getitem, lambda g, y, x, index: scatter(g, np.shape(x), index))
defvjp(scatter, lambda g, y, x, shape, index: getitem(g, index))


@composite(np.take)
def _take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    if mode != "raise":
        raise NotImplementedError("numpy.take of a traced array takes no mode=; bring the indices into range first")
    if axis is None:
        return np.ravel(a)[indices]
    return a[(slice(None),) * normalize_axis_index(axis, np.ndim(a)) + (np.asarray(indices),)]


@composite(np.take_along_axis)
def _take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    if axis is None:
        return np.ravel(arr)[indices]
    axis = normalize_axis_index(axis, np.ndim(arr))
    grid = list(np.ogrid[tuple(slice(n) for n in np.shape(arr))]) if np.ndim(arr) > 1 else [None]
    grid[axis] = indices
    return arr[tuple(grid)]


@composite(np.compress)
def _compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    return np.take(a, np.flatnonzero(condition), axis=axis)


composite(np.extract)(lambda condition, arr: np.ravel(arr)[np.flatnonzero(condition)])


@composite(np.delete)
def _delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    arr, axis = (np.ravel(arr), 0) if axis is None else (arr, axis)
    return np.take(arr, np.delete(np.arange(np.shape(arr)[axis]), obj), axis=axis)


@composite(np.select)
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The first condition that holds decides."""
    y = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        y = np.where(condition, choice, y)
    return y


@composite(np.diagonal)
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    a = np.moveaxis(a, (axis1, axis2), (-2, -1))
    rows = np.arange(max(-offset, 0), max(min(np.shape(a)[-2], np.shape(a)[-1] - offset), max(-offset, 0)))
    return a[..., rows, rows + offset]


@composite(np.diag)
def _diag(v: Any, k: int = 0) -> Any:
    if np.ndim(v) == 2:
        return np.diagonal(v, k)
    n = np.shape(v)[0] + abs(k)
    rows = np.arange(np.shape(v)[0]) + max(-k, 0)
    return scatter(v, (n, n), (rows, rows + k))


composite(np.diagflat)(lambda v, k=0: np.diag(np.ravel(v), k))
composite(np.trace)(lambda a, offset=0, axis1=0, axis2=1, dtype=None, out=None: (
    np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)))
composite(np.linalg.diagonal)(lambda x, /, *, offset=0: np.diagonal(x, offset, -2, -1))
composite(np.linalg.trace)(lambda x, /, *, offset=0, dtype=None: np.trace(x, offset, -2, -1, dtype))
