"""Group whitening: the groups of one sample's channels decorrelated, each sample on its own."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.arguments import positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import NEWTON, ZCA
from refnorm.anatomy.recovery import Affine

OVER_A_SAMPLE = Area("n (g k) s -> n | g | k s")
GROUP_WHITENING = Citation(
    "L. Huang, Y. Zhou, L. Liu, F. Zhu, L. Shao",
    "Group Whitening: Balancing Learning Efficiency and Representational Capacity",
    "CVPR",
    2021,
    "2009.13333",
)
EXAMPLES: Any = (
    {"shape": (2, 6, 4), "num_groups": 3},
    {"shape": (3, 10), "num_groups": 2},
    {"shape": (2, 2, 2, 4), "num_groups": 2, "channel_axis": -1},
)


@norm(
    OVER_A_SAMPLE,
    ZCA,
    Affine("c"),
    cite=GROUP_WHITENING,
    facts=invariances("yes no dense no no yes no yes"),
    dialects={"authors": Dialect({"eps": 1e-5}, spoken_by="the authors' GroupSVD")},
    examples=EXAMPLES,
)
def group_whitening_zca(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    num_groups: int,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "authors",
    backend: str = "numpy",
) -> Layout:
    """Group whitening by ZCA: the g groups of a sample are g variables, whitened together over their members and positions.

        X (g, C/g * positions) = the channels of a sample, a row a group      mu, S = mean and covariance + eps I of its rows
        y = gamma_c (S^(-1/2) (X - mu))_c + beta_c

    Channel c is in group c // (C / num_groups).  The covariance is g x g: groups are decorrelated, not the channels in them.
    The same in training and evaluation.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    num_groups : divides C; g, the size of the covariance
    eps : added to the diagonal of the covariance

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument; at eps = 0 also where (C / g) * positions < g + 1, which the paper's
    count of constraints, g (g + 3) / 2 <= C * positions, does not exclude, and for a singular covariance.

    L. Huang et al., arXiv 2009.13333; the gradient is derived in operations/zca.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    OVER_A_SAMPLE,
    NEWTON,
    Affine("c"),
    cite=GROUP_WHITENING,
    facts=invariances("yes no dense no no yes no yes"),
    dialects={"authors": Dialect({"eps": 0.0}, spoken_by="the authors' GroupItN, which adds no eps")},
    examples=EXAMPLES,
)
def group_whitening_iterative(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    num_groups: int,
    T: int = 5,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "authors",
    backend: str = "numpy",
) -> Layout:
    """Group whitening by T Newton-Schulz steps: the form that the paper's experiments use.

        X, mu, S as in `group_whitening_zca`      P_0 = I, P_t+1 = 1.5 P_t - 0.5 P_t^3 S / tr(S)
        y = gamma_c (P_T (X - mu) / sqrt(tr S))_c + beta_c

    The iteration needs no inverse root: where (C / g) * positions < g + 1 it gives a finite answer that is not white.

    Parameters
    ----------
    T : number of steps, 1 or more
    eps : added to the diagonal of the covariance; 0 by default, as in the authors' code
    others : as `group_whitening_zca`; x, gamma, beta in float64, float32, float16 or bfloat16

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    L. Huang et al., arXiv 2009.13333; the gradient is derived in operations/newton.py.
    """
    positive_integer("T", T, "the number of Newton-Schulz steps")
    return Layout.activations(x, channel_axis)
