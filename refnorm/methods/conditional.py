"""Normalizations whose recovery is predicted from a condition: a class, a style, a time step, a map of labels."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import STANDARDIZE
from refnorm.anatomy.population import fresh
from refnorm.anatomy.recovery import Affine

from .batch import BATCH, RAGGED


@norm(
    BATCH,
    STANDARDIZE,
    Affine("n c"),
    state=fresh,
    cite=Citation(
        "H. de Vries, F. Strub, J. Mary, H. Larochelle, O. Pietquin, A. Courville",
        "Modulating Early Visual Processing by Language",
        "NIPS",
        2017,
        "1707.00683",
    ),
    facts=invariances("yes yes no no yes yes yes no"),
    dialects={
        "torch": Dialect({"eps": 1e-5, "momentum": 0.1, "offset": 0}, lone_value="error", spoken_by="gamma as it is predicted"),
        "biggan": Dialect(
            {"eps": 1e-5, "momentum": 0.1, "offset": 1}, lone_value="error", spoken_by="BigGAN: the weight is 1 + gamma"
        ),
    },
    examples=(
        {"shape": (5, 4, 3)},
        {"shape": (8, 4), "offset": 1},
        {"shape": (3, 2, 2, 4), "channel_axis": -1},
        {"shape": (5, 2, 3), "mask": RAGGED, "beta": None},
    ),
)
def conditional_batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    offset: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Conditional batch normalization: batch norm with a gamma and a beta for each sample, predicted from its condition.

        y_nc = (offset + gamma_nc) (x_nc - mu_c) / sqrt(s2_c + eps) + beta_nc

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (N, C) or None
    offset : added to gamma; 1 where the condition predicts a deviation from 1
    state, training, momentum, eps, mask : as batch_norm

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument; also for one value per channel in training.

    H. de Vries et al., arXiv 1707.00683, section 3; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    Area("n c s -> n c | | s"),
    STANDARDIZE,
    Affine("n c"),
    cite=Citation(
        "X. Huang, S. Belongie",
        "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization",
        "ICCV",
        2017,
        "1703.06868",
    ),
    facts=invariances("yes yes no no yes yes yes yes"),
    dialects={"torch": Dialect({"eps": 1e-5}, lone_value="error", spoken_by="the authors' code")},
    examples=({"shape": (3, 4, 5)}, {"shape": (2, 3, 2, 3), "channel_axis": -1}),
)
def adaptive_instance_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Adaptive instance normalization: the content's channels are given the mean and the deviation of a style's.

        y_nc = gamma_nc (x_nc - mu_nc) / sqrt(s2_nc + eps) + beta_nc;  gamma, beta: deviation and mean of the style's channels

    Parameters
    ----------
    x : the content, (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (N, C) or None; of style features, `operations.moments.of` gives them
    eps : added to the variance

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument; also for a single position.

    X. Huang and S. Belongie, arXiv 1703.06868, equation 8; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    Area("n c s -> n s | | c"),
    STANDARDIZE,
    Affine("n c"),
    cite=Citation("W. Peebles, S. Xie", "Scalable Diffusion Models with Transformers", "ICCV", 2023, "2212.09748"),
    facts=invariances("yes no yes no no yes no yes"),
    dialects={
        "dit": Dialect({"eps": 1e-6, "offset": 1}, spoken_by="DiT: x (1 + scale) + shift"),
        "plain": Dialect({"eps": 1e-5, "offset": 0}, spoken_by="gamma as it is predicted"),
    },
    examples=({"shape": (3, 5, 4), "channel_axis": 1}, {"shape": (6, 5)}, {"shape": (2, 3, 5)}),
)
def adaptive_layer_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    eps: float = FROM_DIALECT,
    offset: float = FROM_DIALECT,
    channel_axis: int = -1,
    dialect: str = "dit",
    backend: str = "numpy",
) -> Layout:
    """Adaptive layer normalization: each token standardized, scale and shift predicted for its sample.

        y_ntc = (offset + gamma_nc) (x_ntc - mu_nt) / sqrt(s2_nt + eps) + beta_nc

    Parameters
    ----------
    x : (N, *tokens, C), or (N, C, *tokens) with channel_axis=1; float64, float32, float16 or bfloat16
    gamma, beta : (N, C) or None
    eps : added to the variance
    offset : added to gamma; 1 under the dit dialect, whose gamma starts at 0

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    W. Peebles and S. Xie, arXiv 2212.09748, section 3.2; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    BATCH,
    STANDARDIZE,
    Affine("n c s"),
    state=fresh,
    cite=Citation(
        "T. Park, M.-Y. Liu, T.-C. Wang, J.-Y. Zhu",
        "Semantic Image Synthesis with Spatially-Adaptive Normalization",
        "CVPR",
        2019,
        "1903.07291",
    ),
    facts=invariances("yes yes no no yes yes yes no"),
    dialects={
        "spade": Dialect(
            {"eps": 1e-5, "momentum": 0.1, "offset": 1}, lone_value="error", spoken_by="the authors' code: 1 + gamma"
        ),
        "paper": Dialect({"eps": 1e-5, "momentum": 0.1, "offset": 0}, lone_value="error", spoken_by="the paper's equation 1"),
    },
    examples=({"shape": (5, 4, 3)}, {"shape": (8, 4)}, {"shape": (3, 2, 2, 4), "channel_axis": -1, "offset": 0}),
)
def spatially_adaptive_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    offset: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "spade",
    backend: str = "numpy",
) -> Layout:
    """Spatially adaptive normalization (SPADE): batch norm with a gamma and a beta for each entry, predicted from a label map.

        y_ncs = (offset + gamma_ncs) (x_ncs - mu_c) / sqrt(s2_c + eps) + beta_ncs

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : the shape of x, or None
    offset : added to gamma
    state, training, momentum, eps, mask : as batch_norm

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument; also for one value per channel in training.

    T. Park et al., arXiv 1903.07291, equation 1; the gradient is derived in operations/standardize.py.
    """
    return Layout.activations(x, channel_axis)
