"""ConvNorm: the isometry that holds on a circle and breaks at the crop, the stop in its gradient, its population."""

from dataclasses import replace

import numpy as np
import pytest

import refnorm as rn
from refnorm.operations import conv_precondition
from refnorm.proofs import problems, witnesses

X = np.random.default_rng(0).normal(size=(3, 2, 6, 5))
W = np.random.default_rng(1).normal(size=(4, 2, 3, 3))


def as_matrix(w, size, **options):
    """x -> y as a matrix, (out, points of y, in, points of x): its columns are what it makes of each entry alone."""
    n = w.shape[1] * int(np.prod(size))
    y = rn.conv_norm.forward(np.eye(n).reshape(n, w.shape[1], *size), w, **options)[0]
    return np.moveaxis(y.reshape(n, w.shape[0], -1), 0, -1)


def test_every_channel_is_an_isometry_on_the_circle():
    q = as_matrix(W, (6, 5))
    for channel in q:
        np.testing.assert_allclose(channel @ channel.T, np.eye(30), atol=1e-12)


def test_the_authors_crop_is_no_isometry():
    q = as_matrix(W, (6, 5), dialect="original", padding=1)
    defects = [np.max(np.abs(channel @ channel.T - np.eye(30))) for channel in q]
    assert min(defects) > 0.05                       # inside the padded grid it is one, and the crop cuts it


def test_all_channels_together_are_at_most_the_root_of_their_number():
    worst = 0.0
    for seed in range(200):
        w = np.random.default_rng(seed).normal(size=(4, 3, 3, 3))
        q = conv_precondition.response(w, (8, 8), 0.0)
        responses = np.moveaxis(q[:, None] * conv_precondition.transform(w, (8, 8)), (0, 1), (-2, -1))
        worst = max(worst, float(np.max(np.linalg.norm(responses, 2, axis=(-2, -1)))))
    assert 1.8 < worst <= 2
    stacked = as_matrix(W, (6, 5)).reshape(4 * 30, -1)
    assert np.linalg.norm(stacked, 2) <= 2


@pytest.mark.parametrize(("out", "channels", "norm"), [(16, 16, 1.92), (16, 64, 1.48), (64, 16, 2.93)])
def test_independent_channels_come_near_one_plus_the_root_of_their_ratio(out, channels, norm):
    found = []
    for seed in range(3):
        w = np.random.default_rng(seed).normal(size=(out, channels, 3, 3))
        q = conv_precondition.response(w, (8, 8), 0.0)
        responses = np.moveaxis(q[:, None] * conv_precondition.transform(w, (8, 8)), (0, 1), (-2, -1))
        found.append(np.max(np.linalg.norm(responses, 2, axis=(-2, -1))))
    assert np.mean(found) == pytest.approx(norm, abs=0.1)
    assert np.mean(found) < 1 + np.sqrt(out / channels)


def test_it_is_pytorchs_convolution_filtered(peer):
    torch = peer("torch")
    y, _ = rn.conv_norm(X, W)
    around = torch.nn.functional.pad(torch.tensor(X), [0, 2, 0, 2], mode="circular")
    plain = torch.nn.functional.conv2d(around, torch.tensor(W)).numpy()
    length = np.sqrt(np.sum(np.square(np.abs(np.fft.fft2(W, (6, 5)))), axis=1))
    np.testing.assert_allclose(y, np.real(np.fft.ifft2(np.fft.fft2(plain) / length)), rtol=1e-11, atol=1e-13)


def test_a_single_tap_is_weight_norm():
    """One tap: every frequency answers alike, and each channel of the kernel is put onto the unit sphere."""
    w = W[:, :, :1, :1]
    y, _ = rn.conv_norm(X, w)
    expected = np.einsum("oi,nihw->nohw", rn.weight_norm(w)[:, :, 0, 0], X)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)


def test_the_authors_sizes_are_those_of_a_convolution(peer):
    torch = peer("torch")
    for padding, stride in ((0, 1), (1, 1), (2, 1), (1, 2), (0, 3)):
        y = rn.conv_norm(X, W, dialect="original", padding=padding, stride=stride)[0]
        assert y.shape == tuple(torch.nn.functional.conv2d(torch.tensor(X), torch.tensor(W), None, stride, padding).shape)
    np.testing.assert_array_equal(rn.conv_norm(X, W, stride=2)[0], rn.conv_norm(X, W)[0][:, :, ::2, ::2])


def test_the_gradient_does_not_know_that_the_scale_is_gone():
    """The output stays under w_o -> a_o w_o; the gradient that the authors take has <dw_o, w_o> = <dy_o, y_o> all the same."""
    a = np.array([0.5, 2.0, 3.0, 0.1])[:, None, None, None]
    y, cache, _ = rn.conv_norm.forward(X, W)
    np.testing.assert_allclose(rn.conv_norm(X, a * W)[0], y, rtol=1e-12, atol=1e-14)
    dy = np.random.default_rng(2).normal(size=y.shape)
    _, dw = rn.conv_norm.backward(dy, cache)
    np.testing.assert_allclose(np.sum(dw * W, (1, 2, 3)), np.sum(dy * y, (0, 2, 3)), rtol=1e-11)
    direction, h = np.random.default_rng(3).normal(size=W.shape), 1e-6
    moved = [np.sum(dy * rn.conv_norm(X, W + s * h * direction)[0]) for s in (1, -1)]
    true, theirs = (moved[0] - moved[1]) / (2 * h), np.sum(dw * direction)
    assert abs(true / theirs - 1) > 1e-2             # the derivative of the output sees the preconditioner move


def test_a_frequency_without_response_is_nan_and_eps_mends_it():
    w = np.array([[[1.0, -1.0]]])                    # a difference: no response to a constant
    x = np.random.default_rng(4).normal(size=(1, 1, 6))
    assert np.all(np.isnan(rn.conv_norm(x, w)[0]))
    assert np.all(np.isfinite(rn.conv_norm(x, w, eps=1e-6)[0]))


def test_the_population_over_three_steps():
    state = rn.conv_norm.state()
    kept = 0.0
    for step in range(3):
        w = W + 0.1 * step
        _, state = rn.conv_norm(X, w, state=state)
        new = (np.cos(np.pi * (step + 1) / 40000) + 1) / 2
        kept = new / np.sqrt(np.sum(np.square(np.abs(np.fft.rfft2(w, (6, 5)))), axis=1)) + (1 - new) * kept
    np.testing.assert_allclose(state.preconditioner, kept, rtol=1e-13)
    assert state.count == 3
    y = rn.conv_norm(X, 2 * W, state=state, training=False)
    np.testing.assert_allclose(y, 2 * rn.conv_norm(X, W, state=state, training=False), rtol=1e-13)      # no more invariant
    assert rn.conv_norm.forward(X, W, state=state, training=False)[2] is state
    late = rn.conv_norm(X, W, state=rn.conv_norm.state(state.preconditioner, 10**6))[1].preconditioner
    fresh = rn.conv_norm(X, W, momentum=1.0)[1].preconditioner
    np.testing.assert_allclose(late, 0.01 * fresh + 0.99 * state.preconditioner, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.conv_norm(X[:, :, 0, 0], W), r"x has shape \(3, 2\); it must have a spatial axis, \(N, in, \*spatial\)"),
        (lambda: rn.conv_norm(X, W[:, :1]), r"w has shape \(4, 1, 3, 3\); x has .* it must be \(out, 2, \*kernel"),
        (lambda: rn.conv_norm(X, W[..., 0]), "w has shape .* a kernel of rank 2 and at most"),
        (lambda: rn.conv_norm(X[..., :2], W), "w has shape .* a kernel of rank 2 and at most"),
        (lambda: rn.conv_norm(X, W, stride=0), "stride is 0; it must be a positive integer"),
        (lambda: rn.conv_norm(X, W, padding=1), "padding is 1; under the circular dialect there is none: it must be 0"),
        (lambda: rn.conv_norm(X, W, padding=3, dialect="original"), r"padding is 3; w has shape .* it must lie in 0..2"),
        (lambda: rn.conv_norm(X, W, training=False), "state is None; with training=False it must hold a preconditioner"),
        (lambda: rn.conv_norm(X, W, state=rn.conv_norm.state(np.ones((4, 6, 6)))), "state.preconditioner has shape"),
        (lambda: rn.conv_norm(X, W, momentum=2.0), "momentum is 2.0; it must lie in 0..1"),
    ],
)
def test_errors_name_the_argument_its_value_and_the_right_form(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def red(method, proof):
    return any(not proof(problem).ok for problem in problems(method))


def test_planted_bugs_are_seen():
    """A convolution for a correlation; a preconditioner that the gradient sees; a state that weighs the old value."""
    method = rn.NORMS["conv_norm"]

    def flipped(**arguments):
        w = arguments["w"]
        turned = w[(slice(None), slice(None), *(slice(None, None, -1) for _ in w.shape[2:]))]
        return method.compute(**{**arguments, "w": turned})

    assert red(replace(method, compute=flipped), witnesses.loops)
    assert red(replace(method, compute=flipped), witnesses.peer)

    def tangent(dy, saved, **arguments):
        dx, dw = method.derive(dy, saved, **arguments)
        w, axes = arguments["w"], tuple(range(1, arguments["w"].ndim))
        return dx, dw - w * np.sum(w * dw, axes, keepdims=True) / np.sum(w * w, axes, keepdims=True)

    assert red(replace(method, derive=tangent), witnesses.tape) and red(replace(method, derive=tangent), witnesses.differences)

    def old(**arguments):
        momentum = arguments["momentum"]
        return method.compute(**{**arguments, "momentum": None if momentum is None else 1 - momentum})

    assert red(replace(method, compute=old), witnesses.loops)
