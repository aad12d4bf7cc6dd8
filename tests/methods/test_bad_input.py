"""Bad input: one line that names the argument, shows its value and says what would be right."""

import numpy as np
import pytest

import refnorm as rn

X = np.random.default_rng(0).normal(size=(4, 6, 5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rn.group_norm(X, num_groups=4), ValueError, r"num_groups is 4; it must divide the 6 channels.*\[1, 2, 3, 6\]"),
        (lambda: rn.group_norm(X, num_groups=0), ValueError, "num_groups is 0; it must be a positive integer"),
        (lambda: rn.batch_norm(X[0, 0]), ValueError, r"x has shape \(5,\); it must have at least two axes"),
        (lambda: rn.batch_norm(X, channel_axis=2), ValueError, "channel_axis is 2; it must be 1 .* or -1"),
        (lambda: rn.layer_norm(X, eps=-1.0), ValueError, "eps is -1.0; it must be a finite number, 0 or more"),
        (lambda: rn.layer_norm(X, eps=np.nan), ValueError, "eps is nan; it must be a finite number"),
        (lambda: rn.layer_norm(X, eps="1e-5"), ValueError, "eps is '1e-5'; it must be a finite number"),
        (lambda: rn.layer_norm(X, eps=None), ValueError, "eps is None; it must be a finite number"),
        (lambda: rn.layer_norm(X.astype(np.int64)), TypeError, "x has dtype int64; it must be one of float64"),
        (lambda: rn.layer_norm(X.astype(complex)), TypeError, "x has dtype complex128; it must be one of float64"),
        (lambda: rn.layer_norm(X.tolist()), TypeError, "x is a list; it must be a NumPy array"),
        (lambda: rn.layer_norm(X, np.ones(6)), ValueError, r"gamma has shape \(6,\).*it must have shape \(5,\)"),
        (lambda: rn.layer_norm(X, np.ones(5), np.ones((1, 5))), ValueError, r"beta has shape \(1, 5\).*shape \(5,\)"),
        (lambda: rn.layer_norm(X, np.ones(5, int)), TypeError, "gamma has dtype int64"),
        (lambda: rn.layer_norm(X, axis=3), ValueError, r"axis names 3; x has shape \(4, 6, 5\), so an axis lies in -3..2"),
        (lambda: rn.layer_norm(X, axis=1.0), ValueError, "axis names 1.0"),
        (lambda: rn.layer_norm(X, dialect="jax"), ValueError, "dialect 'jax' is unknown to layer_norm.*torch, flax"),
        (lambda: rn.layer_norm(X, backend="metal"), ValueError, "backend is 'metal'; it must be one of numpy"),
        (lambda: rn.layer_norm(X[:, :, :0]), ValueError, r"x has shape \(4, 6, 0\): its statistics are over no entries"),
        (lambda: rn.instance_norm(X[:, :, :1]), ValueError, r"x has shape \(4, 6, 1\): one value a statistic"),
        (lambda: rn.batch_norm(X[:1, :, :1]), ValueError, r"x has shape \(1, 6, 1\): one value a statistic"),
        (lambda: rn.mean_variance_norm(X), ValueError, "axes names 3"),
        (lambda: rn.mean_variance_norm(X, axes=()), ValueError, "axes is empty"),
        (lambda: rn.mean_variance_norm(X, axes=(0, -3)), ValueError, r"axes is \(0, -3\).*more than once"),
        (lambda: rn.batch_norm(X, training=False), ValueError, "state is None; with training=False"),
        (lambda: rn.batch_norm(X, state=rn.batch_norm.state(np.zeros(3))), ValueError, r"state.mean has shape \(3,\).*\(6,\)"),
        (lambda: rn.batch_norm(X, momentum=1.5), ValueError, "momentum is 1.5; it must lie in 0..1"),
        (lambda: rn.batch_norm(X, momentum=None, dialect="keras"), ValueError, "momentum is None .* must be a number"),
        (lambda: rn.batch_norm(X, mask=np.ones((4, 1, 5))), TypeError, "mask has dtype float64; it must be boolean"),
        (lambda: rn.batch_norm(X, mask=np.ones((3, 1, 5), bool)), ValueError, r"mask has shape \(3, 1, 5\); it must broadcast"),
        (lambda: rn.batch_norm(X, mask=np.zeros((4, 1, 5), bool)), ValueError, "mask leaves 6 of 6 statistics over no entries"),
        (lambda: rn.batch_norm.backward(X[0], rn.batch_norm.forward(X)[1]), ValueError, r"dy has shape \(6, 5\).*\(4, 6, 5\)"),
        (lambda: rn.batch_norm.backward(X.astype(int), rn.batch_norm.forward(X)[1]), TypeError, "dy has dtype int64"),
    ],
)
def test_the_error_names_the_argument_its_value_and_the_right_form(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_unknown_argument_is_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="epsilon"):
        rn.layer_norm(X, epsilon=1e-5)


def test_no_samples_is_no_error_where_no_statistic_is_asked_for():
    assert rn.layer_norm(X[:0]).shape == (0, 6, 5)
    assert rn.group_norm(X[:0], num_groups=2).shape == (0, 6, 5)
