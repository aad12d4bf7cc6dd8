"""Right formulas in poor arithmetic."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from ..kernels import having, plain_mean, two_pass
from .base import plant


def _one_pass(x: Any) -> Any:
    mean = plain_mean(x)
    return mean, plain_mean(np.square(x)) - np.square(mean)


def _clipped(x: Any) -> Any:
    mean, var = _one_pass(x)
    return mean, np.maximum(var, 0)


NY = ("numerics.y", "numerics.scale", "numerics.finite", "numerics.gradients")
for norm in ("layer_norm", "batch_norm", "group_norm", "instance_norm"):
    plant("numerics", norm, "one pass", having(statistics=_one_pass), *NY)
    plant("numerics", norm, "one pass, clipped", having(statistics=_clipped), *NY)
plant(
    "numerics",
    "layer_norm",
    "variance below 1e-6 is cut off",
    having(rstd=lambda v, e: 1 / np.sqrt(np.maximum(v, v.dtype.type(1e-6)) + e)),
    *NY,
)
plant("numerics", "layer_norm", "values clipped at 1e4", having(enter=lambda a: np.clip(a, -1e4, 1e4).astype(a.dtype)), *NY)
plant(
    "numerics",
    "layer_norm",
    "NaN for constant rows",
    having(rstd=lambda v, e: np.where(v == 0, np.nan, 1 / np.sqrt(v + e)).astype(v.dtype)),
    *NY,
)
plant(
    "numerics",
    "layer_norm",
    "eps of 1e-12 lost",
    having(rstd=lambda v, e: 1 / np.sqrt(v + np.maximum(e, v.dtype.type(1e-8)))),
    *NY,
    full=True,
)
plant(
    "numerics",
    "layer_norm",
    "half precision",
    having(compute=np.float16),
    "forward.y",
    "numerics.y",
    "numerics.finite",
    dtypes=("float16",),
)
plant(
    "numerics",
    "rms_norm",
    "half precision",
    having(compute=np.float16),
    "forward.y",
    "numerics.y",
    "numerics.finite",
    dtypes=("float16",),
)
plant(
    "numerics",
    "layer_norm",
    "bfloat16 sums",
    having(compute=ml_dtypes.bfloat16),
    "forward.y",
    "numerics.y",
    dtypes=("bfloat16",),
)
plant(
    "numerics",
    "layer_norm",
    "mean through the storage type",
    having(statistics=lambda x: (plain_mean(x).astype(ml_dtypes.bfloat16).astype(x.dtype), two_pass(x)[1])),
    *NY,
    "forward.y",
    dtypes=("bfloat16",),
)
plant(
    "numerics",
    "layer_norm",
    "float32 inside float64",
    having(compute=np.float32),
    "forward.y",
    "numerics.y",
    dtypes=("float64",),
)
plant(
    "numerics",
    "rms_norm",
    "squares in the storage type",
    having(enter=lambda a: np.sign(a) * np.sqrt(np.square(a))),
    "forward.y",
    "numerics.y",
    "numerics.finite",
    dtypes=("float16",),
)
