"""Cholesky whitening: W = L^-1 with S = L L', L lower triangular with a positive diagonal.

    zhat = L^-1 (z - mu):    coordinate i standardized, after what coordinates 1..i-1 say about it has been taken away.

(A. Siarohin et al., arXiv 1806.00420; "CD" in L. Huang et al., arXiv 2003.12327.)

The gradient.  Omega = L^-1 dL is lower triangular and Omega + Omega' = A (covariance.py), so it is the lower half of A:
k is 1 below the diagonal, 1/2 on it and 0 above, and F is h with its upper triangle replaced by the mirror of its lower.
No eigenvalue enters.  At eps = 0, z may move along N zc for any lower triangular N, and zhat stays.  With eps:

    tril(dz zc') = eps tril(W' F W),   in sums over samples.

Shapes as in covariance.py.
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff.matrix import cholesky, symmetric

from .covariance import (
    apply,
    apply_backward,
    condition,
    joint_moments,
    pulled_back,
    regularized,
    residuals,
    transposed,
    upper,
)
from .standardize import total


class Saved(NamedTuple):
    """float64: mean (B, D, 1); covariance without eps, factor L and matrix W = L^-1, (B, D, D)."""

    mean: Any
    covariance: Any
    factor: Any
    matrix: Any


def forward(z: Any, *, eps: float, weight: Any = None) -> tuple[Any, Saved]:
    saved = from_population(*joint_moments(z, weight), eps=eps)
    return apply(z, saved), saved


def from_population(mean: Any, covariance: Any = None, matrix: Any = None, *, eps: float) -> Saved:
    """From a running covariance, or from a running matrix, which is applied as it is."""
    if matrix is not None:
        return Saved(mean, None, None, matrix)
    factor = cholesky(regularized(covariance, eps))
    return Saved(mean, covariance, factor, np.linalg.inv(factor))


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    return pulled_back(g, z, saved, averaged, weight)


def averaged(h: Any) -> Any:
    """F: the lower triangle of h and its mirror."""
    d = np.shape(h)[-1]
    return symmetric(h * (2 * np.tri(d) - np.eye(d)))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float) -> Any:
    """Zero, exactly: <dz, 1>, and the lower triangle of dz zc' - eps W' F W."""
    f = averaged(g @ transposed(zhat))
    along = dz @ transposed(saved.factor @ zhat) - eps * transposed(saved.matrix) @ f @ saved.matrix
    return np.concatenate([total(dz)[:, :, 0], upper(transposed(along))], axis=1)


__all__ = ["Saved", "apply", "apply_backward", "backward", "condition", "forward", "from_population", "identities", "residuals"]
