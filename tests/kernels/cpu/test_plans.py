"""Calls of one shape share a plan, and nothing but the shape of things is in it."""

import numpy as np
import pytest

import refnorm as rn
from refnorm.anatomy.kinds import KEPT
from refnorm.kernels.cpu import contract


def test_a_second_call_takes_its_own_parameters():
    x = np.random.default_rng(0).normal(size=(6, 8))
    for factor in (1.0, 2.0, -3.0):
        gamma, beta = np.full(8, factor), np.full(8, factor)
        y, cache = rn.layer_norm.forward(x, gamma, beta, backend="numba")
        np.testing.assert_allclose(y, rn.layer_norm(x, gamma, beta), rtol=1e-13)
        for a, b in zip(rn.layer_norm.backward(y, cache, backend="numba"), rn.layer_norm.backward(y, cache), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_options_and_layouts_have_plans_of_their_own():
    x = np.random.default_rng(1).normal(size=(4, 6, 6))
    for options in ({}, {"eps": 0.5}, {"num_groups": 3}, {"channel_axis": -1}, {"dialect": "keras"}):
        given = {"num_groups": 2, **options}
        for a in (x, x.transpose(0, 2, 1), x.astype(np.float32)):
            y = rn.group_norm(a, **given, backend="numba")
            np.testing.assert_allclose(y, rn.group_norm(a, **given), rtol=0, atol=1e-12 if a.dtype == float else 1e-5)


def test_what_equals_a_right_option_and_is_wrong_is_still_refused():
    x = np.ones((4, 6, 5))
    rn.group_norm(x, num_groups=1, backend="numba")
    with pytest.raises(ValueError, match="num_groups is True"):
        rn.group_norm(x, num_groups=True, backend="numba")


def test_a_state_and_a_mask_are_checked_in_every_call():
    x, state = np.random.default_rng(2).normal(size=(6, 4)), rn.batch_norm.state()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"state.mean has shape \(3,\)"):
            rn.batch_norm(x, state=state._replace(mean=np.zeros(3)), backend="numba")
        with pytest.raises(ValueError, match="mask leaves 4 of 4 statistics"):
            rn.batch_norm(x, mask=np.zeros((6, 1), bool), backend="numba")
        _, state = rn.batch_norm(x, state=state, backend="numba")
    assert state.count == 2


def test_plans_do_not_pile_up():
    for n in range(1, KEPT + 2):
        rn.layer_norm(np.ones((1, n)), backend="numba")
    assert contract._planned_once.cache_info().currsize <= KEPT
