"""Whitening: the one gradient and its three averages, repeated eigenvalues, and the two Newton-Schulz recursions."""

import math
from functools import partial

import numpy as np
import pytest

from refnorm.anatomy.operation import CHOLESKY, NEWTON, NEWTON_UNCOUPLED, PCA, ZCA
from refnorm.autodiff import jacobian, vjp
from refnorm.operations import cholesky, newton, newton_uncoupled, pca, zca
from refnorm.operations.covariance import joint_moments, product, regularized

EXACT = {"zca": ZCA, "pca": PCA, "cholesky": CHOLESKY}


def samples(d, m, seed=0, covariance=None):
    """(1, d, m) centred samples, whose biased covariance is the one asked for to rounding."""
    z = np.random.default_rng(seed).normal(size=(1, d, m))
    z = zca.forward(z, eps=0.0)[0]
    return z if covariance is None else np.linalg.cholesky(covariance) @ z


def white(d):
    """Samples +-sqrt(d) e_i: their covariance is the identity, bit for bit where sqrt(d) is a power of two."""
    return math.sqrt(d) * np.concatenate([np.eye(d), -np.eye(d)], axis=1)[None]


def spectrum(*values):
    """A covariance with these eigenvalues, and eigenvectors along no axis."""
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(len(values),) * 2))[0]
    return (q * np.array(values)) @ q.T


def gradients(operation, z, eps=0.0, seed=2, **options):
    """dL/dz of one random cotangent: explicit, from the tape, and by differences along one random direction (a pair)."""
    rng = np.random.default_rng(seed)
    g, v = rng.normal(size=z.shape), rng.normal(size=z.shape)
    forward = partial(operation.forward, eps=eps, **options)
    saved = forward(z)[1]
    explicit = operation.backward(g, z, saved, eps=eps, **options)
    taped = vjp(lambda a: forward(a)[0], z)[1](g)[0]
    h = 1e-5
    slope = np.sum(g * (forward(z + h * v)[0] - forward(z - h * v)[0])) / (2 * h)
    return explicit, taped, (np.sum(explicit * v), slope)


# One gradient, three averages.


@pytest.mark.parametrize("name", EXACT)
def test_the_average_of_a_symmetric_matrix_is_the_matrix(name):
    """k_ij + k_ji = 1, the identity that every whitening shares."""
    saved = EXACT[name].forward(samples(5, 20) * np.arange(1, 6)[:, None], eps=0.1)[1]
    h = np.random.default_rng(3).normal(size=(1, 5, 5))
    h = h + np.swapaxes(h, 1, 2)
    averaged = {
        "zca": lambda: zca.averaged(h, saved.matrix),
        "pca": lambda: pca.averaged(h, saved.values),
        "cholesky": lambda: cholesky.averaged(h),
    }[name]()
    np.testing.assert_allclose(averaged, h, rtol=1e-12, atol=1e-13)


def test_zca_average_in_the_basis_of_the_eigenvectors_is_daleckii_and_krein():
    """The Lyapunov equation against the divided differences of the inverse root, written out."""
    z, g = samples(6, 30, covariance=spectrum(1, 2, 3, 4, 7, 20)), np.random.default_rng(4).normal(size=(1, 6, 30))
    saved = zca.forward(z, eps=0.0)[1]
    values, d = np.linalg.eigh(saved.covariance[0])
    r = np.sqrt(values)
    q = -1 / (np.outer(r, r) * (r[:, None] + r))
    dw = g[0] @ (z[0] - saved.mean[0]).T
    ds = d @ (q * (d.T @ (dw + dw.T) / 2 @ d)) @ d.T
    np.testing.assert_allclose(zca.covariance_gradient(g, z, saved)[0], ds, rtol=1e-10, atol=1e-12)


def test_the_gradient_of_the_paper_agrees_away_from_repeated_eigenvalues():
    z, g = samples(5, 30, covariance=spectrum(1, 2, 4, 8, 16)), np.random.default_rng(5).normal(size=(1, 5, 30))
    saved = zca.forward(z, eps=0.01)[1]
    np.testing.assert_allclose(
        zca.backward_by_gaps(g, z, saved, eps=0.01), zca.backward(g, z, saved, eps=0.01), rtol=1e-11, atol=1e-12
    )


def test_the_gradient_of_the_paper_is_not_finite_where_eigenvalues_repeat():
    z, g = white(4), np.random.default_rng(6).normal(size=(1, 4, 8))
    saved = zca.forward(z, eps=0.0)[1]
    with np.errstate(all="ignore"):
        assert not np.isfinite(zca.backward_by_gaps(g, z, saved, eps=0.0)).any()
    assert np.isfinite(zca.backward(g, z, saved, eps=0.0)).all()


def test_the_gradient_by_gaps_loses_digits_before_it_breaks():
    """Two eigenvalues 1e-9 apart: the gap has seven digits left, the Lyapunov equation all of them."""
    z, g = samples(3, 12, covariance=spectrum(1, 1 + 1e-9, 3)), np.random.default_rng(7).normal(size=(1, 3, 12))
    saved = zca.forward(z, eps=0.0)[1]
    stable, by_gaps = zca.backward(g, z, saved, eps=0.0), zca.backward_by_gaps(g, z, saved, eps=0.0)
    taped = vjp(lambda a: zca.forward(a, eps=0.0)[0], z)[1](g)[0]
    np.testing.assert_allclose(stable, taped, rtol=1e-11, atol=1e-13)
    assert 1e-10 < np.max(np.abs(by_gaps - stable)) < 1e-4


@pytest.mark.parametrize("operation", [ZCA, CHOLESKY, NEWTON, NEWTON_UNCOUPLED], ids=lambda o: o.name)
@pytest.mark.parametrize("covariance", [None, spectrum(2, 2, 2, 5), spectrum(1, 1, 3, 3)], ids=["one", "triple", "pairs"])
def test_gradients_are_right_at_repeated_eigenvalues(operation, covariance):
    z = white(4) if covariance is None else samples(4, 10, covariance=covariance)
    options = {"T": 5} if "T" in operation.options else {}
    explicit, taped, (along, slope) = gradients(operation, z, **options)
    np.testing.assert_allclose(explicit, taped, rtol=1e-11, atol=1e-13)
    assert along == pytest.approx(slope, rel=1e-7)


# PCA: a convention, and where there is no derivative.


def test_pca_orders_eigenvalues_downwards_and_makes_the_largest_entry_positive():
    z = samples(4, 20, covariance=spectrum(1, 2, 5, 9))
    saved = pca.forward(z, eps=0.0)[1]
    np.testing.assert_allclose(saved.values[0], [9, 5, 2, 1], rtol=1e-12)
    u = saved.vectors[0]
    assert all(u[np.argmax(np.abs(u[:, k])), k] > 0 for k in range(4))
    turned = pca.forward(-z[:, :, ::-1], eps=0.0)[1]
    np.testing.assert_allclose(turned.matrix, saved.matrix, rtol=1e-9, atol=1e-12)


def test_pca_sign_where_two_entries_are_largest_does_not_hang_on_a_rounding():
    """Two channels of equal variance always have eigenvectors (1, 1) and (1, -1): the first entry is made positive."""
    base = samples(2, 12, covariance=np.array([[1, 0.3], [0.3, 1]]))
    for seed in range(20):
        z = base * (1 + 1e-13 * np.random.default_rng(seed).normal(size=base.shape))
        assert (pca.forward(z, eps=0.0)[1].vectors[0, 0] > 0).all()


def test_pca_at_equal_eigenvalues_whitens_and_refuses_to_be_differentiated():
    z = white(4)
    zhat, saved = pca.forward(z, eps=0.0)
    np.testing.assert_allclose(product(zhat, zhat)[0], np.eye(4), atol=1e-14)
    with pytest.raises(ValueError, match=r"equal eigenvalues.*PCA whitening has no derivative.*0 apart"):
        pca.backward(z, z, saved, eps=0.0)
    with pytest.raises(ValueError, match="no derivative"):
        vjp(lambda a: pca.forward(a, eps=0.0)[0], z)[1](z)


def test_pca_gradient_grows_like_one_over_the_gap():
    """F_ij has the pole l_j / (l_j - l_i): halving the gap doubles the gradient."""
    norms = []
    for gap in (1e-3, 5e-4):
        z = samples(3, 12, covariance=spectrum(1, 1 + gap, 4))
        saved = pca.forward(z, eps=0.0)[1]
        norms.append(np.linalg.norm(pca.backward(np.random.default_rng(8).normal(size=z.shape), z, saved, eps=0.0)))
    assert norms[1] / norms[0] == pytest.approx(2, rel=0.01)


# Newton-Schulz.


@pytest.mark.parametrize("T", [1, 2, 5, 7])
def test_the_coupled_and_the_uncoupled_recursion_are_one_function(T):
    z, g = samples(6, 20, covariance=spectrum(1, 2, 3, 5, 8, 13)), np.random.default_rng(9).normal(size=(1, 6, 20))
    (a, saved), (b, uncoupled) = (o.forward(z, eps=1e-5, T=T) for o in (NEWTON, NEWTON_UNCOUPLED))
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    da, db = NEWTON.backward(g, z, saved, eps=1e-5, T=T), NEWTON_UNCOUPLED.backward(g, z, uncoupled, eps=1e-5, T=T)
    np.testing.assert_allclose(da, db, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("operation", [NEWTON, NEWTON_UNCOUPLED], ids=lambda o: o.name)
@pytest.mark.parametrize("weight", [None, np.array([[[3, 1, 0, 2, 1, 1, 4, 1, 2, 1]]]) / 16], ids=["plain", "weighted"])
def test_both_adjoints_agree_with_the_tape_and_with_differences(operation, weight):
    z = samples(4, 10, covariance=spectrum(1, 2, 4, 8))
    explicit, taped, (along, slope) = gradients(operation, z, eps=0.1, T=5, weight=weight)
    np.testing.assert_allclose(explicit, taped, rtol=1e-11, atol=1e-13)
    assert along == pytest.approx(slope, rel=1e-6)


def test_where_the_uncoupled_recursion_breaks():
    """At condition 15 both have arrived at T = 10, to 2e-12 and better, and from there the uncoupled leaves: 3e-3 at T = 20."""
    z = samples(4, 16, covariance=spectrum(1, 3, 7, 15))
    exact = zca.forward(z, eps=0.0)[1].matrix

    def error(operation, T):
        return np.max(np.abs(operation.forward(z, eps=0.0, T=T)[1].matrix - exact)) / np.max(np.abs(exact))

    for T in (10, 20, 25, 60, 100):
        assert error(NEWTON, T) < 1e-14
    assert error(NEWTON_UNCOUPLED, 10) < 1e-10
    assert error(NEWTON_UNCOUPLED, 20) > 1e-6 and error(NEWTON_UNCOUPLED, 25) > 1e-1


def test_the_uncoupled_recursion_drifts_by_the_factor_that_its_docstring_derives():
    """One step multiplies e_ij by 1 - (q + q^2) / 2, q = r_j / r_i; the largest |factor| at condition 15 is 8.44."""
    z = samples(2, 8, covariance=spectrum(1, 15))
    exact = zca.forward(z, eps=0.0)[1].matrix
    errors = [
        np.linalg.norm(newton_uncoupled.from_population(*joint_moments(z), eps=0.0, T=T).matrix - exact) for T in range(19, 24)
    ]
    q = math.sqrt(15)
    np.testing.assert_allclose(np.divide(errors[1:], errors[:-1]), (q + q * q) / 2 - 1, rtol=1e-3)


@pytest.mark.parametrize("spread", [2.3, 2.6])
def test_the_drift_starts_at_condition_two_and_a_half(spread):
    """|1 - (q + q^2) / 2| > 1 as soon as q^2 > (9 - sqrt(17)) / 2 = 2.438."""
    z = samples(2, 8, covariance=spectrum(1, spread))
    exact = zca.forward(z, eps=0.0)[1].matrix
    error = np.max(np.abs(newton_uncoupled.from_population(*joint_moments(z), eps=0.0, T=400).matrix - exact))
    grew = not error < 1e-10
    assert grew == (spread > (9 - math.sqrt(17)) / 2)


TABLE = {8: (0.7673, 0.9985, 1, 1), 16: (0.5130, 0.9657, 1, 1)}


@pytest.mark.parametrize("d", TABLE)
def test_the_output_of_a_white_input_after_t_steps(d):
    """CLAIMS, section 4: the output's eigenvalue l p_T^2 at S = I, l = 1 / d; the same from E <- (3 E^2 + E^3) / 4."""
    z = samples(d, 3 * d)
    for T, expected in zip((3, 5, 7, 9), TABLE[d], strict=True):
        zhat = newton.forward(z, eps=0.0, T=T)[0]
        e = 1 - 1 / d
        for _ in range(T):
            e = (3 * e**2 + e**3) / 4
        np.testing.assert_allclose(product(zhat, zhat)[0], (1 - e) * np.eye(d), atol=1e-13)
        assert 1 - e == pytest.approx(expected, abs=1e-4)


def test_five_steps_do_not_whiten_sixty_four_channels():
    """CLAIMS, correction 4."""
    z = samples(64, 200)
    zhat = newton.forward(z, eps=0.0, T=5)[0]
    assert np.linalg.eigvalsh(product(zhat, zhat)[0])[-1] < 0.6


@pytest.mark.parametrize(("start", "end"), [(0.01, 10.0), (1.0, 1.0), (2.9, 2.9**-0.5), (3.0, 0.0), (3.01, -(3.01**-0.5))])
def test_without_the_trace_the_iteration_reaches_the_inverse_root_below_three_only(start, end):
    """CLAIMS, section 4: 0 < l < 3 reaches l^(-1/2), 3 falls to 0, just above it lands on the negative root."""
    *_, (_, p) = newton.iterates(np.full((1, 1, 1), start), 60)
    assert p[0, 0, 0] == pytest.approx(end, abs=1e-12)


@pytest.mark.parametrize(("d", "m"), [(8, 6), (8, 8), (16, 10)])
def test_fewer_samples_than_coordinates_leave_d_minus_m_plus_one(d, m):
    """CLAIMS, section 3: min |X X'/m - I|^2 = d - m + 1, which the iteration reaches where no inverse root exists."""
    z = np.random.default_rng(10).normal(size=(1, d, m))
    zhat = newton.forward(z, eps=0.0, T=30)[0]
    assert np.sum(np.square(product(zhat, zhat)[0] - np.eye(d))) == pytest.approx(d - m + 1, abs=1e-9)


# Constraints.


@pytest.mark.parametrize("operation", EXACT.values(), ids=lambda o: o.name)
@pytest.mark.parametrize(("d", "m", "count"), [(3, 4, 9), (5, 6, 20), (8, 9, 44), (16, 40, 152)])
def test_the_number_of_independent_constraints_at_feasible_points(operation, d, m, count):
    """CLAIMS, section 3: d (d + 3) / 2 as the rank of their Jacobian; at m = d + 1 that leaves dim O(d) = d (d - 1) / 2."""
    zhat, saved = operation.forward(np.random.default_rng(11).normal(size=(1, d, m)), eps=0.0)
    jac = jacobian(lambda a: operation.constraints.residuals(a, saved, eps=0.0))(zhat)
    rank = np.linalg.matrix_rank(jac.reshape(-1, d * m))
    assert rank == count == operation.constraints.count(d, m) == d * (d + 3) // 2
    if m == d + 1:
        assert d * m - rank == d * (d - 1) // 2


@pytest.mark.parametrize("d", range(1, 12))
def test_counting_does_not_make_feasible(d):
    """d (d + 3) / 2 <= d m from m = (d + 3) / 2 on, and yet m = d + 1 is what it takes."""
    for m in range(1, 2 * d + 3):
        assert ZCA.constraints.feasible(d, m) == (m >= d + 1)
        centred = np.random.default_rng(12).normal(size=(d, m))
        centred = centred - centred.mean(axis=1, keepdims=True)
        assert (np.linalg.matrix_rank(centred) == d) == (m >= d + 1)


@pytest.mark.parametrize("operation", EXACT.values(), ids=lambda o: o.name)
def test_the_covariance_with_eps_is_exact(operation):
    """I - eps W W': S^-1 for ZCA, Lambda^-1 for PCA, (L'L)^-1 for Cholesky, at an eps that is not small."""
    z = samples(4, 12, covariance=spectrum(0.1, 1, 2, 5))
    zhat, saved = operation.forward(z, eps=0.7)
    s = regularized(saved.covariance, 0.7)[0]
    factor = np.linalg.cholesky(s)
    inverse = {
        "zca": np.linalg.inv(s),
        "pca": np.diag(1 / np.linalg.eigvalsh(s)[::-1]),
        "cholesky": np.linalg.inv(factor.T @ factor),
    }[operation.name]
    np.testing.assert_allclose(product(zhat, zhat)[0], np.eye(4) - 0.7 * inverse, atol=1e-14)


def test_one_coordinate_is_standardized():
    """With D = 1 every whitening is standardize.py, forward and backward."""
    from refnorm.operations import standardize

    z, g = (np.random.default_rng(s).normal(size=(3, 1, 7)) for s in (13, 14))
    zhat, saved = standardize.forward(z, eps=0.2)
    for operation in EXACT.values():
        mine, kept = operation.forward(z, eps=0.2)
        np.testing.assert_allclose(mine, zhat, rtol=1e-14)
        np.testing.assert_allclose(
            operation.backward(g, z, kept, eps=0.2), standardize.backward(g, z, saved, eps=0.2), rtol=1e-12, atol=1e-15
        )
