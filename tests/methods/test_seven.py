"""The first seven methods: conventions that the generic proofs do not see.  The expected values are computed by hand here."""

import inspect

import ml_dtypes
import numpy as np
import pytest

import refnorm as rn

SEVEN = ["batch_norm", "layer_norm", "rms_norm", "instance_norm", "group_norm", "position_norm", "mean_variance_norm"]


@pytest.fixture
def x():
    return np.random.default_rng(3).normal(1.5, 2.0, size=(6, 4, 5))


def by_hand(x):
    """Mean and both variances of each channel."""
    rows = [x[:, c].ravel() for c in range(x.shape[1])]
    mean = np.array([sum(r) / len(r) for r in rows])
    biased = np.array([sum((v - m) ** 2 for v in r) / len(r) for r, m in zip(rows, mean, strict=True)])
    return mean, biased, biased * len(rows[0]) / (len(rows[0]) - 1)


def test_torch_keeps_the_unbiased_variance_and_momentum_weighs_the_new_batch(x):
    mean, _, unbiased = by_hand(x)
    _, state = rn.batch_norm(x, state=rn.batch_norm.state(np.full(4, 2.0), np.full(4, 3.0)), momentum=0.3)
    np.testing.assert_allclose(state.mean, 0.7 * 2 + 0.3 * mean, rtol=1e-14)
    np.testing.assert_allclose(state.var, 0.7 * 3 + 0.3 * unbiased, rtol=1e-14)


@pytest.mark.parametrize("dialect", ["keras", "flax", "onnx"])
def test_others_keep_the_biased_variance_and_momentum_weighs_the_old_value(x, dialect):
    mean, biased, _ = by_hand(x)
    start = rn.batch_norm.state(np.full(4, 2.0), np.full(4, 3.0))
    _, state = rn.batch_norm(x, state=start, momentum=0.3, dialect=dialect)
    np.testing.assert_allclose(state.mean, 0.3 * 2 + 0.7 * mean, rtol=1e-14)
    np.testing.assert_allclose(state.var, 0.3 * 3 + 0.7 * biased, rtol=1e-14)


def test_momentum_none_is_the_mean_of_all_batches(x):
    state = rn.batch_norm.state()
    for batch in (x[:3], x[3:]):
        _, state = rn.batch_norm(batch, state=state, momentum=None)
    np.testing.assert_allclose(state.mean, (by_hand(x[:3])[0] + by_hand(x[3:])[0]) / 2, rtol=1e-13)
    np.testing.assert_allclose(state.var, (by_hand(x[:3])[2] + by_hand(x[3:])[2]) / 2, rtol=1e-13)
    assert state.count == 2


def test_evaluation_uses_the_state_and_leaves_it(x):
    state = rn.batch_norm.state(np.arange(4.0), np.arange(1.0, 5))
    y = rn.batch_norm(x, state=state, training=False, eps=0.5)
    expected = (x - np.arange(4.0)[:, None]) / np.sqrt(np.arange(1.0, 5)[:, None] + 0.5)
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    assert rn.batch_norm.forward(x, state=state, training=False)[2] is state


def test_the_state_keeps_its_dtype_and_is_never_written_to(x):
    mean, var = np.zeros(4, np.float32), np.ones(4, np.float32)
    mean.flags.writeable = var.flags.writeable = False
    _, state = rn.batch_norm(x, state=rn.batch_norm.state(mean, var))
    assert state.mean.dtype == state.var.dtype == np.float32


def test_masked_entries_leave_the_statistics_and_nothing_else(x):
    mask = np.random.default_rng(4).random((6, 1, 5)) < 0.6
    y, state = rn.batch_norm(x, mask=mask, eps=0.0)
    for c in range(4):
        counted = x[:, c][mask[:, 0]]
        np.testing.assert_allclose(y[:, c], (x[:, c] - counted.mean()) / counted.std(), rtol=1e-12)
        np.testing.assert_allclose(state.var[c], 0.9 + 0.1 * counted.var(ddof=1), rtol=1e-13)


def test_a_mask_that_counts_everything_changes_nothing(x):
    dy = np.random.default_rng(5).normal(size=x.shape)
    (plain, cache, _), (masked, masked_cache, _) = rn.batch_norm.forward(x), rn.batch_norm.forward(x, mask=np.ones(1, bool))
    np.testing.assert_allclose(masked, plain, rtol=1e-13)
    np.testing.assert_allclose(
        rn.batch_norm.backward(dy, masked_cache)[0], rn.batch_norm.backward(dy, cache)[0], rtol=1e-11, atol=1e-14
    )


def test_rms_eps_none_is_the_epsilon_of_the_accumulation_type():
    for dtype, eps in (("float64", 2.0**-52), ("float32", 2.0**-23), ("float16", 2.0**-23), (ml_dtypes.bfloat16, 2.0**-23)):
        assert rn.rms_norm.forward(np.ones((2, 3), dtype))[1].arguments["eps"] == eps


def test_gemma_scales_by_one_plus_gamma(x):
    gamma = np.random.default_rng(6).normal(size=5)
    np.testing.assert_allclose(rn.rms_norm(x, gamma, dialect="gemma"), rn.rms_norm(x, 1 + gamma, eps=1e-6), rtol=1e-15)


def test_mean_variance_norm_adds_eps_outside_the_root(x):
    y = rn.mean_variance_norm(x, axes=(0, 2), eps=0.5)
    expected = (x - x.mean((0, 2), keepdims=True)) / (x.std((0, 2), keepdims=True) + 0.5)
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-15)


def test_mean_variance_norm_at_a_constant_row_has_a_finite_gradient():
    x = np.ones((3, 2))
    _, cache = rn.mean_variance_norm.forward(x, axes=(0,), eps=0.5)
    dx = rn.mean_variance_norm.backward(np.array([[1.0, 0], [0, 2], [0, 0]]), cache)[0]
    np.testing.assert_allclose(dx, 2 * (np.array([[1.0, 0], [0, 2], [0, 0]]) - [[1 / 3, 2 / 3]]), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_results_have_the_dtype_of_their_argument(x, dtype):
    gamma, beta = np.ones(4, np.float32), np.zeros(4, np.float64)
    y, cache, _ = rn.batch_norm.forward(x.astype(dtype), gamma, beta)
    dx, dgamma, dbeta = rn.batch_norm.backward(y, cache)
    assert (y.dtype, dx.dtype, dgamma.dtype, dbeta.dtype) == (np.dtype(dtype), np.dtype(dtype), np.float32, np.float64)


def test_equalities_between_methods(x):
    """One idea: with the areas made equal, the methods are."""
    np.testing.assert_allclose(rn.group_norm(x, num_groups=4), rn.instance_norm(x), rtol=1e-14)
    np.testing.assert_allclose(rn.group_norm(x, num_groups=1), rn.layer_norm(x, axis=1), rtol=1e-14)
    np.testing.assert_allclose(rn.position_norm(x), np.moveaxis(rn.layer_norm(np.moveaxis(x, 1, -1)), -1, 1), rtol=1e-14)
    np.testing.assert_allclose(rn.batch_norm(x, eps=0.0)[0], rn.mean_variance_norm(x, axes=(0, 2), eps=0.0), rtol=1e-14)


def test_no_parameter_no_gradient(x):
    assert rn.layer_norm.backward(x, rn.layer_norm.forward(x)[1])[1:] == (None, None)


@pytest.mark.parametrize("name", SEVEN)
def test_help_and_completion_see_the_real_signature(name):
    function = getattr(rn, name)
    assert inspect.isfunction(function) and function.__name__ == name
    assert "args" not in inspect.signature(function).parameters
    doc = inspect.getdoc(function)
    for word in ("Parameters", "Returns", "Raises" if name == "batch_norm" else "Raises ", "float64"):
        assert word in doc


@pytest.mark.parametrize("name", SEVEN)
def test_every_array_may_be_strided_reversed_or_read_only(name):
    method = rn.NORMS[name]
    example = dict(method.examples[0])
    big = np.random.default_rng(7).normal(size=tuple(2 * n for n in example.pop("shape")))
    view = big[tuple(slice(None, None, -2) for _ in big.shape)]
    view.flags.writeable = False
    np.testing.assert_array_equal(method.forward(view, **example)[0], method.forward(view.copy(), **example)[0])
