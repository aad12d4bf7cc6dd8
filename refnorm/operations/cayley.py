"""Orthogonalize by Cayley's transform: (I - A)(I + A)^-1 is orthogonal for every skew A, and smooth in it.

Read as a tall matrix X (n x k, n >= k: z where it is tall, else its transpose), in blocks U (k x k) over V (n - k x k):

    A = U - U' + V' V      R = (I + A)^-1      Q = [ (I - A) R ; -2 V R ] = [ 2 R - I ; -2 V R ]

(A. Trockman and J. Z. Kolter, arXiv 2104.07167.)  A + A' = 2 V' V, so with (I - A)'(I - A) + 4 V' V = (I + A)'(I + A)

    Q' Q = R' ((I - A)'(I - A) + 4 V' V) R = I :      k (k + 1) / 2 constraints, always feasible.

I + A has a symmetric part of at least I, so R always exists and |R| <= 1.

The gradient.  dR = -R dA R; with G over H the blocks of dL/dQ,

    dL/dR = 2 G - 2 V' H          dL/dA = -R' (dL/dR) R'
    dL/dU = dL/dA - (dL/dA)'      dL/dV = -2 H R' + V (dL/dA + (dL/dA)').

`triangle`, PyTorch's: Q is the first k columns of the square transform of U = -[tril(X), 0] / 2, so each entry over the
diagonal is idle; a column more of zeros a row more.  PyTorch writes (I - L/2)^-1 (I + L/2) with L = tril(X) - tril(X)'.

Shapes: z, zhat, g (B, D, M); R (B, k, k), or (B, n, n) for `triangle`.
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff.matrix import T as transposed
from refnorm.autodiff.matrix import symmetric

from .covariance import upper


class Saved(NamedTuple):
    """float64: R, and zhat (B, D, M)."""

    inverse: Any
    zhat: Any


def forward(z: Any, *, form: str) -> tuple[Any, Saved]:
    x = tall(z)
    k = np.shape(x)[2]
    q, inverse = transform(x if form == "blocks" else embedded(x))
    saved = Saved(inverse, tall(q[:, :, :k], np.shape(z)))
    return saved.zhat, saved


def tall(z: Any, like: tuple[int, ...] | None = None) -> Any:
    """z or its transpose, the one with at least as many rows as columns; given a shape, back to it."""
    _, d, m = np.shape(z) if like is None else like
    return z if d >= m else transposed(z)


def transform(x: Any) -> tuple[Any, Any]:
    """Q and R."""
    k = np.shape(x)[2]
    u, v = x[:, :k], x[:, k:]
    a = u - transposed(u) + transposed(v) @ v
    r = np.linalg.inv(np.eye(k) + a)
    return np.concatenate([2 * r - np.eye(k), -2 * v @ r], axis=1), r


def apply(z: Any, saved: Saved) -> Any:
    return saved.zhat


def backward(g: Any, z: Any, saved: Saved, *, form: str) -> Any:
    x, g = tall(z), tall(g)
    n, k = np.shape(x)[1:]
    if form == "blocks":
        return tall(transform_backward(g, x, saved.inverse), np.shape(z))
    g = np.concatenate([g, np.zeros((*np.shape(g)[:2], n - k))], axis=2)
    return tall(lower(-transform_backward(g, embedded(x), saved.inverse)[:, :, :k] / 2), np.shape(z))


def transform_backward(g: Any, x: Any, r: Any) -> Any:
    k = np.shape(x)[2]
    v, top, below = x[:, k:], g[:, :k], g[:, k:]
    da = -transposed(r) @ (2 * top - 2 * transposed(v) @ below) @ transposed(r)
    return np.concatenate([da - transposed(da), -2 * below @ transposed(r) + 2 * v @ symmetric(da)], axis=1)


def embedded(x: Any) -> Any:
    """-[tril(X), 0] / 2, square."""
    _, n, k = np.shape(x)
    return np.concatenate([-lower(x) / 2, np.zeros((np.shape(x)[0], n, n - k))], axis=2)


def lower(x: Any) -> Any:
    """The lower triangle, diagonal included."""
    return x * np.tril(np.ones(np.shape(x)[1:]))


def apply_backward(g: Any, saved: Saved) -> Any:
    return g


# What holds exactly.


def residuals(zhat: Any, saved: Saved, *, form: str) -> Any:
    """Zero, exactly: Q' Q - I; shape (B, k (k + 1) / 2)."""
    q = tall(zhat)
    return upper(transposed(q) @ q - np.eye(np.shape(q)[2]))
