"""Wrong where there is one value, one row, nothing, or no parameter."""

from __future__ import annotations

import numpy as np

from ..kernels import having, two_pass
from .base import backwards, plant, unbiased, wrapped

ED = ("edge.y", "edge.gradients", "edge.state", "forward.runs", "backward.runs", "forward.result", "numerics.finite")
plant("edge", "layer_norm", "one value divides by m - 1", having(statistics=lambda x: (
    two_pass(x)[0], two_pass(x)[1] / x.dtype.type(0) if x.shape[1] == 1 else two_pass(x)[1])), *ED)  # fmt: skip
plant(
    "edge",
    "layer_norm",
    "one row squeezed",
    lambda: wrapped("layer_norm", lambda f, x, *a, **k: np.squeeze(f(x, *a, **k)) if x.shape[0] == 1 else f(x, *a, **k)),
    *ED,
)
plant("edge", "batch_norm", "a batch of one is passed through", lambda: wrapped("batch_norm", _batch_of_one), *ED)
plant(
    "edge",
    "layer_norm",
    "two values: the variance of one",
    having(statistics=lambda x: unbiased(x) if x.shape[1] == 2 else two_pass(x)),
    *ED,
)
plant(
    "edge", "instance_norm", "one spatial entry raises", lambda: wrapped("instance_norm", _refuses_short), *ED, dialect="flax"
)
plant("edge", "layer_norm", "gamma None crashes in the backward", lambda: backwards("layer_norm", _needs_gamma), *ED)
plant("edge", "layer_norm", "beta None crashes", lambda: wrapped("layer_norm", _needs_beta), *ED)
plant(
    "edge",
    "layer_norm",
    "no rows: wrong shape",
    lambda: wrapped("layer_norm", lambda f, x, *a, **k: np.zeros((1, *x.shape[1:]), x.dtype) if x.size == 0 else f(x, *a, **k)),
    *ED,
)
plant(
    "edge", "group_norm", "one channel a group: gamma forgotten", lambda: wrapped("group_norm", _one_channel), *ED, "forward.y"
)
plant(
    "edge",
    "rms_norm",
    "a single value gives zero",
    lambda: wrapped("rms_norm", lambda f, x, *a, **k: f(x, *a, **k) * (x.shape[-1] > 1)),
    *ED,
)
plant("edge", "batch_norm", "one value a channel gives NaN in evaluation", lambda: wrapped("batch_norm", _lone_evaluation), *ED)
plant("edge", "layer_norm", "one row: dgamma doubled", lambda: backwards("layer_norm", _one_row_doubled), *ED)


def _batch_of_one(f, x, gamma, beta, rm, rv, **k):
    y, m, v = f(x, gamma, beta, rm, rv, **k)
    return (x.copy(), m, v) if x.shape[0] == 1 else (y, m, v)


def _refuses_short(f, x, *args, **kwargs):
    if int(np.prod(x.shape[2:])) == 1:
        raise ValueError("expected more than one spatial entry")
    return f(x, *args, **kwargs)


def _needs_gamma(f, dy, x, gamma=None, beta=None, **kwargs):
    if gamma is None:
        raise AttributeError("'NoneType' object has no attribute 'dtype'")
    return f(dy, x, gamma, beta, **kwargs)


def _needs_beta(f, x, gamma=None, beta=None, **kwargs):
    return f(x, gamma, beta, **kwargs) + 0 * beta.sum()


def _one_channel(f, x, gamma=None, beta=None, *, num_groups, eps):
    if num_groups == x.shape[1]:
        return f(x, None, beta, num_groups=num_groups, eps=eps)
    return f(x, gamma, beta, num_groups=num_groups, eps=eps)


def _lone_evaluation(f, x, *args, training, **kwargs):
    y, m, v = f(x, *args, training=training, **kwargs)
    return (y * np.nan if not training and x[:, 0].size == 1 else y), m, v


def _one_row_doubled(f, dy, x, *args, **kwargs):
    dx, dgamma, dbeta = f(dy, x, *args, **kwargs)
    return dx, dgamma * 2 if dgamma is not None and x.shape[0] == 1 and x.ndim == 2 else dgamma, dbeta
