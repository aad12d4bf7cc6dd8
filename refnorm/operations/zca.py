"""ZCA whitening: W = S^(-1/2), the whitening that is symmetric, and of all whitenings the one that moves z least.

    zhat = W (z - mu)

(L. Huang et al., arXiv 1804.08450: decorrelated batch normalization.)

The gradient.  dW = -Omega W is symmetric: Omega_ij w_j = w_i Omega_ji in the basis of the eigenvectors, w_i = 1 / r_i.  With
Omega + Omega' = A (covariance.py), k_ij = w_i / (w_i + w_j) = r_j / (r_i + r_j) and F_ij (w_i + w_j) = w_i h_ij + h_ji w_j,
which needs no basis:

    W F + F W = W h + (W h)'          one Lyapunov equation without an eigenvalue gap: right at repeated eigenvalues.

The paper writes the same gradient with 1 / (l_i - l_j) (`backward_by_gaps`); a test holds the two together.
At eps = 0, z may move along N zhat for any symmetric N, and zhat stays.  With eps:

    sym(dz zhat') = eps sym(W F W W),   and, as z turns, zhat turns:   skew(dz zc') = skew(g zhat'),   in sums over samples.

Shapes as in covariance.py.
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff.matrix import eigh, lyapunov, sym_inv_sqrt, symmetric

from .covariance import (
    apply,
    apply_backward,
    condition,
    joint_moments,
    product,
    pulled_back,
    regularized,
    residuals,
    skew,
    transposed,
    upper,
)
from .standardize import average, total


class Saved(NamedTuple):
    """float64: mean (B, D, 1); covariance without eps and matrix W, (B, D, D)."""

    mean: Any
    covariance: Any
    matrix: Any


def forward(z: Any, *, eps: float, weight: Any = None) -> tuple[Any, Saved]:
    saved = from_population(*joint_moments(z, weight), eps=eps)
    return apply(z, saved), saved


def from_population(mean: Any, covariance: Any = None, matrix: Any = None, *, eps: float) -> Saved:
    """From a running covariance, or from a running matrix, which is applied as it is."""
    if matrix is not None:
        return Saved(mean, None, matrix)
    return Saved(mean, covariance, sym_inv_sqrt(regularized(covariance, eps)))


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    return pulled_back(g, z, saved, lambda h: averaged(h, saved.matrix), weight)


def averaged(h: Any, matrix: Any) -> Any:
    """F with W F + F W = W h + (W h)'."""
    return lyapunov(matrix, 2 * symmetric(matrix @ h))


def covariance_gradient(g: Any, z: Any, saved: Saved, **options: Any) -> Any:
    """dL/dS, symmetric, of zhat = W (z - mean), whatever S and mean are made of: -W F W / 2, h = g zhat'; (B, D, D)."""
    return -saved.matrix @ averaged(g @ transposed(apply(z, saved)), saved.matrix) @ saved.matrix / 2


def backward_by_gaps(g: Any, z: Any, saved: Saved, *, eps: float) -> Any:
    """The paper's formula, in its letters, samples as columns: not a number at repeated eigenvalues.

    Not the one to run; it stands here because the paper and the frameworks after it have it so.
    """
    values, d = eigh(regularized(saved.covariance, eps))
    sigma = values[:, :, None]                                              # (B, D, 1), and its roots
    xtilde = transposed(d) @ (z - saved.mean) / np.sqrt(sigma)              # x~ = Lambda^(-1/2) D' (x - mu), PCA whitened
    gtilde = transposed(d) @ g                                              # g~ = D' dL/dxhat
    f, big_f = average(gtilde), product(gtilde, xtilde)                     # f = mean g~,  F = mean(g~ x~')
    same = np.eye(np.shape(z)[1])
    gaps = (1 - same) / (sigma - transposed(sigma) + same)                  # K_ij = 1 / (sigma_i - sigma_j), K_ii = 0
    mixed = sigma * transposed(big_f) + np.sqrt(sigma) * big_f * transposed(np.sqrt(sigma))      # V F' + V^(1/2) F V^(1/2)
    s = 2 * symmetric(transposed(gaps) * mixed)                                 # S = 2 (K' * ...)_sym
    m = same * big_f                                                        # M = diag(F)
    return d @ ((gtilde - f + (s - m) @ xtilde) / np.sqrt(sigma))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float) -> Any:
    """Zero, exactly: <dz, 1>, the symmetric part of dz zhat' less eps sym(W F W W), the skew part of dz zc' - g zhat'."""
    w, zc = saved.matrix, np.linalg.solve(saved.matrix, zhat)
    shrunk = w @ averaged(g @ transposed(zhat), w) @ w @ w
    scale = upper(symmetric(dz @ transposed(zhat) - eps * shrunk))
    turn = skew(dz @ transposed(zc) - g @ transposed(zhat))
    return np.concatenate([total(dz)[:, :, 0], scale, turn], axis=1)


__all__ = [
    "Saved",
    "apply",
    "apply_backward",
    "backward",
    "backward_by_gaps",
    "condition",
    "covariance_gradient",
    "forward",
    "from_population",
    "identities",
    "residuals",
]
