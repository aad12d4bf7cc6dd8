"""Loops for norms of each sample on its own."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mpmath
import numpy as np

from .activations import gathered, recovered, root, standardized


def partial_rms_norm(x, gamma, *, partial, axis, eps, dialect):
    axis = axis % x.ndim
    n = math.prod(x.shape[axis:])
    exact = round(float(partial) * n, 9)
    k = math.ceil(exact) if dialect.conventions["k"] == "ceil" else math.floor(exact)
    rows = gathered(x, lambda i: i[:axis])
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        out[i] = x[i] / root(sum(v * v for v in rows[i[:axis]][:k]) / k + eps)
    return recovered(out, gamma, None, lambda i: i[axis:])


def _head(x, num_heads, axis):
    """For an index: what says its row, and its place in the head."""
    axis = axis % x.ndim
    d = x.shape[axis] // num_heads
    return (lambda i: (*i[:axis], i[axis] // d, *i[axis + 1 :])), (lambda i: i[axis] % d)


def query_key_norm(x, gamma, *, num_heads, axis, eps, offset, **_):
    row, place = _head(x, num_heads, axis)
    rows = gathered(x, row)
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        of = rows[row(i)]
        out[i] = x[i] / root(sum(v * v for v in of) / len(of) + eps)
    return recovered(out, gamma, None, place, offset)


def query_key_layer_norm(x, gamma, beta, *, num_heads, axis, eps, **_):
    row, place = _head(x, num_heads, axis)
    return recovered(standardized(x, row, eps)[0], gamma, beta, place)


def lp_norm(x, *, p, axis, eps, dialect):
    axes = {a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}

    def row(i):
        return tuple(k for a, k in enumerate(i) if a not in axes)

    floor, divisors = dialect.conventions["floor"], {}
    for key, of in gathered(x, row).items():
        total = sum(abs(v) ** p for v in of)
        n = mpmath.root(total, p) if isinstance(p, int) else mpmath.power(total, 1 / p)
        inside = mpmath.root(total + eps, p) if isinstance(p, int) else mpmath.power(total + eps, 1 / p)
        divisors[key] = {"max": max(n, eps), "plus": n + eps, "inside": inside, "zero": n if n else mpmath.inf}[floor]
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        out[i] = x[i] / divisors[row(i)]
    return out


def scale_norm(x, g, *, axis, eps, dialect):
    out = lp_norm(x, p=2, axis=axis, eps=eps, dialect=dialect)
    return out if g is None else recovered(out, g, None, lambda i: ())


def filter_response_norm(x, gamma, beta, tau, learned_eps, *, eps, channel_axis, **_):
    channel = channel_axis % x.ndim
    rows = gathered(x, lambda i: (i[0], i[channel]))
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        of = rows[i[0], i[channel]]
        more = 0 if learned_eps is None else abs(learned_eps[i[channel]])
        out[i] = x[i] / root(sum(v * v for v in of) / len(of) + eps + more)
    out = recovered(out, gamma, beta, lambda i: i[channel])
    for i in np.ndindex(x.shape):
        out[i] = out[i] if tau is None else max(out[i], tau[i[channel]])
    return out


def dynamic_tanh(x, alpha, gamma, beta, *, channel_axis, **_):
    channel = channel_axis % x.ndim
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        out[i] = mpmath.tanh(x[i] if alpha is None else alpha[()] * x[i])
    return recovered(out, gamma, beta, lambda i: i[channel])


def local_response_norm(x, *, size, alpha, beta, k, channel_axis, dialect):
    channel = channel_axis % x.ndim
    before, after = {"half before": (size // 2, (size - 1) // 2), "half after": ((size - 1) // 2, size // 2)}.get(
        dialect.conventions["window"], (size // 2, size // 2)
    )
    factor = alpha / size if dialect.conventions["alpha"] == "over size" else alpha
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        total = 0
        for c in range(max(0, i[channel] - before), min(x.shape[channel] - 1, i[channel] + after) + 1):
            total += x[(*i[:channel], c, *i[channel + 1 :])] ** 2
        out[i] = x[i] / mpmath.power(k + factor * total, beta)
    return out


def _neighbourhood(i, shape, channel, windows):
    """The indices in a window around i (positions, and all channels there; or channels alone)."""
    axes = [a for a in range(1, len(shape)) if a != channel] or [channel]
    ranges = [[k] for k in i]
    if axes != [channel]:
        ranges[channel] = list(range(shape[channel]))
    for a, n in zip(axes, windows, strict=True):
        ranges[a] = [k for k in range(i[a] - (n - 1) // 2, i[a] + n // 2 + 1) if 0 <= k < shape[a]]
    return itertools.product(*ranges)


def divisive_norm(x, gamma, beta, *, centre_window, pool_window, eps, channel_axis, dialect):
    channel = channel_axis % x.ndim
    axes = max(x.ndim - 2, 1)
    centre, pool = (w if isinstance(w, tuple) else (w,) * axes for w in (centre_window, pool_window))
    padded, images = dialect.conventions["edges"] == "padded", x.ndim > 2
    channels = x.shape[channel] if images else 1

    def mean(a, i, windows, size):
        of = [a[j] for j in _neighbourhood(i, x.shape, channel, windows)]
        return sum(of) / (size * channels if padded else len(of))

    v, squares, out = (np.empty(x.shape, object) for _ in range(3))
    for i in np.ndindex(x.shape):
        v[i] = x[i] - mean(x, i, centre, math.prod(centre))
        squares[i] = v[i] ** 2
    for i in np.ndindex(x.shape):
        out[i] = v[i] / root(mean(squares, i, pool, math.prod(centre if images else pool)) + eps)
    return recovered(out, gamma, beta, lambda i: i[channel])


def generalized_divisive_norm(x, beta, gamma, *, inverse, channel_axis, **_):
    channel = channel_axis % x.ndim
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        c = i[channel]
        there = [x[(*i[:channel], k, *i[channel + 1 :])] for k in range(x.shape[channel])]
        divisor = root(beta[c] + sum(gamma[c, k] * v * v for k, v in enumerate(there)))
        out[i] = x[i] * divisor if inverse else x[i] / divisor
    return out


LOOPS: dict[str, Any] = {
    "partial_rms_norm": partial_rms_norm,
    "query_key_norm": query_key_norm,
    "query_key_layer_norm": query_key_layer_norm,
    "lp_norm": lp_norm,
    "scale_norm": scale_norm,
    "filter_response_norm": filter_response_norm,
    "dynamic_tanh": dynamic_tanh,
    "local_response_norm": local_response_norm,
    "divisive_norm": divisive_norm,
    "generalized_divisive_norm": generalized_divisive_norm,
}
