"""Whitening's D x D matrices, in float64: from a covariance to a whitening matrix, and from its gradient back.

The reference's own functions, which are LAPACK's, except where they were what a call waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtri

from refnorm.operations import cholesky, newton, zca

from . import whitening_newton


def by_cholesky(mean: np.ndarray, covariance: np.ndarray, *, eps: float) -> cholesky.Saved:
    """cholesky.from_population.  Its inverse of L is that of any matrix; of a triangular one it is a sixth of the work."""
    identity = np.eye(covariance.shape[-1])
    factor, matrix = np.empty_like(covariance), np.empty_like(covariance)
    for b, block in enumerate(covariance):
        found, failed = dpotrf(block + eps * identity, lower=1, clean=1)
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
        matrix[b] = whitening_newton.root(n, T) / root
    return newton.Saved(mean, covariance, matrix)


FROM_COVARIANCE: dict[str, Callable[..., Any]] = {
    "zca": zca.from_population, "cholesky": by_cholesky, "newton": by_newton
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


# dL/dS from Q = sum g zc', which stands in the place of g with the identity in that of zc.


def _of_sums(gradient: Callable[..., Any], q: np.ndarray, saved: Any, **options: Any) -> Any:
    return gradient(q, np.eye(q.shape[-1])[None], saved._replace(mean=np.zeros((1, 1, 1))), **options)


def through_zca(q: np.ndarray, saved: zca.Saved, *, eps: float) -> Any:
    return _of_sums(zca.covariance_gradient, q, saved)


def through_newton(q: np.ndarray, saved: newton.Saved, *, eps: float, T: int) -> Any:
    return _of_sums(newton.covariance_gradient, q, saved, eps=eps, T=T)


def through_cholesky(q: np.ndarray, saved: cholesky.Saved, *, eps: float) -> Any:
    """-W' F W / 2, F the lower triangle of h = Q W' and its mirror."""
    back = np.swapaxes(saved.matrix, 1, 2)
    return -back @ cholesky.averaged(q @ back) @ saved.matrix / 2


COVARIANCE_GRADIENT: dict[str, Callable[..., Any]] = {
    "zca": through_zca, "cholesky": through_cholesky, "newton": through_newton
}  # fmt: skip
