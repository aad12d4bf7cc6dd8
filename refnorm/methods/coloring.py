"""Whitening and coloring: the covariance taken away, and another one, learned, given back."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import CHOLESKY
from refnorm.anatomy.population import fresh_covariance
from refnorm.anatomy.recovery import Coloring

from .whitening import COLORING, OVER_THE_BATCH, WHITENING_DIALECTS


@norm(
    OVER_THE_BATCH,
    CHOLESKY,
    Coloring(),
    state=fresh_covariance,
    cite=COLORING,
    facts=invariances("yes yes no no yes yes yes no"),
    dialects=WHITENING_DIALECTS,
    examples=(
        {"shape": (5, 4, 3), "num_groups": 2},
        {"shape": (9, 3)},
        {"shape": (3, 2, 2, 3), "channel_axis": -1, "beta": None},
    ),
)
def whitening_coloring_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    num_groups: int = 1,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "covariance",
    backend: str = "numpy",
) -> Layout:
    """Whitening and coloring transform: batch whitening by Cholesky, then a full matrix a group in the place of a scale.

        S = covariance + eps I = L L'      y = Gamma L^-1 (x - mu) + beta

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma : (G, C/G, C/G) or None, with G = num_groups; the output's covariance is gamma gamma'
    beta : (C,) or None
    num_groups : divides C
    state, training, momentum, eps, mask, dialect : as batch_whitening_cholesky

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument; also where there are too few samples for an inverse root at eps 0.

    A. Siarohin et al., arXiv 1806.00420, section 3; the gradient is derived in operations/covariance.py.
    """
    return Layout.activations(x, channel_axis)
