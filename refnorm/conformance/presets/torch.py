"""PyTorch's own normalizations, as it installs today.

batch_norm, layer_norm, rms_norm, group_norm and instance_norm are torch.nn.functional's, gradients by autograd.  PyTorch
has no positional norm and no mean-variance norm; position_norm is layer_norm with the channels moved last, and
mean_variance_norm is left out: a composition of elementary operations would judge autograd, not a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ..candidate import Candidate

HALVES = ("float16", "bfloat16")
MIXED = tuple({"x": half, "params": "float32", "out": half} for half in HALVES)
DTYPES = ("float64", "float32", *HALVES)


def position_norm(x: torch.Tensor, gamma=None, beta=None, eps: float = 1e-5) -> torch.Tensor:
    """F.layer_norm over the channels."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], gamma, beta, eps).movedim(-1, 1)


def candidates() -> Iterator[tuple[str, str, Candidate]]:
    for norm, operation in (
        ("batch_norm", F.batch_norm), ("layer_norm", F.layer_norm), ("rms_norm", F.rms_norm), ("group_norm", F.group_norm),
        ("instance_norm", F.instance_norm), ("position_norm", position_norm),
    ):  # fmt: skip
        name = (
            f"torch {torch.__version__} F.{operation.__name__}"
            if operation is not position_norm
            else "torch F.layer_norm, moved"
        )
        yield norm, "torch", Candidate.from_torch(operation, dtypes=DTYPES, name=name)
