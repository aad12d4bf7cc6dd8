"""PyTorch's own operations as witnesses: what it computes and what its autograd says, in float64."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from refnorm.proofs.problem import Problem

from . import activations, batch, conditional, sample, weights, whitening

TORCH: dict[str, Callable[..., Any]] = {
    **activations.TORCH,
    **batch.TORCH,
    **conditional.TORCH,
    **sample.TORCH,
    **weights.TORCH,
    **whitening.TORCH,
}
"""Method name -> (torch.nn.functional, *tensors, **options) -> y, or (y, state arrays)."""


def reason_not_to_ask(problem: Problem) -> str:
    """Why PyTorch is no witness here; empty where it is one."""
    if problem.method.name not in TORCH:
        return "PyTorch has no such operation"
    if len(problem.names) < len(problem.method.arrays) or problem.options.get("mask") is not None:
        return "PyTorch is asked with all parameters and without a mask"
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed: pip install 'refnorm[peers]'"
    return ""


def ask(problem: Problem, dy: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], tuple | None]:
    """y, one gradient an array, and the running statistics where there are some; channels are moved to axis 1 and back."""
    import torch

    options = {k: v for k, v in problem.arguments().items() if k not in problem.method.arrays}
    last = options.get("channel_axis", 1) == -1
    leaves = [torch.tensor(a, requires_grad=True) for a in problem.arrays]
    first = leaves[0].movedim(-1, 1) if last else leaves[0]
    answer = TORCH[problem.method.name](torch.nn.functional, first, *leaves[1:], **options)
    y, state = answer if isinstance(answer, tuple) else (answer, None)
    y = y.movedim(1, -1) if last else y
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), [np.asarray(leaf.grad) for leaf in leaves], state
