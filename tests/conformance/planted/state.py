"""Wrong running statistics."""

from __future__ import annotations

import numpy as np

from ..kernels import having
from .base import plant, wrapped

ST = ("state.running", "dialect")
plant("state", "batch_norm", "momentum reversed", having(momentum=lambda o, n, m: m * o + (1 - m) * n), *ST, dialect="torch")
plant("state", "batch_norm", "biased running variance", having(variance=lambda v, n: v), *ST, dialect="torch")
plant("state", "batch_norm", "biased running variance, no dialect asked for", having(variance=lambda v, n: v), *ST)
plant("state", "batch_norm", "unbiased for keras", having(momentum=lambda o, n, m: m * o + (1 - m) * n), *ST, dialect="keras")
plant("state", "batch_norm", "m / (m - 1) squared", having(variance=lambda v, n: v * (n / max(n - 1, 1)) ** 2), *ST)
plant("state", "batch_norm", "(m - 1) / m", having(variance=lambda v, n: v * ((n - 1) / n)), *ST)
plant("state", "batch_norm", "deviation kept", having(variance=lambda v, n: np.sqrt(v)), *ST)
plant(
    "state",
    "batch_norm",
    "momentum is always 0.1",
    having(momentum=lambda o, n, m: o * o.dtype.type(0.9) + n * o.dtype.type(0.1)),
    *ST,
)
plant("state", "batch_norm", "not updated", having(momentum=lambda o, n, m: o), *ST)
plant("state", "batch_norm", "replaced", having(momentum=lambda o, n, m: n), *ST)
plant("state", "batch_norm", "mean and variance swapped", lambda: wrapped("batch_norm", _swapped), *ST)
plant(
    "state",
    "batch_norm",
    "updated in evaluation",
    lambda: wrapped("batch_norm", _updated),
    "state.running",
    "state.evaluation",
)
plant("state", "batch_norm", "old value not weighed", having(momentum=lambda o, n, m: o + m * n), *ST)
plant("state", "batch_norm", "eps in the running variance", lambda: wrapped("batch_norm", _with_eps), *ST, "numerics.state")
plant(
    "state",
    "batch_norm",
    "weight 1 - m is off by a thousandth",
    having(momentum=lambda o, n, m: o * (1 - m) * o.dtype.type(1.001) + m * n),
    *ST,
)


def _swapped(f, *args, **kwargs):
    y, m, v = f(*args, **kwargs)
    return y, v, m


def _updated(f, x, gamma, beta, rm, rv, *, momentum, eps, training):
    y = f(x, gamma, beta, rm, rv, momentum=momentum, eps=eps, training=training)[0]
    return (y, *f(x, gamma, beta, rm, rv, momentum=momentum, eps=eps, training=True)[1:])


def _with_eps(f, x, gamma, beta, rm, rv, *, momentum, eps, training):
    y, m, v = f(x, gamma, beta, rm, rv, momentum=momentum, eps=eps, training=training)
    return (y, m, v + v.dtype.type(momentum * eps)) if training else (y, m, v)
