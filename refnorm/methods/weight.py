"""Normalizations of the rows of a weight, each on its own: weight norm, weight standardization and their kin."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import RMS, STANDARDIZE, Constraints, Operation, on_unit_sphere
from refnorm.anatomy.recovery import Gain, Identity
from refnorm.operations import weight_standardize
from refnorm.operations.activation_gains import exact, published

ROWS = Area("o i s -> o | | i s")

WEIGHT_STANDARDIZE = Operation(
    "weight standardize",
    "what = (w - mean) r(var)",
    weight_standardize.forward,
    weight_standardize.backward,
    weight_standardize.apply,
    weight_standardize.apply_backward,
    ("eps", "spread"),
    Constraints(weight_standardize.residuals, lambda d, m: 2 * d, lambda d, m: m >= 2, "mean 0, variance s2 r^2", "M >= 2"),
    weight_standardize.identities,
)


@norm(
    ROWS,
    on_unit_sphere(RMS, "what = v / sqrt(sum(v^2) + eps)", "squared length q / (q + eps)"),
    Gain("o"),
    x="v",
    acts_on="weights",
    cite=Citation(
        "T. Salimans, D. P. Kingma",
        "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural Networks",
        "NeurIPS",
        2016,
        "1602.07868",
    ),
    facts=invariances("yes yes no no yes no no no"),
    dialects={
        "torch": Dialect({"dim": 0, "eps": 0.0}, spoken_by="PyTorch, Equinox"),
        "flax": Dialect({"dim": -1, "eps": 1e-12}, spoken_by="Flax, feature_axes=-1"),
    },
    examples=(
        {"shape": (4, 5)},
        {"shape": (3, 2, 3)},
        {"shape": (2, 3, 4), "dialect": "flax"},
        {"shape": (2, 3, 2), "dim": None},
    ),
)
def weight_norm(
    v: Any,
    g: Any = None,
    *,
    dim: int | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Weight normalization: each row's direction from v, its length from g.

        w_o = g_o v_o / sqrt(||v_o||^2 + eps)

    Parameters
    ----------
    v : (out, in, *kernel), or as `dim` says; float64, float32, float16 or bfloat16
    g : (out,), or () with dim=None; None is 1
    dim : the axis of the outputs; None: one length for the whole array.  (PyTorch reads its own dim=-1 as None.)
    eps : added to the squared length; the default is the dialect's

    Returns w; `.forward` returns (w, cache), `.backward(dw, cache)` (dv, dg).
    Raises ValueError, TypeError naming the argument.

    T. Salimans and D. P. Kingma, arXiv 1602.07868, equations 2 and 3; the gradient is derived in operations/rms.py.
    """
    return Layout.weights(v, "v", dim)


@norm(
    ROWS,
    on_unit_sphere(STANDARDIZE, "what = (v - mean) / sqrt(sum((v - mean)^2) + eps)", "sum 0, squared length q / (q + eps)"),
    Gain("o"),
    x="v",
    acts_on="weights",
    cite=Citation(
        "L. Huang, X. Liu, Y. Liu, B. Lang, D. Tao",
        "Centered Weight Normalization in Accelerating Training of Deep Neural Networks",
        "ICCV",
        2017,
    ),
    facts=invariances("yes yes no yes yes no no no"),
    dialects={"torch": Dialect({"dim": 0, "eps": 0.0}, spoken_by="the paper")},
    examples=({"shape": (4, 5)}, {"shape": (3, 2, 3)}, {"shape": (2, 3, 4), "dim": -1}),
)
def centered_weight_norm(
    v: Any,
    g: Any = None,
    *,
    dim: int | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Centred weight normalization: each row of v centred and put onto the unit sphere, its length from g.

        w_o = g_o (v_o - mean(v_o)) / sqrt(||v_o - mean(v_o)||^2 + eps)

    Parameters
    ----------
    v : (out, in, *kernel), or as `dim` says; float64, float32, float16 or bfloat16
    g : (out,), or () with dim=None; None is 1
    dim : the axis of the outputs; None: the whole array is one row
    eps : added to the squared length

    Returns w; `.forward` returns (w, cache), `.backward(dw, cache)` (dv, dg).
    Raises ValueError, TypeError naming the argument.

    L. Huang et al., ICCV 2017; the gradient is derived in operations/standardize.py.
    """
    return Layout.weights(v, "v", dim)


@norm(
    ROWS,
    WEIGHT_STANDARDIZE,
    Identity(),
    x="w",
    acts_on="weights",
    cite=Citation(
        "S. Qiao, H. Wang, C. Liu, W. Shen, A. Yuille",
        "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
        "arXiv",
        2019,
        "1903.10520",
    ),
    facts=invariances("yes yes no yes yes no no no"),
    dialects={
        "original": Dialect({"eps": 1e-5}, conventions={"spread": "outside"}, spoken_by="the authors' code"),
        "timm": Dialect({"eps": 1e-6}, conventions={"spread": "inside"}, spoken_by="timm"),
        "bit": Dialect({"eps": 1e-10}, conventions={"spread": "inside"}, spoken_by="Big Transfer"),
    },
    examples=({"shape": (4, 5)}, {"shape": (3, 2, 3)}, {"shape": (4, 5), "dialect": "timm"}, {"shape": (2, 3, 4), "dim": -1}),
)
def weight_standardization(
    w: Any, *, dim: int | None = 0, eps: float = FROM_DIALECT, dialect: str = "original", backend: str = "numpy"
) -> Layout:
    """Weight standardization: each row of a weight standardized over its fan-in.

        original     y = (w - mean) / (sqrt(var n / (n - 1)) + eps)        the unbiased deviation, eps outside the root
        timm, bit    y = (w - mean) / sqrt(var + eps)                      the biased variance, eps inside

    Parameters
    ----------
    w : (out, in, *kernel), or as `dim` says; float64, float32, float16 or bfloat16
    dim : the axis of the outputs; None: the whole array is one row
    eps : where the dialect adds it; the default is the dialect's

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dw,).
    Raises ValueError, TypeError naming the argument.

    S. Qiao et al., arXiv 1903.10520; the gradient is derived in operations/weight_standardize.py.
    """
    return Layout.weights(w, "w", dim)


@norm(
    ROWS,
    WEIGHT_STANDARDIZE,
    Gain("o", over="i s"),
    x="w",
    acts_on="weights",
    cite=Citation(
        "A. Brock, S. De, S. L. Smith",
        "Characterizing Signal Propagation to Close the Performance Gap in Unnormalized ResNets",
        "ICLR",
        2021,
        "2101.08692",
    ),
    facts=invariances("yes yes no yes yes no no no"),
    dialects={
        "exact": Dialect({"eps": 0.0}, conventions={"spread": "inside", "gains": exact}, spoken_by="the paper"),
        "timm": Dialect({"eps": 1e-6}, conventions={"spread": "inside", "gains": published}, spoken_by="timm"),
        "nfnet": Dialect({"eps": 1e-4}, conventions={"spread": "floor", "gains": published}, spoken_by="NFNet"),
    },
    examples=(
        {"shape": (4, 5), "gain": "relu"},
        {"shape": (3, 2, 3), "gain": 2.0},
        {"shape": (4, 5), "gain": "silu", "dialect": "nfnet"},
        {"shape": (2, 3, 4), "gain": "gelu", "dim": -1, "dialect": "timm"},
    ),
)
def scaled_weight_standardization(
    w: Any,
    g: Any = None,
    *,
    gain: float | str = 1.0,
    dim: int | None = 0,
    eps: float = FROM_DIALECT,
    dialect: str = "exact",
    backend: str = "numpy",
) -> Layout:
    """Scaled weight standardization: rows standardized, so scaled that a layer and its activation keep variance 1.

        y_o = gain g_o (w_o - mean) / (sqrt(n) sqrt(var + eps)),      n the fan-in
        nfnet: the denominator is sqrt(max(n var, eps))

    Parameters
    ----------
    w : (out, in, *kernel), or as `dim` says; float64, float32, float16 or bfloat16
    g : (out,), the affine gain of each row; None is 1
    gain : a number, or the name of the activation that follows ("relu", "gelu", "silu", ...): 1 / its standard deviation at a
        normal input, exact by quadrature, or under the dialects timm and nfnet the constant that NFNet ships
    dim : the axis of the outputs; None: the whole array is one row
    eps : added to the variance; under nfnet the least sum of squares; the default is the dialect's

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dw, dg).
    Raises ValueError, TypeError naming the argument.

    A. Brock et al., arXiv 2101.08692, section 4; the gradient is derived in operations/weight_standardize.py, the gains in
    operations/activation_gains.py.
    """
    return Layout.weights(w, "w", dim)
