"""Wrong forwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from refnorm.conformance import Candidate

from ..kernels import LAYOUTS, having
from .base import plant, unbiased, wrapped


def _laid(norm: str, along: Any) -> Any:
    return replace(LAYOUTS[norm], along=along)


def _gamma_of_group(p: Any, x: Any, options: dict) -> Any:
    width = p.size // options["num_groups"]
    return np.repeat(p[::width], width).reshape(1, -1, *(1 for _ in x.shape[2:]))


def _gamma_of_sample(p: Any, x: Any, options: dict) -> Any:
    return np.resize(p, x.shape[0]).reshape(-1, *(1 for _ in x.shape[1:]))


Y = ("forward.y",)
for norm in ("layer_norm", "batch_norm", "group_norm"):
    plant("forward", norm, "eps outside the root", having(rstd=lambda v, e: 1 / (np.sqrt(v) + e)), "forward.y", "numerics.y")
    plant("forward", norm, "unbiased variance", having(statistics=unbiased), *Y)
    plant(
        "forward",
        norm,
        "eps left out",
        having(rstd=lambda v, e: 1 / np.sqrt(v + v.dtype.type(1e-30))),
        "forward.y",
        "numerics.y",
    )
    plant("forward", norm, "eps ten times too large", having(rstd=lambda v, e: 1 / np.sqrt(v + 10 * e)), *Y)
    plant(
        "forward",
        norm,
        "eps hard-coded to 1e-5",
        having(rstd=lambda v, e: 1 / np.sqrt(v + v.dtype.type(1e-5))),
        "forward.y",
        "numerics.y",
    )
plant("forward", "layer_norm", "gamma not applied", having(affine=lambda h, g, b: h + b), *Y)
plant("forward", "layer_norm", "beta not applied", having(affine=lambda h, g, b: h * g), *Y)
plant("forward", "layer_norm", "beta before gamma", having(affine=lambda h, g, b: (h + b) * g), *Y)
plant("forward", "layer_norm", "weight is 1 + gamma", having(affine=lambda h, g, b: h * (1 + g) + b), *Y)
plant("forward", "layer_norm", "divides by the variance", having(rstd=lambda v, e: 1 / (v + e)), *Y)
plant("forward", "layer_norm", "a millionth too large", having(leave=lambda y: y * y.dtype.type(1 + 4e-6)), *Y)
plant("forward", "group_norm", "channels interleaved over groups", having(layout=replace(
    LAYOUTS["group_norm"],
    rows=lambda x, o: np.swapaxes(x.reshape(x.shape[0], x.shape[1] // o["num_groups"], o["num_groups"], -1), 1, 2).reshape(
        x.shape[0] * o["num_groups"], -1),
    back=lambda r, s, o: np.swapaxes(r.reshape(s[0], o["num_groups"], s[1] // o["num_groups"], -1), 1, 2).reshape(s),
)), *Y)  # fmt: skip
plant("forward", "group_norm", "groups ignored", having(layout=replace(
    LAYOUTS["group_norm"], rows=lambda x, o: x.reshape(x.shape[0], -1))), *Y)  # fmt: skip
plant("forward", "group_norm", "gamma of the group", having(layout=_laid("group_norm", _gamma_of_group)), *Y)
plant("forward", "instance_norm", "gamma indexed by sample", having(layout=_laid("instance_norm", _gamma_of_sample)), *Y)
plant("forward", "batch_norm", "training with the running statistics", lambda: _running_in_training(), *Y)
plant("forward", "batch_norm", "evaluation with the batch's statistics", lambda: _batch_in_evaluation(), *Y)
plant("forward", "rms_norm", "the mean subtracted", lambda: _with_mean(), *Y)
plant("forward", "rms_norm", "offset counted twice", lambda: _offset_twice(), *Y)
plant("forward", "position_norm", "statistics over positions", having(layout=LAYOUTS["instance_norm"]), *Y)
plant("forward", "mean_variance_norm", "eps inside the root", lambda: _mvn_inside(), "forward.y", "numerics.y")


def _running_in_training() -> Candidate:
    def change(f, x, gamma, beta, rm, rv, *, momentum, eps, training):
        y = f(x, gamma, beta, rm, rv, momentum=momentum, eps=eps, training=False)[0]
        return y, *f(x, gamma, beta, rm, rv, momentum=momentum, eps=eps, training=True)[1:]

    return wrapped("batch_norm", change)


def _batch_in_evaluation() -> Candidate:
    def change(f, x, gamma, beta, rm, rv, *, momentum, eps, training):
        y, m, v = f(x, gamma, beta, rm, rv, momentum=momentum, eps=eps, training=True)
        return (y, m, v) if training else (y, rm, rv)

    return wrapped("batch_norm", change)


def _with_mean() -> Candidate:
    def change(f, x, gamma=None, *, eps, offset, normalized_ndim=1):
        k = normalized_ndim if gamma is None else gamma.ndim
        axes = tuple(range(x.ndim - k, x.ndim))
        return f((x - x.mean(axis=axes, keepdims=True)).astype(x.dtype), gamma, eps=eps, offset=offset, normalized_ndim=k)

    return wrapped("rms_norm", change)


def _offset_twice() -> Candidate:
    def change(f, x, gamma=None, *, eps, offset, normalized_ndim=1):
        return f(x, gamma, eps=eps, offset=2 * offset, normalized_ndim=normalized_ndim)

    return wrapped("rms_norm", change)


def _mvn_inside() -> Candidate:
    def change(f, x, *, axes, eps):
        mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
        return ((x - mean) / np.sqrt(var + x.dtype.type(eps))).astype(x.dtype)

    return wrapped("mean_variance_norm", change)
