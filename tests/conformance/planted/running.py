"""Wrong in evaluation at odd statistics, at the fresh state, at one value a channel, without statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from refnorm.conformance import Candidate

from ..kernels import candidate, having
from .base import plant, wrapped


def _evaluated(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """Evaluation with another running variance."""

    def call(f, x, gamma=None, beta=None, rm=None, rv=None, *, momentum, eps, training):
        y, m, v = f(x, gamma, beta, rm, rv if training else change(rv), momentum=momentum, eps=eps, training=training)
        return (y, m, v) if training else (y, rm, rv)

    return call


def _first_batch(is_first: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    """The first batch replaces the statistics."""

    def call(f, x, gamma=None, beta=None, rm=None, rv=None, *, momentum, eps, training):
        replaces = training and rm is not None and is_first(rm, rv)
        return f(x, gamma, beta, rm, rv, momentum=1.0 if replaces else momentum, eps=eps, training=training)

    return call


def _trained(change: Callable[..., Any]) -> Callable[..., Any]:
    """change(x, old mean, old variance, mean, variance) of a step."""

    def call(f, x, gamma=None, beta=None, rm=None, rv=None, **kwargs):
        y, m, v = f(x, gamma, beta, rm, rv, **kwargs)
        return (y, *change(x, rm, rv, m, v)) if rm is not None and kwargs["training"] else (y, m, v)

    return call


def _without(f, x, gamma=None, beta=None, rm=None, rv=None, **kwargs):
    if rm is None:
        raise ValueError("running statistics are needed")
    return f(x, gamma, beta, rm, rv, **kwargs)


def _idle_without(f, x, gamma=None, beta=None, rm=None, rv=None, **kwargs):
    y, m, v = f(x, gamma, beta, rm, rv, **kwargs)
    return (x.copy() if rm is None else y), m, v


class _Folded:
    """gamma rstd of evaluation, kept by the shape of gamma."""

    def __init__(self) -> None:
        self.base, self.kept = candidate("batch_norm", dtypes=("float32",)), {}

    def forward(self, x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum, eps, training):
        y, m, v = self.base.forward(x, gamma, beta, running_mean, running_var, momentum=momentum, eps=eps, training=training)
        if training or gamma is None or beta is None:
            return y, m, v
        scale = self.kept.setdefault(gamma.shape, gamma / np.sqrt(running_var + np.float32(eps)))
        laid = [a.reshape(1, -1, *(1 for _ in x.shape[2:])) for a in (scale, running_mean, beta)]
        return ((x - laid[1]) * laid[0] + laid[2]).astype(x.dtype), running_mean, running_var


NUMERIC, STEPS = ("numerics.y",), ("state.steps", "state.running")
for floor in (1e-3, 1e-2):
    change = _evaluated(lambda v, floor=floor: np.maximum(v, v.dtype.type(floor)))
    name = f"variances below {floor:g} raised in evaluation"
    plant("state", "batch_norm", name, lambda change=change: wrapped("batch_norm", change), *NUMERIC)
plant("state", "batch_norm", "scale of evaluation clipped at 100", lambda: wrapped(
    "batch_norm", _evaluated(lambda v: np.maximum(v, v.dtype.type(9e-5)))), *NUMERIC)  # fmt: skip
plant("state", "batch_norm", "evaluation takes the variance for a deviation", lambda: wrapped(
    "batch_norm", _evaluated(np.square)), "forward.y")  # fmt: skip
plant("state", "batch_norm", "the first batch replaces the fresh state", lambda: wrapped(
    "batch_norm", _first_batch(lambda m, v: bool((m == 0).all() and (v == 1).all()))), *STEPS)  # fmt: skip
plant("state", "batch_norm", "a mean of 0 is taken for none", lambda: wrapped(
    "batch_norm", _first_batch(lambda m, v: bool((m == 0).all()))), *STEPS)  # fmt: skip
plant("state", "batch_norm", "variance of odd channels not updated", lambda: wrapped("batch_norm", _trained(
    lambda x, rm, rv, m, v: (m, np.where(np.arange(len(v)) % 2 == 0, v, rv).astype(v.dtype)))), "state.running")  # fmt: skip
plant("state", "batch_norm", "mean past 128 channels not updated", lambda: wrapped("batch_norm", _trained(
    lambda x, rm, rv, m, v: (np.where(np.arange(len(m)) < 128, m, rm).astype(m.dtype), v))), "size.state")  # fmt: skip
plant("state", "batch_norm", "variance of one value is NaN", lambda: wrapped("batch_norm", _trained(
    lambda x, rm, rv, m, v: (m, v * np.float32(np.nan) if x[:, 0].size == 1 else v))), "edge.state")  # fmt: skip
plant("state", "batch_norm", "raises without statistics", lambda: wrapped("batch_norm", _without), "forward.runs")
plant("state", "batch_norm", "idle without statistics", lambda: wrapped("batch_norm", _idle_without), "forward.y")
plant(
    "state", "batch_norm", "momentum in float16",
    having(momentum=lambda o, n, m: o * o.dtype.type(np.float16(1 - m)) + n * o.dtype.type(np.float16(m))), "state.running",
)  # fmt: skip
plant("state", "batch_norm", "statistics through bfloat16", having(
    momentum=lambda o, n, m: ((1 - m) * o + m * n).astype(ml_dtypes.bfloat16).astype(o.dtype)), "state.running")  # fmt: skip
plant("state", "batch_norm", "folded scale kept by shape",
      lambda: Candidate(_Folded().forward, dtypes=("float32",)), "forward.y", "numerics.y")  # fmt: skip
