"""Calls of one kind are checked once: by nothing that is in an array, and keeping none alive."""

import gc
import weakref

import numpy as np
import pytest

import refnorm as rn
from refnorm.anatomy.kinds import kinds, stand_ins
from refnorm.autodiff import grad


def test_a_kind_has_all_that_checks_read():
    one = {"x": np.ones((2, 3), np.float32), "axes": (0, 1), "eps": 0.0, "state": rn.batch_norm.state(np.ones(3))}
    kind = kinds(one, ("x",))
    assert kind == kinds({**one, "x": np.zeros((2, 3), np.float32)}, ("x",)) and hash(kind) is not None
    for other in ({"x": np.ones((2, 3))}, {"axes": (0, True)}, {"eps": 0}, {"state": rn.batch_norm.state(np.ones(4))}):
        assert kinds({**one, **other}, ("x",)) != kind
    again = stand_ins(kind)
    assert kinds(again, ("x",)) == kind and again["axes"] == (0, 1) and again["state"].count == 0


@pytest.mark.parametrize("argument", [{"axes": [0, 1]}, {"mask": np.ones(3, bool)}, {"x": [1.0]}, {"x": None, "y": {}}])
def test_what_has_no_kind_is_checked_each_time(argument):
    assert kinds({"x": np.ones(3), **argument}, ("x",)) is None


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_no_array_is_kept(backend):
    x = np.ones((3, 17))
    alive = weakref.ref(x)
    rn.layer_norm(x, np.ones(17), backend=backend)
    del x
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_errors_are_the_same_at_every_call(backend):
    x = np.ones((3, 4))
    for _ in range(2):
        rn.layer_norm(x, np.ones(4), backend=backend)
        with pytest.raises(ValueError, match=r"gamma has shape \(5,\); x has shape \(3, 4\), so it must have shape \(4,\)"):
            rn.layer_norm(x, np.ones(5), backend=backend)
        with pytest.raises(TypeError, match="x is a list"):
            rn.layer_norm(x.tolist(), backend=backend)
        with pytest.raises(ValueError, match="eps is True"):
            rn.layer_norm(x, eps=True, backend=backend)
        with pytest.raises(TypeError, match="too many positional arguments"):
            rn.layer_norm(x, None, None, 1, backend=backend)
        with pytest.raises(TypeError, match="multiple values for argument 'gamma'"):
            rn.layer_norm(x, None, gamma=None, backend=backend)
        with pytest.raises(TypeError, match="missing a required argument: 'x'"):
            rn.layer_norm(backend=backend)
        with pytest.raises(TypeError, match="unexpected keyword argument 'epsilon'"):
            rn.layer_norm(x, epsilon=1e-5, backend=backend)


def test_traced_arrays_are_no_kind_of_array():
    x = np.random.default_rng(0).normal(size=(3, 4))
    rn.layer_norm(x)
    traced = grad(lambda z: np.sum(rn.layer_norm(z) * x))(x)
    _, cache = rn.layer_norm.forward(x)
    np.testing.assert_allclose(traced, rn.layer_norm.backward(x, cache)[0], atol=1e-14)
