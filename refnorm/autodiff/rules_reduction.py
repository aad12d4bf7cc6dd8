"""Rules of sums, means, products, extrema, orders: functions that take numbers along axes together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .core import composite, plain
from .recording import defvjp
from .rules_elementwise import conj, ratio


def axes_of(a: Any, axis: Any) -> tuple[int, ...]:
    return tuple(range(np.ndim(a))) if axis is None else normalize_axis_tuple(axis, np.ndim(a))


def spread(g: Any, a: Any, axis: Any, keepdims: bool = False) -> Any:
    """What a reduction of a along `axis` answered, back in a's shape."""
    axes = axes_of(a, axis)
    kept = tuple(1 if i in axes else n for i, n in enumerate(np.shape(a)))
    return np.broadcast_to(np.reshape(g, kept), np.shape(a))


def count(a: Any, axis: Any) -> int:
    return int(np.prod([np.shape(a)[i] for i in axes_of(a, axis)], dtype=int))


# sums and means: y = sum_i w_i x_i has the cotangents g w_i

defvjp(np.sum, lambda g, y, a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True: (
    spread(g, a, axis, keepdims) if where is True else np.where(where, spread(g, a, axis, keepdims), 0)))


def _mean(g: Any, y: Any, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
          *, where: Any = True) -> Any:
    if where is True:
        return spread(g, a, axis, keepdims) / count(a, axis)
    chosen = np.broadcast_to(where, np.shape(a))
    number = np.maximum(np.sum(chosen, axis=axis, keepdims=True), 1)
    return np.where(chosen, spread(g, a, axis, keepdims) / number, 0)


defvjp(np.mean, _mean)


def _freedom(a: Any, axis: Any, ddof: Any, correction: Any) -> float:
    return max(count(a, axis) - (ddof if correction is None else correction), 0)


def _var(g: Any, y: Any, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: bool = False,
         *, correction: Any = None) -> Any:
    """var = sum |a - mean|^2 / n: d var = 2 sum Re(conj(a - mean) da) / n, for the deviations sum to zero."""
    deviation = a - np.mean(a, axis=axis, keepdims=True) if np.size(a) else a
    return spread(g, a, axis, keepdims) * (2 * deviation) / _freedom(a, axis, ddof, correction)


def _std(g: Any, y: Any, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: bool = False,
         *, correction: Any = None) -> Any:
    """std = sqrt(var); 0 where std is 0, as for the norm that it is."""
    return _var(ratio(g, 2 * y), None, a, axis, None, None, ddof, keepdims, correction=correction)


defvjp(np.var, _var)
defvjp(np.std, _std)


@composite(np.average)
def _average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    if weights is None:
        average = np.mean(a, axis=axis, keepdims=keepdims)
        return (average, np.full(np.shape(average), count(a, axis), average.dtype)) if returned else average
    if np.shape(weights) != np.shape(a):
        axes = axes_of(a, axis)
        weights = np.reshape(weights, tuple(n if i in axes else 1 for i, n in enumerate(np.shape(a))))
    total = np.sum(np.broadcast_to(weights, np.shape(a)), axis=axis, keepdims=keepdims)
    average = np.sum(weights * a, axis=axis, keepdims=keepdims) / total
    return (average, total) if returned else average


# extrema: equal ones share the cotangent evenly


def _extremum(g: Any, y: Any, a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    hit = plain(a) == spread(plain(y), a, axis, keepdims)
    return spread(g, a, axis, keepdims) * (hit / np.maximum(np.sum(hit, axis=axes_of(a, axis), keepdims=True), 1))


for _fun in (np.max, np.min, np.amax, np.amin):
    defvjp(_fun, _extremum)
composite(np.ptp)(lambda a, axis=None, out=None, keepdims=False: (
    np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)))

# running sums and products


def _reversed_cumsum(g: Any, y: Any, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    if axis is None:
        return np.reshape(np.flip(np.cumsum(np.flip(g))), np.shape(a))
    return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)


defvjp(np.cumsum, _reversed_cumsum)


def _others(a: Any) -> Any:
    """The product of all other entries along the last axis: no division, so right where an entry is 0."""
    one = np.ones((*np.shape(a)[:-1], 1), a.dtype)
    before = np.cumprod(np.concatenate([one, a[..., :-1]], axis=-1), axis=-1)
    after = np.flip(np.cumprod(np.concatenate([one, np.flip(a[..., 1:], -1)], axis=-1), axis=-1), -1)
    return before * after


def _prod(g: Any, y: Any, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    axes = axes_of(a, axis)
    if np.size(a) == 0 or not axes:
        return spread(g, a, axis, keepdims)
    last = tuple(range(-len(axes), 0))
    moved = np.moveaxis(a, axes, last)
    others = np.reshape(_others(np.reshape(moved, (*moved.shape[: moved.ndim - len(axes)], -1))), moved.shape)
    return spread(g, a, axis, keepdims) * conj(np.moveaxis(others, last, axes))


defvjp(np.prod, _prod)


@composite(np.cumprod)
def _cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """By doubling: after the step of s, entry i is the product of the 2 s entries up to it.  log2(n) traced steps."""
    a = np.ravel(a) if axis is None else np.moveaxis(a, axis, -1)
    a = a if dtype is None else np.astype(a, dtype)
    step = 1
    while step < np.shape(a)[-1]:
        a = np.concatenate([a[..., :step], a[..., step:] * a[..., :-step]], axis=-1)
        step *= 2
    return a if axis is None else np.moveaxis(a, -1, axis)


def _cumulative(fun: Any, first: float) -> Any:
    def body(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False) -> Any:
        axis = 0 if axis is None and np.ndim(x) == 1 else axis
        if axis is None:
            raise ValueError("axis must be given where x has more than one")
        y = fun(x, axis=axis, dtype=dtype)
        if not include_initial:
            return y
        shape = list(np.shape(x))
        shape[normalize_axis_index(axis, len(shape))] = 1
        return np.concatenate([np.full(shape, first, y.dtype), y], axis=axis)

    return body


composite(np.cumulative_sum)(_cumulative(np.cumsum, 0))
composite(np.cumulative_prod)(_cumulative(np.cumprod, 1))

# order: the permutation is a constant


@composite(np.sort)
def _sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    if axis is None:
        a, axis = np.ravel(a), -1
    return np.take_along_axis(a, np.argsort(a, axis=axis, kind=kind, stable=stable), axis=axis)


@composite(np.median)
def _median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The mean of the one or two entries in the middle of the order; NaN where there is a NaN, for it sorts last."""
    axes = axes_of(a, axis)
    moved = np.moveaxis(a, axes, tuple(range(-len(axes), 0)))
    flat = np.sort(np.reshape(moved, (*moved.shape[: moved.ndim - len(axes)], -1)))
    n = flat.shape[-1]
    middle = np.mean(flat[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    middle = np.where(np.isnan(flat[..., -1]), flat[..., -1], middle)
    return np.expand_dims(middle, axes) if keepdims else middle


# differences and integrals


@composite(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    if prepend is not None or append is not None:
        raise NotImplementedError("numpy.diff of a traced array takes no prepend= or append=; np.concatenate them")
    a = np.moveaxis(a, axis, -1)
    for _ in range(n):
        a = a[..., 1:] - a[..., :-1]
    return np.moveaxis(a, -1, axis)


@composite(np.trapezoid)
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    y = np.moveaxis(y, axis, -1)
    if x is not None:
        dx = np.diff(x) if np.ndim(x) == 1 else np.diff(np.moveaxis(x, axis, -1))
    return np.sum(dx * (y[..., 1:] + y[..., :-1]) / 2, axis=-1)


# the same without NaN


def _without_nan(fun: Any, neutral: float) -> Any:
    return lambda a, *args, **kwargs: fun(np.where(np.isnan(a), neutral, a), *args, **kwargs)


composite(np.nansum)(_without_nan(np.sum, 0))
composite(np.nanprod)(_without_nan(np.prod, 1))
composite(np.nancumsum)(_without_nan(np.cumsum, 0))
composite(np.nancumprod)(_without_nan(np.cumprod, 1))


@composite(np.nanmean)
def _nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return np.mean(np.where(np.isnan(a), 0, a), axis=axis, dtype=dtype, keepdims=keepdims, where=~np.isnan(a))
