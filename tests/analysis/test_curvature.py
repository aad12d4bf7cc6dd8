"""Hessian products, Lanczos and the quadrature, against matrices whose spectrum is known."""

import numpy as np
import pytest

from refnorm.analysis.curvature import (
    fisher_product,
    hessian_product,
    lanczos,
    largest_eigenvalue,
    matrix_of,
    outliers,
    spectral_density,
)
from refnorm.autodiff import jacobian
from refnorm.nets import MLP, ConvNet, from_vector, loss_and_gradients, to_vector

RNG = np.random.default_rng(0)


def with_spectrum(eigenvalues, seed=1):
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))[0]
    return (Q * eigenvalues) @ Q.T


HEAVY = np.concatenate([np.random.default_rng(2).normal(size=190) * 0.1, [3, 5, 8, 13, 21, 34, 55, 89, -2, -4]])


@pytest.mark.parametrize("net", [
    MLP((4, 5, 3), norm="batch_norm", activation="tanh"),
    MLP((4, 5, 3), norm="layer_norm", activation="tanh"),
    ConvNet(image=(1, 4, 4), channels=(2,), outputs=3, norm="batch_norm", activation="tanh"),
], ids=["batch norm", "layer norm", "convolution"])
def test_the_product_is_the_slope_of_the_gradient(net):
    """In training mode: the batch's statistics move with the parameters."""
    p, x, labels = net.parameters(0), RNG.normal(size=(9, *net.input_shape)), np.arange(9) % 3
    w, v, h = to_vector(p), RNG.normal(size=to_vector(p).size), 1e-5

    def gradient(at):
        return to_vector(loss_and_gradients(net, from_vector(at, p), x, labels).gradients)

    slope = (8 * (gradient(w + h * v) - gradient(w - h * v)) - (gradient(w + 2 * h * v) - gradient(w - 2 * h * v))) / (12 * h)
    product = hessian_product(net, p, x, labels)
    np.testing.assert_allclose(product(v), slope, atol=1e-8 * np.linalg.norm(slope))
    H = np.stack([product(e) for e in np.eye(len(w))])
    np.testing.assert_allclose(H, H.T, atol=1e-12)
    np.testing.assert_allclose(matrix_of(product, len(w)) @ v, product(v), atol=1e-10)


@pytest.mark.parametrize("norm", [None, "batch_norm"])
def test_the_fisher_product_is_that_of_the_jacobian(norm):
    net = MLP((4, 5, 3), norm=norm, activation="tanh")
    p, x = net.parameters(0), RNG.normal(size=(6, 4))
    J = jacobian(lambda w: net.apply(from_vector(w, p), x)[0])(to_vector(p))              # (N, K, P)
    q = np.exp(net.apply(p, x)[0])
    q = q / q.sum(axis=1, keepdims=True)
    S = np.eye(3) * q[:, None, :] - q[:, :, None] * q[:, None, :]
    F = np.einsum("nkp,nkl,nlq->pq", J, S, J) / 6
    np.testing.assert_allclose(matrix_of(fisher_product(net, p, x), len(F)), F, atol=1e-13)


def test_of_a_linear_network_the_fisher_matrix_is_the_hessian():
    net = MLP((4, 3))
    p, x, labels = net.parameters(0), RNG.normal(size=(6, 4)), np.arange(6) % 3
    v = RNG.normal(size=to_vector(p).size)
    np.testing.assert_allclose(fisher_product(net, p, x)(v), hessian_product(net, p, x, labels)(v), atol=1e-13)


def test_a_batch_coupled_hessian_is_not_the_mean_of_the_samples():
    """In training mode with batch norm the Hessian of a batch is not the mean of its halves'; in evaluation it is."""
    net = MLP((4, 5, 3), norm="batch_norm", activation="tanh")
    p, x, labels = net.parameters(0), RNG.normal(size=(8, 4)), np.arange(8) % 3
    state = net.apply(p, x)[1]
    v = RNG.normal(size=to_vector(p).size)

    def gap(training):
        whole, *halves = (hessian_product(net, p, x[s], labels[s], training, state)(v) for s in
                          (slice(None), slice(0, 4), slice(4, 8)))
        return np.linalg.norm(whole - sum(halves) / 2) / np.linalg.norm(whole)

    assert gap(training=False) < 1e-13 < 1e-2 < gap(training=True)


def test_lanczos_is_exact_after_as_many_steps_as_eigenvalues():
    A = with_spectrum(np.repeat([1.0, 2.0, 5.0], 10))
    found = lanczos(lambda v: A @ v, RNG.normal(size=30), 20)
    np.testing.assert_allclose(found.values, [1, 2, 5], atol=1e-12)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(3), atol=1e-10)


def test_residuals_are_what_they_say():
    A = with_spectrum(HEAVY)
    found = lanczos(lambda v: A @ v, RNG.normal(size=200), 25)
    residuals = np.linalg.norm(A @ found.vectors - found.vectors * found.values, axis=0)
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-9)


def test_lanczos_stays_in_the_complement():
    A = with_spectrum(HEAVY)
    top = np.linalg.eigh(A)[1][:, -3:]
    found = lanczos(lambda v: A @ v, RNG.normal(size=200), 40, against=top)
    assert np.max(np.abs(top.T @ found.vectors)) < 1e-10
    assert abs(found.values[-1] - 21) < 1e-6                  # 34, 55 and 89 are out


@pytest.mark.parametrize("seed", range(3))
def test_the_quadrature_has_the_moments_and_the_edge(seed):
    A = with_spectrum(HEAVY)
    density = spectral_density(lambda v: A @ v, 200, probes=20, steps=15, rng=seed)
    assert abs(density.weights.sum() - 200) < 1e-9
    for k in range(1, 5):
        assert abs(density.moment(k) / np.sum(HEAVY**k) - 1) < 0.02
    assert abs(density.values.max() - 89) < 1e-9
    assert abs(largest_eigenvalue(lambda v: A @ v, 200, seed) - 89) < 1e-6


def test_without_deflation_the_quadrature_is_worse():
    """What the deflation is for: the outliers' variance."""
    A = with_spectrum(HEAVY)

    def error(deflation, tolerance):
        runs = [spectral_density(lambda v: A @ v, 200, probes=20, steps=15, rng=s, deflation=deflation, tolerance=tolerance)
                for s in range(5)]
        return np.sqrt(np.mean([(r.moment(2) / np.sum(HEAVY**2) - 1) ** 2 for r in runs]))

    assert error(80, 1e-6) < 1e-3 < 5e-2 < error(80, -1.0)           # -1: none is taken out


def test_outliers():
    assert outliers(np.array([1.0] * 99 + [100.0])) == 1 and outliers(np.ones(5)) == 0
