"""Whitening: D rows decorrelated together.  What every whitening shares, and its gradient, once for all of them.

One block z (D, M), M samples of D coordinates:

    mu = mean(z)      zc = z - mu      S = zc zc'/M + eps I      W S W' = I      zhat = W zc

W S W' = I leaves W free up to a rotation from the left.  zca.py, pca.py and cholesky.py are three ways to choose it;
newton.py comes near zca.py by matrix products alone.

The gradient.  Nudge z by dz; zhat moves by W dzc - Omega zhat with Omega := -dW W^-1.  Differentiate W S W' = I:

    Omega + Omega' = W dS W' =: A,      A = (a zhat' + zhat a')/M with a = W dzc.

So every whitening shares the symmetric part of Omega, A/2, and the choice of W is the choice of its skew part: Omega = k * A,
elementwise in a basis of the whitening's own, with k_ij + k_ji = 1.  Let g = dL/dzhat and h = g zhat'/M.  Then
<g, Omega zhat> = M <h, k * A> = <F zhat, a> with F = k * h + (k * h)', and

    dL/dz = W' (g - mean(g) - F zhat),       F_ij = k_ij h_ij + k_ji h_ji, an average of h and h'.

With D = 1, F = mean(g zhat) and this is the gradient of standardize.py, letter by letter.  The three averages:

    zca        k_ij = r_j / (r_i + r_j)      r_i = sqrt(l_i), in the basis of the eigenvectors of S      between 0 and 1
    cholesky   k_ij = 1 below the diagonal, 1/2 on it, 0 above, in the given coordinates                between 0 and 1
    pca        k_ij = l_j / (l_j - l_i), 1/2 on the diagonal, in the basis of zhat                      a pole at equal l

What holds exactly: mean(zhat) = 0 and, by W (S - eps I) W' = I - eps W W',

    zhat zhat'/M = I - eps W W'        W W' = S^-1 (zca), Lambda^-1 (pca), (L'L)^-1 (cholesky):

D + D (D + 1)/2 = D (D + 3)/2 independent constraints; at eps = 0 they ask for M >= D + 1, since zc has rank M - 1 at most.

Masked and weighted statistics: weights w_i >= 0 with sum(w) = 1 in the place of 1/M; with h = g zhat',
dL/dz = W' (g - w (sum(g) + F zhat)).

Shapes: z, zhat, g (B, D, M); mean (B, D, 1); covariance, matrix (B, D, D); weight (B, 1, M), sums to 1 along M, or None.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refnorm.autodiff.matrix import T as transposed

from .standardize import average, total


def joint_moments(z: Any, weight: Any = None) -> tuple[Any, Any]:
    """Mean (B, D, 1) and biased covariance (B, D, D), without eps; two-pass and corrected, as `moments` of standardize."""
    mean = average(z, weight)
    mean = mean + average(z - mean, weight)
    return mean, product(z - mean, z - mean, weight)


def product(a: Any, b: Any, weight: Any = None) -> Any:
    """a b'/M: the mean of the outer products of samples, (B, D, D)."""
    return a @ transposed(b) / np.shape(a)[2] if weight is None else (weight * a) @ transposed(b)


def regularized(covariance: Any, eps: float) -> Any:
    """S = covariance + eps I."""
    return covariance + eps * np.eye(np.shape(covariance)[-1])


def apply(z: Any, saved: Any) -> Any:
    return saved.matrix @ (z - saved.mean)


def apply_backward(g: Any, saved: Any) -> Any:
    return transposed(saved.matrix) @ g


def pulled_back(g: Any, z: Any, saved: Any, averaged: Callable[[Any], Any], weight: Any = None) -> Any:
    """dL/dz from the whitening's own average, h -> F."""
    zhat = apply(z, saved)
    if weight is None:
        return apply_backward(g - average(g) - averaged(product(g, zhat)) @ zhat, saved)
    return apply_backward(g - weight * (total(g) + averaged(g @ transposed(zhat)) @ zhat), saved)


# What holds exactly, for any input and any eps.


def residuals(zhat: Any, saved: Any, *, eps: float, weight: Any = None) -> Any:
    """Zero, exactly: mean(zhat) and zhat zhat'/M - (I - eps W W'); shape (B, D (D + 3) / 2)."""
    expected = np.eye(np.shape(zhat)[1]) - eps * saved.matrix @ transposed(saved.matrix)
    return np.concatenate([average(zhat, weight)[:, :, 0], upper(product(zhat, zhat, weight) - expected)], axis=1)


def upper(a: Any, above: int = 0) -> Any:
    """The entries of (B, D, D) on and over the diagonal, or over it alone with above=1, side by side."""
    i, j = np.triu_indices(np.shape(a)[-1], above)
    return a[:, i, j]


def skew(a: Any) -> Any:
    """The entries of a - a' over the diagonal: zero where a is symmetric."""
    return upper(a - transposed(a), 1)


def condition(saved: Any, *, eps: float) -> Any:
    """|W|^2 |S|, by which a rounding of S may grow in zhat: cond(S) where W is an exact inverse root.  Shape (B,).

    Infinite where a finite S has no finite W; 0 where S is not finite and there is nothing to judge; 1 for a running matrix.
    """
    if saved.covariance is None:
        return np.ones(len(saved.matrix))
    s, w = regularized(saved.covariance, eps), saved.matrix
    judged, exists = (np.isfinite(a).all(axis=(1, 2), keepdims=True) for a in (s, w))
    s, w = (np.linalg.norm(np.where(judged & exists, a, 0), 2, axis=(1, 2)) for a in (s, w))
    return np.where((judged & ~exists)[:, 0, 0], np.inf, np.square(w) * s)
