"""Power norm: a backward that is not the gradient and keeps a state, step by step against the authors' layer."""

from dataclasses import replace

import numpy as np
import pytest

import refnorm as rn
from refnorm import oracles
from refnorm.proofs import OF_A_PROBLEM, problems, prove


def authors_layer(torch, channels, groups, warmup, eps=1e-5):
    """The layer of the authors' repository (github.com/sIncerass/powernorm), retold for x of shape (N, C, L).

    Group scaling is left to autograd; the rest is an autograd.Function whose backward is the published rule.
    """
    state = {"phi": torch.ones(channels, dtype=torch.float64), "nu": torch.zeros(channels, dtype=torch.float64), "iteration": 0}

    class Power(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u, weight, bias):
            i, square = state["iteration"], (u * u).mean((0, 2))
            z = u / ((square if i <= warmup else state["phi"]) + eps).sqrt()[:, None]
            ctx.save_for_backward(z, square, weight)
            if i < warmup:
                state["phi"] = state["phi"] * (i - 1) / i + square / i
            state["phi"] = 0.9 * state["phi"] + 0.1 * square
            return weight[:, None] * z + bias[:, None]

        @staticmethod
        def backward(ctx, dy):
            z, square, weight = ctx.saved_tensors
            h = dy * weight[:, None] - 0.1 * state["nu"][:, None] * z
            state["nu"] = state["nu"] + (h * z).mean((0, 2))
            return h / (square + eps).sqrt()[:, None], (dy * z).sum((0, 2)), dy.sum((0, 2))

    def layer(x, weight, bias):
        n, c, length = x.shape
        moment = (x * x).reshape(n, groups, c // groups, length).mean(2, keepdim=True).expand(-1, -1, c // groups, -1)
        state["iteration"] += 1
        return Power.apply(x / (moment.reshape(n, c, length) + eps).sqrt(), weight, bias)

    return layer, state


@pytest.mark.parametrize(("groups", "warmup"), [(1, 0), (2, 3), (4, 10)])
def test_seven_steps_of_the_authors_layer(peer, groups, warmup):
    """Forward, all gradients and both running statistics, through the warm-up and past it."""
    torch = peer("torch")
    layer, theirs = authors_layer(torch, 4, groups, warmup)
    rng, state = np.random.default_rng(0), None
    gamma, beta = rng.normal(size=(2, 4))
    for _ in range(7):
        x, dy = rng.normal(0.5, 2, size=(2, 3, 4, 5))
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        y = layer(*leaves)
        y.backward(torch.tensor(dy))
        mine, cache, _ = rn.power_norm.forward(x, gamma, beta, state=state, num_groups=groups, warmup=warmup)
        *gradients, state = rn.power_norm.backward(dy, cache)
        np.testing.assert_allclose(mine, y.detach().numpy(), rtol=1e-12, atol=1e-13)
        for a, leaf in zip(gradients, leaves, strict=True):
            np.testing.assert_allclose(a, leaf.grad.numpy(), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(state.square, theirs["phi"].numpy(), rtol=1e-13)
        np.testing.assert_allclose(state.nu, theirs["nu"].numpy(), rtol=1e-11, atol=1e-13)
    assert state.count == 7


def test_the_forward_leaves_nu_and_the_backward_the_mean_square():
    x = np.random.default_rng(1).normal(size=(4, 3))
    start = rn.power_norm.state(square=np.full(3, 2.0), nu=np.full(3, 0.5), count=20_000)
    _, cache, middle = rn.power_norm.forward(x, state=start)
    *_, end = rn.power_norm.backward(np.ones_like(x), cache)
    np.testing.assert_array_equal(middle.nu, start.nu)
    np.testing.assert_array_equal(end.square, middle.square)
    assert np.all(end.nu != start.nu) and start.count == 20_000 and end.count == 20_001


def test_the_two_dialects_differ_by_what_the_backward_divides_by():
    rng = np.random.default_rng(2)
    x, dy = rng.normal(size=(2, 6, 3))
    state = rn.power_norm.state(square=np.full(3, 3.0), nu=np.full(3, 0.5), count=10)
    dx = {}
    for dialect in ("repo", "paper"):
        _, cache, after = rn.power_norm.forward(x, state=state, warmup=0, dialect=dialect)
        dx[dialect] = rn.power_norm.backward(dy, cache)[0]
        np.testing.assert_allclose(after.square, 0.9 * 3.0 + 0.1 * np.mean(rn.rms_norm(x, eps=1e-5) ** 2, axis=0), rtol=1e-13)
    assert np.max(np.abs(dx["repo"] - dx["paper"])) > 0.1 * np.max(np.abs(dx["paper"]))


def test_at_the_rules_fixed_point_it_is_the_gradient_of_the_batchs_own_statistics():
    """nu (1 - b) = mean(g xhat), and mean(xhat^2) = 1 in the warm-up at eps 0: h = g - xhat mean(g xhat), as in rms."""
    rng = np.random.default_rng(3)
    x, g = rng.normal(size=(2, 8, 3))
    u = x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
    xhat = u / np.sqrt(np.mean(u**2, axis=0))
    fixed = rn.power_norm.state(nu=np.mean(g * xhat, axis=0) / 0.1)
    _, cache, _ = rn.power_norm.forward(x, state=fixed, eps=0.0)
    dx, *_, state = rn.power_norm.backward(g, cache)
    _, scaling = rn.rms_norm.forward(x, eps=0.0)
    _, own = rn.rms_norm.forward(u.T.copy(), eps=0.0)
    expected = rn.rms_norm.backward(rn.rms_norm.backward(g.T.copy(), own)[0].T.copy(), scaling)[0]
    np.testing.assert_allclose(dx, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(state.nu, fixed.nu, rtol=1e-12)


def test_evaluation_has_the_true_gradient_and_leaves_the_state():
    x = np.random.default_rng(4).normal(size=(4, 3))
    state = rn.power_norm.state(square=np.ones(3), nu=np.ones(3), count=5)
    _, cache, same = rn.power_norm.forward(x, state=state, training=False)
    assert same is state and rn.power_norm.backward(x, cache)[-1] is state


def planted(method, change):
    return replace(method, derive=lambda dy, saved, **arguments: change(*method.derive(dy, saved, **arguments)))


@pytest.mark.parametrize(
    "change",
    [
        lambda dx, dgamma, dbeta, state: (1.001 * dx, dgamma, dbeta, state),
        lambda dx, dgamma, dbeta, state: (dx, dgamma, dbeta, state._replace(nu=0 * state.nu)),
        lambda dx, dgamma, dbeta, state: (dx, 2 * dgamma, dbeta, state),
    ],
    ids=["dx off by a thousandth", "nu not kept", "dgamma doubled"],
)
def test_the_rules_proof_catches_it(change):
    method = replace(rn.NORMS["power_norm"], examples=rn.NORMS["power_norm"].examples[:1])
    assert not {f.proof for f in prove(method) if not f.ok}
    assert "rule" in {f.proof for f in prove(planted(method, change)) if not f.ok}


def test_a_rule_that_is_the_gradient_after_all_is_caught(monkeypatch):
    """What is declared not to be the gradient must not be: batch norm that claims a rule of its own is red."""
    honest = rn.NORMS["batch_norm"]
    claiming = replace(
        honest,
        rule="none",
        derive=lambda dy, saved, **a: (*honest.derive(dy, saved, **a), a["state"]),
        examples=honest.examples[:1],
    )
    monkeypatch.setitem(oracles.RULES, "batch_norm", lambda dy, x, gamma, beta, state, **_: (dy, gamma, beta, *state[:2]))
    found = {f.proof: f for p in problems(claiming) if "from a state" in p.label for f in OF_A_PROBLEM["rule"](p)}
    assert not found["not the gradient"].ok


def test_proofs_that_the_rule_replaces_say_so():
    skipped = {f.proof for f in prove(rn.NORMS["power_norm"]) if f.skipped and "published rule" in f.skipped}
    assert skipped == {"tape", "differences", "curvature"}


def test_bad_input():
    x = np.ones((4, 3))
    with pytest.raises(ValueError, match="momentum is None; it must be a finite number, in 0"):
        rn.power_norm(x, momentum=None)
    with pytest.raises(ValueError, match="num_groups is 2; it must divide the 3 channels"):
        rn.power_norm(x, num_groups=2)
    with pytest.raises(ValueError, match="state is None; with training=False"):
        rn.power_norm(x, training=False)
