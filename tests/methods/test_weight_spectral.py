"""Spectral norm: its state over steps, its gradient's stop, and the operator norm that the reshaped kernel does not have."""

from dataclasses import replace

import numpy as np
import pytest

import refnorm as rn
from refnorm.autodiff import hvp
from refnorm.operations import conv_spectrum
from refnorm.proofs import problems, witnesses

W = np.random.default_rng(0).normal(size=(6, 4, 3))
DW = np.random.default_rng(1).normal(size=W.shape)
TOP = np.linalg.norm(W.reshape(6, -1), 2)


def started(w=W, n=2):
    """Vectors that are not converged."""
    return rn.spectral_norm.state(w, 5, n_power_iterations=n)


def test_how_fast_the_estimate_reaches_the_largest_singular_value():
    """The angle to the top vector falls like (s2 / s1)^(2 n), and sigma errs by its square: 200 iterations leave rounding."""
    reached = []
    for seed in range(10):
        w = np.random.default_rng(seed).normal(size=(16, 64))
        _, s, right = np.linalg.svd(w)
        start = rn.spectral_norm.state(w, seed, n_power_iterations=0)
        cosine = start.v @ right[0]
        for n in (10, 200):
            sigma = rn.spectral_norm.forward(w, *start, n_power_iterations=n)[1].saved.sigma
            bound = (1 / cosine**2 - 1) * (s[1] / s[0]) ** (4 * n - 2) + 8 * 2**-53
            assert 1 - bound <= sigma / s[0] <= 1 + 8 * 2**-53
        reached.append(abs(sigma / s[0] - 1))
    assert np.median(reached) < 1e-15


def test_one_iteration_a_step_follows_a_weight_that_moves(peer):
    """Five steps in training, with the weight moving, then evaluation: PyTorch's parametrization and refnorm side by side."""
    torch = peer("torch")
    (u, v), w = started(), W.copy()
    theirs = torch.nn.utils.parametrizations._SpectralNorm(torch.tensor(w))
    theirs._u, theirs._v = torch.tensor(u), torch.tensor(v)
    for step in range(5):
        w = w + 0.1 * np.random.default_rng(step).normal(size=w.shape)
        y, (u, v) = rn.spectral_norm(w, u, v)
        np.testing.assert_allclose(y, theirs(torch.tensor(w)).numpy(), rtol=1e-13)
        np.testing.assert_allclose(u, theirs._u.numpy(), rtol=1e-12)
    y = rn.spectral_norm(w, u, v, training=False)
    np.testing.assert_allclose(y, theirs.eval()(torch.tensor(w)).numpy(), rtol=1e-13)
    assert np.linalg.norm(y.reshape(6, -1), 2) == pytest.approx(1, abs=1e-2)


def test_fifteen_iterations_start_it_and_nothing_is_drawn_behind_the_users_back():
    u, v = rn.spectral_norm.state(W)
    np.testing.assert_array_equal(u, rn.spectral_norm.state(W, 0).u)
    assert np.linalg.norm(u) == pytest.approx(1) and np.linalg.norm(v) == pytest.approx(1)
    assert abs(u @ W.reshape(6, -1) @ v / TOP - 1) < 1e-3
    one, two = (rn.spectral_norm.state(W, seed, n_power_iterations=0).u for seed in (1, 2))
    assert np.max(np.abs(one - two)) > 0.1


def test_the_order_of_the_two_updates_is_the_dialect():
    u, v = started()
    m = W.reshape(6, -1)
    _, (u_torch, v_torch) = rn.spectral_norm(W, u, v)
    _, (u_hook, v_hook) = rn.spectral_norm(W, u, v, dialect="hook")
    np.testing.assert_allclose(u_torch, m @ v / np.linalg.norm(m @ v), rtol=1e-13)
    np.testing.assert_allclose(v_torch, m.T @ u_torch / np.linalg.norm(m.T @ u_torch), rtol=1e-13)
    np.testing.assert_allclose(v_hook, m.T @ u / np.linalg.norm(m.T @ u), rtol=1e-13)
    np.testing.assert_allclose(u_hook, m @ v_hook / np.linalg.norm(m @ v_hook), rtol=1e-13)


def test_the_gradient_is_tangent_whether_converged_or_not():
    for n in (0, 1, 50):
        (dw,) = rn.spectral_norm.backward(DW, rn.spectral_norm.forward(W, *started(n=n))[1])
        assert abs(np.sum(dw * W)) < 1e-13


def test_the_gradient_holds_u_and_v_where_plain_differences_do_not():
    """Unconverged, the true derivative sees u and v move; the method's does not, and by the definition of it that is right."""
    u, v = started(n=0)
    (dw,) = rn.spectral_norm.backward(DW, rn.spectral_norm.forward(W, u, v)[1])
    direction, h = np.random.default_rng(3).normal(size=W.shape), 1e-6

    def moved(step, hold):
        w = W + step * h * direction
        state = rn.spectral_norm(W, u, v)[1] if hold else rn.spectral_norm(w, u, v)[1]
        return np.sum(DW * rn.spectral_norm(w, *state, training=False))

    slopes = [(moved(1, hold) - moved(-1, hold)) / (2 * h) for hold in (True, False)]
    assert slopes[0] == pytest.approx(np.sum(dw * direction), rel=1e-8)
    assert abs(slopes[1] / slopes[0] - 1) > 1e-2


def test_evaluation_returns_the_vectors_it_was_given_and_nothing_is_written_to():
    u, v = started()
    for a in (u, v):
        a.flags.writeable = False
    _, _, state = rn.spectral_norm.forward(W, u, v, training=False)
    assert state.u is u and state.v is v
    _, (new_u, _) = rn.spectral_norm(W.astype(np.float32), u.astype(np.float32), v.astype(np.float32))
    assert new_u.dtype == np.float32


def test_the_norm_of_the_reshaped_kernel_is_not_that_of_the_convolution():
    """16 x 16 x 3 x 3 on 16 x 16 points: 1.6 times apart here, between 1 and 3 always.

    A patch alone among zeros comes out as the reshaped kernel times it, so the operator is at least that; every point is in 9
    patches, so it is at most sqrt(9) times it.
    """
    w = np.random.default_rng(4).normal(size=(16, 16, 3, 3))
    reshaped = np.linalg.norm(w.reshape(16, -1), 2)
    operator = rn.conv_spectral_norm.forward(w, spatial=(16, 16))[1].saved.sigma
    assert 1.4 < operator / reshaped < 1.8
    for seed in range(20):
        w = np.random.default_rng(seed).normal(size=(3, 2, 2, 3))
        reshaped = np.linalg.norm(w.reshape(3, -1), 2)
        sigma = rn.conv_spectral_norm.forward(w, spatial=(5, 6))[1].saved.sigma
        assert reshaped <= sigma * (1 + 1e-14) and sigma <= np.sqrt(6) * reshaped * (1 + 1e-14)
    flat = np.ones((1, 1, 3, 3))                     # both bounds are met: by a kernel of ones, and by one of a single tap
    assert rn.conv_spectral_norm.forward(flat, spatial=(4, 4))[1].saved.sigma == pytest.approx(9, rel=1e-15)


def dense(w, spatial, circular=True):
    """The convolution as a matrix: its columns are what it makes of each point."""
    points = list(np.ndindex(*spatial))
    size = tuple(spatial)
    out = np.zeros((w.shape[0], len(points), w.shape[1], len(points)))
    for row, p in enumerate(points):
        for k in np.ndindex(*w.shape[2:]):
            q = np.add(p, k)
            if circular or all(q < size):
                out[:, row, :, points.index(tuple(q % size))] += w[(slice(None), slice(None), *k)]
    return out.reshape(w.shape[0] * len(points), -1)


def test_the_spectrum_is_that_of_the_dense_matrix():
    w = np.random.default_rng(5).normal(size=(3, 2, 2, 3))
    mine = np.sort(conv_spectrum.singular_values(w, (4, 5)), axis=None)
    theirs = np.sort(np.linalg.svd(dense(w, (4, 5)), compute_uv=False))
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-13)


def test_a_larger_grid_bounds_the_convolution_with_zeros_around_it():
    for seed in range(10):
        w = np.random.default_rng(seed).normal(size=(2, 2, 2, 2))
        zeros = np.linalg.norm(dense(w, (4, 4), circular=False), 2)
        assert zeros <= rn.conv_spectral_norm.forward(w, spatial=(5, 5))[1].saved.sigma * (1 + 1e-14)


def test_without_a_kernel_it_is_the_matrix_norm_and_its_gradient():
    w, dw = np.random.default_rng(6).normal(size=(2, 5, 4))
    y, cache = rn.conv_spectral_norm.forward(w, spatial=())
    np.testing.assert_allclose(y, w / np.linalg.norm(w, 2), rtol=1e-13)
    u, s, vt = np.linalg.svd(w)
    expected = (dw - np.sum(dw * w / s[0]) * np.outer(u[:, 0], vt[0])) / s[0]
    np.testing.assert_allclose(rn.conv_spectral_norm.backward(dw, cache)[0], expected, rtol=1e-11, atol=1e-14)
    assert cache.saved.gap == pytest.approx(1 - s[1] / s[0], rel=1e-12)


def test_the_second_derivative_is_the_true_one():
    """Differences of the explicit gradient, nothing frozen: the singular vectors move, and the tape knows."""
    w, t, direction = np.random.default_rng(7).normal(size=(3, 3, 2, 2, 2))

    def gradient(a):
        y, cache = rn.conv_spectral_norm.forward(a, spatial=(4, 3))
        return rn.conv_spectral_norm.backward(t * (1 - np.tanh(y) ** 2), cache)[0]

    curved = hvp(lambda a: np.sum(t * np.tanh(rn.conv_spectral_norm.forward(a, spatial=(4, 3))[0])), w, direction)
    h = 1e-5
    measured = (gradient(w + h * direction) - gradient(w - h * direction)) / (2 * h)
    np.testing.assert_allclose(measured, curved, rtol=1e-5, atol=1e-8)


def test_at_a_tie_the_gap_is_zero_and_the_gradient_one_of_a_side():
    """A single tap: all singular values are equal.  sigma is convex, so a gradient is one that lies under it everywhere."""
    w = np.zeros((2, 2, 3))
    w[:, :, 1] = np.eye(2)
    saved = rn.conv_spectral_norm.forward(w, spatial=(6,))[1].saved
    assert saved.gap == pytest.approx(0, abs=1e-15)
    t = conv_spectrum.slope(saved)
    for seed in range(20):
        other = w + np.random.default_rng(seed).normal(size=w.shape)
        sigma = rn.conv_spectral_norm.forward(other, spatial=(6,))[1].saved.sigma
        assert sigma >= saved.sigma + np.sum(t * (other - w)) - 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.spectral_norm(W, np.ones(5), np.ones(12)), r"u has shape \(5,\); w has .* shape \(6,\)"),
        (lambda: rn.spectral_norm(W, np.ones(6), np.ones(6)), r"v has shape \(6,\); w has .* must have shape \(12,\)"),
        (lambda: rn.spectral_norm(W, *started(), n_power_iterations=0), "n_power_iterations is 0; it must be a positive"),
        (lambda: rn.spectral_norm(W, *started(), dim=None), "dim is None; spectral norm is of a matrix"),
        (lambda: rn.spectral_norm(W, *started(), dim=3), r"dim is 3; w has shape \(6, 4, 3\), so it must lie in -3..2"),
        (lambda: rn.conv_spectral_norm(W, spatial=(2,)), r"spatial is \(2,\); w has .* 1 integers, at least \(3,\)"),
        (lambda: rn.conv_spectral_norm(W, spatial=5), "spatial is 5; w has shape"),
    ],
)
def test_errors_name_the_argument_its_value_and_the_right_form(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_vector_that_is_missing_or_no_array_is_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="u"):
        rn.spectral_norm(W)
    with pytest.raises(TypeError, match="u is a list; it must be a NumPy array"):
        rn.spectral_norm(W, [1.0] * 6, np.ones(12))


def red(method, proof):
    return any(not proof(problem).ok for problem in problems(method))


def test_planted_bugs_are_seen():
    """sigma taken as a constant; u and v swapped in the update; u and v updated in evaluation; the slope not conjugated."""
    spectral, conv = rn.NORMS["spectral_norm"], rn.NORMS["conv_spectral_norm"]

    def constant_sigma(dy, saved, **_):
        return (dy / saved.sigma,)

    for method in (spectral, conv):
        assert red(replace(method, derive=constant_sigma), witnesses.tape)
        assert red(replace(method, derive=constant_sigma), witnesses.differences)

    def other_order(**arguments):
        other = {"u": "hook", "v": "torch"}[arguments["dialect"].conventions["first"]]
        return spectral.compute(**{**arguments, "dialect": spectral.dialects[other]})

    def always_training(**arguments):
        return spectral.compute(**{**arguments, "training": True})

    assert red(replace(spectral, compute=other_order), witnesses.loops)
    assert red(replace(spectral, compute=always_training), witnesses.loops)

    def not_conjugated(dy, saved, **arguments):
        return conv.derive(dy, saved._replace(u=np.conj(saved.u)), **arguments)

    assert red(replace(conv, derive=not_conjugated), witnesses.tape)
