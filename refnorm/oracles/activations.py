"""Loops for the norms of activations: collect the entries that share statistics, index by index, and follow the paper."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


def standardized(x: Any, key: Callable[[tuple[int, ...]], Hashable], eps: Any, counts: Any = None) -> tuple[Any, dict]:
    """(x - mean) / sqrt(var + eps) over the entries with equal keys, and each key's mean, biased variance and count."""
    statistics = {}
    for name, members in gathered(x, key, counts).items():
        mean = sum(members) / len(members)
        var = sum((v - mean) ** 2 for v in members) / len(members)
        statistics[name] = mean, var, len(members)
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        mean, var, _ = statistics[key(i)]
        out[i] = (x[i] - mean) / root(var + eps)
    return out, statistics


def gathered(x: Any, key: Callable[[tuple[int, ...]], Hashable], counts: Any = None) -> dict[Any, list]:
    """The entries of x that share statistics, by key; entries that a mask leaves out are left out."""
    members: dict[Any, list] = {}
    for i in np.ndindex(x.shape):
        if counts is None or counts[i]:
            members.setdefault(key(i), []).append(x[i])
    return members


def root(value: Any) -> Any:
    return value**0.5


def recovered(x: Any, gamma: Any, beta: Any, key: Callable[[tuple[int, ...]], Any], offset: Any = 0) -> Any:
    """(offset + gamma) * x + beta, parameters looked up by key."""
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        scale = 1 if gamma is None else offset + gamma[key(i)]
        shift = 0 if beta is None else beta[key(i)]
        out[i] = scale * x[i] + shift
    return out


def batch_norm(x, gamma, beta, *, state, training, momentum, eps, mask, channel_axis, dialect, **_):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    running_mean = [0] * c if state is None else _spread(state.mean, c)
    running_var = [1] * c if state is None else _spread(state.var, c)
    if training:
        counts = None if mask is None else np.broadcast_to(mask, x.shape)
        xhat, statistics = standardized(x, lambda i: i[channel], eps, counts)
        count = 0 if state is None else state.count
        for k, (mean, var, m) in statistics.items():
            if dialect.population.variance == "unbiased":
                var = var * m / max(m - 1, 1)
            if momentum is None:
                new = 1 / (running_mean[0] * 0 + count + 1)
            else:
                new = momentum if dialect.population.weighs == "new" else 1 - momentum
            running_mean[k] = (1 - new) * running_mean[k] + new * mean
            running_var[k] = (1 - new) * running_var[k] + new * var
    else:
        xhat = np.empty(x.shape, object)
        for i in np.ndindex(x.shape):
            xhat[i] = (x[i] - running_mean[i[channel]]) / root(running_var[i[channel]] + eps)
    y = recovered(xhat, gamma, beta, lambda i: i[channel])
    return y, np.array(running_mean, object), np.array(running_var, object)


def _spread(statistic, c):
    return [statistic[()]] * c if statistic.ndim == 0 else list(statistic)


def layer_norm(x, gamma, beta, *, axis, eps, **_):
    axis = axis % x.ndim
    xhat, _ = standardized(x, lambda i: i[:axis], eps)
    return recovered(xhat, gamma, beta, lambda i: i[axis:])


def rms_norm(x, gamma, *, axis, eps, offset, **_):
    axis = axis % x.ndim
    rows = gathered(x, lambda i: i[:axis])
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        row = rows[i[:axis]]
        out[i] = x[i] / root(sum(v * v for v in row) / len(row) + eps)
    return recovered(out, gamma, None, lambda i: i[axis:], offset)


def group_norm(x, gamma, beta, *, num_groups, eps, channel_axis, **_):
    channel = channel_axis % x.ndim
    size = x.shape[channel] // num_groups
    xhat, _ = standardized(x, lambda i: (i[0], i[channel] // size), eps)
    return recovered(xhat, gamma, beta, lambda i: i[channel])


def instance_norm(x, gamma, beta, *, eps, channel_axis, **_):
    channel = channel_axis % x.ndim
    xhat, _ = standardized(x, lambda i: (i[0], i[channel]), eps)
    return recovered(xhat, gamma, beta, lambda i: i[channel])


def position_norm(x, gamma, beta, *, eps, channel_axis, **_):
    channel = channel_axis % x.ndim
    xhat, _ = standardized(x, lambda i: i[:channel] + i[channel + 1 :], eps)
    return recovered(xhat, gamma, beta, lambda i: i[channel])


def mean_variance_norm(x, *, axes, eps, **_):
    kept = [a for a in range(x.ndim) if a not in {b % x.ndim for b in axes}]
    _, statistics = standardized(x, lambda i: tuple(i[a] for a in kept), 1)
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        mean, var, _ = statistics[tuple(i[a] for a in kept)]
        out[i] = (x[i] - mean) / (root(var) + eps)
    return out


LOOPS: dict[str, Any] = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "position_norm": position_norm,
    "mean_variance_norm": mean_variance_norm,
}
