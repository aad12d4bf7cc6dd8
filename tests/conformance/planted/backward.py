"""Wrong gradients."""

from __future__ import annotations

from typing import Any

from ..kernels import having, plain_mean
from .base import backwards, plant


def _over_one_less(g: Any, xhat: Any, rstd: Any, is_rms: bool) -> Any:
    factor = g.dtype.type(g.shape[1] / max(g.shape[1] - 1, 1))
    return rstd * (g - plain_mean(g) - xhat * plain_mean(g * xhat) * factor)


DX = ("backward.dx",)
PG = ("backward.parameters",)
for norm in ("layer_norm", "batch_norm", "instance_norm"):
    plant("backward", norm, "variance detached", having(dx=lambda g, h, r, rms: r * (g - plain_mean(g))), *DX)
    plant("backward", norm, "mean term dropped", having(dx=lambda g, h, r, rms: r * (g - h * plain_mean(g * h))), *DX)
    plant("backward", norm, "statistics detached", having(dx=lambda g, h, r, rms: r * g), *DX)
    plant("backward", norm, "gamma left out of dx", having(dxhat=lambda dy, gamma: dy), *DX)
    plant("backward", norm, "means over m - 1", having(dx=_over_one_less), *DX)
plant(
    "backward",
    "layer_norm",
    "wrong sign of the xhat term",
    having(dx=lambda g, h, r, rms: r * (g - plain_mean(g) + h * plain_mean(g * h))),
    *DX,
)
plant("backward", "layer_norm", "rstd left out", having(dx=lambda g, h, r, rms: g - plain_mean(g) - h * plain_mean(g * h)), *DX)
plant("backward", "rms_norm", "xhat term dropped", having(dx=lambda g, h, r, rms: r * g), *DX)
plant(
    "backward",
    "rms_norm",
    "mean subtracted too",
    having(dx=lambda g, h, r, rms: r * (g - plain_mean(g) - h * plain_mean(g * h))),
    *DX,
)
plant("backward", "layer_norm", "dgamma without rstd", having(dgamma=lambda dy, h: dy * h * 2), *PG)
plant("backward", "layer_norm", "dgamma is the mean", having(reduce=lambda t, p: t.reshape(-1, *p.shape).mean(axis=0)), *PG)
plant("backward", "layer_norm", "dgamma of the last row", having(reduce=lambda t, p: t.reshape(-1, *p.shape)[-1]), *PG)
plant("backward", "batch_norm", "dbeta sums dy xhat", having(dbeta=lambda dy: dy * dy), *PG)
plant("backward", "batch_norm", "dgamma sums dy", having(dgamma=lambda dy, h: dy), *PG)
plant(
    "backward",
    "layer_norm",
    "dgamma and dbeta swapped",
    lambda: backwards("layer_norm", lambda f, *a, **k: (lambda r: (r[0], r[2], r[1]))(f(*a, **k))),
    *PG,
)
plant("backward", "layer_norm", "one entry of dx off by a thousandth", lambda: backwards("layer_norm", _one_entry), *DX)
plant(
    "backward", "batch_norm", "evaluation differentiates the statistics", lambda: backwards("batch_norm", _always_training), *DX
)


def _one_entry(f, *args, **kwargs):
    dx, *rest = f(*args, **kwargs)
    if dx.size:
        dx.reshape(-1)[-1] *= dx.dtype.type(1.001)
    return (dx, *rest)


def _always_training(f, dy, x, gamma, beta, rm, rv, *, momentum, eps, training):
    return f(dy, x, gamma, beta, rm, rv, momentum=momentum, eps=eps, training=True)
