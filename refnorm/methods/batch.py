"""Normalizations whose statistics cross the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import DEVIATION, STANDARDIZE
from refnorm.anatomy.population import Population, fresh
from refnorm.anatomy.recovery import Affine, Identity

OLD_BIASED = Population(weighs="old", variance="biased")
BATCH = Area("n c s -> c | | n s")
RAGGED = np.arange(3) < np.array([3, 1, 2, 3, 2])[:, None, None]
"""A mask of lengths: sample n of (5, C, 3) has so many positions."""

BATCH_DIALECTS = {
    "torch": Dialect({"eps": 1e-5, "momentum": 0.1}, Population(), lone_value="error", spoken_by="PyTorch, tinygrad"),
    "flax": Dialect({"eps": 1e-5, "momentum": 0.99}, OLD_BIASED, spoken_by="Flax"),
    "keras": Dialect({"eps": 1e-3, "momentum": 0.99}, OLD_BIASED, spoken_by="Keras 3"),
    "onnx": Dialect({"eps": 1e-5, "momentum": 0.9}, OLD_BIASED, spoken_by="ONNX opset 14 and later"),
    "chainer": Dialect({"eps": 2e-5, "momentum": 0.9}, Population(weighs="old"), spoken_by="Chainer"),
}


@norm(
    BATCH,
    STANDARDIZE,
    Affine("c"),
    state=fresh,
    cite=Citation(
        "S. Ioffe, C. Szegedy",
        "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        "ICML",
        2015,
        "1502.03167",
    ),
    facts=invariances("yes yes no no yes yes yes no"),
    dialects=BATCH_DIALECTS,
    examples=(
        {"shape": (5, 4, 3)},
        {"shape": (8, 4)},
        {"shape": (3, 2, 2, 4), "channel_axis": -1},
        {"shape": (5, 4, 3), "mask": RAGGED},
    ),
)
def batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Batch normalization: each channel standardized over the batch and all positions.

        mu_c = mean over n, s of x      s2_c = mean of (x - mu_c)^2      y = gamma_c (x - mu_c) / sqrt(s2_c + eps) + beta_c

    In evaluation (training=False) mu and s2 are the state's running statistics.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    state : running statistics from `batch_norm.state(mean=, var=)`; None starts a fresh one (mean 0, variance 1)
    momentum : in 0..1; what it weighs is the dialect's (torch: the new batch; keras, flax, onnx: the old value);
        None under the torch dialect: the mean of all batches so far
    eps : added to the variance; the default is the dialect's
    mask : boolean, broadcasts to x; False entries are left out of the statistics (and normalized like the rest)

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument; under the torch dialect also for one value per channel in training.

    S. Ioffe and C. Szegedy, arXiv 1502.03167, algorithms 1 and 2; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    Area("r f -> r | | f"),
    DEVIATION,
    Identity(),
    cite=Citation("ONNX", "Operator specification, MeanVarianceNormalization", "onnx.ai", 2023),
    facts=invariances("yes yes no no yes yes yes no"),
    dialects={"onnx": Dialect({"eps": 1e-9}, spoken_by="ONNX opset 13")},
    examples=({"shape": (5, 4, 3), "axes": (0, 2)}, {"shape": (8, 4), "axes": (0,)}),
)
def mean_variance_norm(
    x: Any, *, axes: tuple[int, ...] = (0, 2, 3), eps: float = FROM_DIALECT, dialect: str = "onnx", backend: str = "numpy"
) -> Layout:
    """Mean-variance normalization: standardized over any axes, eps added to the deviation outside the root.

        y = (x - mean) / (sqrt(var) + eps)

    Parameters
    ----------
    x : any shape; float64, float32, float16 or bfloat16
    axes : the axes that share statistics
    eps : added to the deviation

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx,).  Raises ValueError, TypeError naming the argument.

    ONNX operator MeanVarianceNormalization; the gradient is derived in operations/deviation.py.
    """
    return Layout.over(x, tuple(axes))
