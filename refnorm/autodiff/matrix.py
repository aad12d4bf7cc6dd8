"""Functions of matrices, batched over leading axes: roots, factors, triangular systems, Lyapunov's equation.

S stands for a real symmetric matrix and is read as (S + S^T)/2, so that every function here has a derivative in every direction
and its cotangent is symmetric.  No function here has the eigenvalue gap in its derivative, but for `eigh`, which says so.  A
matrix of the batch with a NaN or an infinity answers NaN, and leaves the others alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .core import plain, primitive
from .recording import defvjp

__all__ = [
    "T", "cholesky", "eigh", "inv", "logdet", "lyapunov", "solve", "solve_triangular", "sym_inv_sqrt", "sym_sqrt", "symmetric",
]  # fmt: skip


def T(a: Any) -> Any:
    """The transpose: the last two axes exchanged."""
    return np.swapaxes(a, -1, -2)


def symmetric(a: Any) -> Any:
    """(a + a^T)/2; the same bits where a is symmetric."""
    return (a + T(a)) / 2


def inv(a: Any) -> Any:
    """A^-1.  Raises numpy.linalg.LinAlgError where A is singular."""
    return np.linalg.inv(a)


def solve(a: Any, b: Any) -> Any:
    """A^-1 B, for B of shape (..., n, k) or (n,).  Raises numpy.linalg.LinAlgError where A is singular."""
    return np.linalg.solve(a, b)


@primitive
def _mended(S: Any) -> Any:
    """S, with a diagonal matrix in the place of each that is not finite, for LAPACK would fail on the whole batch."""
    if np.iscomplexobj(S):
        raise TypeError("S is complex; roots and factors are for real symmetric matrices")
    stand_in = np.diag(np.arange(1, np.shape(S)[-1] + 1)).astype(_float(S))     # whose eigenvalues are apart
    return np.where(np.all(np.isfinite(S), axis=(-2, -1), keepdims=True), S, stand_in)


def _nan_where_mended(S: Any) -> Any:
    """(..., 1, 1): NaN for each matrix that is not finite, 0 for the others."""
    return np.where(np.all(np.isfinite(S), axis=(-2, -1), keepdims=True), 0.0, np.nan).astype(_float(S))


def _float(S: Any) -> np.dtype:
    return np.result_type(S, np.float16)


defvjp(_mended, lambda g, y, S: g + _nan_where_mended(S))


def cholesky(S: Any) -> Any:
    """L lower triangular with a positive diagonal, L L^T = S.

    Raises ValueError where S is not positive definite to rounding.
    """
    safe = symmetric(_mended(S))
    try:
        return np.linalg.cholesky(safe) + _nan_where_mended(S)
    except np.linalg.LinAlgError:
        least = np.min(np.linalg.eigvalsh(plain(safe)))
        raise ValueError(f"cholesky: S must be positive definite; its smallest eigenvalue is {least:.3g}: add eps > 0 to its "
                         "diagonal") from None


def logdet(S: Any) -> Any:
    """log det S = 2 sum log L_ii, for S positive definite."""
    return 2 * np.sum(np.log(np.diagonal(cholesky(S), axis1=-2, axis2=-1)), axis=-1)


# eigenvalues and eigenvectors


def eigh(S: Any) -> tuple[Any, Any]:
    """Eigenvalues, ascending, and eigenvectors in columns: S = V diag(w) V^T.

    The eigenvalues are differentiable.  The eigenvectors are where their eigenvalue is apart from all others; where two of S's
    are within n u max|w| (u the unit of rounding), a derivative that asks for the eigenvectors raises ValueError with the gap.
    Functions of S that do not depend on the choice of eigenvectors have derivatives there: take sym_sqrt, sym_inv_sqrt,
    cholesky, lyapunov.
    """
    w, v = np.linalg.eigh(symmetric(_mended(S)))
    nan = _nan_where_mended(S)
    return w + nan[..., 0], v + nan


def inverse_gaps(w: Any) -> Any:
    """F_ij = 1/(w_j - w_i), 0 on the diagonal.  Raises ValueError where two eigenvalues are equal to rounding."""
    n, values = np.shape(w)[-1], plain(w)
    if n > 1 and values.size:
        gaps = np.diff(values)
        bound = n * np.finfo(values.dtype).eps * np.max(np.abs(values), axis=-1, keepdims=True)
        if np.any(gaps <= bound):
            at = np.unravel_index(np.argmin(gaps - bound), gaps.shape)
            raise ValueError(
                f"the eigenvectors have no derivative: eigenvalues {at[-1]} and {at[-1] + 1}, {values[at]:.6g}, are "
                f"{gaps[at]:.3g} apart, which is rounding; use sym_sqrt, sym_inv_sqrt or cholesky, which need no gap")
    eye = np.eye(n)
    return (1 - eye) / (np.expand_dims(w, -2) - np.expand_dims(w, -1) + eye)


# symmetric roots


def _spectrum(S: Any, name: str, definite: bool) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors of S, positive semidefinite or definite to rounding, n u max|w|; `name` is for errors."""
    w, v = np.linalg.eigh(symmetric(_mended(S)))
    bound = np.shape(w)[-1] * np.finfo(w.dtype).eps * np.max(np.abs(w), axis=-1, keepdims=True, initial=0)
    if np.any(w <= bound if definite else w < -bound):
        raise ValueError(f"{name} must be positive {'' if definite else 'semi'}definite; its smallest eigenvalue is "
                         f"{np.min(w):.3g} and its largest {np.max(w):.3g}: add eps > 0 to its diagonal")
    return np.maximum(w, 0) + _nan_where_mended(S)[..., 0], v


def _function(w: Any, v: Any) -> Any:
    return symmetric((v * np.expand_dims(w, -2)) @ T(v))


@primitive
def sym_sqrt(S: Any) -> Any:
    """R = S^(1/2), the root that is symmetric positive semidefinite.

    R R = S gives R dR + dR R = dS, a Lyapunov equation without a gap.  Raises ValueError where S has a negative eigenvalue; the
    derivative raises it where S is singular, for it is infinite there.
    """
    w, v = _spectrum(S, "sym_sqrt: S", definite=False)
    return _function(np.sqrt(w), v)


@primitive
def sym_inv_sqrt(S: Any) -> Any:
    """W = S^(-1/2), symmetric positive definite.

    W S W = I gives W dW + dW W = -W^2 dS W^2.  Raises ValueError where S is singular to rounding.
    """
    w, v = _spectrum(S, "sym_inv_sqrt: S", definite=True)
    return _function(1 / np.sqrt(w), v)


@primitive
def lyapunov(R: Any, Q: Any) -> Any:
    """X with R X + X R = Q, R symmetric positive definite, Q any matrix: (V^T X V)_ij = (V^T Q V)_ij / (w_i + w_j).

    The map X -> R X + X R is its own adjoint, and R dX + dX R = dQ - dR X - X dR.  Raises ValueError where R is singular to
    rounding.
    """
    w, v = _spectrum(R, "lyapunov: R", definite=True)
    return v @ ((T(v) @ Q @ v) / (np.expand_dims(w, -1) + np.expand_dims(w, -2))) @ T(v)


def _lyapunov_in_R(g: Any, X: Any, R: Any, Q: Any) -> Any:
    dual = lyapunov(R, g)
    return -symmetric(dual @ T(X) + T(X) @ dual)


defvjp(sym_sqrt, lambda g, R, S: lyapunov(R, symmetric(g)))
defvjp(sym_inv_sqrt, lambda g, W, S: -lyapunov(W, W @ W @ symmetric(g) @ W @ W))
defvjp(lyapunov, _lyapunov_in_R, lambda g, X, R, Q: lyapunov(R, g))


# triangular systems


@primitive
def solve_triangular(L: Any, b: Any, lower: bool = True, trans: bool = False) -> Any:
    """L^-1 b, or L^-T b with trans, by substitution: reads one triangle of L (..., n, n); b (..., n, k).

    Raises numpy.linalg.LinAlgError where the diagonal of L has a zero.
    """
    from scipy.linalg import solve_triangular as substitute  # scipy takes 0.1 s to import

    if np.ndim(b) < 2:
        raise ValueError(f"b has shape {np.shape(b)}; it must be (..., n, k): a vector is b[:, None]")
    batch = np.broadcast_shapes(np.shape(L)[:-2], np.shape(b)[:-2])
    x = np.empty(batch + np.shape(b)[-2:], np.result_type(L, b))
    L, b = np.broadcast_to(L, batch + np.shape(L)[-2:]), np.broadcast_to(b, x.shape)
    for i in np.ndindex(*batch):
        x[i] = substitute(L[i], b[i], trans=int(trans), lower=lower, check_finite=False)
    return x


def _triangular_left(g: Any, x: Any, L: Any, b: Any, lower: bool = True, trans: bool = False) -> Any:
    dual = solve_triangular(L, g, lower, not trans)
    product = x @ T(dual) if trans else dual @ T(x)
    return -np.tril(product) if lower else -np.triu(product)


defvjp(solve_triangular, _triangular_left,
       lambda g, x, L, b, lower=True, trans=False: solve_triangular(L, g, lower, not trans))
