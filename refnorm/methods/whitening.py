"""Batch whitening: the channels of a group decorrelated together, over the batch and all positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.arguments import positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import CHOLESKY, NEWTON, PCA, ZCA
from refnorm.anatomy.population import Population, fresh_covariance, fresh_matrix
from refnorm.anatomy.recovery import Affine

OVER_THE_BATCH = Area("n (g k) s -> g | k | n s")
BIASED = Population(variance="biased")
BIASED_MATRIX = Population(variance="biased", state=fresh_matrix)

DECORRELATED = Citation("L. Huang, D. Yang, B. Lang, J. Deng", "Decorrelated Batch Normalization", "CVPR", 2018, "1804.08450")
COLORING = Citation("A. Siarohin et al.", "Whitening and Coloring Batch Transform for GANs", "ICLR", 2019, "1806.00420")

WHITENING_DIALECTS = {
    "covariance": Dialect({"eps": 1e-3, "momentum": 0.1}, BIASED, spoken_by="the authors' Sigma classes (StochasticityBW)"),
    "matrix": Dialect({"eps": 1e-3, "momentum": 0.1}, BIASED_MATRIX, spoken_by="the authors' plain classes"),
}
ZCA_DIALECTS = {
    **WHITENING_DIALECTS,
    "chainer": Dialect(
        {"eps": 2e-5, "momentum": 0.9},
        Population(weighs="old", state=fresh_matrix),
        spoken_by="Chainer: the matrix times m / (m - 1), as if a variance",
    ),
}
ITERATIVE_DIALECTS = {
    "covariance": Dialect({"eps": 1e-5, "momentum": 0.1}, BIASED, spoken_by="the authors' IterNormSigma"),
    "matrix": Dialect({"eps": 1e-5, "momentum": 0.1}, BIASED_MATRIX, spoken_by="the authors' IterNorm"),
}

FEW: Any = {"shape": (3, 4), "eps": 0.3}           # two eigenvalues are equal: eps
ONE_LEFT_OUT = np.arange(9) != 4
EXAMPLES: Any = (
    {"shape": (5, 4, 3), "num_groups": 2},
    {"shape": (9, 4)},
    {"shape": (3, 2, 2, 3), "channel_axis": -1},
    {"shape": (9, 3), "mask": ONE_LEFT_OUT[:, None]},
    {"shape": (7, 3), "dialect": "matrix"},
)


@norm(
    OVER_THE_BATCH,
    ZCA,
    Affine("c"),
    state=fresh_covariance,
    cite=DECORRELATED,
    facts=invariances("yes no no no no yes yes no"),
    dialects=ZCA_DIALECTS,
    examples=(*EXAMPLES, FEW),
)
def batch_whitening_zca(
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
    """Batch whitening by ZCA (decorrelated batch normalization): the whitening that moves x least.

        mu, S = mean and covariance + eps I of a group's channels over n, s      y = gamma_c (S^(-1/2) (x - mu))_c + beta_c

    In evaluation (training=False) S comes from the state's running covariance; under the matrix and chainer dialects the state
    averages S^(-1/2) itself, which is less accurate (an average of inverse roots is not the inverse root of an average).
    The gradient is finite and right at repeated eigenvalues.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    num_groups : divides C; C / num_groups channels are whitened together, each group with a covariance of its own
    state : from `.state(mean=, covariance=)`, or `.state(mean=, matrix=)` where the dialect averages the matrix: mean (C,),
        matrices (num_groups, C / num_groups, C / num_groups); None starts at mean 0 and the identity
    momentum : in 0..1; what it weighs is the dialect's (chainer: the old value); None: the mean of all batches so far
    eps : added to the diagonal of the covariance
    mask : boolean, broadcasts to x, the same for all channels of a group; False entries are left out of the statistics

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument; at eps = 0 also for fewer than C / num_groups + 1 samples or a singular
    covariance.

    L. Huang et al., arXiv 1804.08450, section 3; the gradient is derived in operations/zca.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    OVER_THE_BATCH,
    PCA,
    Affine("c"),
    state=fresh_covariance,
    cite=DECORRELATED,
    facts=invariances("yes no no no no yes yes no"),
    dialects=WHITENING_DIALECTS,
    examples=EXAMPLES,
)
def batch_whitening_pca(
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
    """Batch whitening by PCA: the principal components of a group's channels, each standardized.

        mu, S = mean and covariance + eps I      S = U diag(l) U'      y = gamma_c (l^(-1/2) U' (x - mu))_c + beta_c

    Output channel k of a group is the component of the k-th largest eigenvalue; each eigenvector's largest entry is positive.
    Components change places and signs between batches (the paper's axis swapping), so that an average of matrices, the matrix
    dialect, means little; the covariance dialect averages S.

    Parameters, Returns: as `batch_whitening_zca`; x, gamma, beta in float64, float32, float16 or bfloat16.
    Raises ValueError, TypeError naming the argument, at eps = 0 also for fewer than C / num_groups + 1 samples or a singular
    covariance; `.backward` raises ValueError where two eigenvalues are equal: there PCA whitening has no derivative.

    L. Huang et al., arXiv 1804.08450, section 3; the gradient is derived in operations/pca.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    OVER_THE_BATCH,
    CHOLESKY,
    Affine("c"),
    state=fresh_covariance,
    cite=COLORING,
    facts=invariances("yes yes no no yes yes yes no"),
    dialects=WHITENING_DIALECTS,
    examples=(*EXAMPLES, FEW),
)
def batch_whitening_cholesky(
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
    """Batch whitening by Cholesky decomposition: each channel standardized after what the channels before it say is taken away.

        mu, S = mean and covariance + eps I      S = L L', L lower triangular      y = gamma_c (L^-1 (x - mu))_c + beta_c

    Of the whitenings it alone does not see the scale of a single channel, as batch norm does not.

    Parameters, Returns: as `batch_whitening_zca`; x, gamma, beta in float64, float32, float16 or bfloat16.
    Raises ValueError, TypeError naming the argument, at eps = 0 also for fewer than C / num_groups + 1 samples or a singular
    covariance.

    A. Siarohin et al., arXiv 1806.00420 (before a coloring); "CD" in L. Huang et al., arXiv 2003.12327;
    the gradient is derived in operations/cholesky.py.
    """
    return Layout.activations(x, channel_axis)


@norm(
    OVER_THE_BATCH,
    NEWTON,
    Affine("c"),
    state=fresh_covariance,
    cite=Citation(
        "L. Huang, Y. Zhou, F. Zhu, L. Liu, L. Shao",
        "Iterative Normalization: Beyond Standardization towards Efficient Whitening",
        "CVPR",
        2019,
        "1904.03441",
    ),
    facts=invariances("yes no no no no yes yes no"),
    dialects=ITERATIVE_DIALECTS,
    examples=(*EXAMPLES, {"shape": (3, 4), "T": 3}),
)
def iterative_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    T: int = 5,
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
    """Iterative normalization: T Newton-Schulz steps towards ZCA whitening, by matrix products alone.

        mu, S = mean and covariance + eps I      P_0 = I, P_t+1 = 1.5 P_t - 0.5 P_t^3 S / tr(S)
        y = gamma_c (P_T (x - mu) / sqrt(tr S))_c + beta_c

    Exactly T steps, in the coupled form that is stable in floating point.  It whitens in the limit only: at S = I the output's
    variance at T = 5 is .9985 for 8 channels, .9657 for 16 and .5864 for 64.  Fewer samples than channels are no error.

    Parameters
    ----------
    T : number of steps, 1 or more
    others : as `batch_whitening_zca`; x, gamma, beta in float64, float32, float16 or bfloat16

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises ValueError, TypeError naming the argument.

    L. Huang et al., arXiv 1904.03441, algorithm 1; the gradient is derived in operations/newton.py.
    """
    positive_integer("T", T, "the number of Newton-Schulz steps")
    return Layout.activations(x, channel_axis)
