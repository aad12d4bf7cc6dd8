"""Switchable and exemplar norm at the corners and inside; EvoNorm: quirks, corners, bugs."""

from dataclasses import replace

import numpy as np
import pytest

import refnorm as rn
from refnorm.proofs import prove

FAR = 60.0  # exp(-60) = 9e-27: a softmax at its corner, to rounding


@pytest.fixture
def x():
    return np.random.default_rng(3).normal(0.5, 2.0, size=(3, 4, 5))


def corner(k, *lead):
    return np.broadcast_to(FAR * np.eye(3)[k], (*lead, 3))


def three(x):
    return rn.instance_norm(x), rn.group_norm(x, num_groups=1), rn.batch_norm(x)[0]


@pytest.mark.parametrize("k", [0, 1, 2])
def test_at_the_corners_both_are_instance_layer_and_batch_norm(x, k):
    gamma, beta = np.random.default_rng(0).normal(size=(2, 4))
    expected = gamma[:, None] * three(x)[k] + beta[:, None]
    np.testing.assert_allclose(rn.switchable_norm(x, gamma, beta, corner(k), corner(k))[0], expected, rtol=1e-12, atol=1e-14)
    rows = np.zeros((3, 4))
    rows[k] = gamma
    y = rn.exemplar_norm(x, rows, np.stack([beta / 3] * 3), corner(k, 3))[0]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_at_the_corners_the_gradients_are_theirs_too(x, k):
    dy = np.random.default_rng(1).normal(size=x.shape)
    forwards = rn.instance_norm.forward(x), rn.group_norm.forward(x, num_groups=1), rn.batch_norm.forward(x)
    of = (rn.instance_norm, rn.group_norm, rn.batch_norm)[k]
    expected = of.backward(dy, forwards[k][1])[0]
    for method, logits in (
        (rn.switchable_norm, {"mean_logits": corner(k), "var_logits": corner(k)}),
        (rn.exemplar_norm, {"logits": corner(k, 3)}),
    ):
        dx = method.backward(dy, method.forward(x, **logits)[1])[0]
        np.testing.assert_allclose(dx, expected, rtol=1e-11, atol=1e-13)


def test_exemplar_norm_mixes_outputs_sample_by_sample(x):
    """y_n = sum_k l_nk xhat_k: ratios sum to 1, each sample by its own."""
    logits = np.random.default_rng(2).normal(size=(3, 3))
    ratios = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = sum(ratios[:, k, None, None] * y for k, y in enumerate(three(x)))
    np.testing.assert_allclose(rn.exemplar_norm(x, logits=logits)[0], expected, rtol=1e-12, atol=1e-13)


def test_switchable_norm_mixes_statistics_which_is_not_the_same(x):
    """CLAIMS.md section 14 asks whether a constant ratio makes exemplar norm switchable norm: it does at the corners only.

    Switchable norm divides by the root of a mixture of variances, exemplar norm mixes what was divided; nor do weights of the
    means and of the variances that agree help.  They meet where the three statistics do.
    """
    logits = np.array([0.3, -0.2, 0.5])
    mixed_statistics = rn.switchable_norm(x, mean_logits=logits, var_logits=logits)[0]
    mixed_outputs = rn.exemplar_norm(x, logits=np.broadcast_to(logits, (3, 3)))[0]
    assert 0.01 < np.max(np.abs(mixed_statistics - mixed_outputs)) < 0.5
    same = np.tile(np.array([1.0, -1.0, 2.0, -2.0, 0.5, -0.5]), (3, 4, 1))  # every channel of every sample alike
    np.testing.assert_allclose(
        rn.switchable_norm(same, mean_logits=logits, var_logits=logits)[0],
        rn.exemplar_norm(same, logits=np.broadcast_to(logits, (3, 3)))[0],
        rtol=1e-13,
    )


def test_switchable_norm_is_the_authors_layer(peer):
    """Their forward and autograd (models/switchable_norm.py with using_moving_average), retold: unbiased instance variance."""
    torch = peer("torch")
    rng, momentum, eps = np.random.default_rng(4), 0.997, 1e-5
    running_mean, running_var, state = np.zeros(4), np.zeros(4), rn.switchable_norm.state(mean=np.zeros(4), var=np.zeros(4))
    arrays = [rng.normal(size=s) for s in (4, 4, 3, 3)]
    for _ in range(3):
        x, dy = rng.normal(size=(2, 3, 4, 5))
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, *arrays)]
        t, weight, bias, mean_weight, var_weight = leaves
        mean_in, var_in = t.mean(-1, keepdim=True), t.var(-1, keepdim=True)
        mean_ln, square = mean_in.mean(1, keepdim=True), var_in + mean_in**2
        var_ln = square.mean(1, keepdim=True) - mean_ln**2
        mean_bn = mean_in.mean(0, keepdim=True)
        var_bn = square.mean(0, keepdim=True) - mean_bn**2
        w, v = mean_weight.softmax(0), var_weight.softmax(0)
        mean, var = (
            p[0] * a + p[1] * b + p[2] * c for p, a, b, c in ((w, mean_in, mean_ln, mean_bn), (v, var_in, var_ln, var_bn))
        )
        y = (t - mean) / (var + eps).sqrt() * weight[:, None] + bias[:, None]
        y.backward(torch.tensor(dy))
        mine, cache, state = rn.switchable_norm.forward(x, *arrays, state=state, dialect="repo")
        np.testing.assert_allclose(mine, y.detach().numpy(), rtol=1e-11, atol=1e-13)
        for a, leaf in zip(rn.switchable_norm.backward(dy, cache), leaves, strict=True):
            np.testing.assert_allclose(a, leaf.grad.numpy(), rtol=1e-10, atol=1e-13)
        running_mean = momentum * running_mean + (1 - momentum) * mean_bn.detach().numpy().ravel()
        running_var = momentum * running_var + (1 - momentum) * var_bn.detach().numpy().ravel()
    np.testing.assert_allclose(state.mean, running_mean, rtol=1e-13)
    np.testing.assert_allclose(state.var, running_var, rtol=1e-12)


def test_evaluation_replaces_the_batchs_share_and_no_other(x):
    state = rn.batch_norm.state(mean=np.arange(4.0), var=np.arange(1.0, 5))
    expected = rn.batch_norm(x, state=state, training=False)
    sw = rn.switchable_norm(x, mean_logits=corner(2), var_logits=corner(2), state=state, training=False)
    ex = rn.exemplar_norm(x, logits=corner(2, 3), state=state, training=False)
    np.testing.assert_allclose(sw, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ex, expected, rtol=1e-12, atol=1e-14)
    alone = rn.switchable_norm(x, mean_logits=corner(0), var_logits=corner(0), state=state, training=False)
    np.testing.assert_allclose(alone, rn.instance_norm(x), rtol=1e-12)


@pytest.mark.parametrize("name", ["switchable_norm", "exemplar_norm", "evo_norm_b0"])
def test_padding_cannot_be_seen(x, name):
    """Ragged lengths as a mask: what lies in the padding changes neither outputs nor gradients nor the state elsewhere."""
    mask, method = (np.arange(5) < np.array([5, 2, 3])[:, None])[:, None], rn.NORMS[name]
    dy, answers = np.random.default_rng(8).normal(size=x.shape) * mask, []
    for padding in (0.0, 1e3):
        y, cache, state = method.forward(np.where(mask, x, padding), mask=mask)
        answers.append((y * mask, method.backward(dy, cache)[0] * mask, state.var))
    for a, b in zip(*answers, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["switchable_norm", "exemplar_norm", "evo_norm_b0"])
def test_a_mask_that_counts_everything_changes_nothing(x, name):
    method, dy = rn.NORMS[name], np.random.default_rng(8).normal(size=x.shape)
    (y, cache, state), (masked, masked_cache, after) = method.forward(x), method.forward(x, mask=np.ones(1, bool))
    np.testing.assert_allclose(masked, y, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(method.backward(dy, masked_cache)[0], method.backward(dy, cache)[0], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(after.var, state.var, rtol=1e-13)


def test_a_softmax_taken_for_its_logits_is_caught():
    method = rn.NORMS["switchable_norm"]

    def raw(dy, saved, **arguments):
        dx, dgamma, dbeta, da, db = method.derive(dy, saved, **arguments)
        return dx, dgamma, dbeta, da / saved.w, db / saved.v

    planted = replace(method, derive=raw, examples=method.examples[:1])
    assert {"tape", "differences"} <= {f.proof for f in prove(planted) if not f.ok}


# EvoNorm


def test_b0_by_hand_and_its_state(x):
    v, batch = np.array([0.5, 1, 2, -1.0]), x.var((0, 2))
    y, state = rn.evo_norm_b0(x, v=v, eps=0.1)
    line = v[:, None] * x + np.sqrt(x.var(2, keepdims=True) + 0.1)
    np.testing.assert_allclose(y, x / np.maximum(np.sqrt(batch + 0.1)[:, None], line), rtol=1e-13)
    np.testing.assert_allclose(state.var, 0.9 + 0.1 * batch, rtol=1e-13)
    timm = rn.evo_norm_b0(x, v=v, dialect="timm")[1]
    np.testing.assert_allclose(timm.var, 0.9 + 0.1 * x.var((0, 2), ddof=1), rtol=1e-13)
    evaluated = rn.evo_norm_b0(x, v=v, eps=0.1, state=state, training=False)
    np.testing.assert_allclose(evaluated, x / np.maximum(np.sqrt(state.var + 0.1)[:, None], line), rtol=1e-13)


def test_s0_by_hand(x):
    groups = x.reshape(3, 2, 10)
    std = {d: np.repeat(np.sqrt(groups.var(2, ddof=d) + 0.1), 2, axis=1)[..., None] for d in (0, 1)}
    for dialect, ddof in (("paper", 0), ("lubana", 1)):
        y = rn.evo_norm_s0(x, num_groups=2, eps=0.1, dialect=dialect)
        np.testing.assert_allclose(y, x / (1 + np.exp(-x)) / std[ddof], rtol=1e-13)


def test_torchs_default_variance_is_unbiased_and_the_paper_is_not(x):
    biased, unbiased = (rn.evo_norm_b0(x, v=np.full(4, 9.0), dialect=d)[0] for d in ("paper", "lubana"))
    assert np.max(np.abs(biased - unbiased)) > 1e-3


def test_s0_far_out_is_the_line_and_the_zero_of_a_swish():
    x = np.array([[-1e4, 1e4, -2e4, 3e4]])
    y = rn.evo_norm_s0(x, num_groups=1)
    np.testing.assert_allclose(y[0], np.maximum(x[0], 0) / np.sqrt(x.var() + 1e-5), rtol=1e-14)
    dx = rn.evo_norm_s0.backward(np.ones_like(x), rn.evo_norm_s0.forward(x, num_groups=1)[1])[0]
    assert np.all(np.isfinite(dx))


def test_the_wrong_side_of_the_maximum_is_caught():
    method = rn.NORMS["evo_norm_b0"]

    def swapped(dy, saved, **arguments):
        batch, instance = saved
        return method.derive(dy, (batch._replace(std=batch.std * 1e3), instance), **arguments)

    planted = replace(method, derive=swapped, examples=method.examples[:1])
    assert {"tape", "differences"} <= {f.proof for f in prove(planted) if not f.ok}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: rn.switchable_norm(x, mean_logits=np.ones(2)), r"mean_logits has shape \(2,\).*\(3,\)"),
        (lambda x: rn.switchable_norm(x[:, :, 0], dialect="repo"), "x has 1 position a channel.*unbiased and asks for two"),
        (lambda x: rn.exemplar_norm(x, logits=np.ones(3)), r"logits has shape \(3,\).*\(3, 3\)"),
        (lambda x: rn.exemplar_norm(x, np.ones(4)), r"gamma has shape \(4,\).*\(3, 4\)"),
        (lambda x: rn.evo_norm_b0(x[:, :, 0], dialect="lubana"), "x has 1 position a channel"),
        (lambda x: rn.switchable_norm(x, mask=np.ones(1, bool), dialect="repo"), "mask is given; this dialect averages"),
        (lambda x: rn.evo_norm_b0(x, mask=np.zeros((3, 4, 1), bool)), "mask leaves a channel of a sample without entries"),
        (lambda x: rn.exemplar_norm(x, mask=np.zeros((3, 1, 1), bool)), "mask leaves 12 of 12 statistics over no entries"),
        (lambda x: rn.evo_norm_s0(x, num_groups=3), "num_groups is 3; it must divide the 4 channels"),
        (lambda x: rn.switchable_norm(x, training=False), "state is None; with training=False"),
    ],
)
def test_bad_input(x, call, message):
    with pytest.raises(ValueError, match=message):
        call(x)
