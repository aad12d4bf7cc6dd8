"""stop and frozen: the tape of a function with stops is that of the function which it freezes to."""

import numpy as np
import pytest
from taylor import slopes

from refnorm.autodiff import frozen, grad, stop, vjp

X = np.array([0.5, -1.5, 2.0])


def half_stopped(x):
    scale = stop(np.sqrt(np.mean(x * x)))
    return np.sum(x**3) / scale + stop(x)[0] * np.sum(x)


def test_stop_is_the_identity_with_a_zero_derivative():
    assert stop(X) is X
    np.testing.assert_array_equal(grad(lambda x: np.sum(stop(x) * x))(X), X)
    np.testing.assert_array_equal(grad(lambda x: np.sum(stop(x)))(X), 0 * X)
    np.testing.assert_array_equal(grad(lambda x: np.sum(x * grad(lambda y: np.sum(stop(x * y) * y))(x)))(X), X**2)


def test_differences_of_the_frozen_function_are_the_tape_of_the_stopped_one():
    v, h, f = np.array([1.0, -0.5, 0.3]), 1e-6, frozen(half_stopped, X)
    tape = np.sum(grad(half_stopped)(X) * v)
    np.testing.assert_allclose((f(X + h * v) - f(X - h * v)) / (2 * h), tape, rtol=1e-8)
    assert abs((half_stopped(X + h * v) - half_stopped(X - h * v)) / (2 * h) - tape) > 0.01
    np.testing.assert_array_equal(grad(f)(X), grad(half_stopped)(X))
    assert f(X) == half_stopped(X)
    first, second = slopes(f, X)
    assert first > 1.95
    assert second > 2.9


def test_stops_are_kept_in_their_order():
    f = frozen(lambda x: stop(x) + 10 * stop(2 * x), 1.0)
    assert f(5.0) == f(7.0) == 21


def test_nested():
    """An inner frozen keeps what the outer one gives it."""
    def inner(x):
        return stop(x) * x

    def outer(x):
        return frozen(inner, x)(x + 1) + stop(x)

    f = frozen(outer, 2.0)
    assert outer(2.0) == 2 * 3 + 2
    assert f(5.0) == 2 * 6 + 2
    assert outer(5.0) == 5 * 6 + 5


def test_traced_or_plain_the_kept_value_is_plain():
    y, pull = vjp(lambda x: frozen(half_stopped, x)(x), X)
    np.testing.assert_array_equal(pull(np.ones(()))[0], grad(half_stopped)(X))
    assert y == half_stopped(X)


def test_a_different_run_raises():
    with pytest.raises(ValueError, match=r"stop number 1 has shape \(2,\), in f\(\*xs\) it had \(3,\)"):
        frozen(lambda x: stop(x) * x, X)(X[:2])
    count = [1]

    def f(x):
        return sum(stop(x) for _ in range(count[0]))

    g = frozen(f, 1.0)
    count[0] = 2
    with pytest.raises(ValueError, match=r"a stop number 2, where f\(\*xs\) had 1"):
        g(1.0)
    count[0] = 0
    with pytest.raises(ValueError, match=r"0 stops, where f\(\*xs\) had 1"):
        g(1.0)
    assert stop(X) is X                                                     # and nothing stays behind
