"""PyTorch's operations on activations, called as refnorm's are: (F, *tensors, **options) -> y or (y, state arrays)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def batch_norm(
    F: Any, x: Any, gamma: Any, beta: Any, *, state: Any, training: bool, eps: float, momentum: Any, **_: Any
) -> tuple:
    import torch

    if state is None:
        state = np.zeros(x.shape[1]), np.ones(x.shape[1])
    mean, var = (torch.tensor(np.asarray(s)) for s in state[:2])
    y = F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps)
    return y, (mean.numpy(), var.numpy())


def mean_variance_norm(F: Any, x: Any, *, axes: tuple[int, ...], eps: float, **_: Any) -> Any:
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + eps)


TORCH: dict[str, Callable[..., Any]] = {
    "batch_norm": batch_norm,
    "layer_norm": lambda F, x, gamma, beta, *, axis, eps, **_: F.layer_norm(x, x.shape[axis:], gamma, beta, eps),
    "rms_norm": lambda F, x, gamma, *, axis, eps, offset, **_: F.rms_norm(x, x.shape[axis:], offset + gamma, eps),
    "group_norm": lambda F, x, gamma, beta, *, num_groups, eps, **_: F.group_norm(x, num_groups, gamma, beta, eps),
    "instance_norm": lambda F, x, gamma, beta, *, eps, **_: F.instance_norm(x, weight=gamma, bias=beta, eps=eps),
    "position_norm": lambda F, x, gamma, beta, *, eps, **_: F.layer_norm(
        x.movedim(1, -1), x.shape[1:2], gamma, beta, eps
    ).movedim(-1, 1),
    "mean_variance_norm": mean_variance_norm,
}
