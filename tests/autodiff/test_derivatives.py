"""vjp, jvp, grad, value_and_grad, hvp, jacobian: what they answer, and what they refuse."""

import ml_dtypes
import numpy as np
import pytest

from refnorm.autodiff import grad, hvp, jacobian, jvp, value_and_grad, vjp

RNG = np.random.default_rng(0)
A, X, V = RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=3)


def test_vjp_of_several_arguments_and_outputs():
    def f(x, w, unused):
        return np.sum(w @ x), w @ x, np.ones(2)

    (a, b, c), pull = vjp(f, X, A, np.ones((2, 2)))
    np.testing.assert_array_equal(b, A @ X)
    np.testing.assert_array_equal(c, np.ones(2))
    assert a == np.sum(A @ X)
    g = RNG.normal(size=4)
    dx, dw, dunused = pull((2.0, g, np.ones(2)))
    np.testing.assert_allclose(dx, (g + 2) @ A)
    np.testing.assert_allclose(dw, np.outer(g + 2, X))
    np.testing.assert_array_equal(dunused, np.zeros((2, 2)))
    for left, right in zip(pull((None, g, None)), pull((0.0, g, np.zeros(2))), strict=True):
        np.testing.assert_array_equal(left, right)


def test_pull_may_be_called_again_and_keeps_its_hands_off():
    _, pull = vjp(lambda x: (x, np.broadcast_to(x, (2, 3)), x), X)
    gs = (np.ones(3), np.ones((2, 3)), np.ones(3))
    first, second = pull(gs)[0], pull(gs)[0]
    np.testing.assert_array_equal(first, np.full(3, 4.0))
    np.testing.assert_array_equal(second, first)
    first[:] = 7                                                            # its own memory
    np.testing.assert_array_equal(gs[0], np.ones(3))
    _, pull = vjp(lambda x: x, X)
    g = np.ones(3)
    pull(g)[0][:] = 7
    np.testing.assert_array_equal(g, np.ones(3))


def test_jvp():
    y, dy = jvp(lambda x: np.tanh(A @ x), X, V)
    np.testing.assert_allclose(dy, (1 - y**2) * (A @ V))
    _, (d1, d2) = jvp(lambda x, w: (w @ x, np.sum(x)), (X, A), (V, A))
    np.testing.assert_allclose(d1, A @ V + A @ X)
    np.testing.assert_allclose(d2, np.sum(V))
    np.testing.assert_array_equal(jvp(lambda x: np.ones(2), (X,), (V,))[1], np.zeros(2))
    third = jvp(lambda x: jvp(lambda x: jvp(lambda x: np.sum(x**3), x, V)[1], x, V)[1], X, V)[1]
    np.testing.assert_allclose(third, 6 * np.sum(V**3))


def test_grad_of_chosen_arguments():
    def f(x, w, *, scale=1.0):
        return scale * np.sum(np.square(w @ x))

    np.testing.assert_allclose(grad(f)(X, A), 2 * A.T @ A @ X)
    np.testing.assert_allclose(grad(f, 1)(X, A, scale=3.0), 6 * np.outer(A @ X, X))
    dw, dx = grad(f, (1, 0))(X, A)
    np.testing.assert_allclose(dw, 2 * np.outer(A @ X, X))
    np.testing.assert_allclose(dx, 2 * A.T @ A @ X)
    y, (dx,) = value_and_grad(f, (0,))(X, A)
    assert y == f(X, A)
    assert grad(lambda x: x * x)(3) == 6                                    # Python's numbers are float64
    np.testing.assert_array_equal(grad(lambda x: np.sum(x * x))([1, 2]), [2, 4])
    assert grad(lambda x: 3.0)(1.0) == 0


def test_hvp_and_jacobian():
    def f(x):
        return np.sum(np.tanh(A @ x))

    hessian = jacobian(grad(f))(X)
    t = np.tanh(A @ X)
    np.testing.assert_allclose(hessian, A.T @ np.diag(-2 * t * (1 - t**2)) @ A)
    np.testing.assert_allclose(hvp(f, X, V), hessian @ V)
    assert jacobian(lambda x: np.outer(x, x))(X).shape == (3, 3, 3)
    np.testing.assert_array_equal(jacobian(lambda w, x: w @ x, 1)(A, X), A)
    assert jacobian(lambda x: x[:0])(X).shape == (0, 3)
    np.testing.assert_array_equal(hvp(np.sum, X, V), np.zeros(3))


def test_complex_gradient_is_the_steepest_ascent():
    """f = |z|^2: 2 z, and not its conjugate; a real argument has a real cotangent."""
    z = np.array([1 + 2j, -3j])
    np.testing.assert_array_equal(grad(lambda z: np.sum(np.real(z * np.conj(z))))(z), 2 * z)
    np.testing.assert_array_equal(grad(lambda z: np.real(np.sum((2 + 1j) * z)))(z), np.full(2, 2 - 1j))
    assert grad(lambda x: np.sum(np.abs(x * z)))(np.ones(2)).dtype == np.float64


@pytest.mark.parametrize("call, error, words", [
    (lambda: grad(lambda x: x * 2)(X), ValueError, r"real scalar.*shape \(3,\)"),
    (lambda: grad(lambda x: np.sum(x) * 1j)(X), ValueError, "real scalar.*complex128"),
    (lambda: vjp(np.sum, np.arange(3)), TypeError, "argument 0 has dtype int64"),
    (lambda: vjp(np.sum, np.array(["a"])), TypeError, "argument 0 has dtype <U1"),
    (lambda: vjp(lambda x: x, X)[1](np.ones(2)), ValueError, r"shape \(2,\); it must have the output's, \(3,\)"),
    (lambda: vjp(lambda x: x, X)[1](1.0), ValueError, r"shape \(\)"),
    (lambda: vjp(lambda x: (x, x), X)[1]((X,)), ValueError, "2 outputs and got 1"),
    (lambda: grad(lambda x: np.sum(x.astype(ml_dtypes.bfloat16)))(X), TypeError, "bfloat16 cannot be traced"),
    (lambda: vjp(np.sum, X.astype(ml_dtypes.bfloat16)), TypeError, "argument 0 has dtype bfloat16"),
    (lambda: jacobian(lambda x: x, X), TypeError, r"jacobian\(f\)\(x\)"),
    (lambda: jacobian(lambda x: x * 1j)(X), ValueError, "real array"),
    (lambda: jacobian(lambda x: (x, x))(X), ValueError, "one real array"),
    (lambda: jvp(lambda x: x, (X,), (V, V)), ValueError, "1 outputs and got 2"),
])  # fmt: skip
def test_errors_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()
