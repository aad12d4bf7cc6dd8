"""Batch normalization by other measures of spread: the variance without the mean, the mean absolute deviation."""

from __future__ import annotations

import math
from typing import Any

from refnorm.anatomy.area import Layout
from refnorm.anatomy.arguments import finite_number
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import Constraints, Operation
from refnorm.anatomy.population import Population, fresh_deviation, fresh_variance
from refnorm.anatomy.recovery import Affine
from refnorm.operations import absolute, variance

from .batch import BATCH, OLD_BIASED, RAGGED

VARIANCE = Operation(
    "variance",
    "xhat = x / sqrt(var + eps)",
    variance.forward,
    variance.backward,
    variance.apply,
    variance.apply_backward,
    constraints=Constraints(variance.residuals, lambda d, m: d, lambda d, m: m >= 2, "variance s2 / (s2 + eps)", "M >= 2"),
    identities=variance.identities,
    from_population=variance.from_population,
)
ABSOLUTE = Operation(
    "absolute",
    "xhat = (x - mean) / (factor mean|x - mean| + eps)",
    absolute.forward,
    absolute.backward,
    absolute.apply,
    absolute.apply_backward,
    options=("eps", "factor"),
    constraints=Constraints(
        absolute.residuals,
        lambda d, m: 2 * d,
        lambda d, m: m >= 2,
        "mean 0, mean absolute deviation a / (factor a + eps)",
        "M >= 2",
    ),
    identities=absolute.identities,
    from_population=absolute.from_population,
)


@norm(
    BATCH,
    VARIANCE,
    Affine("c"),
    state=fresh_variance,
    cite=Citation(
        "H. Daneshmand, J. Kohler, F. Bach, T. Hofmann, A. Lucchi",
        "Batch Normalization Provably Avoids Rank Collapse for Randomly Initialised Deep Networks",
        "NeurIPS",
        2020,
        "2003.01652",
    ),
    facts=invariances("yes yes no no yes yes no no"),
    dialects={
        "lubana": Dialect({"eps": 1e-5, "momentum": 0.9}, OLD_BIASED, spoken_by="Beyond BatchNorm's code"),
        "torch": Dialect({"eps": 1e-5, "momentum": 0.1}, Population(), lone_value="error", spoken_by="PyTorch's conventions"),
    },
    examples=({"shape": (5, 4, 3)}, {"shape": (8, 4)}, {"shape": (5, 2, 3), "mask": RAGGED}),
)
def variance_norm(
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
    dialect: str = "lubana",
    backend: str = "numpy",
) -> Layout:
    """Variance normalization: each channel divided by its standard deviation over the batch; its mean stays.

        y = gamma_c x / sqrt(s2_c + eps) + beta_c,      s2_c = mean of (x - mu_c)^2

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    state : the running variance from `variance_norm.state(var=)`; None starts at 1
    momentum, eps, mask : as batch_norm; under the lubana dialect momentum weighs the old value

    Returns (y, state) in training, y in evaluation; `.forward` returns (y, cache, state), `.backward(dy, cache)`
    (dx, dgamma, dbeta).  Raises ValueError, TypeError naming the argument.

    H. Daneshmand et al., arXiv 2003.01652; E. S. Lubana et al., arXiv 2106.05956.  The gradient: operations/variance.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    BATCH,
    ABSOLUTE,
    Affine("c"),
    state=fresh_deviation,
    cite=Citation(
        "S. Wu, G. Li, L. Deng, L. Liu, D. Wu, Y. Xie, L. Shi",
        "L1-Norm Batch Normalization for Efficient Training of Deep Neural Networks",
        "IEEE TNNLS",
        2019,
        "1802.09769",
    ),
    facts=invariances("yes yes no no yes yes yes no"),
    dialects={
        "wu": Dialect(
            {"eps": 1e-5, "momentum": 0.1, "factor": math.sqrt(math.pi / 2)}, spoken_by="the paper's factor sqrt(pi / 2)"
        ),
        "plain": Dialect({"eps": 1e-5, "momentum": 0.1, "factor": 1.0}, spoken_by="those who leave the factor to gamma"),
    },
    examples=({"shape": (5, 4, 3)}, {"shape": (8, 4)}, {"shape": (5, 2, 3), "mask": RAGGED}),
)
def l1_batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    factor: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "wu",
    backend: str = "numpy",
) -> Layout:
    """L1 batch normalization: each channel centred and divided by its mean absolute deviation; no square, no root.

        y = gamma_c (x - mu_c) / (factor a_c + eps) + beta_c,      a_c = mean of |x - mu_c|

    With factor = sqrt(pi / 2), factor a_c estimates the standard deviation of normal samples.  (The factor is the paper's, as
    its abstract says; that it multiplies a_c, before eps, rather than gamma, is E. Hoffer et al., arXiv 1803.01814.)

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    state : running mean and deviation from `l1_batch_norm.state(mean=, deviation=)`; None starts at 0 and 1
    momentum : weighs the new batch
    eps : added to the deviation
    factor : multiplies the deviation; the default is the dialect's
    mask : boolean, broadcasts to x; False entries are left out of the statistics

    Returns (y, state) in training, y in evaluation; `.forward` returns (y, cache, state), `.backward(dy, cache)`
    (dx, dgamma, dbeta).  Raises ValueError, TypeError naming the argument.

    S. Wu et al., arXiv 1802.09769; the gradient is derived in operations/absolute.py.
    """
    finite_number("factor", factor)
    return Layout.activations(x, channel_axis)
