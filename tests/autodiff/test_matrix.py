"""Matrix functions: their equations, their derivatives where eigenvalues are equal, and what they refuse."""

import numpy as np
import pytest
from taylor import slopes

from refnorm.autodiff import grad, hvp, vjp
from refnorm.autodiff.matrix import (
    T,
    cholesky,
    eigh,
    inv,
    logdet,
    lyapunov,
    solve,
    solve_triangular,
    sym_inv_sqrt,
    sym_sqrt,
    symmetric,
)

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(2, 5, 4, 12))
S = Z @ T(Z) / 12
Q = RNG.normal(size=(2, 5, 4, 4))
EYE = np.eye(4)
ROOTS = [sym_sqrt, sym_inv_sqrt, cholesky, logdet]


def close(a, b, bound=1e-13):
    np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


def test_equations():
    close(sym_sqrt(S) @ sym_sqrt(S), S)
    close(sym_inv_sqrt(S) @ S @ sym_inv_sqrt(S), np.broadcast_to(EYE, S.shape), 1e-12)
    close(cholesky(S) @ T(cholesky(S)), S)
    close(logdet(S), np.log(np.linalg.det(S)), 1e-12)
    close(S @ lyapunov(S, Q) + lyapunov(S, Q) @ S, Q, 1e-12)
    close(inv(S) @ S, np.broadcast_to(EYE, S.shape), 1e-12)
    close(S @ solve(S, Q), Q, 1e-12)
    w, v = eigh(S)
    close(S @ v, v * w[..., None, :], 1e-12)
    low = np.tril(Q) + 3 * EYE
    for lower in (True, False):
        m = low if lower else T(low)
        close(m @ solve_triangular(m, Q, lower), Q)
        close(T(m) @ solve_triangular(m, Q, lower, trans=True), Q)
        close(solve_triangular(m + (np.triu(Q, 1) if lower else np.tril(Q, -1)), Q, lower), solve_triangular(m, Q, lower), 0)
    assert np.array_equal(sym_sqrt(S), T(sym_sqrt(S)))
    assert np.array_equal(symmetric(S), S)


@pytest.mark.parametrize("f", ROOTS, ids=lambda f: f.__name__)
def test_cotangents_are_symmetric_and_right_in_every_direction(f):
    g = RNG.normal(size=f(S).shape)
    ds, = vjp(f, S)[1](g)
    close(ds, T(ds), 1e-12)
    first, second = slopes(f, S[0, :2] + 0.3 * np.triu(Q[0, :2], 1))
    assert first > 1.95
    assert second > 2.9


def test_equal_eigenvalues():
    """d tr(C S^(1/2)) = tr(C dS)/(2 sqrt s) at S = s I, and minus tr(C dS)/(2 s^(3/2)) for the inverse root; both orders."""
    c, s = symmetric(Q[0, 0]), 2.0
    close(grad(lambda S: np.sum(c * sym_sqrt(S)))(s * EYE), c / (2 * np.sqrt(s)))
    close(grad(lambda S: np.sum(c * sym_inv_sqrt(S)))(s * EYE), -c / (2 * s**1.5))
    v = symmetric(Q[0, 1])
    close(hvp(lambda S: np.sum(c * sym_sqrt(S)), s * EYE, v), -(c @ v + v @ c) / (8 * s**1.5))
    for f in ROOTS:
        first, second = slopes(f, s * EYE)
        assert first > 1.95
        assert second > 2.9


def test_eigh_declares_its_gap():
    close(grad(lambda S: np.sum(eigh(S)[0]))(EYE), EYE)                     # eigenvalues alone need none
    close(grad(lambda S: np.sum(eigh(S)[0]) + np.sum(0 * eigh(S)[1]))(EYE), EYE)
    with pytest.raises(ValueError, match=r"eigenvalues 0 and 1, 1, are 0 apart.*use sym_sqrt"):
        grad(lambda S: np.sum(eigh(S)[1]))(EYE)
    with pytest.raises(ValueError, match=r"eigenvalues 1 and 2, 3,.*rounding"):
        grad(lambda S: np.sum(eigh(S)[1]))(np.diag([1.0, 3.0, 3.0 + 1e-15]))
    near = grad(lambda S: np.sum(eigh(S)[1] ** 2 * Q[0, 0]))(np.diag([1.0, 2.0, 2.0 + 1e-9, 3.0]))
    assert np.all(np.isfinite(near))


@pytest.mark.parametrize("f, s, words", [
    (sym_sqrt, np.diag([1.0, -0.5]), "sym_sqrt: S must be positive semidefinite; its smallest eigenvalue is -0.5"),
    (sym_inv_sqrt, np.diag([1.0, 0.0]), "sym_inv_sqrt: S must be positive definite; its smallest eigenvalue is 0 .*add eps"),
    (sym_inv_sqrt, np.ones((3, 3)), "positive definite"),
    (cholesky, np.diag([1.0, -2.0]), "cholesky: S must be positive definite; its smallest eigenvalue is -2"),
    (lambda r: lyapunov(r, r), np.diag([1.0, 0.0]), "lyapunov: R must be positive definite"),
    (lambda s: solve_triangular(s, np.ones(2)), np.eye(2), r"b has shape \(2,\); it must be \(\.\.\., n, k\)"),
])  # fmt: skip
def test_what_is_infeasible_raises(f, s, words):
    with pytest.raises(ValueError, match=words):
        f(s)


def test_a_singular_root_has_a_value_and_no_derivative():
    s = np.diag([4.0, 0.0])
    close(sym_sqrt(s), np.diag([2.0, 0.0]))
    with pytest.raises(ValueError, match="positive definite"):
        grad(lambda S: np.sum(sym_sqrt(S)))(s)
    with pytest.raises(TypeError, match="real symmetric"):
        sym_sqrt(s * 1j)


@pytest.mark.parametrize("f", [*ROOTS, lambda s: eigh(s)[0], lambda s: eigh(s)[1], lambda s: lyapunov(s, Q)])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nan_stays_in_its_matrix(f, poison):
    s = S.copy()
    s[1, 2, 0, 0] = poison
    y, pull = vjp(f, s)
    clean, clean_pull = vjp(f, S)
    g = RNG.normal(size=y.shape)
    for bad, good in ((y, clean), (pull(g)[0], clean_pull(g)[0])):
        assert np.all(np.isnan(bad[1, 2]))
        bad[1, 2] = good[1, 2]
        np.testing.assert_array_equal(bad, good)


def test_single_precision_stays_single():
    s = S.astype(np.float32)
    for f in (*ROOTS, lambda s: eigh(s)[1], lambda s: lyapunov(s, s), lambda s: solve_triangular(s, s)):
        y, pull = vjp(f, s)
        assert y.dtype == np.float32
        assert pull(np.ones(y.shape))[0].dtype == np.float32


def test_empty_batch_and_empty_matrix():
    for f in ROOTS:
        assert f(np.zeros((0, 3, 3))).shape[0] == 0
        assert grad(lambda s, f=f: np.sum(f(s)))(np.zeros((0, 3, 3))).shape == (0, 3, 3)
        assert grad(lambda s, f=f: np.sum(f(s)))(np.zeros((0, 0))).shape == (0, 0)


def test_numpy_factors_read_one_triangle():
    """numpy.linalg.cholesky and eigh: the cotangent stands in the triangle that was read; twice symmetrized they agree."""
    s = S[0, 0]
    lower, whole = (grad(lambda a, f=f: np.sum(f(a) * Q[0, 0]))(s) for f in (np.linalg.cholesky, cholesky))
    assert np.all(np.triu(lower, 1) == 0)
    close(symmetric(lower), whole)
