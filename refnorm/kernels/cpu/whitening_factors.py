"""Whitening's D x D matrices, in float64: from a covariance to a whitening matrix, and from its gradient back.

The reference's own functions, which are LAPACK's, except where they were what a call waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dpotrf, dtrtri

from refnorm.operations import cholesky, newton, zca

from . import whitening_newton, whitening_products
from .jit import run


def by_cholesky(mean: np.ndarray, covariance: np.ndarray, *, eps: float) -> cholesky.Saved:
    """cholesky.from_population.  Its inverse of L is that of any matrix; of a triangular one it is a sixth of the work."""
    s = covariance + eps * np.eye(covariance.shape[-1])
    factor, matrix = np.empty_like(s), np.empty_like(s)
    for b, block in enumerate(s):
        found, failed = dpotrf(block.T, lower=1, clean=1)                   # symmetric, and in LAPACK's order
        if failed or not np.isfinite(found).all():
            return cholesky.from_population(mean, covariance, eps=eps)      # which says what is wrong, or has NaN
        factor[b], matrix[b] = found, dtrtri(found, lower=1)[0]
    return cholesky.Saved(mean, covariance, factor, matrix)


def by_newton(mean: np.ndarray, covariance: np.ndarray, *, eps: float, T: int) -> newton.Saved:
    """newton.from_population: T steps of K = (3 I - P Y) / 2, Y <- Y K, P <- K P.

    All of them are polynomials of S and commute, so that every product is symmetric and half of it is enough; the first step
    has P = I, and the last needs no Y: 3 T - 3 products in the place of 3 T.
    """
    s = covariance + eps * np.eye(covariance.shape[-1])
    trace = np.trace(s, axis1=1, axis2=2)[:, None, None]
    matrix = np.empty_like(s)
    for b, (n, root) in enumerate(zip(s / trace, np.sqrt(trace), strict=True)):
        matrix[b] = run(whitening_newton.root, 2 * s.shape[-1] ** 3, n, T) / root
    return newton.Saved(mean, covariance, matrix)


class Spectral(zca.Saved):
    """zca.Saved, which a forward here also gives W's eigenvalues w (B, D) and eigenvectors V (B, D, D) to keep.

    They are no part of the contract: for what another backend has saved, or has a NaN, the reference finds them again.
    """

    spectrum: tuple[np.ndarray, np.ndarray]


def by_zca(mean: np.ndarray, covariance: np.ndarray, *, eps: float) -> zca.Saved:
    """zca.from_population: W = V diag(w) V' = (V diag(w)^(1/2)) (V diag(w)^(1/2))', of which BLAS computes one half."""
    s = covariance + eps * np.eye(covariance.shape[-1])
    if not np.isfinite(s).all():
        return zca.from_population(mean, covariance, eps=eps)
    values, vectors = np.linalg.eigh(s)
    if np.any(values <= values.shape[-1] * 2.0**-52 * np.max(np.abs(values), axis=-1, keepdims=True, initial=0)):
        return zca.from_population(mean, covariance, eps=eps)               # which says what is wrong
    w, half = 1 / np.sqrt(values), vectors * values[:, None, :] ** -0.25
    saved = Spectral(mean, covariance, np.stack([h @ h.T for h in half]) if len(half) else s)
    saved.spectrum = w, vectors
    return saved


FROM_COVARIANCE: dict[str, Callable[..., Any]] = {
    "zca": by_zca, "cholesky": by_cholesky, "newton": by_newton
}  # fmt: skip


def condition(exact: Callable[..., Any], saved: Any, *, eps: float) -> np.ndarray:
    """An upper bound of the reference's condition number by sums of squares, and the number itself where the bound is large.

    Norms of matrices by their singular values are twice the work of all the rest.
    """
    if saved.covariance is None:
        return np.ones(len(saved.matrix))
    d = saved.matrix.shape[-1]
    s = saved.covariance + eps * np.eye(d)
    bound = np.sum(np.square(saved.matrix), axis=(1, 2)) * np.sqrt(np.sum(np.square(s), axis=(1, 2)))
    return bound if np.all(bound * d * 2.0**-52 < 1) else exact(saved, eps=eps)


# dL/dS from Q = sum g zc'.  The reference's functions have it from g and zc: Q and the identity do in their place.


def through_zca(q: np.ndarray, saved: zca.Saved, *, eps: float) -> Any:
    """-W F W / 2 with W F + F W = W h + (W h)' and h = Q W, all of it in the basis of the eigenvectors: with P = V' (Q + Q') V,

        F_ij = w_i P_ij w_j / (w_i + w_j)        dL/dS = -V (w_i^2 P_ij w_j^2 / (w_i + w_j)) V' / 2.
    """
    if not isinstance(saved, Spectral):
        return zca.covariance_gradient(q, np.eye(q.shape[-1])[None], saved._replace(mean=np.zeros((1, 1, 1))))
    found = np.empty_like(q)
    for b, (w, v) in enumerate(zip(*saved.spectrum, strict=True)):
        size, even = 2 * v.size * len(v), q[b] + q[b].T
        p = run(whitening_products.congruence, size, even, v)
        p *= np.outer(w**2, w**2) / (-2 * np.add.outer(w, w))
        found[b] = run(whitening_products.congruence, size, p, v.T.copy())
    return found


def through_newton(q: np.ndarray, saved: newton.Saved, *, eps: float, T: int) -> Any:
    """newton.covariance_gradient by the derivative, which is its own adjoint, in the place of the recursion's adjoint."""
    s = saved.covariance + eps * np.eye(q.shape[-1])
    trace = newton.trace(s)
    dn = np.empty_like(s)
    for b, (n, dp) in enumerate(zip(s / trace, q / np.sqrt(trace), strict=True)):
        dn[b] = run(whitening_newton.tangent, 2 * s.shape[-1] ** 3, n, dp, T)
    return newton.through_trace(dn, q, saved.matrix, s)


def through_cholesky(q: np.ndarray, saved: cholesky.Saved, *, eps: float) -> Any:
    """-W' F W / 2, F the lower triangle of h = Q W' and its mirror.

    Products with a triangular matrix are half of others.  BLAS reads columns: what it is given are transposes, U = W'.
    """
    found = np.empty_like(q)
    for b, (u, back) in enumerate(zip(np.swapaxes(saved.matrix, 1, 2), np.swapaxes(q, 1, 2), strict=True)):
        lower = np.tril(dtrmm(1.0, u, back, trans_a=1).T)                   # h' = U' Q'
        mirrored = lower + np.tril(lower, -1).T
        found[b] = dtrmm(-0.5, u, dtrmm(1.0, u, mirrored.T), side=1, trans_a=1)
    return found


COVARIANCE_GRADIENT: dict[str, Callable[..., Any]] = {
    "zca": through_zca, "cholesky": through_cholesky, "newton": through_newton
}  # fmt: skip
