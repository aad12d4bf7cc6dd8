"""Ghost, synchronized, renormalized, variance-only and L1 batch norm: what the generic proofs do not say."""

import math
from dataclasses import replace

import numpy as np
import pytest

import refnorm as rn
from refnorm.proofs import prove


@pytest.fixture
def x():
    return np.random.default_rng(3).normal(1.5, 2.0, size=(7, 4, 5))


def red(method):
    return {f.proof for f in prove(method) if not f.ok}


# Ghost batch norm


def test_ghost_is_batch_norm_of_each_virtual_batch_the_last_one_short(x):
    y, state = rn.ghost_batch_norm(x, virtual_batch_size=3)
    expected, after = [], None
    for part in (x[:3], x[3:6], x[6:]):
        normalized, after = rn.batch_norm(part, state=after)
        expected.append(normalized)
    np.testing.assert_allclose(y, np.concatenate(expected), rtol=1e-13)
    np.testing.assert_allclose(state.mean, after.mean, rtol=1e-14)
    np.testing.assert_allclose(state.var, after.var, rtol=1e-13)
    assert state.count == 3


def test_ghost_gradients_stay_in_their_virtual_batch(x):
    _, cache, _ = rn.ghost_batch_norm.forward(x, virtual_batch_size=3)
    dy = np.zeros_like(x)
    dy[6] = np.random.default_rng(0).normal(size=x[6].shape)
    dx = rn.ghost_batch_norm.backward(dy, cache)[0]
    assert np.all(dx[:6] == 0) and np.any(dx[6] != 0)


def test_one_virtual_batch_is_batch_norm(x):
    for size in (7, 100):
        np.testing.assert_allclose(rn.ghost_batch_norm(x, virtual_batch_size=size)[0], rn.batch_norm(x)[0], rtol=1e-13)


def test_tabnet_evens_virtual_batches_out_as_torch_chunk_does(peer):
    torch, rows = peer("torch"), np.random.default_rng(5).normal(size=(9, 2))
    y, state = rn.ghost_batch_norm(rows, virtual_batch_size=4, dialect="tabnet")
    layer = torch.nn.BatchNorm1d(2, momentum=0.01, dtype=torch.float64)
    parts = torch.tensor(rows).chunk(math.ceil(9 / 4))
    assert [len(p) for p in parts] == [3, 3, 3]
    np.testing.assert_allclose(y, torch.cat([layer(p) for p in parts]).detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(state.var, layer.running_var.numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"x has shape \(9, 2\): one value a statistic"):
        rn.ghost_batch_norm(rows, virtual_batch_size=4)


def test_tensorflow_updates_once_with_the_mean_over_virtual_batches(x):
    start = rn.batch_norm.state(np.full(4, 2.0), np.full(4, 3.0))
    _, state = rn.ghost_batch_norm(x[:6], virtual_batch_size=3, state=start, dialect="tensorflow", momentum=0.9)
    mean = (x[:3].mean((0, 2)) + x[3:6].mean((0, 2))) / 2
    var = (x[:3].var((0, 2)) + x[3:6].var((0, 2))) / 2
    np.testing.assert_allclose(state.mean, 0.9 * 2 + 0.1 * mean, rtol=1e-13)
    np.testing.assert_allclose(state.var, 0.9 * 3 + 0.1 * var, rtol=1e-13)


def test_ghost_evaluation_knows_no_virtual_batches(x):
    state = rn.batch_norm.state(np.arange(4.0), np.arange(1.0, 5))
    expected = rn.batch_norm(x, state=state, training=False)
    np.testing.assert_array_equal(rn.ghost_batch_norm(x, virtual_batch_size=3, state=state, training=False), expected)


# Synchronized batch norm


def test_sync_is_batch_norm_however_the_samples_are_dealt(x):
    expected, state = rn.batch_norm(x)
    for dealt in ({"num_shards": 1}, {"num_shards": 3}, {"num_shards": 9}, {"shard_sizes": (0, 5, 1, 1)}):
        y, after = rn.sync_batch_norm(x, **dealt)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(after.var, state.var, rtol=1e-13)


# Batch renormalization


def renormalized(x, state, alpha, r_max, d_max, eps=1e-5):
    """The paper's algorithm 1 with one pair of running statistics, dense, line by line."""
    mu, sigma = state
    mu_b, sigma_b = x.mean(0), np.sqrt(eps + x.var(0))
    r, d = np.clip(sigma_b / sigma, 1 / r_max, r_max), np.clip((mu_b - mu) / sigma, -d_max, d_max)
    return (x - mu_b) / sigma_b * r + d, (mu + alpha * (mu_b - mu), sigma + alpha * (sigma_b - sigma))


def test_renorm_over_several_steps_is_the_papers_algorithm():
    rng, state, running = np.random.default_rng(1), None, (np.zeros(3), np.ones(3))
    for _ in range(5):
        x = rng.normal(0.5, 2, size=(6, 3))
        y, state = rn.batch_renorm(x, state=state, momentum=0.2, renorm_momentum=0.2, r_max=1.5, d_max=0.5)
        expected, running = renormalized(x, running, 0.2, 1.5, 0.5)
        np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose((state.mean, state.deviation), running, rtol=1e-13)
    np.testing.assert_allclose((state.renorm_mean, state.renorm_deviation), running, rtol=1e-13)
    assert state.count == 5


def test_unclipped_renorm_is_what_evaluation_computes(x):
    """r and d undo the batch's own statistics: (x - mu) / sigma, to 4e-16 in CLAIMS.md section 15."""
    state = rn.batch_renorm.state(mean=np.array([1.0, 2, 0, 1]), deviation=np.array([2.0, 1.5, 2.5, 2]))
    wide = {"r_min": 0.0, "r_max": np.inf, "d_max": np.inf}
    trained, evaluated = rn.batch_renorm(x, state=state, **wide)[0], rn.batch_renorm(x, state=state, training=False)
    assert np.max(np.abs(trained - evaluated)) < 4e-15


def test_renorm_with_the_narrowest_clips_is_batch_norm(x):
    y = rn.batch_renorm(x, r_max=1.0, d_max=0.0)[0]
    np.testing.assert_allclose(y, rn.batch_norm(x)[0], rtol=1e-13)


def test_keras_keeps_two_pairs_and_floors_deviations_at_the_root_of_eps():
    x, eps = np.random.default_rng(2).normal(size=(6, 1)), 0.25
    state = rn.batch_renorm.state(mean=np.zeros(1), deviation=np.full(1, 0.1))
    y, after = rn.batch_renorm(x, state=state, dialect="keras", eps=eps, momentum=0.9, renorm_momentum=0.5)
    sigma_b = np.sqrt(x.var(0) + eps)
    np.testing.assert_allclose(y, x / 0.5, rtol=1e-13)  # unclipped: (x - 0) / max(0.1, sqrt(0.25))
    np.testing.assert_allclose(after.deviation, 0.9 * 0.1 + 0.1 * sigma_b, rtol=1e-14)
    np.testing.assert_allclose(after.renorm_deviation, 0.5 * 0.1 + 0.5 * sigma_b, rtol=1e-14)
    evaluated = rn.batch_renorm(x, state=state, training=False, dialect="keras", eps=eps)
    np.testing.assert_allclose(evaluated, x / 0.5, rtol=1e-14)
    np.testing.assert_allclose(rn.batch_renorm(x, state=state, training=False, eps=eps), x / 0.1, rtol=1e-14)


def test_r_and_d_let_through_by_the_gradient_are_caught():
    """Unclipped, the whole is (x - mu) / sigma, whose gradient is g / sigma: the one that stopping r and d must not give."""
    method = rn.NORMS["batch_renorm"]

    def not_stopped(dy, saved, **arguments):
        _, *others = method.derive(dy, saved, **arguments)
        scale = np.reshape(saved.rstd * saved.r, (1, -1, 1))
        return dy * np.reshape(arguments["gamma"], (1, -1, 1)) * scale, *others

    assert {"tape", "differences", "curvature"} <= red(replace(method, derive=not_stopped, examples=method.examples[:1]))


def test_a_forgotten_r_is_caught():
    method = rn.NORMS["batch_renorm"]

    def without_r(dy, saved, **arguments):
        return method.derive(dy, saved._replace(r=np.ones_like(saved.r)), **arguments)

    assert {"tape", "differences"} <= red(replace(method, derive=without_r, examples=method.examples[:1]))


# Variance norm and L1 batch norm


def test_variance_norm_divides_and_does_not_centre(x):
    y, state = rn.variance_norm(x, eps=0.1)
    expected = x / np.sqrt(x.var((0, 2)) + 0.1)[:, None]
    np.testing.assert_allclose(y, expected, rtol=1e-13)
    np.testing.assert_allclose(state.var, 0.9 + 0.1 * x.var((0, 2)), rtol=1e-13)
    assert state._fields == ("var", "count")
    np.testing.assert_allclose(rn.variance_norm(x, state=state, training=False, eps=0.1), x / np.sqrt(state.var + 0.1)[:, None])


def test_l1_of_normal_samples_is_near_batch_norm_with_the_papers_factor():
    """E|x - mu| = sigma sqrt(2 / pi): the factor sqrt(pi / 2) makes the two agree, at the rate of the samples."""
    x = np.random.default_rng(6).normal(3, 2, size=(200_000, 2))
    l1, l2 = rn.l1_batch_norm(x)[0], rn.batch_norm(x)[0]
    assert np.max(np.abs(l1 / l2 - 1)) < 0.01
    assert abs(np.mean(rn.l1_batch_norm(x, dialect="plain")[0] / l2) - math.sqrt(math.pi / 2)) < 0.01


def test_l1_by_hand_and_its_state(x):
    a = np.abs(x - x.mean((0, 2), keepdims=True)).mean((0, 2))
    y, state = rn.l1_batch_norm(x, eps=0.1, factor=2.0)
    np.testing.assert_allclose(y, (x - x.mean((0, 2), keepdims=True)) / (2 * a + 0.1)[:, None], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state.deviation, 0.9 + 0.1 * a, rtol=1e-13)


def test_l1_with_the_centres_own_derivative_left_out_is_caught():
    """mean(sign(z - mu)) is not 0: dropping it is right for the variance's gradient and wrong here."""
    method = rn.NORMS["l1_batch_norm"]
    operation = method.operation

    def dropped(g, z, saved, *, eps, factor, weight=None):
        zhat, t = operation.apply(z, saved), np.sign(z - saved.mean)
        return saved.rate * (g - g.mean(2, keepdims=True) - factor * t * (g * zhat).mean(2, keepdims=True))

    triple = replace(method.triple, operation=replace(operation, backward=dropped))
    planted = replace(method, triple=triple, derive=triple.derive, examples=method.examples[:1])
    assert {"tape", "differences", "identities"} <= red(planted)


# Masks


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("batch_norm", {}),
        ("ghost_batch_norm", {"virtual_batch_size": 7}),
        ("sync_batch_norm", {"num_shards": 3}),
        ("variance_norm", {}),
        ("l1_batch_norm", {}),
        ("batch_renorm", {}),
        ("conditional_batch_norm", {}),
        ("spatially_adaptive_norm", {}),
    ],
)
def test_ragged_lengths_are_a_mask_and_padding_cannot_be_seen(x, name, options):
    """What lies in the padding changes neither the others' outputs nor their gradients nor the state."""
    lengths = np.array([5, 3, 1, 4, 5, 2, 5])
    mask = (np.arange(5) < lengths[:, None])[:, None]
    method, dy = rn.NORMS[name], np.random.default_rng(8).normal(size=x.shape) * mask
    padded = np.where(mask, x, 1e3)
    answers = []
    for given in (np.where(mask, x, 0.0), padded):
        y, cache, state = method.forward(given, mask=mask, **options)
        answers.append((y * mask, method.backward(dy, cache)[0] * mask, *state[:2]))
    for a, b in zip(*answers, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_mask_forgotten_in_the_backward_is_caught():
    method = rn.NORMS["batch_norm"]
    operation = method.operation

    def forgetful(g, z, saved, *, eps, weight=None):
        return operation.backward(g, z, saved, eps=eps)

    triple = replace(method.triple, operation=replace(operation, backward=forgetful))
    masked = [e for e in method.examples if "mask" in e]
    assert {"tape", "differences", "identities"} <= red(replace(method, derive=triple.derive, triple=triple, examples=masked))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: rn.ghost_batch_norm(x, virtual_batch_size=0), "virtual_batch_size is 0; it must be a positive integer"),
        (lambda x: rn.ghost_batch_norm(x, virtual_batch_size=2.0), "virtual_batch_size is 2.0; it must be a positive integer"),
        (lambda x: rn.sync_batch_norm(x, num_shards=0), "num_shards is 0; it must be a positive integer"),
        (
            lambda x: rn.sync_batch_norm(x, shard_sizes=(3, 3)),
            r"shard_sizes is \(3, 3\); its sizes must add up to the 7 samples",
        ),
        (lambda x: rn.sync_batch_norm(x, shard_sizes=(9, -2)), r"shard_sizes is \(9, -2\)"),
        (lambda x: rn.batch_renorm(x, r_max=0.5), "r_min, r_max, d_max are None, 0.5, 5.0"),
        (lambda x: rn.batch_renorm(x, training=False), "state is None; with training=False"),
        (
            lambda x: rn.batch_renorm(x, state=rn.batch_norm.state()),
            "state keeps mean, var, count; here it must keep mean, dev",
        ),
        (lambda x: rn.variance_norm(x, state=rn.variance_norm.state(var=np.ones(3))), r"state.var has shape \(3,\).*\(4,\)"),
    ],
)
def test_bad_input(x, call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(x)
    assert "\n" not in str(caught.value)
