"""Iterative whitening by the recursion of its paper, P alone: right, and not the one to run.

    N = S / tr(S)      P_0 = I      P_t+1 = 1.5 P_t - 0.5 P_t^3 N      W = P_T / sqrt(tr(S))      zhat = W (z - mu)

(L. Huang et al., arXiv 1904.03441, algorithm 1.)  In exact arithmetic this is newton.py.  In floating point it settles, then
drifts away.  A rounding error e of P, at the limit P = N^(-1/2) and in the basis of the eigenvectors of N, with r_i the roots
of its eigenvalues, becomes after one step

    e_ij (1.5 - (1 + q + q^2) / 2) = e_ij (1 - (q + q^2) / 2),      q = r_j / r_i:

it grows where q + q^2 > 4, that is, as soon as the condition number of N exceeds (9 - sqrt(17)) / 2 = 2.44; at 15, by 8.4 a
step.  Polynomials of N, which is what exact arithmetic gives, have no such entries (e_ij = 0 off the diagonal).

The gradient is this recursion's adjoint, with Pbar = Wbar / sqrt(tr(S)) at T and p = P_t-1, for t = T..1:

    Nbar -= (p^3)' Pbar / 2
    Pbar <- 1.5 Pbar - (Pbar (p^2 N)' + (p^2)' Pbar N' + p' Pbar (p N)') / 2

Shapes as in covariance.py.
"""

from typing import Any

import numpy as np

from .covariance import apply, apply_backward, joint_moments, regularized, transposed
from .newton import Saved, identities, residuals, through_statistics, through_trace, trace


def forward(z: Any, *, eps: float, T: int, weight: Any = None) -> tuple[Any, Saved]:
    saved = from_population(*joint_moments(z, weight), eps=eps, T=T)
    return apply(z, saved), saved


def from_population(mean: Any, covariance: Any = None, matrix: Any = None, *, eps: float, T: int) -> Saved:
    """From a running covariance, or from a running matrix, which is applied as it is."""
    if matrix is not None:
        return Saved(mean, None, matrix)
    s = regularized(covariance, eps)
    return Saved(mean, covariance, iterates(s / trace(s), T)[-1] / np.sqrt(trace(s)))


def iterates(n: Any, T: int) -> list[Any]:
    """P_0 ... P_T."""
    p = [np.broadcast_to(np.eye(np.shape(n)[-1]), np.shape(n))]
    for _ in range(T):
        p.append(1.5 * p[-1] - 0.5 * p[-1] @ p[-1] @ p[-1] @ n)
    return p


def backward(g: Any, z: Any, saved: Saved, *, eps: float, T: int, weight: Any = None) -> Any:
    dw, s = g @ transposed(z - saved.mean), regularized(saved.covariance, eps)
    n = s / trace(s)
    dn, dp = np.zeros(np.shape(s)), dw / np.sqrt(trace(s))
    for p in iterates(n, T)[-2::-1]:
        square = p @ p
        dn = dn - transposed(square @ p) @ dp / 2
        terms = dp @ transposed(square @ n) + transposed(square) @ dp @ transposed(n) + transposed(p) @ dp @ transposed(p @ n)
        dp = 1.5 * dp - terms / 2
    return through_statistics(g, z, saved, through_trace(dn, dw, saved.matrix, s), weight)


__all__ = ["Saved", "apply", "apply_backward", "backward", "forward", "from_population", "identities", "residuals"]
