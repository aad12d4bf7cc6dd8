"""Strategies for users: what is drawn is accepted, covers what was promised, and shrinks to something small."""

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings

import refnorm as rn
from refnorm import strategies

QUIET = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@pytest.mark.parametrize("name", rn.NORMS)
def test_what_is_drawn_is_accepted_and_left_untouched(name):
    method = rn.NORMS[name]

    @QUIET
    @given(strategies.arguments(name))
    def accepted(arguments):
        first = arguments[method.arrays[0]]
        kept = first.copy()
        y, cache, *_ = method.forward(**arguments)
        assert y.dtype == first.dtype
        np.testing.assert_array_equal(first, kept)
        try:
            assert len(method.backward(np.zeros(y.shape, y.dtype), cache)) >= len(method.arrays)
        except ValueError as error:                 # PCA has no derivative at equal eigenvalues, and says so
            assert name == "batch_whitening_pca" and "eigenvalue" in str(error)

    accepted()


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm", "group_norm", "batch_whitening_zca", "weight_norm", "lp_norm"])
def test_adversarial_arguments_are_accepted(name):
    @QUIET
    @given(strategies.adversarial(name))
    def accepted(arguments):
        rn.NORMS[name].forward(**arguments)

    accepted()


def test_a_user_finds_a_one_pass_variance_and_gets_a_small_counterexample():
    """The test that a user would write: find(...) returns what Hypothesis shrank to."""

    def one_pass(x, gamma, beta, axis, eps=1e-5):
        axes = tuple(range(axis % x.ndim, x.ndim))
        mean, square = x.mean(axes, keepdims=True), (x * x).mean(axes, keepdims=True)
        return (x - mean) / np.sqrt(np.maximum(square - mean * mean, 0) + x.dtype.type(eps))

    def wrong(arguments):
        x = arguments["x"]
        y = one_pass(**{**arguments, "gamma": None, "beta": None, "eps": arguments.get("eps") or 1e-5})
        right = rn.layer_norm(x, axis=arguments["axis"], eps=arguments.get("eps") or 1e-5)
        return not np.allclose(y, right, atol=0.1)

    drawn = strategies.adversarial("layer_norm", dtypes=[np.float32])
    with np.errstate(all="ignore"):
        found = find(drawn, wrong, settings=settings(max_examples=500, derandomize=True, database=None, deadline=None))
    assert found["x"].size <= 16 and found["gamma"] is None and found["x"].flags.c_contiguous


def test_drawing_covers_dtypes_layouts_and_omitted_parameters():
    seen = set()

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(strategies.arguments("group_norm"))
    def collect(arguments):
        x = arguments["x"]
        seen.update({str(x.dtype), "gamma" if arguments["gamma"] is not None else "no gamma", f"rank {x.ndim}"})
        seen.update({"read-only"} if not x.flags.writeable else set())
        seen.update({"reversed"} if any(s < 0 for s in x.strides) else set())

    collect()
    dtypes = {"float64", "float32", "float16", "bfloat16"}
    assert seen >= dtypes | {"gamma", "no gamma", "rank 2", "rank 3", "read-only", "reversed"}


def test_arrays_for_draws_the_first_argument():
    x = find(strategies.arrays_for("weight_norm"), lambda w: w.ndim == 3)
    assert x.dtype == np.float64 and x.shape == (2, 2, 2)


def test_an_unknown_name_says_what_exists():
    with pytest.raises(ValueError, match="no method is called 'layernorm'; there are batch_norm"):
        strategies.arguments("layernorm")
