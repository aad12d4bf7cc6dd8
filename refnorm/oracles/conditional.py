"""Loops for norms with a predicted recovery: the plain norm without one, then gamma and beta looked up where they belong."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import whitening
from .activations import recovered, standardized
from .batch import ghost_batch_norm


def _per_sample(channel):
    return lambda i: (i[0], i[channel])


def _batch(x, **options):
    return ghost_batch_norm(x, None, None, virtual_batch_size=x.shape[0], **options)


def conditional_batch_norm(x, gamma, beta, *, offset, channel_axis, **options):
    xhat, *state = _batch(x, channel_axis=channel_axis, **options)
    return recovered(xhat, gamma, beta, _per_sample(channel_axis % x.ndim), offset), *state


def spatially_adaptive_norm(x, gamma, beta, *, offset, **options):
    xhat, *state = _batch(x, **options)
    return recovered(xhat, gamma, beta, lambda i: i, offset), *state


def adaptive_instance_norm(x, gamma, beta, *, eps, channel_axis, **_):
    channel = channel_axis % x.ndim
    xhat, _ = standardized(x, lambda i: (i[0], i[channel]), eps)
    return recovered(xhat, gamma, beta, _per_sample(channel))


def adaptive_layer_norm(x, gamma, beta, *, eps, offset, channel_axis, **_):
    channel = channel_axis % x.ndim
    xhat, _ = standardized(x, lambda i: i[:channel] + i[channel + 1 :], eps)
    return recovered(xhat, gamma, beta, _per_sample(channel), offset)


def whitening_coloring_norm(x, gamma, beta, *, num_groups, channel_axis, **options):
    channel = channel_axis % x.ndim
    size = x.shape[channel] // num_groups
    xhat, *state = whitening.LOOPS["batch_whitening_cholesky"](
        x, None, None, num_groups=num_groups, channel_axis=channel_axis, **options
    )
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        group, row = divmod(i[channel], size)
        there = [xhat[(*i[:channel], group * size + k, *i[channel + 1 :])] for k in range(size)]
        out[i] = there[row] if gamma is None else sum(gamma[group, row, k] * v for k, v in enumerate(there))
    return recovered(out, None, beta, lambda i: i[channel]), *state


LOOPS: dict[str, Any] = {
    "conditional_batch_norm": conditional_batch_norm,
    "adaptive_instance_norm": adaptive_instance_norm,
    "adaptive_layer_norm": adaptive_layer_norm,
    "spatially_adaptive_norm": spatially_adaptive_norm,
    "whitening_coloring_norm": whitening_coloring_norm,
}
