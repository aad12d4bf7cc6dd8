"""PyTorch's own normalizations, as it installs today.

batch_norm, layer_norm, rms_norm, group_norm and instance_norm are torch.nn.functional's, gradients by autograd; in 16 bits
with parameters of that type, and with parameters and running statistics in float32 as mixed precision has them.  PyTorch
has no positional norm and no mean-variance norm; position_norm is layer_norm with the channels moved last, and
mean_variance_norm is left out: a composition of elementary operations would judge autograd, not a kernel.

Of weights: torch._weight_norm, which the hook and the parametrization share, and the parametrization itself; spectral norm
as the parametrization has it (u first) and as the older hook has it (v first), each step of the power iteration from the
given u and v.  Vectors: F.normalize.  Channels: F.local_response_norm.

Found in PyTorch 2.13.0 on the CPU, each confirmed by hand against its own float64 and fractions; float32 and float64 are
right throughout, and so are rms_norm and spectral norm, F.normalize, F.local_response_norm:

    what                                 input that shows it                            comes out        exact
    batch, layer, group, instance norm,  bfloat16 row [128, 129], dy = [1, 1]: dx       0, -4            0, 0
      16 bits, parameters of that type   batch norm: dx                                 0, -1.41         0, 0
      or none: mean and 1 / deviation    layer and group norm: dgamma                   0, 2             -1, 1
      are kept in that type              batch norm: y                                  0, 1.41          -1, 1
                                         instance norm: y                               0, 2             -1, 1
                                         float16 row [1024, 1025]: all as above, batch norm as instance norm
    F.layer_norm, 16 bits, parameters    4097 rows [1, 0], dy ones: dbeta, bfloat16     256              4097
      of any type: dgamma, dbeta are     float16                                        2048             4097
      summed in 16 bits (one thread)
    F.batch_norm, bfloat16, float32      4097 x 1 under y.sum().backward(): dbeta       4096             4097
      parameters: dbeta is rounded       (dy has strides of 0; contiguous ones: 4097; F.instance_norm as well)
    F.batch_norm, bfloat16 throughout:   [3, 4], running mean -2, momentum 0.3          -0.3438          -0.3500
      momentum is rounded
    _weight_norm of a middle axis or     bfloat16 v = [1, 2, 2], dy = [2, 3, 3]: dv[1]  -0.0469          -0.0370
      of none (the fused kernel knows    float16 v = [2, 2, 3], dy = [0, 3, 2]: dv[2]   -0.0278          -0.0285
      the outer two): g / |v| and every  float16 v = [3, 4], dy = [30000, 1]: dv        -inf             3840, -2880
      sum of its gradient in 16 bits     float16 v = [1, 3]: y[1]                       0.9482           0.9487
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm

from ..adapters.torch_modules import laid
from ..candidate import Candidate
from ..cases import Case

HALVES = ("float16", "bfloat16")
MIXED = tuple({"x": half, "params": "float32", "out": half} for half in HALVES)
DTYPES = ("float64", "float32", *HALVES)


def position_norm(x: torch.Tensor, gamma=None, beta=None, eps: float = 1e-5) -> torch.Tensor:
    """F.layer_norm over the channels."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], gamma, beta, eps).movedim(-1, 1)


def weight_norm(v: torch.Tensor, g: torch.Tensor, *, dim: int | None = 0) -> torch.Tensor:
    """torch._weight_norm; g is one number a row, in PyTorch of the rank of v."""
    return torch._weight_norm(v, laid(g, v, dim), -1 if dim is None else dim)


WEIGHT_NORM = parametrizations.weight_norm(torch.nn.Linear(4, 3))
SPECTRAL_NORM = parametrizations.spectral_norm(torch.nn.Linear(4, 3))
"""Their parametrizations are judged, with the kit's weights in the place of these."""


def spectral_norm_hook(w, u, v, *, n_power_iterations=1, eps=1e-12, training=True, dim=0) -> tuple[torch.Tensor, ...]:
    """torch.nn.utils.spectral_norm's hook, which updates v first."""
    hook, module = SpectralNorm("weight", n_power_iterations, dim, eps), torch.nn.Module()
    u, v = u.clone(), v.clone()
    for name, value in (("orig", w), ("u", u), ("v", v)):
        setattr(module, f"weight_{name}", value)
    return hook.compute_weight(module, do_power_iteration=training), u, v


def lp_norm(x: torch.Tensor, *, p: float = 2.0, axis: int = -1, eps: float = 1e-12) -> torch.Tensor:
    """F.normalize."""
    return F.normalize(x, p, axis, eps)


def local_response_norm(x, *, size: int = 5, alpha=1e-4, beta=0.75, k=1.0) -> torch.Tensor:
    """F.local_response_norm."""
    return F.local_response_norm(x, size, alpha, beta, k)


def _has_positions(case: Case) -> Any:
    return case.x.ndim >= 3 or "F.local_response_norm takes three axes and more"


def candidates() -> Iterator[tuple[str, str, Candidate]]:
    mine = f"torch {torch.__version__}"
    for norm, operation, name in (
        ("batch_norm", F.batch_norm, "F.batch_norm"), ("layer_norm", F.layer_norm, "F.layer_norm"),
        ("rms_norm", F.rms_norm, "F.rms_norm"), ("group_norm", F.group_norm, "F.group_norm"),
        ("instance_norm", F.instance_norm, "F.instance_norm"), ("position_norm", position_norm, "F.layer_norm, moved"),
    ):  # fmt: skip
        yield norm, "torch", Candidate.from_torch(operation, dtypes=DTYPES, name=f"{mine} {name}")
        if operation is not position_norm:
            mixed = f"{mine} {name}, parameters in float32"
            yield norm, "torch", Candidate.from_torch(operation, dtypes=MIXED, name=mixed)
    for norm, dialect, function, name, dtypes in (
        ("weight_norm", "torch", weight_norm, "_weight_norm", DTYPES),
        ("weight_norm", "torch", WEIGHT_NORM, "parametrizations.weight_norm", DTYPES),
        ("spectral_norm", "torch", SPECTRAL_NORM, "parametrizations.spectral_norm", DTYPES[:2]),
        ("spectral_norm", "hook", spectral_norm_hook, "utils.spectral_norm", DTYPES[:2]),
        ("lp_norm", "torch", lp_norm, "F.normalize", DTYPES[:2]),
        ("local_response_norm", "torch", local_response_norm, "F.local_response_norm", DTYPES[:2]),
    ):  # fmt: skip
        fields: dict[str, Any] = {"dtypes": dtypes, "name": f"{mine} {name}"}
        if norm == "local_response_norm":
            fields["supports"] = _has_positions
        if isinstance(function, torch.nn.Module):
            fields["origin"] = f"{__name__}:{norm.upper()}"
        yield norm, dialect, Candidate.from_torch(function, **fields)
