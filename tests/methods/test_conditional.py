"""Recoveries: what is given back, from one number a channel to a full matrix, and where the condition puts it."""

from dataclasses import replace

import numpy as np
import pytest

import refnorm as rn
from refnorm.anatomy.area import Layout
from refnorm.anatomy.norm import Norm
from refnorm.anatomy.operation import STANDARDIZE
from refnorm.anatomy.recovery import Affine, Coloring, Identity, Scale
from refnorm.autodiff import vjp
from refnorm.methods.batch import BATCH
from refnorm.operations import moments
from refnorm.proofs import prove


@pytest.fixture
def x():
    return np.random.default_rng(3).normal(0.5, 2.0, size=(5, 4, 3))


LAYOUTS = [("c", 1, (4,)), ("n c", 1, (5, 4)), ("n c s", 1, (5, 4, 3)), ("", 1, ()), ("c", -1, (3,)), ("n c", -1, (5, 3))]


@pytest.mark.parametrize(("along", "channel_axis", "shape"), LAYOUTS)
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_affine_along_any_axes(x, along, channel_axis, shape, offset):
    """Forward by broadcasting, backward against the tape; Scale is Affine without beta."""
    layout, recovery = Layout.activations(x, channel_axis), Affine(along)
    assert recovery.shapes(layout) == (shape, shape)
    rng = np.random.default_rng(0)
    gamma, beta, dy = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=x.shape)
    y, pull = vjp(lambda *a: recovery.forward(*a, layout, offset), x, gamma, beta)
    full = [np.broadcast_to(layout.along(a, along), x.shape) for a in (gamma, beta)]
    np.testing.assert_allclose(y, (offset + full[0]) * x + full[1], rtol=1e-15)
    dx, (dgamma, dbeta) = recovery.backward(dy, x, gamma, beta, layout, offset)
    for mine, taped in zip((dx, dgamma, dbeta), pull(dy), strict=True):
        np.testing.assert_allclose(mine, taped, rtol=1e-12, atol=1e-13)
    scale = Scale(along)
    np.testing.assert_array_equal(scale.forward(x, gamma, layout, offset), recovery.forward(x, gamma, None, layout, offset))
    np.testing.assert_array_equal(scale.backward(dy, x, gamma, layout, offset)[0], dx)


def test_identity_and_absent_parameters_give_back_what_they_are_given(x):
    layout = Layout.activations(x)
    assert Identity().forward(x, layout) is x and Identity().backward(x, x, layout) == (x, ())
    for recovery in (Affine("c"), Coloring()):
        assert recovery.forward(x, None, None, layout) is x
        assert recovery.backward(x, x, None, None, layout) == (x, (None, None))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("channel_axis", [1, -1])
def test_coloring_is_a_full_matrix_a_group(groups, channel_axis):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 4, 2, 2) if channel_axis == 1 else (3, 2, 2, 4))
    layout, recovery, k = Layout.activations(x, channel_axis), Coloring(), 4 // groups
    assert recovery.shapes(layout, groups) == ((groups, k, k), (4,))
    gamma, beta, dy = rng.normal(size=(groups, k, k)), rng.normal(size=4), rng.normal(size=x.shape)
    full = np.zeros((4, 4))
    for g in range(groups):
        full[g * k : g * k + k, g * k : g * k + k] = gamma[g]
    expected = np.moveaxis(np.moveaxis(x, channel_axis, -1) @ full.T + beta, -1, channel_axis)
    y, pull = vjp(lambda *a: recovery.forward(*a, layout, groups), x, gamma, beta)
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-14)
    dx, parameters = recovery.backward(dy, x, gamma, beta, layout, groups)
    for mine, taped in zip((dx, *parameters), pull(dy), strict=True):
        np.testing.assert_allclose(mine, taped, rtol=1e-12, atol=1e-13)


def test_a_diagonal_coloring_is_an_affine_map_and_colors_what_was_standardized(x):
    """The triple takes any recovery: batch norm, colored; with one number a group (1 x 1 matrices) it is batch norm."""
    rng, layout = np.random.default_rng(2), Layout.activations(x)
    gamma, beta = rng.normal(size=4), rng.normal(size=4)
    triple = Norm(BATCH, STANDARDIZE, Coloring(), lambda x, **_: Layout.activations(x))
    dialect = rn.NORMS["batch_norm"].dialects["flax"]
    given = {"x": x, "gamma": gamma.reshape(4, 1, 1), "beta": beta, "eps": 1e-5, "num_groups": 4, "dialect": dialect}
    y, _ = triple.compute(**given)
    np.testing.assert_allclose(y, rn.batch_norm(x, gamma, beta)[0], rtol=1e-13)
    matrix = rng.normal(size=(1, 4, 4))
    y, _ = triple.compute(**{**given, "gamma": matrix, "num_groups": 1})
    covariance = np.cov(np.moveaxis(y, 1, 0).reshape(4, -1), bias=True)
    standard = np.cov(np.moveaxis(rn.batch_norm(x)[0], 1, 0).reshape(4, -1), bias=True)
    np.testing.assert_allclose(covariance, matrix[0] @ standard @ matrix[0].T, rtol=1e-12)
    assert layout.lengths("c") == (4,)


# The methods


def test_one_condition_for_all_is_the_plain_norm(x):
    rng = np.random.default_rng(4)
    gamma, beta = rng.normal(size=(2, 4))
    everyone = np.broadcast_to(gamma, (5, 4)), np.broadcast_to(beta, (5, 4))
    everywhere = (np.broadcast_to(a[:, None], x.shape) for a in (gamma, beta))
    plain = rn.batch_norm(x, gamma, beta)[0]
    np.testing.assert_allclose(rn.conditional_batch_norm(x, *everyone)[0], plain, rtol=1e-14)
    np.testing.assert_allclose(rn.spatially_adaptive_norm(x, *everywhere, dialect="paper")[0], plain, rtol=1e-14)
    np.testing.assert_allclose(rn.adaptive_instance_norm(x, *everyone), rn.instance_norm(x, gamma, beta), rtol=1e-14)
    adapted = rn.adaptive_layer_norm(np.moveaxis(x, 1, -1), *everyone, dialect="plain")
    np.testing.assert_allclose(np.moveaxis(adapted, -1, 1), rn.position_norm(x, gamma, beta), rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("conditional_batch_norm", "biggan"), ("adaptive_layer_norm", "dit"), ("spatially_adaptive_norm", "spade")],
)
def test_offset_one_keeps_a_condition_of_zero_at_the_identity(x, name, dialect):
    method = rn.NORMS[name]
    arguments, _ = method.resolve(x, dialect=dialect)
    zeros = {k: np.zeros(s) for k, s in method.shapes(**arguments).items()}
    np.testing.assert_array_equal(method.forward(x, **zeros, dialect=dialect)[0], method.forward(x, dialect=dialect)[0])


def test_adaptive_instance_norm_gives_the_content_the_styles_moments(x):
    """X. Huang and S. Belongie, equation 8, with the style's moments by operations.moments."""
    style = np.random.default_rng(5).normal(3, 0.5, size=(5, 4, 20))
    of_style = moments.of(style)
    y = rn.adaptive_instance_norm(x, np.sqrt(of_style.covariance[..., 0]), of_style.mean[..., 0], eps=0.0)
    np.testing.assert_allclose(y.mean(2), style.mean(2), rtol=1e-12)
    np.testing.assert_allclose(y.std(2), style.std(2), rtol=1e-12)


def test_whitening_and_coloring_gives_the_covariance_that_is_asked_for():
    """At eps 0 the output's covariance is gamma gamma', whatever the input's; gamma None leaves it white."""
    rng = np.random.default_rng(6)
    x, gamma = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(2, 3, 3))
    y, _ = rn.whitening_coloring_norm(x, gamma, np.arange(6.0), num_groups=2, eps=0.0)
    for g, of in enumerate((y[:, :3], y[:, 3:])):
        np.testing.assert_allclose(np.cov(of.T, bias=True), gamma[g] @ gamma[g].T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(y.mean(0), np.arange(6.0), atol=1e-13)
    white = rn.batch_whitening_cholesky(x, num_groups=2)[0]
    np.testing.assert_array_equal(rn.whitening_coloring_norm(x, num_groups=2)[0], white)


def test_a_condition_taken_over_the_batch_is_caught():
    """dgamma summed over the samples and given to each: the gradient of an unconditional gamma."""
    method = rn.NORMS["conditional_batch_norm"]

    def pooled(dy, saved, **arguments):
        dx, dgamma, dbeta = method.derive(dy, saved, **arguments)
        return dx, np.broadcast_to(dgamma.sum(0), dgamma.shape), dbeta

    planted = replace(method, derive=pooled, examples=method.examples[:1])
    assert {"tape", "differences"} <= {f.proof for f in prove(planted) if not f.ok}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: rn.conditional_batch_norm(x, np.ones(4)), r"gamma has shape \(4,\).*it must have shape \(5, 4\)"),
        (
            lambda x: rn.spatially_adaptive_norm(x, None, np.ones((5, 4))),
            r"beta has shape \(5, 4\).*it must have shape \(5, 4, 3\)",
        ),
        (lambda x: rn.adaptive_layer_norm(x, np.ones((5, 4))), r"gamma has shape \(5, 4\).*it must have shape \(5, 3\)"),
        (lambda x: rn.adaptive_instance_norm(x[:, :, :1]), r"x has shape \(5, 4, 1\): one value a statistic"),
    ],
)
def test_bad_input(x, call, message):
    with pytest.raises(ValueError, match=message):
        call(x)
