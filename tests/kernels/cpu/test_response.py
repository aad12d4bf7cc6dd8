"""Filter response norm against the reference, thresholds and learned eps included."""

import numpy as np
import pytest

import refnorm as rn
from refnorm.kernels.cpu.storage import BFLOAT16

from .agreement import compare, drawn

METHOD = rn.NORMS["filter_response_norm"]
LAST = {"shape": (3, 6, 7, 5), "channel_axis": -1, "learned_eps": None}
EXAMPLES = [*METHOD.examples, {"shape": (3, 5, 6, 7)}, LAST, {"shape": (4, 3)}]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, pytest.param(BFLOAT16, marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("k", range(len(EXAMPLES)))
def test_it_agrees_with_the_reference(k, dtype):
    arguments, dy = drawn(METHOD, EXAMPLES[k], dtype)
    assert compare("filter_response_norm", arguments, dy, dtype)


def test_where_both_sides_are_equal_the_gradient_goes_to_the_threshold():
    x = np.array([[[1.0, -1.0, 1.0]]])
    y, cache = rn.filter_response_norm.forward(x, tau=np.ones(1), eps=0.0, backend="numba")
    assert y.tolist() == [[[1.0, 1.0, 1.0]]]
    dx, _, _, dtau, _ = rn.filter_response_norm.backward(np.ones_like(x), cache, backend="numba")
    assert dx.tolist() == [[[0.0, 0.0, 0.0]]] and dtau.tolist() == [3.0]


def test_a_nan_stays_one():
    x = np.array([[[1.0, np.nan], [1.0, 2.0]]])
    y = rn.filter_response_norm(x, tau=np.zeros(2), backend="numba")
    assert np.isnan(y[0, 0]).all() and np.isfinite(y[0, 1]).all()
    assert np.isnan(rn.filter_response_norm(x[:, 1:], tau=np.full(1, np.nan), backend="numba")).all()


def test_errors_are_the_reference_s_own():
    for x, options in ((np.ones((2, 3, 0)), {}), (np.ones(3), {}), (np.ones((2, 3)), {"tau": np.ones(2)})):
        with pytest.raises(ValueError) as right:
            rn.filter_response_norm(x, **options)
        with pytest.raises(ValueError) as found:
            rn.filter_response_norm(x, **options, backend="numba")
        assert str(found.value) == str(right.value)
