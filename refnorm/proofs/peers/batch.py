"""PyTorch's operations for norms of the batch: its batch norm, put together as the method says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import activations


def ghost_batch_norm(
    F: Any, x: Any, gamma: Any, beta: Any, *, virtual_batch_size: int, state: Any, training: bool, **options: Any
) -> tuple:
    import torch

    answers = []
    for part in x.split(virtual_batch_size if training else len(x)):
        y, state = activations.batch_norm(F, part, gamma, beta, state=state, training=training, **options)
        answers.append(y)
    return torch.cat(answers), state


TORCH: dict[str, Callable[..., Any]] = {
    "ghost_batch_norm": ghost_batch_norm,
    "sync_batch_norm": activations.batch_norm,
}
