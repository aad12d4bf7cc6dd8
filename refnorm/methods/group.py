"""Normalizations of each sample on its own that know channels: group, instance and positional norm."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import STANDARDIZE
from refnorm.anatomy.recovery import Affine


@norm(
    Area("n (g k) s -> n g | | k s"),
    STANDARDIZE,
    Affine("c"),
    cite=Citation("Y. Wu, K. He", "Group Normalization", "ECCV", 2018, "1803.08494"),
    facts=invariances("yes no dense no yes yes no yes"),
    dialects={
        "torch": Dialect({"eps": 1e-5}, lone_value="error", spoken_by="PyTorch"),
        "flax": Dialect({"eps": 1e-6}, spoken_by="Flax"),
        "keras": Dialect({"eps": 1e-3}, spoken_by="Keras 3"),
        "onnx": Dialect({"eps": 1e-5}, casts=2, spoken_by="ONNX opset 21"),
    },
    examples=(
        {"shape": (3, 6, 4), "num_groups": 2},
        {"shape": (4, 6), "num_groups": 2},
        {"shape": (2, 2, 2, 4), "num_groups": 2, "channel_axis": -1},
    ),
)
def group_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    num_groups: int,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Group normalization: the channels of a sample in groups, each group standardized over its channels and positions.

        y = gamma_c (x - mu_ng) / sqrt(s2_ng + eps) + beta_c,    channel c in group g = c // (C / num_groups)

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    num_groups : divides C; 1 is layer norm over all but the first axis, C is instance norm
    eps : added to the variance; the default is the dialect's

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    Y. Wu and K. He, arXiv 1803.08494, equations 1 to 3 and 7; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    Area("n c s -> n c | | s"),
    STANDARDIZE,
    Affine("c"),
    cite=Citation(
        "D. Ulyanov, A. Vedaldi, V. Lempitsky",
        "Instance Normalization: The Missing Ingredient for Fast Stylization",
        "arXiv",
        2016,
        "1607.08022",
    ),
    facts=invariances("yes yes no no yes yes yes yes"),
    dialects={
        "torch": Dialect({"eps": 1e-5}, lone_value="error", spoken_by="PyTorch"),
        "flax": Dialect({"eps": 1e-6}, spoken_by="Flax"),
        "keras": Dialect({"eps": 1e-3}, spoken_by="Keras 3, GroupNormalization(groups=-1)"),
        "onnx": Dialect({"eps": 1e-5}, spoken_by="ONNX opset 6"),
    },
    examples=({"shape": (3, 4, 5)}, {"shape": (2, 3, 2, 3), "channel_axis": -1}),
)
def instance_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Instance normalization: each channel of each sample standardized over its positions.

        y = gamma_c (x - mu_nc) / sqrt(s2_nc + eps) + beta_c

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    eps : added to the variance; the default is the dialect's

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument; under the torch dialect also for a single position.

    D. Ulyanov et al., arXiv 1607.08022, equation 4; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    Area("n c s -> n s | | c"),
    STANDARDIZE,
    Affine("c"),
    cite=Citation("B. Li, F. Wu, K. Q. Weinberger, S. Belongie", "Positional Normalization", "NeurIPS", 2019, "1907.04312"),
    facts=invariances("yes no yes no no yes no yes"),
    dialects={"torch": Dialect({"eps": 1e-5}, spoken_by="the authors' code")},
    examples=({"shape": (3, 5, 4)}, {"shape": (6, 5)}, {"shape": (2, 2, 2, 5), "channel_axis": -1}),
)
def position_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Positional normalization: the channels at each position of each sample standardized together.

        y = gamma_c (x - mu_ns) / sqrt(s2_ns + eps) + beta_c

    The authors hand mu and sigma to a later layer ("moment shortcut"): `position_norm.forward(...)[1].saved` has them.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    eps : added to the variance

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    B. Li et al., arXiv 1907.04312, section 3; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)
