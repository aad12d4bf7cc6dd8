"""The measures against independent computations, and what they refuse."""

import math

import numpy as np
import pytest
from scipy import linalg, stats

import refnorm as rn
from refnorm.analysis import (
    averaged_whitening,
    batch_noise,
    bistochastic,
    constraint_system,
    decoupling,
    invariance,
    isometry,
    lipschitz,
    mean_field,
    newton_spectrum,
    sphere_geometry,
    stochasticity,
    weight_dynamics,
    wide_network,
)
from refnorm.analysis.constraint_system import ConstraintSystem
from refnorm.autodiff import vjp

RNG = np.random.default_rng


def test_disturbance_by_hand():
    assert stochasticity.disturbance(np.array([[0.0, 0], [6, 8]])) == pytest.approx(5)
    with pytest.raises(ValueError, match="y has 1 outputs"):
        stochasticity.disturbance(np.zeros((1, 3)))


def test_outputs_follow_sample_zero_through_any_function():
    others = [np.full((3, 2), v) for v in (1.0, 3.0)]
    y = stochasticity.outputs(lambda batch: batch - batch.mean(axis=0), np.zeros(2), others)
    assert y == pytest.approx(np.array([[-0.75, -0.75], [-2.25, -2.25]]))


def test_inverse_chi_is_scipys():
    for m, freedom in ((16, 15), (32, 16), (5, 2)):
        expected = math.sqrt(m) * stats.chi(freedom).expect(lambda x: 1 / x, lb=1e-12)
        assert batch_noise.inverse_chi(m, freedom) == pytest.approx(expected, rel=1e-6)
    assert batch_noise.mean_scale(2) == math.inf and batch_noise.mean_square_scale(3) == math.inf


def test_law_of_averaged_whitening_integrates_the_density():
    d, m = 200, 501
    y = d / (m - 1)
    a, b = (1 - math.sqrt(y)) ** 2, (1 + math.sqrt(y)) ** 2
    spectrum = np.linspace(a, b, 2_000_001)[1:-1]
    density = np.sqrt((b - spectrum) * (spectrum - a)) / (2 * np.pi * y * spectrum)
    law = np.sum(density * spectrum**-0.5) * (spectrum[1] - spectrum[0])
    assert averaged_whitening.zca_error(d, m) == pytest.approx(law - 1, abs=0.01)       # the correction is of order 1/d
    with pytest.raises(ValueError, match="d is 16 and m 17"):
        averaged_whitening.zca_error(16, 17)


@pytest.mark.parametrize("whitens", [True, False])
def test_constraints_count_their_equations(whitens):
    system = ConstraintSystem(2, 3, 5, whitens)
    z = RNG(0).normal(size=(2, 3, 5))
    assert system.equations(z).shape == (system.count,)
    centred = z - z.mean(axis=2, keepdims=True)
    rows = centred.reshape(6, 5)
    assert system.residual(z) == pytest.approx(
        sum(np.sum((c @ c.T / 5 - np.eye(3)) ** 2) for c in centred) if whitens else np.sum((np.mean(rows**2, axis=1) - 1) ** 2)
    )


def test_constraints_of_declared_norms():
    x = RNG(0).normal(size=(6, 8, 2))
    assert constraint_system.of(rn.batch_norm.declaration, x=x) == ConstraintSystem(8, 1, 12, False)
    assert constraint_system.of(rn.group_whitening_zca.declaration, x=x, num_groups=4) == ConstraintSystem(6, 4, 4, True)
    with pytest.raises(ValueError, match="rms_norm neither standardizes"):
        constraint_system.of(rn.rms_norm.declaration, x=x)
    with pytest.raises(ValueError, match="2 blocks"):
        ConstraintSystem(2, 3, 2, True).minimized(RNG(0))


def test_newton_spectrum_is_the_iterations():
    n = np.diag([0.5, 0.3, 0.2])
    p = np.eye(3)
    for _ in range(4):
        p = 1.5 * p - 0.5 * p @ p @ p @ n
    assert newton_spectrum.whitened_variance(np.diag(n), 4) == pytest.approx(np.diag(n @ p @ p))
    T = newton_spectrum.steps(1 / 64, 0.01)
    assert newton_spectrum.whitened_variance(1 / 64, T) >= 0.99 > newton_spectrum.whitened_variance(1 / 64, T - 1)
    with pytest.raises(ValueError, match=r"eigenvalues of S / tr\(S\) lie in 0..1"):
        newton_spectrum.whitened_variance(1.1, 3)
    with pytest.raises(ValueError, match="share is 0"):
        newton_spectrum.steps(0)


def test_arc_cosine_kernels_by_sampling():
    a, b = RNG(0).normal(size=(2, 2_000_000))
    b = 0.3 * a + math.sqrt(1 - 0.09) * b
    j0, j1 = mean_field.arc_cosine(0.3)
    assert 2 * np.mean((a > 0) & (b > 0)) == pytest.approx(j0, abs=2e-3)
    assert 2 * np.mean(np.maximum(a, 0) * np.maximum(b, 0)) == pytest.approx(j1, abs=3e-3)
    assert mean_field.batch_norm_growth(3) == math.inf == mean_field.group_norm_growth(3)
    assert mean_field.group_norm_growth(2) == 0


def test_passage_is_the_gradient_of_its_network():
    passed = wide_network.passage(rn.batch_norm, {"eps": 0.0}, width=16, depth=2, batch=8, rng=RNG(0))
    rng = RNG(0)
    x = rng.normal(size=(8, 16))
    first, second = (rng.normal(0, math.sqrt(2 / 16), (16, 16)) for _ in range(2))
    g = rng.normal(size=(8, 16))

    def layer(h):
        return np.maximum(rn.batch_norm(h, eps=0.0)[0], 0)

    x1, pull1 = vjp(layer, x @ first.T)
    x2, pull2 = vjp(layer, x1 @ second.T)
    dh2 = pull2(g)[0]
    dh1 = pull1(dh2 @ second)[0]
    assert passed.gradients == pytest.approx([np.mean(dh1**2), np.mean(dh2**2)])
    assert passed.kernels == pytest.approx(np.stack([x1 @ x1.T, x2 @ x2.T]) / 16)
    assert wide_network.cosine(np.ones((3, 3))) == pytest.approx(1)


def test_rayleigh_quotient_gradient_and_bound():
    rng = RNG(0)
    a = rng.normal(size=(4, 9))
    s, (u, w) = a @ a.T, rng.normal(size=(2, 4))
    h = 1e-6
    numeric = [
        (decoupling.quotient(w + h * e, s, u) - decoupling.quotient(w - h * e, s, u)) / (2 * h) for e in np.eye(4)
    ]
    assert decoupling.quotient_gradient(w, s, u) == pytest.approx(np.array(numeric), rel=1e-6)
    best = -u @ np.linalg.solve(s, u)
    path = decoupling.descend(s, u, w, 50)
    assert np.all(path - best <= decoupling.bound(s, path, best) + 1e-12) and path[-1] == pytest.approx(best, rel=1e-3)
    with pytest.raises(ValueError, match="orthogonal to u"):
        decoupling.descend(s, np.array([1.0, 0, 0, 0]), np.array([0, 1.0, 0, 0]), 3)


def test_two_layer_kernel_is_the_gram_matrix_of_gradients():
    rng = RNG(1)
    network, x = weight_dynamics.initial(20, 4, 0.7, rng), rng.normal(size=(5, 4))
    direction, length = weight_dynamics.kernels(network, x)
    h, rows = 1e-6, []
    for k in range(20):
        for i in range(4):
            ends = []
            for sign in (1, -1):
                v = network.v.copy()
                v[k, i] += sign * h
                ends.append(network._replace(v=v)(x))
            rows.append((ends[0] - ends[1]) / (2 * h))
    assert np.transpose(rows) @ np.array(rows) == pytest.approx(direction, abs=1e-6)
    unit = network.v / network.lengths[:, None]
    slope = np.maximum(x @ unit.T, 0) * network.c / math.sqrt(20)
    assert slope @ slope.T == pytest.approx(length)


def test_two_layer_training_is_gradient_descent():
    rng = RNG(2)
    network, x, y = weight_dynamics.initial(30, 4, 1.0, rng), rng.normal(size=(5, 4)), rng.normal(size=5)
    losses = weight_dynamics.train(network, x, y, rate=1e-6, steps=2)
    k, r = sum(weight_dynamics.kernels(network, x)), network(x) - y
    assert losses[0] == pytest.approx(r @ r)
    assert (losses[1] - losses[0]) / 1e-6 == pytest.approx(-2 * r @ k @ r, rel=1e-4)


def test_scaling_of_a_function_that_is_not_invariant():
    s = invariance.scaling(lambda w: np.square(w), (np.arange(1.0, 4),), 0)
    assert s.moved == pytest.approx(8) and s.exponent == pytest.approx(1) and s.along > 0.1
    with pytest.raises(ValueError, match="scale is 1"):
        invariance.scaling(np.square, (np.ones(2),), 0, scale=1)


def test_isometry_of_an_orthogonal_and_of_a_plain_convolution():
    q = linalg.block_diag(*(np.linalg.qr(RNG(i).normal(size=(3, 3)))[0] for i in range(2)))
    assert isometry.channel_defect(q, 2) < 1e-14
    assert isometry.channel_defect(2 * q, 2) == pytest.approx(3)
    w = RNG(0).normal(size=(2, 3, 3))
    matrix = isometry.matrix_of(lambda x: np.einsum("oi,nis->nos", w[:, :, 0], x), (3, 5))
    assert matrix.shape == (10, 15) and np.linalg.norm(matrix, 2) == pytest.approx(np.linalg.norm(w[:, :, 0], 2))


def test_lipschitz_by_hand():
    assert lipschitz.certified_radius([3.0, 1.0], 0, 1.0) == pytest.approx(math.sqrt(2))
    assert lipschitz.certified_radius([3.0, 1.0], 1, 1.0) == 0
    assert lipschitz.linear_distance(np.array([[1.0, 0], [-1.0, 0]]), np.zeros(2), np.array([0.7, 9]), 0) == pytest.approx(0.7)
    assert lipschitz.spectral_complexity([np.eye(2), 3 * np.eye(2)]) == pytest.approx(3 * (2 * 2 ** (2 / 3)) ** 1.5)


def test_bistochastic_refuses_what_has_no_limit():
    for m, why in (
        (np.ones((2, 3)), r"shape \(2, 3\)"),
        (-np.ones((2, 2)), "0 or more"),
        (np.array([[1.0, 0], [1, 0]]), "column of zeros"),
        (np.array([[1.0, 1], [0, 1]]), "no positive diagonal"),
    ):
        with pytest.raises(ValueError, match=why):
            bistochastic.fit(m)
    assert bistochastic.fit(np.array([[2.0, 0], [0, 5]])).matrix == pytest.approx(np.eye(2))
    before = np.array([[1.0, 2], [3, 4]])
    bistochastic.fit(before)
    assert np.array_equal(before, [[1, 2], [3, 4]])


def test_sphere_projector_has_a_witness():
    z = RNG(0).normal(size=6)
    right = sphere_geometry.projector_defect(lambda u: rn.layer_norm(u, axis=0, eps=0.0), z, math.sqrt(6), True)
    wrong = sphere_geometry.projector_defect(lambda u: rn.rms_norm(u, axis=0, eps=0.0), z, math.sqrt(6), True)
    assert right < 1e-13 and wrong > 1e-3
    assert sphere_geometry.growth(np.array([1.0, 0]), np.array([0, 2.0]), 0.1) == pytest.approx(1)
