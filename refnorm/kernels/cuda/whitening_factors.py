"""Whitening's D x D matrices: from a covariance to a whitening matrix, and from its gradient back.

    newton      on the device: the coupled iteration, forward and adjoint, as products (operations/newton.py)
    cholesky    on the device: a factorization and an inverse a block, backward three products (operations/cholesky.py)
    zca         eigenvectors are LAPACK's, on the host: the call waits for a covariance, and backward for D x D sums

All of it float64.  What comes to the host from the first two is one number a block, the bound of a condition number of
Cholesky's, for the error that the reference would raise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.kernels.cpu import whitening_factors
from refnorm.operations import cholesky, newton, zca

from . import launch as limits
from .arrays import Library, Span
from .device import launch
from .launch import Grid, block_each, ceil, thread_each
from .libraries import on_device

FLOAT64 = np.dtype(np.float64)


def tiles(count: int) -> Grid:
    """A block for each of `count` tiles, a thread an entry."""
    from .matrices import TILE

    return Grid((count, 1), (TILE, TILE))


@dataclass(frozen=True)
class Matrices:
    """Launches of matrices.py's kernels on B matrices D x D."""

    library: Library
    b: int
    d: int

    def empty(self) -> Span:
        return self.library.empty((self.b, self.d, self.d), FLOAT64)

    def to_device(self, host: Any) -> Span:
        return on_device(np.ascontiguousarray(host, FLOAT64), self.library, "")

    def each_entry(self, kernel: Any, *arguments: Any) -> None:
        """A thread an entry."""
        launch(kernel, thread_each(self.b * self.d * self.d), self.library, *arguments)

    def each_matrix(self, kernel: Any, *arguments: Any) -> None:
        """A thread block a matrix."""
        launch(kernel, limits.adding_grid(self.b, self.d * self.d, limits.LIMITS), self.library, *arguments)

    def multiply(
        self, a: Span, b: Span, turned: tuple[bool, bool] = (False, False), *, alpha: float = 1.0, plus: Span | None = None,
        diagonal: float = 0.0,
    ) -> Span:  # fmt: skip
        """alpha A B + plus + diagonal I; turned: is A, is B transposed?"""
        from . import matrices

        out, across = self.empty(), ceil(self.d, matrices.TILE)
        factors = (a.flat(), turned[0], b.flat(), turned[1])
        given = (self.d, alpha, *factors, (plus or out).flat(), plus is not None, diagonal, out.flat())
        launch(matrices.multiply, tiles(self.b * across * across), self.library, *given)
        return out

    def moved(self, a: Span, alpha: float, diagonal: float) -> Span:
        """alpha A + diagonal I."""
        from . import matrices

        out = self.empty()
        self.each_entry(matrices.move, a.flat(), self.d, alpha, diagonal, out.flat())
        return out

    def regularized(self, covariance: Span, eps: float, by_trace: bool = False) -> tuple[Span, Span]:
        """S = covariance + eps I, over its trace where asked; and the traces (B,)."""
        from . import matrices

        s, trace = self.empty(), self.library.empty((self.b,), FLOAT64)
        self.each_matrix(matrices.regularize, covariance.flat(), self.d, eps, by_trace, s.flat(), trace.flat())
        return s, trace

    def over_root(self, matrix: Span, trace: Span) -> Span:
        from . import matrices

        out = self.empty()
        self.each_entry(matrices.scale_by_root, matrix.flat(), self.d, trace.flat(), out.flat())
        return out


def by_newton(on: Matrices, mean: Span, covariance: Span, *, eps: float, T: int) -> newton.Saved:
    """P_T / sqrt(tr(S))."""
    n, trace = on.regularized(covariance, eps, by_trace=True)
    *_, (_, p, _) = iterates(on, n, T)
    return newton.Saved(mean, covariance, on.over_root(p, trace))


def iterates(on: Matrices, n: Span, T: int) -> Iterator[tuple[Span, Span, Span]]:
    """Y, P and K = (3 I - P Y) / 2 of the steps 0 .. T - 1, then Y <- Y K, P <- K P; and at the end the last P, in all places.

    The first step has P = I, and the last needs no Y: 3 T - 3 products.
    """
    y, p, k = n, on.moved(n, 0.0, 1.0), on.moved(n, -0.5, 1.5)
    for t in range(T):
        yield y, p, k
        y, p = on.multiply(y, k) if t + 1 < T else y, on.multiply(k, p) if t > 0 else k
        k = on.multiply(p, y, alpha=-0.5, diagonal=1.5) if t + 1 < T else k
    yield p, p, p


def through_newton(on: Matrices, q: Span, saved: newton.Saved, *, eps: float, T: int) -> Span:
    """The adjoint, from P_T back to Y_0:

    Kbar = Y' Ybar + Pbar P'      Ybar <- Ybar K' - P' Kbar / 2      Pbar <- K' Pbar - Kbar Y' / 2
    """
    from . import matrices

    n, trace = on.regularized(saved.covariance, eps, by_trace=True)
    dp, dy, ds = on.over_root(q, trace), on.moved(n, 0.0, 0.0), on.empty()
    for y, p, k in [*iterates(on, n, T)][-2::-1]:
        dk = on.multiply(y, dy, (True, False), plus=on.multiply(dp, p, (False, True)))
        dy = on.multiply(p, dk, (True, False), alpha=-0.5, plus=on.multiply(dy, k, (False, True)))
        dp = on.multiply(dk, y, (False, True), alpha=-0.5, plus=on.multiply(k, dp, (True, False)))
    given = (dy.flat(), q.flat(), saved.matrix.flat(), n.flat(), on.d, trace.flat(), ds.flat())
    on.each_matrix(matrices.through_trace, *given)
    return ds


def by_cholesky(on: Matrices, mean: Span, covariance: Span, *, eps: float) -> cholesky.Saved:
    """L and W = L^-1; NaN where S has no factor."""
    from . import matrices

    s, _ = on.regularized(covariance, eps)
    upper, factor, matrix = on.empty(), on.empty(), on.empty()
    grid, columns = limits.adding_grid(on.b, on.d, limits.LIMITS), on.b * on.d
    launch(matrices.factorize, grid, on.library, s.flat(), on.d, upper.flat(), factor.flat())
    grid = block_each(ceil(columns, limits.WARP))
    launch(matrices.invert_lower, grid, on.library, factor.flat(), on.d, columns, matrix.flat())
    return cholesky.Saved(mean, covariance, factor, matrix)


def through_cholesky(on: Matrices, q: Span, saved: cholesky.Saved, *, eps: float) -> Span:
    """-W' F W / 2, F the lower triangle of h = Q W' and its mirror."""
    from . import matrices

    f = on.empty()
    on.each_entry(matrices.mirror_lower, on.multiply(q, saved.matrix, (False, True)).flat(), on.d, f.flat())
    return on.multiply(saved.matrix, on.multiply(f, saved.matrix), (True, False), alpha=-0.5)


def by_zca(on: Matrices, mean: Span, covariance: Span, *, eps: float) -> zca.Saved:
    found = zca.from_population(mean, on.library.to_host(covariance), eps=eps)
    return zca.Saved(mean, covariance, on.to_device(found.matrix))


def through_zca(on: Matrices, q: Span, saved: zca.Saved, *, eps: float) -> Span:
    on_host = saved._replace(mean=None, covariance=None, matrix=on.library.to_host(saved.matrix))
    return on.to_device(whitening_factors.through_zca(on.library.to_host(q), on_host, eps=eps))


FROM_COVARIANCE: dict[str, Callable[..., Any]] = {"zca": by_zca, "cholesky": by_cholesky, "newton": by_newton}
COVARIANCE_GRADIENT: dict[str, Callable[..., Span]] = {
    "zca": through_zca, "cholesky": through_cholesky, "newton": through_newton
}  # fmt: skip
"""dL/dS from Q = sum g (x - mu)'."""


def condition(on: Matrices, exact: Callable[..., Any], saved: Any, *, eps: float) -> np.ndarray:
    """As kernels/cpu/whitening_factors.condition: a bound, and the number itself where the bound is large; (B,) on the host."""
    from . import matrices

    if saved.covariance is None:
        return np.ones(on.b)
    s, _ = on.regularized(saved.covariance, eps)
    found = on.library.empty((on.b,), FLOAT64)
    on.each_matrix(matrices.conditions, s.flat(), saved.matrix.flat(), on.d, found.flat())
    bound = on.library.to_host(found)
    if np.all(bound * on.d * 2.0**-52 < 1):
        return bound
    host = on.library.to_host
    with np.errstate(all="ignore"):
        return exact(saved._replace(covariance=host(saved.covariance), matrix=host(saved.matrix)), eps=eps)
