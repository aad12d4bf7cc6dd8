"""Rules of linear algebra.  Matrices stand in the last two axes; what stands before is a batch.

`numpy.linalg.cholesky`, `eigh` and `eigvalsh` read one triangle of their argument, so the cotangent that is true to them is
zero in the other: where S depends on x symmetrically, the cotangent of x is the same.  `refnorm.autodiff.matrix` has the same
functions of (S + S^T)/2, whose cotangents are symmetric.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .core import composite, primitive
from .matrix import T, inverse_gaps, solve_triangular, symmetric
from .recording import defvjp
from .rules_elementwise import conj, ratio
from .rules_products import adjoint
from .rules_reduction import axes_of, spread


def _column(a: Any) -> Any:
    return np.expand_dims(a, -1)


def _matrix(a: Any) -> Any:
    """A number for each matrix of the batch, as a 1 x 1 matrix."""
    return np.expand_dims(a, (-1, -2))


# inverse: d(A^-1) = -A^-1 dA A^-1


defvjp(np.linalg.inv, lambda g, y, a: -adjoint(y) @ g @ adjoint(y))


def _solve_right(g: Any, x: Any, a: Any, b: Any) -> Any:
    return np.linalg.solve(adjoint(a), g) if np.ndim(b) > 1 else np.linalg.solve(adjoint(a), _column(g))[..., 0]


def _solve_left(g: Any, x: Any, a: Any, b: Any) -> Any:
    dual = _solve_right(g, x, a, b)
    return -dual @ adjoint(x) if np.ndim(b) > 1 else -_column(dual) * np.expand_dims(conj(x), -2)


defvjp(np.linalg.solve, _solve_left, _solve_right)

# determinant: d det(A) = det(A) tr(A^-1 dA)

defvjp(np.linalg.det, lambda g, y, a: _matrix(g * conj(y)) * adjoint(np.linalg.inv(a)))


def _slogdet(g: Any, y: Any, a: Any) -> Any:
    """d log|det A| = Re t and d sign = i sign Im t, with t = tr(A^-1 dA)."""
    weight = g[1]
    if g[0] is not None and np.iscomplexobj(a):
        turn = 1j * np.real(1j * y[0] * np.conj(g[0]))
        weight = turn if weight is None else weight + turn
    return None if weight is None else _matrix(weight) * adjoint(np.linalg.inv(a))


defvjp(np.linalg.slogdet, _slogdet)

# factors of symmetric matrices


def _real(a: Any, name: str) -> None:
    if np.iscomplexobj(a):
        raise NotImplementedError(f"numpy.linalg.{name} has a derivative rule for real matrices only")


def _onto_triangle(s: Any, lower: bool) -> Any:
    """The cotangent s of a symmetric matrix as one of the triangle that it was read from."""
    both = 2 * s - np.eye(np.shape(s)[-1]) * s
    return np.tril(both) if lower else np.triu(both)


def _cholesky(g: Any, y: Any, a: Any, *, upper: bool = False) -> Any:
    """dL = L Phi(L^-1 dS L^-T), Phi halving the diagonal and dropping what is above (I. Murray, arXiv 1602.07527)."""
    _real(a, "cholesky")
    factor, g = (T(y), T(g)) if upper else (y, g)
    half = np.tril(T(factor) @ g) * (1 - np.eye(np.shape(y)[-1]) / 2)
    inner = T(solve_triangular(factor, T(half), trans=True))                # Phi(L^T g) L^-1
    return _onto_triangle(symmetric(solve_triangular(factor, inner, trans=True)), not upper)


defvjp(np.linalg.cholesky, _cholesky)


def _eigh(g: Any, y: Any, a: Any, UPLO: str = "L") -> Any:
    """dw_i = (V^T dS V)_ii and dV = V (F * V^T dS V) with F_ij = 1/(w_j - w_i) off the diagonal."""
    _real(a, "eigh")
    w, v = y
    inner = None if g[0] is None else np.eye(np.shape(w)[-1]) * np.expand_dims(g[0], -2)
    if g[1] is not None and (not isinstance(g[1], np.ndarray) or g[1].any()):
        turned = inverse_gaps(w) * (T(v) @ g[1])
        inner = turned if inner is None else inner + turned
    return None if inner is None else _onto_triangle(symmetric(v @ inner @ T(v)), UPLO.upper() == "L")


defvjp(np.linalg.eigh, _eigh)
composite(np.linalg.eigvalsh)(lambda a, UPLO="L": np.linalg.eigh(a, UPLO)[0])

# norms


@primitive
def _length(x: Any, axis: Any, keepdims: bool) -> Any:
    """The square root of the sum of squares.  Its slope at 0 is taken as 0."""
    return np.sqrt(np.sum(np.square(np.abs(x)), axis=axis, keepdims=keepdims))


defvjp(_length, lambda g, y, x, axis, keepdims: spread(ratio(g, y), x, axis, keepdims) * x)


def _p_norm(x: Any, p: Any, axis: Any, keepdims: bool) -> Any:
    if p == 2:
        return _length(x, axis, keepdims)
    if p in (np.inf, -np.inf):
        return (np.max if p > 0 else np.min)(np.abs(x), axis=axis, keepdims=keepdims)
    if p == 0:
        return np.sum(np.not_equal(x, 0), axis=axis, keepdims=keepdims).astype(np.float64)
    if p == 1:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    return np.sum(np.abs(x) ** p, axis=axis, keepdims=keepdims) ** (1 / p)


def _operator_norm(x: Any, p: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    if p in (None, "fro"):
        return _length(x, axis, keepdims)
    if p not in (1, -1, np.inf, -np.inf):
        raise NotImplementedError(f"the norm of order {p!r} of a traced matrix has no rule; its largest singular value is the "
                                  "root of the largest eigenvalue of A^T A: np.linalg.eigvalsh")
    rows, columns = axes_of(x, axis)
    summed, compared = (rows, columns) if abs(p) == 1 else (columns, rows)
    sums = np.sum(np.abs(x), axis=summed, keepdims=True)
    norm = (np.max if p > 0 else np.min)(sums, axis=compared, keepdims=True)
    return norm if keepdims else np.squeeze(norm, (rows, columns))


@composite(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is None:
        return _length(x, axis, keepdims)
    axes = axes_of(x, axis)
    return _p_norm(x, ord, axes, keepdims) if len(axes) == 1 else _operator_norm(x, ord, axes, keepdims)


@composite(np.linalg.vector_norm)
def _vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    return _p_norm(x, ord, axes_of(x, axis), keepdims)


@composite(np.linalg.matrix_norm)
def _matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _operator_norm(x, ord, axes_of(x, (-2, -1)), keepdims)
