"""Orthogonalize by Bjorck's iteration: the nearest orthogonal matrix, by products alone.

    W_0 = z / c      W_t+1 = W_t (I + beta (I - W_t' W_t)) = (1 + beta) W_t - beta W_t W_t' W_t      zhat = W_T

(A. Bjorck and C. Bowie, SIAM J. Numer. Anal. 8 (1971) 358, of order 1; in networks C. Anil et al., arXiv 1811.05381.)  A
singular value s becomes s + beta s (1 - s^2) and the singular vectors stay, so zhat tends to the polar factor U V' of
z = U diag(s) V'.  With beta = 1/2 it does so from every 0 < s < sqrt(3), quadratically; the scale c sees to that:

    gram    c = ||z z'||_F^(1/2) = (sum s_i^4)^(1/4) >= max s_i        smooth, and at most D^(1/4) above it
    size    c = sqrt(D M)                                              safe where no entry passes 1 in size; the authors' code
    none    c = 1

The gradient.  d(W W' W) = dW W' W + W dW' W + W W' dW, and so, for t = T - 1 .. 0 with G = dL/dW_t+1,

    dL/dW_t = (1 + beta) G - beta (G W' W + W G' W + W W' G).

Then dL/dz = (dL/dW_0) / c + (dL/dc) dc/dz, with dL/dc = -<dL/dW_0, W_0> / c and, for gram, dc/dz = z z' z / c^3.

What holds of gram: zhat does not answer to the scale of z, so <dz, z> = 0.  Of all: turning z turns zhat, so
skew(dz z') = skew(g zhat').
Shapes: z, zhat, g (B, D, M); c (B, 1, 1).
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff.matrix import T as transposed

from .covariance import skew
from .orthogonal_newton import inner


class Saved(NamedTuple):
    """float64: the scale c (B, 1, 1), and z and zhat themselves, (B, D, M)."""

    scale: Any
    z: Any
    zhat: Any


def forward(z: Any, *, T: int, beta: float, scaling: str) -> tuple[Any, Saved]:
    scale = SCALES[scaling](z)
    saved = Saved(scale, z, iterates(z / scale, T, beta)[-1])
    return saved.zhat, saved


def iterates(w: Any, T: int, beta: float) -> list[Any]:
    """W_0 .. W_T."""
    found = [w]
    for _ in range(T):
        w = (1 + beta) * w - beta * (w @ transposed(w)) @ w
        found.append(w)
    return found


def apply(z: Any, saved: Saved) -> Any:
    return saved.zhat


def backward(g: Any, z: Any, saved: Saved, *, T: int, beta: float, scaling: str) -> Any:
    c, start = saved.scale, z / saved.scale
    for w in reversed(iterates(start, T, beta)[:-1]):
        g = (1 + beta) * g - beta * ((g @ transposed(w) + w @ transposed(g)) @ w + w @ transposed(w) @ g)
    dz = g / c
    return dz - inner(g, start) / c**4 * (z @ transposed(z) @ z) if scaling == "gram" else dz


def apply_backward(g: Any, saved: Saved) -> Any:
    return g


# Each scale: z -> c.


def gram(z: Any) -> Any:
    return np.sqrt(np.sqrt(np.sum(np.square(z @ transposed(z)), axis=(1, 2), keepdims=True)))


def size(z: Any) -> Any:
    return np.full((1, 1, 1), np.sqrt(np.shape(z)[1] * np.shape(z)[2]))


def none(z: Any) -> Any:
    return np.ones((1, 1, 1))


SCALES = {"gram": gram, "size": size, "none": none}


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, T: int, beta: float, scaling: str) -> Any:
    """Zero, exactly: the skew part of dz z' - g zhat', and for the scale `gram` <dz, z>; shape (B, D (D - 1) / 2 + 1)."""
    turn = skew(dz @ transposed(saved.z) - g @ transposed(zhat))
    return np.concatenate([turn, inner(dz, saved.z)[:, :, 0]], axis=1) if scaling == "gram" else turn
