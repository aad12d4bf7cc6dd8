"""Iterative whitening: T steps of the coupled Newton-Schulz iteration towards S^(-1/2), matrix products alone.

    N = S / tr(S)      Y_0 = N      P_0 = I
    K_t = (3 I - P_t Y_t) / 2      Y_t+1 = Y_t K_t      P_t+1 = K_t P_t      W = P_T / sqrt(tr(S))      zhat = W (z - mu)

(L. Huang et al., arXiv 1904.03441: iterative normalization, with P_t+1 = 1.5 P_t - 0.5 P_t^3 N.)  Both recursions compute one
polynomial of N in exact arithmetic, where P_t Y_t = P_t^2 N; the coupled one, which never multiplies by N again, is stable
(N. Higham, Functions of Matrices, section 6.4), the other is not (newton_uncoupled.py).

How near it comes.  All matrices here are polynomials of N and commute.  E_t = I - P_t^2 N falls quadratically:

    E_0 = I - N      E_t+1 = (3 E_t^2 + E_t^3) / 4      so P_T^2 N = I - E_T, exactly, for any T,

and dividing by the trace puts every eigenvalue of E_0 into 0..1: no eigenvalue diverges, small ones have not arrived yet.
The output's covariance is known exactly, at any T and eps, and needs no inverse root to exist:

    zhat zhat'/M = I - E_T - eps W W'.

The gradient is the recursion's adjoint.  With bars for gradients, from P_T back to Y_0 (all S-side matrices symmetric):

    Kbar = Y_t' Ybar + Pbar P_t'      Ybar <- Ybar K_t' - P_t' Kbar/2      Pbar <- K_t' Pbar - Kbar Y_t'/2

then through the trace, Sbar = (sym(Nbar) - <Nbar, N> I) / tr - <Wbar, W> / (2 tr) I, and through the statistics,
dL/dz = W' (g - mean(g)) + 2 Sbar zc / M.
Rotations of z rotate zhat, and with eps = 0 a scale of z is not seen:

    skew(dz zc') = skew(g zhat'),      <dz, zc> = -2 eps tr(Sbar),   in sums over samples.

Shapes as in covariance.py.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff.matrix import symmetric

from .covariance import apply, apply_backward, joint_moments, product, regularized, skew, transposed, upper
from .standardize import average, total


class Saved(NamedTuple):
    """float64: mean (B, D, 1); covariance without eps and matrix W, (B, D, D)."""

    mean: Any
    covariance: Any
    matrix: Any


def forward(z: Any, *, eps: float, T: int, weight: Any = None) -> tuple[Any, Saved]:
    saved = from_population(*joint_moments(z, weight), eps=eps, T=T)
    return apply(z, saved), saved


def from_population(mean: Any, covariance: Any = None, matrix: Any = None, *, eps: float, T: int) -> Saved:
    """From a running covariance, or from a running matrix, which is applied as it is."""
    if matrix is not None:
        return Saved(mean, None, matrix)
    s = regularized(covariance, eps)
    *_, (_, p) = iterates(s / trace(s), T)
    return Saved(mean, covariance, p / np.sqrt(trace(s)))


def trace(s: Any) -> Any:
    """tr(S), shape (B, 1, 1)."""
    return np.sum(s * np.eye(np.shape(s)[-1]), axis=(1, 2), keepdims=True)


def iterates(n: Any, T: int) -> Iterator[tuple[Any, Any]]:
    """(Y_0, P_0) ... (Y_T, P_T)."""
    identity = np.eye(np.shape(n)[-1])
    y, p = n, np.broadcast_to(identity, np.shape(n))
    yield y, p
    for _ in range(T):
        k = (3 * identity - p @ y) / 2
        y, p = y @ k, k @ p
        yield y, p


def backward(g: Any, z: Any, saved: Saved, *, eps: float, T: int, weight: Any = None) -> Any:
    return through_statistics(g, z, saved, covariance_gradient(g, z, saved, eps=eps, T=T), weight)


def through_statistics(g: Any, z: Any, saved: Saved, ds: Any, weight: Any = None) -> Any:
    """dL/dz from g = dL/dzhat and ds = dL/dS, symmetric: zhat = W zc, S = zc zc'/M + eps I, zc = z - mean(z)."""
    direct, zc = apply_backward(g, saved), z - saved.mean
    if weight is None:
        return direct - average(direct) + 2 * ds @ zc / np.shape(z)[2]
    return direct + weight * (2 * ds @ zc - total(direct))


def covariance_gradient(g: Any, z: Any, saved: Saved, *, eps: float, T: int) -> Any:
    """dL/dS, symmetric, of zhat = W (z - mean), whatever S and mean are made of; shape (B, D, D)."""
    s, dw = regularized(saved.covariance, eps), g @ transposed(z - saved.mean)
    tr = trace(s)
    steps = list(iterates(s / tr, T))
    identity = np.eye(np.shape(s)[-1])
    dy, dp = np.zeros(np.shape(s)), dw / np.sqrt(tr)
    for y, p in steps[-2::-1]:
        k = (3 * identity - p @ y) / 2
        dk = transposed(y) @ dy + dp @ transposed(p)
        dy, dp = dy @ transposed(k) - transposed(p) @ dk / 2, transposed(k) @ dp - dk @ transposed(y) / 2
    return through_trace(dy, dw, saved.matrix, s)


def through_trace(dn: Any, dw: Any, matrix: Any, s: Any) -> Any:
    """The symmetric part of Sbar, from Nbar: N = S / tr(S), W = P_T / sqrt(tr(S))."""
    tr = trace(s)
    along = np.sum(dn * s, axis=(1, 2), keepdims=True) / tr + np.sum(dw * matrix, axis=(1, 2), keepdims=True) / 2
    return (symmetric(dn) - along * np.eye(np.shape(s)[-1])) / tr


# What holds exactly, for any input, any eps and any number of steps.


def residuals(zhat: Any, saved: Saved, *, eps: float, T: int, weight: Any = None) -> Any:
    """Zero, exactly: mean(zhat) and zhat zhat'/M - (I - E_T - eps W W'); shape (B, D (D + 3) / 2)."""
    s, identity = regularized(saved.covariance, eps), np.eye(np.shape(zhat)[1])
    e = identity - s / trace(s)
    for _ in range(T):
        e = (3 * e @ e + e @ e @ e) / 4
    expected = identity - e - eps * saved.matrix @ transposed(saved.matrix)
    return np.concatenate([average(zhat, weight)[:, :, 0], upper(product(zhat, zhat, weight) - expected)], axis=1)


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float, T: int) -> Any:
    """Zero, exactly: <dz, 1>, the skew part of dz zc' - g zhat', and <dz, zc> + 2 eps tr(Sbar)."""
    zc = np.linalg.solve(saved.matrix, zhat)
    ds = covariance_gradient(g, saved.mean + zc, saved, eps=eps, T=T)
    scale = np.sum(dz * zc, axis=(1, 2), keepdims=True) + 2 * eps * trace(ds)
    return np.concatenate([total(dz)[:, :, 0], skew(dz @ transposed(zc) - g @ transposed(zhat)), scale[:, :, 0]], axis=1)


__all__ = ["Saved", "apply", "apply_backward", "backward", "forward", "from_population", "identities", "residuals"]
