"""PyTorch's norms without parameters, and the modulation that follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import activations


def batch(F: Any, x: Any, gamma: Any, beta: Any, *, offset: float, **options: Any) -> tuple:
    y, state = activations.batch_norm(F, x, None, None, **options)
    return (offset + over_positions(gamma, x)) * y + over_positions(beta, x), state


def over_positions(a: Any, x: Any) -> Any:
    """(N, C) against (N, C, *spatial); a parameter that has the positions already is left as it is."""
    return a.reshape(*a.shape, *(1 for _ in range(x.ndim - a.ndim)))


def spatially_adaptive_norm(F: Any, x: Any, gamma: Any, beta: Any, *, channel_axis: int, **options: Any) -> tuple:
    gamma, beta = (a.movedim(-1, 1) if channel_axis == -1 else a for a in (gamma, beta))
    return batch(F, x, gamma, beta, **options)


def adaptive_instance_norm(F: Any, x: Any, gamma: Any, beta: Any, *, eps: float, **_: Any) -> Any:
    return over_positions(gamma, x) * F.instance_norm(x, eps=eps) + over_positions(beta, x)


def adaptive_layer_norm(F: Any, x: Any, gamma: Any, beta: Any, *, eps: float, offset: float, **_: Any) -> Any:
    y = F.layer_norm(x.movedim(1, -1), x.shape[1:2], eps=eps).movedim(-1, 1)
    return (offset + over_positions(gamma, x)) * y + over_positions(beta, x)


TORCH: dict[str, Callable[..., Any]] = {
    "conditional_batch_norm": batch,
    "spatially_adaptive_norm": spatially_adaptive_norm,
    "adaptive_instance_norm": adaptive_instance_norm,
    "adaptive_layer_norm": adaptive_layer_norm,
}
