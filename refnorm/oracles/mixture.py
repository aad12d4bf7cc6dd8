"""Loops for mixtures of norms and for EvoNorm."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

from .activations import gathered, recovered, root
from .batch import bessel, kept, moved, spread


def _keys(channel):
    """What says the statistics of instance, layer and batch."""
    return (lambda i: (i[0], i[channel])), (lambda i: i[0]), (lambda i: i[channel])


def _softmax(a):
    e = [mpmath.exp(v) for v in a]
    return [v / sum(e) for v in e]


def _moments(x, key, mask=None):
    out = {}
    for name, of in gathered(x, key, kept(x, mask)).items():
        mean = sum(of) / len(of)
        out[name] = mean, sum((v - mean) ** 2 for v in of) / len(of), len(of)
    return out


def _running(state, c):
    return ([0] * c, [1] * c, 0) if state is None else (spread(state.mean, c), spread(state.var, c), state.count)


def switchable_norm(x, gamma, beta, mean_logits, var_logits, *, state, training, momentum, eps, mask, channel_axis, dialect):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    keys = _keys(channel)
    instance, layer, batch = (_moments(x, key, mask) for key in keys)
    mean, var, count = _running(state, c)
    if dialect.conventions["instance"] == "unbiased":
        # the authors' order: the instance's variance over S - 1, the others from E(var + mean^2) - E(mean)^2
        instance = {k: (m, s2 * n / (n - 1), n) for k, (m, s2, n) in instance.items()}

        def built(of):
            middle = sum(m for m, _, _ in of) / len(of)
            return middle, sum(s2 + m * m for m, s2, _ in of) / len(of) - middle**2

        layer = {n: (*built([instance[n, k] for k in range(c)]), layer[n][2]) for n in layer}
        batch = {k: (*built([instance[n, k] for n in range(x.shape[0])]), batch[k][2]) for k in batch}
    if training:
        for k, (m, s2, n) in batch.items():
            mean[k] = moved(mean[k], m, momentum, count, dialect)
            var[k] = moved(var[k], bessel(s2, n, dialect), momentum, count, dialect)
    else:
        batch = {k: (mean[k], var[k], None) for k in range(c)}
    w, v = (_softmax([0, 0, 0] if a is None else list(a)) for a in (mean_logits, var_logits))
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        three = [table[key(i)] for table, key in zip((instance, layer, batch), keys, strict=True)]
        mixed = sum(a * m[0] for a, m in zip(w, three, strict=True)), sum(a * m[1] for a, m in zip(v, three, strict=True))
        out[i] = (x[i] - mixed[0]) / root(mixed[1] + eps)
    return recovered(out, gamma, beta, lambda i: i[channel]), np.array(mean, object), np.array(var, object)


def exemplar_norm(x, gamma, beta, logits, *, state, training, momentum, eps, mask, channel_axis, dialect):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    keys = _keys(channel)
    tables = [_moments(x, key, mask) for key in keys]
    mean, var, count = _running(state, c)
    if training:
        for k, (m, s2, n) in tables[2].items():
            mean[k] = moved(mean[k], m, momentum, count, dialect)
            var[k] = moved(var[k], bessel(s2, n, dialect), momentum, count, dialect)
    else:
        tables[2] = {k: (mean[k], var[k], None) for k in range(c)}
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        ratios = _softmax([0, 0, 0] if logits is None else list(logits[i[0]]))
        out[i] = 0
        for k, (table, key) in enumerate(zip(tables, keys, strict=True)):
            m, s2, _ = table[key(i)]
            out[i] += ratios[k] * (x[i] - m) / root(s2 + eps) * (1 if gamma is None else gamma[k, i[channel]])
            out[i] += 0 if beta is None else beta[k, i[channel]]
    return out, np.array(mean, object), np.array(var, object)


def evo_norm_b0(x, gamma, beta, v, *, state, training, momentum, eps, mask, channel_axis, dialect):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    instance_key, _, batch_key = _keys(channel)
    instance, batch = _moments(x, instance_key, mask), _moments(x, batch_key, mask)
    running, count = ([1] * c, 0) if state is None else (spread(state.var, c), state.count)
    used = {k: s2 for k, (_, s2, _) in batch.items()} if training else dict(enumerate(running))
    if training:
        running = [
            moved(old, bessel(batch[k][1], batch[k][2], dialect), momentum, count, dialect) for k, old in enumerate(running)
        ]
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        _, s2, n = instance[instance_key(i)]
        s2 = s2 * n / (n - 1) if dialect.conventions["instance"] == "unbiased" else s2
        line = (1 if v is None else v[i[channel]]) * x[i] + root(s2 + eps)
        out[i] = x[i] / max(root(used[i[channel]] + eps), line)
    return recovered(out, gamma, beta, lambda i: i[channel]), np.array(running, object)


def evo_norm_s0(x, gamma, beta, v, *, num_groups, eps, channel_axis, dialect):
    channel = channel_axis % x.ndim
    size = x.shape[channel] // num_groups
    table = _moments(x, lambda i: (i[0], i[channel] // size))
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        _, s2, n = table[i[0], i[channel] // size]
        s2 = s2 * n / (n - 1) if dialect.conventions["group"] == "unbiased" else s2
        out[i] = x[i] / (1 + mpmath.exp(-(1 if v is None else v[i[channel]]) * x[i])) / root(s2 + eps)
    return recovered(out, gamma, beta, lambda i: i[channel])


LOOPS: dict[str, Any] = {
    "switchable_norm": switchable_norm,
    "exemplar_norm": exemplar_norm,
    "evo_norm_b0": evo_norm_b0,
    "evo_norm_s0": evo_norm_s0,
}
