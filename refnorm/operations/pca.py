"""PCA whitening: W = Lambda^(-1/2) U' with S = U Lambda U': the principal components, each standardized.

    zhat = Lambda^(-1/2) U' (z - mu)

(L. Huang et al., arXiv 1804.08450, section 3, who warn of its axis swapping: from batch to batch, rows of zhat change places
and signs.)  A convention picks one of the answers: eigenvalues in descending order; in each eigenvector, the entry largest in
magnitude is positive (the first of those that equal it to a part in 10^8).

The gradient.  With A0 = U' dS U the eigenvalues move by the diagonal of A0, the eigenvectors by dU = U (A0_ij / (l_j - l_i)),
so that Omega = k * A (covariance.py) with

    k_ij = l_j / (l_j - l_i)      k_ii = 1/2      F_ij = (l_j h_ij - l_i h_ji) / (l_j - l_i)      F_ii = h_ii.

Where two eigenvalues are equal zhat has no derivative, and `backward` raises ValueError with the gap; zhat itself is one of
many then, and white.  At eps = 0, z may move along N zc for any skew N and any N = U diag U', and zhat stays.  With eps:

    skew(dz zc') = 0       diag(U' dz zc' U) = eps <g_i, zhat_i> / l_i,      in sums over samples.

Shapes as in covariance.py.
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff.matrix import eigh, inverse_gaps, symmetric

from .covariance import (
    apply,
    apply_backward,
    condition,
    joint_moments,
    pulled_back,
    regularized,
    residuals,
    skew,
    transposed,
)
from .standardize import total

EQUAL = 1e-8
"""Entries of an eigenvector that differ by less than this part count as equal when its sign is chosen."""


class Saved(NamedTuple):
    """float64: mean (B, D, 1); covariance without eps, vectors U as columns and matrix W, (B, D, D); values (B, D)."""

    mean: Any
    covariance: Any
    values: Any
    vectors: Any
    matrix: Any


def forward(z: Any, *, eps: float, weight: Any = None) -> tuple[Any, Saved]:
    saved = from_population(*joint_moments(z, weight), eps=eps)
    return apply(z, saved), saved


def from_population(mean: Any, covariance: Any = None, matrix: Any = None, *, eps: float) -> Saved:
    """From a running covariance, or from a running matrix, which is applied as it is."""
    if matrix is not None:
        return Saved(mean, None, None, None, matrix)
    values, vectors = eigh(regularized(covariance, eps))                    # ascending, signs as LAPACK left them
    values, vectors = values[:, ::-1], signed(vectors[:, :, ::-1])
    return Saved(mean, covariance, values, vectors, transposed(vectors / np.sqrt(values)[:, None, :]))


def signed(vectors: Any) -> Any:
    """Each column with its largest entry positive."""
    b, d, _ = np.shape(vectors)
    magnitude = np.abs(vectors)
    first = np.argmax(magnitude >= (1 - EQUAL) * np.max(magnitude, axis=1, keepdims=True), axis=1)
    largest = vectors[np.arange(b)[:, None], first, np.arange(d)]
    return vectors * np.sign(largest)[:, None, :]


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    return pulled_back(g, z, saved, lambda h: averaged(h, saved.values), weight)


def averaged(h: Any, values: Any) -> Any:
    """F_ij = (l_j h_ij - l_i h_ji) / (l_j - l_i), F_ii = h_ii.  Raises ValueError where eigenvalues are equal to rounding."""
    try:
        gaps = inverse_gaps(values[:, ::-1])[:, ::-1, ::-1]                  # 1 / (l_j - l_i), 0 on the diagonal
    except ValueError as error:
        raise ValueError(
            "x has a covariance with equal eigenvalues, where PCA whitening has no derivative, and ZCA and Cholesky whitening "
            f"have one ({error})"
        ) from None
    return symmetric((2 * values[:, None, :] * gaps + np.eye(np.shape(h)[-1])) * h)


def growth(saved: Saved, *, eps: float) -> Any:
    """cond(S), and what eigenvectors add that turn into each other: l_1 max_ij sqrt(l_j / l_i) / |l_i - l_j|.  Shape (B,)."""
    if saved.covariance is None or np.shape(saved.values)[1] < 2:
        return condition(saved, eps=eps)
    row, column = saved.values[:, :, None], saved.values[:, None, :]
    apart = np.abs(row - column) + np.where(np.eye(row.shape[1]) > 0, np.inf, 0)
    return condition(saved, eps=eps) + saved.values[:, 0] * np.max(np.sqrt(column / row) / apart, axis=(1, 2))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float) -> Any:
    """Zero, exactly: <dz, 1>, the skew part of dz zc', and diag(U' dz zc' U) - eps <g_i, zhat_i> / l_i."""
    along = dz @ transposed(zhat * np.sqrt(saved.values)[:, :, None]) @ transposed(saved.vectors)          # dz zc'
    principal = np.sum(saved.vectors * (along @ saved.vectors), axis=1)
    rest = principal - eps * total(g * zhat)[:, :, 0] / saved.values
    return np.concatenate([total(dz)[:, :, 0], skew(along), rest], axis=1)


__all__ = [
    "Saved",
    "apply",
    "apply_backward",
    "backward",
    "condition",
    "forward",
    "from_population",
    "growth",
    "identities",
    "residuals",
]
