"""Rules of functions that move numbers and change none.  Each is linear; its rule is its transpose."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view

from .core import Box, composite, plain, primitive
from .recording import defvjp

# one array: other shapes, orders of axes, copies

defvjp(np.reshape, lambda g, y, a, shape, order="C", *, copy=None: np.reshape(g, np.shape(a), _order(order)))
defvjp(np.ravel, lambda g, y, a, order="C": np.reshape(g, np.shape(a), _order(order)))
defvjp(np.squeeze, lambda g, y, a, axis=None: np.reshape(g, np.shape(a)))
defvjp(np.expand_dims, lambda g, y, a, axis: np.reshape(g, np.shape(a)))
defvjp(np.transpose, lambda g, y, a, axes=None: np.transpose(g, axes if axes is None else _inverse(axes)))
defvjp(np.swapaxes, lambda g, y, a, axis1, axis2: np.swapaxes(g, axis1, axis2))
defvjp(np.moveaxis, lambda g, y, a, source, destination: np.moveaxis(g, destination, source))
defvjp(np.matrix_transpose, lambda g, y, x: np.matrix_transpose(g))
defvjp(np.linalg.matrix_transpose, lambda g, y, x: np.matrix_transpose(g))
defvjp(np.broadcast_to, lambda g, y, array, shape, subok=False: g)          # the tape sums it down
defvjp(np.copy, lambda g, y, a, order="K", subok=False: g)
defvjp(np.astype, lambda g, y, x, dtype, *, copy=True, device=None: g)      # the tape rounds it
defvjp(np.flip, lambda g, y, m, axis=None: np.flip(g, axis))
defvjp(np.fliplr, lambda g, y, m: np.fliplr(g))
defvjp(np.flipud, lambda g, y, m: np.flipud(g))
defvjp(np.rot90, lambda g, y, m, k=1, axes=(0, 1): np.rot90(g, -k, axes))
defvjp(np.roll, lambda g, y, a, shift, axis=None: np.roll(g, np.negative(shift), axis))
defvjp(np.tril, lambda g, y, m, k=0: np.tril(g, k))
defvjp(np.triu, lambda g, y, m, k=0: np.triu(g, k))


def _order(order: str) -> Any:
    if order not in ("C", "F"):
        raise NotImplementedError(f"order={order!r} depends on the memory of a traced array; use 'C' or 'F'")
    return order


def _inverse(axes: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(normalize_axis_tuple(axes, len(axes))))


@composite(np.rollaxis)
def _rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    axis, start = normalize_axis_index(axis, np.ndim(a)), start + np.ndim(a) * (start < 0)
    return np.moveaxis(a, axis, start - (axis < start))


def _at_least(fun: Callable[..., Any]) -> None:
    @composite(fun)
    def body(*arrays: Any) -> Any:
        raised = tuple(np.reshape(a, np.shape(fun(np.empty(np.shape(a))))) for a in arrays)
        return raised if len(raised) > 1 else raised[0]


for _fun in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    _at_least(_fun)


@composite(np.full_like)
def _full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    full = np.broadcast_to(fill_value, np.shape(a) if shape is None else shape)
    return np.astype(full, a.dtype if dtype is None else dtype)


# repetitions


@composite(np.tile)
def _tile(A: Any, reps: Any) -> Any:
    reps = (reps,) if np.ndim(reps) == 0 else tuple(reps)
    rank = max(np.ndim(A), len(reps))
    shape, reps = (1,) * (rank - np.ndim(A)) + np.shape(A), (1,) * (rank - len(reps)) + reps
    split = np.reshape(A, [n for size in shape for n in (1, size)])
    repeated = np.broadcast_to(split, [n for pair in zip(reps, shape, strict=True) for n in pair])
    return np.reshape(repeated, [r * n for r, n in zip(reps, shape, strict=True)])


@composite(np.repeat)
def _repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    a, axis = (np.ravel(a), 0) if axis is None else (a, axis)
    return np.take(a, np.repeat(np.arange(np.shape(a)[axis]), repeats), axis=axis)


@composite(np.broadcast_arrays)
def _broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(np.broadcast_to(a, shape) for a in args)


@composite(np.meshgrid)
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    rank = len(xi)
    axes = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else range(rank)
    grid = [np.reshape(x, (1,) * axis + (-1,) + (1,) * (rank - axis - 1)) for x, axis in zip(xi, axes, strict=True)]
    return tuple(grid) if sparse else np.broadcast_arrays(*grid)


@primitive
def _padded(x: Any, widths: Any, values: Any) -> Any:
    return np.pad(x, widths, constant_values=values)


def _middle(g: Any, y: Any, x: Any, widths: Any, values: Any) -> Any:
    return g[tuple(slice(before, before + n) for (before, _), n in zip(widths, np.shape(x), strict=True))]


defvjp(_padded, _middle)


@composite(np.pad)
def _pad(array: Any, pad_width: Any, mode: Any = "constant", *, constant_values: Any = 0, reflect_type: str = "even") -> Any:
    widths = np.broadcast_to(pad_width, (np.ndim(array), 2)).tolist()
    if mode == "constant":
        return _padded(array, widths, constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap") or reflect_type != "even":
        raise NotImplementedError(f"numpy.pad of a traced array has no rule for mode={mode!r}, reflect_type={reflect_type!r}")
    for axis, width in enumerate(widths):
        array = np.take(array, np.pad(np.arange(np.shape(array)[axis]), width, mode=mode), axis=axis)
    return array


# windows: w[i, j] = x[i + j], and the sum over i + j = k


@primitive
def _fold(g: Any, shape: Any, window: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    x = np.zeros(shape, g.dtype)
    for offsets in np.ndindex(*window):
        start = [0] * len(shape)
        for axis, offset in zip(axes, offsets, strict=True):
            start[axis] += offset
        x[tuple(slice(s, s + n) for s, n in zip(start, g.shape[: len(shape)], strict=True))] += g[(..., *offsets)]
    return x


defvjp(_fold, lambda g, y, w, shape, window, axes: sliding_window_view(g, window, axes))


def _windows(g: Any, y: Any, x: Any, window_shape: Any, axis: Any = None, *, subok: Any = False, writeable: Any = False) -> Any:
    window = (window_shape,) if np.ndim(window_shape) == 0 else tuple(window_shape)
    axes = range(np.ndim(x)) if axis is None else (axis,) if np.ndim(axis) == 0 else axis
    return _fold(g, np.shape(x), window, tuple(normalize_axis_index(i, np.ndim(x)) for i in axes))


defvjp(sliding_window_view, _windows)

# several arrays into one


@primitive
def _joined(axis: int, *arrays: Any) -> Any:
    return np.concatenate(arrays, axis=axis)


def _part(i: int, g: Any, y: Any, axis: int, *arrays: Any) -> Any:
    start = sum(np.shape(a)[axis] for a in arrays[: i - 1])
    return g[(slice(None),) * axis + (slice(start, start + np.shape(arrays[i - 1])[axis]),)]


defvjp(_joined, None, each=_part)


@composite(np.concatenate)
def _concatenate(arrays: Any, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = [a if isinstance(a, Box) else np.asarray(a) for a in arrays]
    if axis is None:
        arrays, axis = [np.ravel(a) for a in arrays], 0
    if dtype is not None:
        arrays = [np.astype(a, dtype) for a in arrays]
    return _joined(normalize_axis_index(axis, arrays[0].ndim), *arrays)


@composite(np.stack)
def _stack(arrays: Any, axis: int = 0, out: Any = None, **options: Any) -> Any:
    return np.concatenate([np.expand_dims(a, axis) for a in arrays], axis=axis, **options)


@composite(np.hstack)
def _hstack(tup: Any, **options: Any) -> Any:
    arrays = [np.atleast_1d(a) for a in tup]
    return np.concatenate(arrays, axis=0 if arrays[0].ndim == 1 else 1, **options)


composite(np.vstack)(lambda tup, **options: np.concatenate([np.atleast_2d(a) for a in tup], axis=0, **options))
composite(np.dstack)(lambda tup, **options: np.concatenate([np.atleast_3d(a) for a in tup], axis=2, **options))
composite(np.column_stack)(lambda tup: np.concatenate([np.reshape(a, (-1, 1)) if np.ndim(a) < 2 else a for a in tup], axis=1))


@composite(np.append)
def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return np.concatenate([arr, values], axis=axis)


@composite(np.block)
def _block(arrays: Any) -> Any:
    def leaves(a: Any, depth: int) -> Any:
        return [x for b in a for x in leaves(b, depth + 1)] if isinstance(a, list) else [(np.ndim(a), depth)]

    depth = max(d for _, d in leaves(arrays, 0))
    rank = max(depth, *(n for n, _ in leaves(arrays, 0)))

    def build(a: Any, level: int) -> Any:
        if isinstance(a, list):
            return np.concatenate([build(b, level + 1) for b in a], axis=level - depth)
        return np.reshape(a, (1,) * (rank - np.ndim(a)) + np.shape(a))

    return build(arrays, 0)


# one array into several


@composite(np.array_split)
def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    axis = normalize_axis_index(axis, np.ndim(ary))
    n = np.shape(ary)[axis]
    if isinstance(indices_or_sections, Integral):
        bounds = np.cumsum([0] + [len(part) for part in np.array_split(np.arange(n), indices_or_sections)]).tolist()
    else:
        bounds = [0, *plain(indices_or_sections), n]
    return [ary[(slice(None),) * axis + (slice(i, j),)] for i, j in pairwise(bounds)]


@composite(np.split)
def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    if isinstance(indices_or_sections, Integral) and np.shape(ary)[axis] % indices_or_sections:
        raise ValueError(f"an axis of {np.shape(ary)[axis]} does not split into {indices_or_sections} equal parts")
    return np.array_split(ary, indices_or_sections, axis)


composite(np.hsplit)(lambda ary, indices_or_sections: np.split(ary, indices_or_sections, 0 if np.ndim(ary) == 1 else 1))
composite(np.vsplit)(lambda ary, indices_or_sections: np.split(ary, indices_or_sections, 0))
composite(np.dsplit)(lambda ary, indices_or_sections: np.split(ary, indices_or_sections, 2))
composite(np.unstack)(lambda x, /, *, axis=0: tuple(np.moveaxis(x, axis, 0)))
