"""Whitening: populations and dialects, what is refused, the papers' numbers, and equalities with other methods."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

import refnorm as rn
from refnorm.operations import cholesky, newton, pca, zca
from refnorm.operations.covariance import pulled_back
from refnorm.proofs import OF_A_PROBLEM, problems

BATCH = ["batch_whitening_zca", "batch_whitening_pca", "batch_whitening_cholesky"]
ROOTS = {
    "batch_whitening_zca": lambda s: np.linalg.inv(np.linalg.cholesky(s) @ polar(np.linalg.cholesky(s))),
    "batch_whitening_cholesky": lambda s: np.linalg.inv(np.linalg.cholesky(s)),
}


def polar(factor):
    """The rotation Q that makes L Q symmetric: S = L L' has the root L Q."""
    u, _, v = np.linalg.svd(factor)
    return (u @ v).T


@pytest.fixture
def x():
    rng = np.random.default_rng(3)
    return np.einsum("ij,njs->nis", rng.normal(size=(4, 4)), rng.normal(1.5, 1.0, size=(6, 4, 5)))


def rows(x, group=slice(None)):
    """The channels of a group as rows (d, m), their mean and biased covariance: by hand."""
    z = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)[group]
    mean = np.array([sum(r) / len(r) for r in z])
    centred = z - mean[:, None]
    return z, mean, np.array([[sum(a * b) / len(a) for b in centred] for a in centred])


# Populations and dialects.


@pytest.mark.parametrize("name", [*BATCH, "iterative_norm"])
def test_the_covariance_is_averaged_biased_and_without_eps(x, name):
    _, state = getattr(rn, name)(x, num_groups=2, momentum=0.3, eps=0.7)
    for g, group in enumerate((slice(0, 2), slice(2, 4))):
        _, mean, covariance = rows(x, group)
        np.testing.assert_allclose(state.mean[group], 0.3 * mean, rtol=1e-13)
        np.testing.assert_allclose(state.covariance[g], 0.7 * np.eye(2) + 0.3 * covariance, rtol=1e-13)
    assert state.count == 1


@pytest.mark.parametrize("name", ROOTS)
def test_under_the_matrix_dialect_the_matrix_is_averaged(x, name):
    _, state = getattr(rn, name)(x, momentum=0.3, eps=0.1, dialect="matrix")
    _, _, covariance = rows(x)
    expected = 0.7 * np.eye(4) + 0.3 * ROOTS[name](covariance + 0.1 * np.eye(4))
    np.testing.assert_allclose(state.matrix, expected[None], rtol=1e-11, atol=1e-13)


def test_chainer_weighs_the_old_value_and_multiplies_the_matrix_by_m_over_m_minus_one(x):
    _, state = rn.batch_whitening_zca(x, dialect="chainer")
    _, mean, covariance = rows(x)
    matrix = ROOTS["batch_whitening_zca"](covariance + 2e-5 * np.eye(4))
    np.testing.assert_allclose(state.mean, 0.1 * mean, rtol=1e-13)
    np.testing.assert_allclose(state.matrix[0], 0.9 * np.eye(4) + 0.1 * 30 / 29 * matrix, rtol=1e-10, atol=1e-12)


def test_evaluation_whitens_by_the_running_covariance_and_leaves_the_state(x):
    covariance = np.array([[[2, 0.5], [0.5, 1]], [[1, -0.2], [-0.2, 3]]])
    state = rn.batch_whitening_cholesky.state(mean=np.arange(4.0), covariance=covariance)
    y = rn.batch_whitening_cholesky(x, num_groups=2, state=state, training=False, eps=0.1)
    for g in (0, 1):
        inverse = np.linalg.inv(np.linalg.cholesky(covariance[g] + 0.1 * np.eye(2)))
        centred = x[:, 2 * g : 2 * g + 2] - np.arange(2 * g, 2 * g + 2)[:, None]
        np.testing.assert_allclose(y[:, 2 * g : 2 * g + 2], np.einsum("ij,njs->nis", inverse, centred), rtol=1e-12)
    assert rn.batch_whitening_cholesky.forward(x, num_groups=2, state=state, training=False)[2] is state


def test_evaluation_under_the_matrix_dialect_applies_the_matrix_as_it_is(x):
    matrix = np.random.default_rng(4).normal(size=(1, 4, 4))
    state = rn.batch_whitening_zca.state(mean=np.ones(4), matrix=matrix)
    y = rn.batch_whitening_zca(x, state=state, training=False, dialect="matrix")
    np.testing.assert_allclose(y, np.einsum("ij,njs->nis", matrix[0], x - 1), rtol=1e-12, atol=1e-13)


def test_a_number_stands_for_that_multiple_of_the_identity(x):
    state = rn.batch_whitening_zca.state(mean=0.0, covariance=np.array(3.0))
    y = rn.batch_whitening_zca(x, state=state, training=False, eps=1.0)
    np.testing.assert_allclose(y, x / 2, rtol=1e-14)


def test_momentum_none_is_the_mean_of_all_batches(x):
    state = None
    for batch in (x[:3], x[3:]):
        _, state = rn.batch_whitening_zca(batch, state=state, momentum=None)
    np.testing.assert_allclose(state.covariance[0], (rows(x[:3])[2] + rows(x[3:])[2]) / 2, rtol=1e-12)
    assert state.count == 2


def test_a_state_of_the_other_kind_is_refused(x):
    _, state = rn.batch_whitening_zca(x)
    with pytest.raises(ValueError, match="state keeps mean, covariance, count; here it must keep mean, matrix, count"):
        rn.batch_whitening_zca(x, state=state, dialect="matrix")
    with pytest.raises(ValueError, match="state keeps mean, var, count"):
        rn.batch_whitening_zca(x, state=rn.batch_norm.state())
    with pytest.raises(ValueError, match=r"state.covariance has shape \(1, 4, 4\).*\(2, 2, 2\)"):
        rn.batch_whitening_zca(x, num_groups=2, state=state)
    with pytest.raises(ValueError, match="covariance and matrix are both given"):
        rn.batch_whitening_zca.state(covariance=np.eye(4), matrix=np.eye(4))


def test_average_the_covariance_not_the_matrix():
    """CLAIMS AC2.5, d = 16, m = 32, 300 white batches.  PCA errs .98 with our convention of signs, 1.02 with LAPACK's."""
    rng, matrices, covariances = np.random.default_rng(5), {}, {}
    for name in BATCH:
        method = rn.NORMS[name]
        matrix = covariance = None
        for _ in range(300):
            x = rng.normal(size=(32, 16))
            matrix = method(x, state=matrix, momentum=None, dialect="matrix", eps=1e-3)[1]
            covariance = method(x, state=covariance, momentum=None, eps=1e-3)[1]
        matrices[name] = np.linalg.norm(matrix.matrix[0] - np.eye(16)) / 4
        covariances[name] = np.linalg.norm(ROOTS["batch_whitening_zca"](covariance.covariance[0]) - np.eye(16)) / 4
    assert max(covariances.values()) < 0.1
    assert min(matrices.values()) > 0.25
    np.testing.assert_allclose([matrices[name] for name in BATCH], [0.34, 0.98, 0.26], atol=0.02)


# What is refused, and what is not.


@pytest.mark.parametrize("name", BATCH)
def test_fewer_than_d_plus_one_samples_are_refused_at_eps_zero(name):
    x = np.random.default_rng(6).normal(size=(8, 8))
    method = rn.NORMS[name]
    with pytest.raises(ValueError, match=r"x has shape \(8, 8\): 8 samples of 8 .*no inverse root at eps = 0.*M >= D \+ 1"):
        method(x, eps=0.0)
    method(x, eps=1e-3)
    method(x, eps=0.0, num_groups=2)
    method(np.concatenate([x, x[:1] + 1]), eps=0.0)


def test_a_mask_counts_for_feasibility():
    x = np.random.default_rng(7).normal(size=(6, 4))
    rn.batch_whitening_zca(x, eps=0.0)
    with pytest.raises(ValueError, match="4 samples of 4 coordinates"):
        rn.batch_whitening_zca(x, eps=0.0, mask=np.arange(6)[:, None] < 4)


@pytest.mark.parametrize("name", BATCH)
def test_a_singular_covariance_is_refused(name):
    x = np.random.default_rng(8).normal(size=(20, 3))
    x[:, 2] = x[:, 0] - 2 * x[:, 1]
    with pytest.raises(ValueError, match=r"x has shape \(20, 3\).*singular to rounding.*set a larger eps"):
        rn.NORMS[name](x, eps=0.0)
    assert np.isfinite(rn.NORMS[name](x, eps=1e-3)[0]).all()


@pytest.mark.parametrize("name", BATCH)
def test_a_singular_running_covariance_is_refused(x, name):
    state = rn.NORMS[name].state(covariance=np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="state keeps a covariance that is singular to rounding"):
        rn.NORMS[name](x, state=state, training=False, eps=0.0)


def test_a_singular_mixture_is_refused():
    x = np.random.default_rng(8).normal(size=(3, 4, 1))
    with pytest.raises(ValueError, match=r"x has shape \(3, 4, 1\): a mixed covariance is singular"):
        rn.switchable_whitening(x, T=None, eps=0.0)
    assert np.isfinite(rn.switchable_whitening(x, eps=0.0)[0]).all()


def test_group_whitening_needs_more_than_its_count_of_constraints():
    """CLAIMS AC3.3: (d, g) = (256, 16) passes the paper's count g (g + 3) / 2 <= d; its 16 x 16 centred rows have rank 15."""
    x = np.random.default_rng(9).normal(size=(2, 256))
    assert 16 * 19 / 2 <= 256
    with pytest.raises(ValueError, match=r"16 samples of 16 coordinates.*no inverse root at eps = 0"):
        rn.group_whitening_zca(x, num_groups=16, eps=0.0)
    assert np.isfinite(rn.group_whitening_iterative(x, num_groups=16)).all()
    rn.group_whitening_zca(np.random.default_rng(9).normal(size=(2, 272)), num_groups=16, eps=0.0)


@pytest.mark.parametrize(("d", "g"), [(12, 3), (20, 4), (30, 5), (56, 7)])
def test_group_whitening_whitens_the_groups_of_each_sample(d, g):
    x = np.random.default_rng(10).normal(size=(3, d))
    for sample in rn.group_whitening_zca(x, num_groups=g, eps=0.0):
        z = sample.reshape(g, -1)
        np.testing.assert_allclose(z @ z.T / z.shape[1], np.eye(g), atol=1e-8)
        np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-12)


def test_the_iteration_runs_where_there_is_no_inverse_root():
    x = np.random.default_rng(11).normal(size=(3, 8))
    y, cache, _ = rn.iterative_norm.forward(x, eps=0.0)
    assert np.isfinite(y).all() and np.isfinite(rn.iterative_norm.backward(x, cache)[0]).all()


def test_pca_says_where_it_has_no_derivative():
    x = 2 * np.concatenate([np.eye(4), -np.eye(4)])
    y, cache, _ = rn.batch_whitening_pca.forward(x, eps=0.0)
    np.testing.assert_allclose(y.T @ y / 8, np.eye(4), atol=1e-14)
    with pytest.raises(ValueError, match=r"x has a covariance with equal eigenvalues.*0 apart"):
        rn.batch_whitening_pca.backward(y, cache)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: rn.iterative_norm(x, T=0), "T is 0; it must be a positive integer"),
        (lambda x: rn.iterative_norm(x, T=2.0), "T is 2.0; it must be a positive integer"),
        (lambda x: rn.switchable_whitening(x, T=-1), "T is -1; it must be a positive integer"),
        (lambda x: rn.group_whitening_zca(x, num_groups=3), r"num_groups is 3; it must divide the 4 channels.*\[1, 2, 4\]"),
        (lambda x: rn.batch_whitening_zca(x, mask=np.arange(4)[:, None] < 2), "mask differs among channels whitened together"),
        (lambda x: rn.switchable_whitening(x, statistics=("bw", "gn")), r"statistics is \('bw', 'gn'\); it must name some"),
        (lambda x: rn.switchable_whitening(x, statistics=("bw", "bw")), "statistics is .*each once"),
        (lambda x: rn.switchable_whitening(x, statistics=("bw", "in"), dialect="authors"), "in the authors' code it is one of"),
        (lambda x: rn.switchable_whitening(x, mean_weight=np.ones(3)), r"mean_weight has shape \(3,\).*shape \(2,\)"),
        (lambda x: rn.switchable_whitening(x, training=False), "state is None; with training=False"),
        (lambda x: rn.switchable_whitening(x[:, :, :0]), r"x has shape \(6, 4, 0\): its statistics are over no entries"),
        (lambda x: rn.batch_whitening_zca(x, training=False), "state is None; with training=False"),
        (lambda x: rn.batch_whitening_zca(x[:, :, :0]), r"x has shape \(6, 4, 0\): its statistics are over no entries"),
    ],
)
def test_the_error_names_the_argument_its_value_and_the_right_form(x, call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(x)
    assert "\n" not in str(caught.value)


# Masks, layouts, dtypes.


@pytest.mark.parametrize("name", [*BATCH, "iterative_norm"])
def test_masked_samples_leave_the_statistics_and_nothing_else(x, name):
    mask = np.random.default_rng(12).random((6, 1, 5)) < 0.7
    y, state = rn.NORMS[name](x, mask=mask)
    counted = np.moveaxis(x, 1, 2)[mask[:, 0]]
    alone, plain = rn.NORMS[name](counted)
    np.testing.assert_allclose(np.moveaxis(y, 1, 2)[mask[:, 0]], alone, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.covariance, plain.covariance, rtol=1e-12)
    assert np.isfinite(y).all()


@pytest.mark.parametrize(
    "name", [*BATCH, "iterative_norm", "group_whitening_zca", "group_whitening_iterative", "switchable_whitening"]
)
def test_channels_last_is_channels_first_moved(x, name):
    method = rn.NORMS[name]
    first, last = (method.forward(a, num_groups=2, channel_axis=c)[0] for a, c in ((x, 1), (np.moveaxis(x, 1, -1), -1)))
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), first, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_the_reference_computes_in_float64_and_rounds_once(x, dtype):
    small = x.astype(dtype)
    y, cache, state = rn.batch_whitening_zca.forward(small)
    exact = rn.batch_whitening_zca.forward(small.astype(np.float64))[0]
    assert y.dtype == rn.batch_whitening_zca.backward(y, cache)[0].dtype == np.dtype(dtype)
    assert state.covariance.dtype == np.float64
    np.testing.assert_allclose(y.astype(np.float64), exact, rtol=float(ml_dtypes.finfo(dtype).eps))


# Equalities between methods.


@pytest.mark.parametrize("name", BATCH)
def test_a_group_a_channel_is_batch_norm(x, name):
    y, state = rn.NORMS[name](x, num_groups=4, eps=1e-3)
    np.testing.assert_allclose(y, rn.batch_norm(x, eps=1e-3)[0], rtol=1e-12)
    assert state.covariance.shape == (4, 1, 1)


def test_one_group_of_group_whitening_is_layer_norm(x):
    np.testing.assert_allclose(rn.group_whitening_zca(x, num_groups=1), rn.layer_norm(x, axis=1), rtol=1e-12)


def test_many_steps_of_the_iteration_are_zca(x):
    zca_y, iterated = rn.batch_whitening_zca(x, eps=1e-3)[0], rn.iterative_norm(x, eps=1e-3, T=30)[0]
    np.testing.assert_allclose(iterated, zca_y, rtol=1e-10, atol=1e-12)


def one_hot(k, n):
    return np.where(np.arange(n) == k, 0.0, -np.inf)


ALL = ("bw", "iw", "bn", "in", "ln")
ONE_AT_A_TIME = {
    "bw": lambda x: rn.batch_whitening_zca.forward(x, num_groups=2, eps=1e-3)[:2],
    "bn": lambda x: rn.batch_norm.forward(x, eps=1e-3)[:2],
    "in": lambda x: rn.instance_norm.forward(x, eps=1e-3),
    "ln": lambda x: rn.layer_norm.forward(x, axis=1, eps=1e-3),
}
METHODS = {"bw": "batch_whitening_zca", "bn": "batch_norm", "in": "instance_norm", "ln": "layer_norm"}


@pytest.mark.parametrize("kind", ONE_AT_A_TIME)
def test_all_weight_on_one_statistic_is_that_norm_forward_and_backward(x, kind):
    weight, dy = one_hot(ALL.index(kind), 5), np.random.default_rng(13).normal(size=x.shape)
    y, cache, _ = rn.switchable_whitening.forward(
        x, mean_weight=weight, covariance_weight=weight, statistics=ALL, T=None, num_groups=2, eps=1e-3
    )
    expected, kept = ONE_AT_A_TIME[kind](x)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-13)
    mine, theirs = rn.switchable_whitening.backward(dy, cache)[0], rn.NORMS[METHODS[kind]].backward(dy, kept)[0]
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_all_weight_on_instance_whitening_is_each_sample_on_its_own(x):
    weight = one_hot(1, 2)
    y = rn.switchable_whitening(x, mean_weight=weight, covariance_weight=weight, T=None, num_groups=2, eps=1e-3)[0]
    for mine, sample in zip(y, x, strict=True):
        alone = rn.batch_whitening_zca(sample[None], num_groups=2, eps=1e-3)[0]
        np.testing.assert_allclose(mine[None], alone, rtol=1e-11, atol=1e-13)


def test_the_newton_form_of_switchable_whitening_on_the_batch_alone_is_iterative_norm(x):
    y, state = rn.switchable_whitening(x, mean_weight=one_hot(0, 2), covariance_weight=one_hot(0, 2), num_groups=2)
    np.testing.assert_allclose(y, rn.iterative_norm(x, num_groups=2)[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(state.covariance, rn.iterative_norm(x, num_groups=2, momentum=0.01)[1].covariance, rtol=1e-12)


def test_the_authors_five_statistics_use_two_covariance_weights_twice(x):
    """Their v of bn and in is never read; with equal statistics the covariance comes out times 2 v_bw + 2 v_iw + v_ln."""
    v = np.array([0.5, 0.2, -0.4, 1.0, 0.1])
    options = {"statistics": ALL, "num_groups": 2, "dialect": "authors"}
    y = rn.switchable_whitening(x, covariance_weight=v, mean_weight=v, **options)[0]
    moved = v + np.array([0, 0, 1.0, 0, 0])
    softmax = [np.exp(a) / np.exp(a).sum() for a in (v, moved)]
    scale = softmax[0][0] / softmax[1][0]                 # v_bn enters through the softmax alone: the whole covariance scales
    z = rn.switchable_whitening(x, covariance_weight=moved, mean_weight=v, **options, eps=1e-5 / scale)[0]
    np.testing.assert_allclose(z, y * np.sqrt(scale), rtol=1e-10, atol=1e-12)
    paper = rn.switchable_whitening(x, covariance_weight=v, mean_weight=v, statistics=ALL, num_groups=2)[0]
    assert np.max(np.abs(paper - y)) > 0.01


# Tests of the proofs: a planted bug turns them red.


def transposed_average(g, z, saved, *, eps, weight=None):
    return pulled_back(g, z, saved, lambda h: zca.averaged(np.swapaxes(h, 1, 2), saved.matrix), weight)


def covariance_detached(g, z, saved, *, eps, weight=None, **_):
    return pulled_back(g, z, saved, np.zeros_like, weight)


def upper_triangle(g, z, saved, *, eps, weight=None):
    return pulled_back(g, z, saved, lambda h: cholesky.averaged(np.swapaxes(h, 1, 2)), weight)


def gap_swapped(g, z, saved, *, eps, weight=None):
    return pulled_back(g, z, saved, lambda h: pca.averaged(np.swapaxes(h, 1, 2), saved.values), weight)


def trace_detached(g, z, saved, *, eps, T, weight=None):
    """As if tr(S) were a constant."""
    ds = newton.covariance_gradient(g, z, saved, eps=eps, T=T)
    tr = newton.trace(saved.covariance + eps * np.eye(z.shape[1]))
    n = (saved.covariance + eps * np.eye(z.shape[1])) / tr
    along = np.sum(ds * n, axis=(1, 2), keepdims=True)
    return newton.through_statistics(g, z, saved, ds - along * np.eye(z.shape[1]), weight)


@pytest.mark.parametrize(
    ("name", "backward"),
    [
        ("batch_whitening_zca", transposed_average),
        ("batch_whitening_zca", covariance_detached),
        ("batch_whitening_cholesky", upper_triangle),
        ("batch_whitening_pca", gap_swapped),
        ("group_whitening_zca", transposed_average),
        ("iterative_norm", covariance_detached),
        ("iterative_norm", trace_detached),
        ("group_whitening_iterative", trace_detached),
    ],
)
def test_a_wrong_backward_turns_tape_differences_and_identities_red(name, backward):
    method = rn.NORMS[name]
    norm = replace(method.triple, operation=replace(method.operation, backward=backward))
    problem = next(problems(replace(method, triple=norm, derive=norm.derive)))
    for proof in ("tape", "differences"):
        assert not OF_A_PROBLEM[proof](problem).ok
    assert not all(finding.ok for finding in OF_A_PROBLEM["identities"](problem))


def test_a_transposed_axis_is_seen_by_the_loops():
    """Grouping channels as (k g) in the place of (g k)."""
    method = rn.NORMS["batch_whitening_zca"]
    norm = replace(method.triple, area=replace(method.area, pattern="n (k g) s -> g | k | n s"))
    problem = next(problems(replace(method, triple=norm, compute=norm.compute, derive=norm.derive)))
    assert not OF_A_PROBLEM["loops"](problem).ok
