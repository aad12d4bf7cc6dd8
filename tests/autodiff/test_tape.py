"""A traced array behaves as an ndarray does, or says why it does not: nothing hangs, and no derivative is lost in silence."""

import math
import threading

import numpy as np
import pytest

from refnorm.autodiff import Box, defvjp, grad, primitive, vjp
from refnorm.autodiff.core import Node


def trace(f, *xs):
    """What happens to traced xs in f, returned as it is."""
    kept = []

    def g(*boxes):
        kept.append(f(*boxes))
        return sum(np.sum(b) for b in boxes)

    vjp(g, *xs)
    return kept[0]


X = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])


@pytest.mark.parametrize("f", [
    lambda x: x.shape, lambda x: x.ndim, lambda x: x.size, lambda x: x.dtype, lambda x: len(x), lambda x: x.nbytes,
    lambda x: np.shape(x), lambda x: x > 0, lambda x: x <= x, lambda x: x == 1.5, lambda x: 1 < x, lambda x: x != x,
    lambda x: x.argmax(axis=0), lambda x: x.any(), lambda x: np.floor(x), lambda x: bool(x[0, 0]), lambda x: 1.5 in x,
    lambda x: x.astype(int), lambda x: np.isnan(x), lambda x: x.nonzero(), lambda x: x.round(), lambda x: x // 2,
    lambda x: np.sign(x),
])  # fmt: skip
def test_constants_are_plain(f):
    answer = trace(f, X)
    assert "Box" not in repr(answer)
    np.testing.assert_equal(answer, f(X))


@pytest.mark.parametrize("f", [
    lambda x: x + 1, lambda x: 1 - x, lambda x: x * x, lambda x: 2 / x, lambda x: x / 2, lambda x: -x, lambda x: +x,
    lambda x: abs(x),
    lambda x: x**2, lambda x: 2.0**x, lambda x: x @ x.T, lambda x: X @ x.T, lambda x: x.T @ X, lambda x: x % 2, lambda x: 7 % x,
    lambda x: divmod(x, 2)[1], lambda x: np.float64(2) * x, lambda x: x * [1.0, 2.0, 3.0], lambda x: [1.0, 2.0, 3.0] - x,
    lambda x: x.T, lambda x: x.mT, lambda x: x.real, lambda x: x.imag, lambda x: x[1], lambda x: x[..., -1:],
    lambda x: x[x > 0],
    lambda x: x.mean(), lambda x: x.mean(0), lambda x: x.sum(axis=1, keepdims=True), lambda x: x.var(0, ddof=1),
    lambda x: x.std(),
    lambda x: x.max(), lambda x: x.min(1), lambda x: x.prod(), lambda x: x.cumsum(0), lambda x: x.cumprod(),
    lambda x: x.reshape(3, -1),
    lambda x: x.reshape((3, 2)), lambda x: x.reshape(-1), lambda x: x.transpose(), lambda x: x.transpose(1, 0),
    lambda x: x.transpose((1, 0)), lambda x: x.swapaxes(0, 1), lambda x: x.ravel(), lambda x: x.flatten(), lambda x: x.copy(),
    lambda x: x.astype(np.float32), lambda x: x.astype(complex), lambda x: x.clip(-1, 1), lambda x: x.dot(X.T),
    lambda x: x.conj(),
    lambda x: x.squeeze(), lambda x: x.repeat(2, 1), lambda x: x.take([0, 1], axis=1), lambda x: x.trace(),
    lambda x: x.diagonal(),
    lambda x: sum(x), lambda x: np.stack([row * 2 for row in x]), lambda x: next(iter(x)), lambda x: max(x[0]),
    lambda x: np.multiply.outer is not None and np.outer(x, x),
])  # fmt: skip
def test_operators_and_methods_are_ndarrays(f):
    answer, expected = trace(f, X), f(X)
    assert isinstance(answer, Box)
    np.testing.assert_array_equal(answer.value, expected)
    assert answer.dtype == expected.dtype


@pytest.mark.parametrize("leak", [
    lambda x: np.asarray(x), lambda x: np.array([x, x]), lambda x: np.array(x, dtype=object),
    lambda x: np.array([x[0, 0]], dtype=object),
    lambda x: np.full(3, x[0, 0]), lambda x: np.float64(x[0, 0]), lambda x: float(x[0, 0]), lambda x: int(x[0, 0]),
    lambda x: complex(x[0, 0]), lambda x: math.sqrt(x[0, 0]), lambda x: range(x[0, 0]), lambda x: [1, 2, 3][x[0, 0]],
    lambda x: np.sum([x, x]), lambda x: np.add([x, 1.0], 2.0), lambda x: np.add(x, [x, x]), lambda x: np.ones(3).dot(x.T),
])  # fmt: skip
def test_a_leak_raises(leak):
    with pytest.raises(TypeError, match=r"traced array|would lose its derivative"):
        trace(leak, X)


def test_a_leak_into_an_array_raises():
    with pytest.raises((TypeError, ValueError)):
        trace(lambda x: np.zeros(3).__setitem__(0, x[0, 0]), X)
    with pytest.raises(TypeError, match="traced array"):
        trace(lambda x: np.zeros((2, 3)).__setitem__(slice(None), x), X)


def test_writing_in_place_raises():
    with pytest.raises(TypeError, match="cannot be written in place"):
        trace(lambda x: x.__setitem__(0, 1.0), X)
    for name in ("fill", "sort", "put", "resize"):
        with pytest.raises(AttributeError, match=rf"no \.{name}: it cannot be written in place"):
            trace(lambda x, name=name: getattr(x, name)(1), X)
    with pytest.raises(AttributeError, match=r"no \.tolist"):
        trace(lambda x: x.tolist(), X)

    def rebinding(x):
        y = x
        y += 1                                                              # a new array, as for any immutable
        y *= x
        return np.sum(y)

    np.testing.assert_array_equal(grad(rebinding)(X), 2 * X + 1)

    def into_an_array(x):
        y = np.ones_like(x)
        y += x
        return np.sum(y)

    with pytest.raises(NotImplementedError, match=r"numpy.add of a traced array takes no out="):
        grad(into_an_array)(X)


@pytest.mark.parametrize("call, words", [
    (lambda x: np.add(x, 1, out=np.zeros((2, 3))), "out="), (lambda x: np.sum(x, 0, None, np.zeros(3)), "out="),
    (lambda x: np.sum(x, axis=0, out=np.zeros(3)), "out="), (lambda x: np.sum(X, axis=0, out=x[0]), "out="),
    (lambda x: np.concatenate([x, x], 0, np.zeros((4, 3))), "out="), (lambda x: np.dot(x, X.T, np.zeros((2, 2))), "out="),
    (lambda x: np.add(x, 1, where=X > 0), "where="), (lambda x: np.multiply(X, 2, where=x), "where="),
    (lambda x: np.add(x, 1, dtype=np.float32), "dtype="), (lambda x: np.matmul(x, X, axes=[(0, 1), (1, 0), (0, 1)]), "axes="),
    (lambda x: np.add.reduce(x), "add.reduce"), (lambda x: np.multiply.outer(x, x), "multiply.outer"),
    (lambda x: np.add.at(np.zeros(3), 0, x), "add.at"), (lambda x: np.add.accumulate(x), "add.accumulate"),
    (lambda x: np.max(x, initial=0.0), "initial="), (lambda x: np.max(x, where=X > 0, initial=0), "initial, where="),
    (lambda x: np.var(x, where=X > 0), "where="), (lambda x: np.var(X, mean=x), "mean="),
    (lambda x: np.std(x, mean=x), "mean="),
    (lambda x: np.sum(x, initial=x[0, 0]), "argument number 6"), (lambda x: np.mean(x, where=x), "where="),
    (lambda x: np.zeros(3, like=x), "numpy.zeros"),
    (lambda x: np.nan_to_num(X, nan=x[0, 0]), "copyto"), (lambda x: np.einsum(x, [0, 1], [0]), "string"),
    (lambda x: np.tanh([x]), None),
])  # fmt: skip
def test_what_has_no_rule_raises_by_name(call, words):
    with pytest.raises(NotImplementedError if words else TypeError, match=words):
        trace(call, X)


@pytest.mark.parametrize("call", [
    lambda x: np.sum(a=x), lambda x: np.mean(a=x, axis=0), lambda x: np.clip(X, a_min=x, a_max=None),
    lambda x: np.clip(X, min=x),
    lambda x: np.average(X, weights=x * x), lambda x: np.reshape(x, shape=6), lambda x: np.linalg.norm(x=x),
    lambda x: np.fft.fft(a=x),
    lambda x: np.stack(arrays=[x, X]), lambda x: np.tensordot(X, b=x.T, axes=1), lambda x: np.trapezoid(X, x=x),
    lambda x: np.linalg.solve(a=x[:, :2], b=X[:, 0]), lambda x: np.linalg.solve(X[:, :2], b=x[:, 0]),
    lambda x: np.broadcast_to(array=x, shape=(4, 2, 3)), lambda x: np.median(a=x),
])  # fmt: skip
def test_a_traced_keyword_is_differentiated(call):
    def f(x):
        return np.sum(np.abs(call(x)) ** 2)

    h, v = 1e-6, np.random.default_rng(0).normal(size=X.shape)
    np.testing.assert_allclose(np.sum(grad(f)(X) * v), (f(X + h * v) - f(X - h * v)) / (2 * h), rtol=1e-6)


def test_unknown_keyword_is_not_swallowed():
    for call in (lambda x: np.sum(x, foo=x), lambda x: np.add(X, x3=x), lambda x: np.concatenate([x, x], foo=x)):
        with pytest.raises((TypeError, NotImplementedError)):
            trace(call, X)


def test_ties_and_kinks():
    np.testing.assert_array_equal(grad(np.max)(np.array([1.0, 3.0, 3.0])), [0, 0.5, 0.5])
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.min(x, axis=0)))(np.ones((4, 2))), np.full((4, 2), 0.25))
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.maximum(x, 0)))(np.array([-1.0, 0.0, 2.0])), [0, 0.5, 1])
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.minimum(x, x)))(np.ones(2)), [1, 1])
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.abs(x)))(np.array([-2.0, 0.0, 2.0])), [-1, 0, 1])
    for f in (np.std, np.linalg.norm, lambda x: np.sum(np.hypot(x, x)), lambda x: np.abs(np.sum(x * 1j))):
        np.testing.assert_array_equal(grad(f)(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.fmax(x, 1.0)))(np.array([np.nan, 2.0, 0.0])), [0, 1, 0])
    np.testing.assert_array_equal(grad(lambda p: 0.0**p)(2.0), 0)


def test_inner_and_outer_derivatives_are_not_confused():
    """d/dx [x d/dy (x y^2)] at y = 3: x (2 x y), so 4 x y."""
    assert grad(lambda x: x * grad(lambda y: x * y * y)(3.0))(2.0) == 24
    assert grad(lambda x: grad(lambda y: x)(1.0) + 0 * x)(2.0) == 0
    inner = lambda x: grad(lambda y: np.sum(x[:, None] * y))(np.ones(3))[0]   # noqa: E731
    np.testing.assert_array_equal(grad(lambda x: inner(x))(np.ones(2)), [1, 1])


def test_any_order():
    f, x = lambda x: x**5, 2.0
    for factor, power in ((5, 4), (20, 3), (60, 2), (120, 1), (120, 0)):
        f = grad(f)
        assert f(x) == factor * x**power
    assert f.__call__(x) == 120


def test_a_box_of_a_finished_derivative_is_not_lost():
    kept = []
    vjp(lambda x: kept.append(x) or np.sum(x), X)
    with pytest.raises(ValueError, match="another derivative, which is over"):
        vjp(lambda x: np.sum(x) * vjp(lambda y: kept.append(y) or y, 1.0)[0] * kept[-1], X)


def test_own_primitive():
    erf = primitive(lambda x: np.vectorize(math.erf)(x))
    with pytest.raises(NotImplementedError, match="lambda"):
        grad(lambda x: np.sum(erf(x)))(X)
    defvjp(erf, lambda g, y, x: g * 2 / np.sqrt(np.pi) * np.exp(-x * x))
    np.testing.assert_allclose(grad(lambda x: np.sum(erf(x)))(X), 2 / np.sqrt(np.pi) * np.exp(-X * X))
    np.testing.assert_allclose(grad(grad(lambda x: erf(x)))(0.5), -2 / np.sqrt(np.pi) * np.exp(-0.25))


def test_a_primitive_with_several_outputs():
    @primitive
    def both(x, scale):
        return np.sum(x), scale * x, 7

    def rule(g, ys, x, scale):
        return sum(p * q for p, q in zip(g, (np.ones_like(x), scale), strict=False) if p is not None)

    defvjp(both, rule, None)
    np.testing.assert_array_equal(grad(lambda x: both(x, 3.0)[0])(X), np.ones_like(X))
    np.testing.assert_array_equal(grad(lambda x: both(x, scale=3.0)[0] + np.sum(both(x, 3.0)[1] * X))(X), 1 + 3 * X)
    np.testing.assert_array_equal(grad(lambda x: (lambda a, b, n: n * a + np.sum(b * b))(*both(x, 2.0)))(X), 7 + 8 * X)
    with pytest.raises(NotImplementedError, match="got a traced array inside a list"):
        Box(X, 0, Node()).__array_function__(both, (), ([Box(X, 0, Node())], 1.0), {})


def test_a_rule_of_the_wrong_shape_raises():
    first = primitive(lambda x: x[0])
    defvjp(first, lambda g, y, x: g)
    with pytest.raises(ValueError, match=r"a rule answered a cotangent of shape \(3,\) for an argument of shape \(2, 3\)"):
        grad(lambda x: np.sum(first(x)))(X)


def test_precisions_mix():
    x, w = np.ones(3, np.float32), np.arange(3.0)
    y, pull = vjp(lambda x, w: x * w, x, w)
    assert y.dtype == np.float64
    assert [g.dtype for g in pull(np.ones(3))] == [np.float32, np.float64]
    assert grad(lambda x: np.sum(x, dtype=np.float64))(x).dtype == np.float32
    assert grad(lambda x: np.real(np.sum(x * np.array([1j, 2, 3]))))(x).dtype == np.float32


def test_threads_do_not_meet():
    answers = [None] * 8

    def work(i):
        answers[i] = [grad(lambda x: np.sum(np.tanh(i * x)))(X) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, gradients in enumerate(answers):
        for g in gradients:
            np.testing.assert_array_equal(g, grad(lambda x, i=i: np.sum(np.tanh(i * x)))(X))
