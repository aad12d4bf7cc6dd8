"""What whitening loses in float32 at |mean|/std of 1, 1e3, 1e6, and at condition numbers of 1 and 1e6.

The mean is taken away in full, and the covariance and its factors are float64, so that y has only the roundings of the product
W (x - mu) itself.  With u = 2^-24, of D products each W_ij is rounded once, x_j - mu_j once, and each sum D times:

    |error of y_i| <= (D + 2) u A_i,      A_i = sum_j |gamma_i W_ij (x_j - mu_j)| + |beta_i|

to first order, and u |y_i| for the last addition: (D + 3) u A_i.  Neither the mean nor the condition number is in it but for
what A has of it.  A covariance in float32 is off by u |S|, which y shows times the condition number; this shows below.
"""

import numpy as np
import pytest

import refnorm as rn

NAMES = ["batch_whitening_zca", "batch_whitening_cholesky", "iterative_norm"]
SHAPE, UNIT = (700, 32), 2.0**-24


def drawn(ratio, condition):
    rng = np.random.default_rng(0)
    m, d = SHAPE
    mixed = rng.normal(size=(d, d)) @ np.diag(np.geomspace(1, condition**-0.5, d)) / np.sqrt(d)
    x = rng.normal(size=(m, d)) @ mixed.T
    x = x + ratio * x.std(axis=0) * rng.choice([-1, 1], size=d) * rng.uniform(0.7, 1, size=d)
    return x.astype(np.float32), rng.normal(size=d).astype(np.float32), rng.normal(size=d).astype(np.float32)


def error(y, x, gamma, beta, right, cache):
    """The largest, over its bound."""
    terms = np.abs(gamma[:, None] * cache.saved.matrix[0]).astype(float) @ np.abs(x.T - cache.saved.mean[0])
    bound = (SHAPE[1] + 3) * UNIT * (terms.T + np.abs(beta))
    return float(np.max(np.abs(y - right) / bound))


@pytest.mark.parametrize("condition", [1.0, 1e6])
@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("name", NAMES)
def test_y_has_the_roundings_of_one_product(name, ratio, condition):
    x, gamma, beta = drawn(ratio, condition)
    y, _, _ = rn.NORMS[name].forward(x, gamma, beta, eps=1e-9, backend="numba")
    right, cache, _ = rn.NORMS[name].forward(*(a.astype(float) for a in (x, gamma, beta)), eps=1e-9)
    assert error(y.astype(float), x, gamma, beta, right, cache) <= 1


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_do_not_see_the_mean(name, ratio):
    """Of shapes of the same deviations, dx errs alike at every mean: within 64 u of what its matrices and dy amount to."""
    x, gamma, beta = drawn(ratio, 1.0)
    dy = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    _, cache, _ = rn.NORMS[name].forward(x, gamma, beta, eps=1e-9, backend="numba")
    found = rn.NORMS[name].backward(dy, cache, backend="numba")
    _, right, _ = rn.NORMS[name].forward(*(a.astype(float) for a in (x, gamma, beta)), eps=1e-9)
    wanted = rn.NORMS[name].backward(dy.astype(float), right)
    w, d = right.saved.matrix[0], SHAPE[1]
    grown = np.linalg.norm(w, 2) ** 2 * np.linalg.norm(right.saved.covariance[0], 2)
    bound = 2 * (4 + np.sqrt(d)) * UNIT * grown * np.linalg.norm(w, 2) * np.abs(gamma * dy).max() * np.sqrt(d)
    assert np.abs(found[0] - wanted[0]).max() <= bound
    xhat = np.abs(x.astype(float) - right.saved.mean[0].T) @ np.abs(w).T
    assert np.all(np.abs(found[1] - wanted[1]) <= (d + 64) * UNIT * (np.abs(dy) * xhat).sum(axis=0))
    assert np.all(np.abs(found[2] - wanted[2]) <= 2 * UNIT * np.abs(dy).sum(axis=0))


def test_the_measure_sees_a_covariance_in_float32():
    x, gamma, beta = drawn(1.0, 1e6)
    right, cache, _ = rn.batch_whitening_zca.forward(*(a.astype(float) for a in (x, gamma, beta)), eps=1e-9)
    centred = (x - cache.saved.mean[0].T).astype(np.float32)
    covariance = (centred.T @ centred / np.float32(len(x))).astype(float)
    values, vectors = np.linalg.eigh(covariance + 1e-9 * np.eye(SHAPE[1]))
    y = gamma * (centred.astype(float) @ (vectors / np.sqrt(values)) @ vectors.T) + beta
    assert error(y, x, gamma, beta, right, cache) > 3
