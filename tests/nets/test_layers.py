"""Layers, losses and the joint step, against PyTorch and against finite differences."""

import numpy as np
import pytest

from refnorm.autodiff import grad, hvp, vjp
from refnorm.autodiff.joint import joint
from refnorm.nets.layers import ACTIVATIONS, average_pool, convolve, relu
from refnorm.nets.losses import accuracy, cross_entropy, squared_error

rng = np.random.default_rng


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
def test_convolution_is_pytorchs(kernel):
    torch = pytest.importorskip("torch")
    x, w = rng(0).normal(size=(3, 4, 6, 5)), rng(1).normal(size=(2, 4, *kernel))
    g = rng(2).normal(size=(3, 2, 6, 5))
    y, pull = vjp(convolve, x, w)
    xt, wt = (torch.tensor(a, requires_grad=True) for a in (x, w))
    yt = torch.nn.functional.conv2d(xt, wt, padding=tuple(k // 2 for k in kernel))
    yt.backward(torch.tensor(g))
    for mine, theirs in zip((y, *pull(g)), (yt.detach(), xt.grad, wt.grad), strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=0, atol=1e-12)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel of 2 x 2; it must be odd"):
        convolve(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)))


def test_pooling_takes_means_of_blocks():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(average_pool(x)[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    with pytest.raises(ValueError, match="must divide its 3 x 4"):
        average_pool(np.ones((1, 1, 3, 4)))


def test_cross_entropy_is_pytorchs_to_second_order():
    torch = pytest.importorskip("torch")
    logits, v, labels = rng(0).normal(size=(5, 4)), rng(1).normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    f = torch.nn.functional.cross_entropy
    t = torch.tensor(logits, requires_grad=True)
    (g,) = torch.autograd.grad(f(t, torch.tensor(labels)), t, create_graph=True)
    (h,) = torch.autograd.grad((g * torch.tensor(v)).sum(), t)
    np.testing.assert_allclose(cross_entropy(logits, labels), f(t, torch.tensor(labels)).item(), rtol=1e-14)
    np.testing.assert_allclose(grad(lambda z: cross_entropy(z, labels))(logits), g.detach().numpy(), atol=1e-15)
    np.testing.assert_allclose(hvp(lambda z: cross_entropy(z, labels), logits, v), h.numpy(), atol=1e-15)


def test_cross_entropy_of_huge_logits_is_finite():
    assert cross_entropy(np.array([[1e4, -1e4]]), np.array([1])) == 2e4


@pytest.mark.parametrize("labels", [np.array([0.0, 1.0]), np.array([0]), np.array([0, 3])])
def test_labels_that_are_none_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels has .*must be 2 integers in 0..2"):
        cross_entropy(np.ones((2, 3)), labels)


def test_squared_error_and_accuracy():
    assert squared_error(np.ones((2, 3)), np.zeros((2, 3))) == 1.5
    assert accuracy(np.array([[1.0, 2], [3, 0]]), np.array([1, 1])) == 0.5
    with pytest.raises(ValueError, match="targets has shape"):
        squared_error(np.ones((2, 3)), np.ones((3, 2)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_their_slopes(name):
    f, x, v, h = ACTIVATIONS[name], rng(3).normal(size=50), rng(4).normal(size=50), 1e-6
    slope = vjp(f, x)[1](v)[0] @ v
    np.testing.assert_allclose(slope, v @ (f(x + h * v) - f(x - h * v)) / (2 * h), rtol=1e-7)


def test_a_joint_step_has_derivatives_of_any_order():
    """x^3 with what the forward kept, against the plain text: first and second derivative, and nested levels."""
    cube = joint(lambda x: (x * x * x, x * x), lambda g, square: (3 * g * square,))
    x, v = rng(5).normal(size=7), rng(6).normal(size=7)
    np.testing.assert_allclose(grad(lambda x: np.sum(cube(x)))(x), 3 * x**2)
    np.testing.assert_allclose(hvp(lambda x: np.sum(cube(x) * x), x, v), 12 * x**2 * v)
    assert type(cube(x)) is np.ndarray


def test_a_joint_step_sums_what_was_broadcast():
    add = joint(lambda x, b: (x + b, None), lambda g, kept: (g, g))
    np.testing.assert_array_equal(vjp(add, np.ones((3, 2)), np.ones(2))[1](np.ones((3, 2)))[1], [3.0, 3.0])


def test_relu_is_flat_at_zero():
    assert vjp(relu, np.zeros(1))[1](np.ones(1))[0] == 0
