"""Gradients and updates: projectors, tangency, and steps on the sphere."""

import numpy as np
import pytest

import refnorm as rn

W = np.random.default_rng(0).normal(size=(5, 4, 3))
G = np.random.default_rng(1).normal(size=W.shape)


def along(a, b):
    """<a, b> of each row."""
    return np.sum(a * b, axis=(1, 2))


def lengths(w):
    return np.sqrt(along(w, w))


def test_centralization_and_the_tangent_are_projectors():
    for project in (rn.gradient_centralization, lambda g: rn.tangent_projection(g, W)):
        once, other = project(G), np.random.default_rng(2).normal(size=W.shape)
        np.testing.assert_allclose(project(once), once, rtol=1e-13, atol=1e-15)
        assert np.sum(other * once) == pytest.approx(np.sum(project(other) * G), rel=1e-13)          # symmetric
        assert np.linalg.norm(once) < np.linalg.norm(G)


def test_what_they_remove():
    np.testing.assert_allclose(rn.gradient_centralization(G).sum((1, 2)), 0, atol=1e-14)
    np.testing.assert_allclose(along(rn.tangent_projection(G, W), W), 0, atol=1e-14)
    whole = rn.tangent_projection(G, W, dim=None)
    assert abs(np.sum(whole * W)) < 1e-13 and np.max(np.abs(along(whole, W))) > 0.1


def test_centralization_is_that_of_the_authors_code(peer):
    torch = peer("torch")
    g = torch.tensor(G)
    g.add_(-g.mean(dim=tuple(range(1, g.dim())), keepdim=True))
    np.testing.assert_allclose(rn.gradient_centralization(G), g.numpy(), rtol=1e-14)


def test_the_tangent_knows_the_direction_of_the_weight_alone():
    a = np.array([0.5, -2, 3, 1e-3, 1e3])[:, None, None]
    np.testing.assert_allclose(rn.tangent_projection(G, a * W), rn.tangent_projection(G, W), rtol=1e-12, atol=1e-14)
    dw = rn.tangent_projection.backward(G, rn.tangent_projection.forward(W[::-1].copy(), W)[1])[1]
    np.testing.assert_allclose(along(dw, W), 0, atol=1e-13)


def test_the_gradient_of_a_weight_whose_scale_is_normalized_away_is_tangent_already():
    dv = rn.weight_norm.backward(G, rn.weight_norm.forward(W)[1])[0]
    np.testing.assert_allclose(rn.tangent_projection(dv, W), dv, rtol=1e-12, atol=1e-15)
    dw = rn.centered_weight_norm.backward(G, rn.centered_weight_norm.forward(W)[1])[0]
    np.testing.assert_allclose(rn.gradient_centralization(dw), dw, rtol=1e-12, atol=1e-15)


def test_a_plain_step_leaves_the_sphere_and_a_retraction_stays():
    t, lr = rn.tangent_projection(G, W), 0.3
    np.testing.assert_allclose(along(W - lr * t, W - lr * t), along(W, W) + lr**2 * along(t, t), rtol=1e-13)
    on = rn.sphere_retraction(W, t, step=lr)
    np.testing.assert_allclose(lengths(on), lengths(W), rtol=1e-14)
    np.testing.assert_allclose(on, (W - lr * t) * (lengths(W) / lengths(W - lr * t))[:, None, None], rtol=1e-13)


def test_a_retraction_is_the_plain_step_to_first_order():
    t = rn.tangent_projection(G, W)
    off = [np.max(np.abs(rn.sphere_retraction(W, t, step=h) - (W - h * t))) for h in (1e-3, 5e-4)]
    assert off[0] / off[1] == pytest.approx(4, rel=1e-2)
    np.testing.assert_allclose(rn.sphere_retraction(W, t, step=0.0), W, rtol=1e-15)


def test_descent_on_the_sphere_finds_the_smallest_eigenvalue():
    """x' A x on the sphere: its minimum is the bottom eigenvector; the length is what it was, 400 steps later."""
    rng = np.random.default_rng(3)
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    a, w = q @ np.diag(np.arange(1.0, 7)) @ q.T, rng.normal(size=(2, 6))
    before = np.linalg.norm(w, axis=1)
    for _ in range(400):
        w = rn.sphere_retraction(w, rn.tangent_projection(2 * w @ a, w), step=0.05)
    np.testing.assert_allclose(np.abs(w @ q[:, 0]) / before, 1, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(w, axis=1), before, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.tangent_projection(G, W[:4]), r"w has shape \(4, 4, 3\); g has .* so it must have shape \(5, 4, 3\)"),
        (lambda: rn.sphere_retraction(W, G, step=np.inf), "step is inf; it must be a finite number"),
        (lambda: rn.sphere_retraction(W, G, step="lr"), "step is 'lr'; it must be a finite number"),
        (lambda: rn.gradient_centralization(G, dim=3), r"dim is 3; g has shape .* it must lie in -3..2, or be None"),
        (lambda: rn.gradient_centralization(G[0, 0]), r"g has shape \(3,\); it must have at least two axes"),
    ],
)
def test_errors_name_the_argument_its_value_and_the_right_form(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
