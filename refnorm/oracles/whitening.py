"""Loops for whitening: covariances entry by entry, eigenvectors and Cholesky factors by mpmath's own algorithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from .activations import recovered


def zca(s: Any) -> Any:
    values, vectors = mpmath.eigsy(s)
    return vectors * mpmath.diag([1 / mpmath.sqrt(v) for v in values]) * vectors.T


def pca(s: Any) -> Any:
    """Rows in descending order of their eigenvalues, the largest entry of each eigenvector positive."""
    values, vectors = mpmath.eigsy(s)
    matrix = mpmath.matrix(s.rows)
    for row, k in enumerate(sorted(range(s.rows), key=lambda k: -values[k])):
        column = [vectors[i, k] for i in range(s.rows)]
        sign = mpmath.sign(max(column, key=abs))
        for i in range(s.rows):
            matrix[row, i] = sign * column[i] / mpmath.sqrt(values[k])
    return matrix


def cholesky(s: Any) -> Any:
    return mpmath.inverse(mpmath.cholesky(s))


def newton(s: Any, steps: int) -> Any:
    """The recursion of the paper, whose rounding errors grow: mpmath's digits are there for that."""
    trace = sum(s[i, i] for i in range(s.rows))
    p = mpmath.eye(s.rows)
    for _ in range(steps):
        p = 1.5 * p - 0.5 * p**3 * (s / trace)
    return p / mpmath.sqrt(trace)


def moments(samples: list[list[Any]]) -> tuple[Any, Any]:
    """Mean and biased covariance of samples, each a list of d numbers."""
    m, d = len(samples), len(samples[0])
    mean = [sum(v[i] for v in samples) / m for i in range(d)]
    cov = mpmath.matrix(d)
    for i in range(d):
        for j in range(d):
            cov[i, j] = sum((v[i] - mean[i]) * (v[j] - mean[j]) for v in samples) / m
    return mean, cov


def whitened(x, key, coordinate, sample, inverse_root, counts=None):
    """W (x - mean) for each block: entries of equal key, rows by coordinate, columns by sample; and each block's statistics."""
    blocks: dict[Any, dict] = {}
    for i in np.ndindex(x.shape):
        blocks.setdefault(key(i), {}).setdefault(sample(i), {})[coordinate(i)] = i
    out, statistics = np.empty(x.shape, object), {}
    for name, samples in blocks.items():
        columns = [[at[j] for j in sorted(at)] for at in samples.values()]
        counted = [[x[i] for i in at] for at in columns if counts is None or counts[at[0]]]
        mean, cov, matrix = inverse_root(counted)
        statistics[name] = mean, cov, matrix, len(counted)
        for at in columns:
            for j, i in enumerate(at):
                out[i] = sum(matrix[j, k] * (x[at[k]] - mean[k]) for k in range(len(at)))
    return out, statistics


def batch_whitening(root: Callable[..., Any]) -> Callable[..., Any]:
    def loops(x, gamma, beta, *, num_groups, state, training, momentum, eps, mask, channel_axis, dialect, T=None, **_):
        channel = channel_axis % x.ndim
        size = x.shape[channel] // num_groups
        name = "matrix" if dialect.population.state else "covariance"
        mean, second = started(state, name, num_groups, size)
        steps = () if T is None else (T,)

        def from_batch(samples):
            mu, cov = moments(samples)
            return mu, cov, root(cov + eps * mpmath.eye(size), *steps)

        def key(i):
            return i[channel] // size

        def sample(i):
            return i[:channel] + i[channel + 1 :]

        groups = iter(range(num_groups))

        def from_state(_):
            g = next(groups)
            matrix = second[g] if name == "matrix" else root(second[g] + eps * mpmath.eye(size), *steps)
            return mean[g], second[g], matrix

        counts = None if mask is None else np.broadcast_to(mask, x.shape)
        xhat, statistics = whitened(x, key, lambda i: i[channel] % size, sample, from_batch if training else from_state, counts)
        if training:
            count = 0 if state is None else state.count
            for g, (mu, cov, matrix, m) in statistics.items():
                kept = matrix if name == "matrix" else cov
                factor = mpmath.mpf(m) / max(m - 1, 1) if dialect.population.variance == "unbiased" else 1
                if momentum is None:
                    new = mpmath.mpf(1) / (count + 1)
                else:
                    new = momentum if dialect.population.weighs == "new" else 1 - momentum
                mean[g] = [(1 - new) * old + new * v for old, v in zip(mean[g], mu, strict=True)]
                second[g] = (1 - new) * second[g] + new * factor * kept
        y = recovered(xhat, gamma, beta, lambda i: i[channel])
        matrices = np.array([[[s[i, j] for j in range(size)] for i in range(size)] for s in second], object)
        return y, np.array([v for group in mean for v in group], object), matrices

    return loops


def started(state, name, groups, size):
    """The running mean, a list a group, and covariance or matrix, an mpmath matrix a group."""
    mean = [[mpmath.mpf(0)] * size for _ in range(groups)]
    second = [mpmath.eye(size) for _ in range(groups)]
    if state is not None and state.mean.ndim:
        mean = [list(state.mean[g * size : (g + 1) * size]) for g in range(groups)]
    if state is not None and getattr(state, name).ndim:
        second = [mpmath.matrix(getattr(state, name)[g].tolist()) for g in range(groups)]
    return mean, second


def group_whitening(root: Callable[..., Any]) -> Callable[..., Any]:
    def loops(x, gamma, beta, *, num_groups, eps, channel_axis, T=None, **_):
        channel = channel_axis % x.ndim
        size = x.shape[channel] // num_groups

        def inverse_root(samples):
            mu, cov = moments(samples)
            return mu, cov, root(cov + eps * mpmath.eye(num_groups), *(() if T is None else (T,)))

        def sample(i):
            return i[channel] % size, *i[1:channel], *i[channel + 1 :]

        xhat, _ = whitened(x, lambda i: i[0], lambda i: i[channel] // size, sample, inverse_root)
        return recovered(xhat, gamma, beta, lambda i: i[channel])

    return loops


def diagonal(cov: Any) -> Any:
    return mpmath.diag([cov[i, i] for i in range(cov.rows)])


def softmax(weight: Any, n: int) -> list[Any]:
    powers = [mpmath.exp(a) for a in ([0] * n if weight is None else weight)]
    return [p / sum(powers) for p in powers]


def switchable_whitening(
    x, gamma, beta, mean_weight, covariance_weight, *,
    statistics, T, num_groups, state, training, momentum, eps, channel_axis, dialect, **_,
):  # fmt: skip
    channel = channel_axis % x.ndim
    n, c = x.shape[0], x.shape[channel]
    size = c // num_groups
    places = list(np.ndindex(*(length for axis, length in enumerate(x.shape) if axis not in (0, channel))))
    authors = dialect.conventions.get("shared", False)
    w, v = softmax(mean_weight, len(statistics)), softmax(covariance_weight, len(statistics))

    def column(sample, group, place):
        index = [sample, *place]
        index.insert(channel, slice(group * size, (group + 1) * size))
        return list(x[tuple(index)])

    running_mean, running = started(state, "covariance", num_groups, size)
    batch = [moments([column(i, g, p) for i in range(n) for p in places]) for g in range(num_groups)]
    out = np.empty(x.shape, object)
    for i in range(n):
        every = [value for g in range(num_groups) for p in places for value in column(i, g, p)]
        layer_mean = sum(every) / len(every)
        layer_var = sum((value - layer_mean) ** 2 for value in every) / (len(every) - (1 if authors else 0))
        for g in range(num_groups):
            of_batch = batch[g] if training else (running_mean[g], running[g])
            of_sample = moments([column(i, g, p) for p in places])
            known = {
                "bw": of_batch,
                "iw": of_sample,
                "bn": (of_batch[0], diagonal(of_batch[1])),
                "in": (of_sample[0], diagonal(of_sample[1])),
                "ln": ([layer_mean] * size, layer_var * mpmath.eye(size)),
            }
            mean, cov = [mpmath.mpf(0)] * size, eps * mpmath.eye(size)
            for k, name in enumerate(statistics):
                mean = [total + w[k] * value for total, value in zip(mean, known[name][0], strict=True)]
                heavy = statistics.index({"bn": "bw", "in": "iw"}.get(name, name)) if authors else k
                cov = cov + v[heavy] * known[name][1]
            matrix = zca(cov) if T is None else newton(cov, T)
            for p in places:
                values = column(i, g, p)
                for row in range(size):
                    index = [i, *p]
                    index.insert(channel, g * size + row)
                    out[tuple(index)] = sum(matrix[row, k] * (values[k] - mean[k]) for k in range(size))
    if training:
        for g, (mean, cov) in enumerate(batch):
            running_mean[g] = [momentum * old + (1 - momentum) * new for old, new in zip(running_mean[g], mean, strict=True)]
            running[g] = momentum * running[g] + (1 - momentum) * cov
    matrices = np.array([[[s[i, j] for j in range(size)] for i in range(size)] for s in running], object)
    y = recovered(out, gamma, beta, lambda i: i[channel])
    return y, np.array([value for group in running_mean for value in group], object), matrices


LOOPS: dict[str, Any] = {
    "batch_whitening_zca": batch_whitening(zca),
    "batch_whitening_pca": batch_whitening(pca),
    "batch_whitening_cholesky": batch_whitening(cholesky),
    "iterative_norm": batch_whitening(newton),
    "group_whitening_zca": group_whitening(zca),
    "group_whitening_iterative": group_whitening(newton),
    "switchable_whitening": switchable_whitening,
}
