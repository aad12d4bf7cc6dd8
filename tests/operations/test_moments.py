"""Moments that merge: any split, any order, any weights give the moments of the whole; their gradient streams."""

from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refnorm import batch_norm
from refnorm.autodiff import vjp
from refnorm.operations import moments


def drawn(seed=0, b=2, d=3, m=17):
    return np.random.default_rng(seed).normal(1.5, 2.0, size=(b, d, m))


def cuts(z, *ends):
    return [z[:, :, i:j] for i, j in zip((0, *ends), (*ends, z.shape[2]), strict=True)]


def same(a, b, rtol=1e-13):
    for x, y in ((a.count, b.count), (a.mean, b.mean), (a.scatter, b.scatter)):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("joint", [False, True])
@given(ends=st.lists(st.integers(0, 17), min_size=1, max_size=5).map(sorted), seed=st.integers(0, 99))
def test_any_split_merges_to_the_whole(joint, ends, seed):
    """Uneven and empty parts included; merged in a tree, one after the other, or by +."""
    z = drawn(seed)
    parts = [moments.of(part, joint=joint) for part in cuts(z, *ends)]
    whole = moments.of(z, joint=joint)
    same(moments.merged(parts), whole)
    same(reduce(moments.merge, parts), whole)
    same(reduce(lambda a, b: a + b, reversed(parts)), whole)


@pytest.mark.parametrize("joint", [False, True])
def test_the_whole_is_numpys(joint):
    z = drawn()
    got = moments.of(z, joint=joint)
    np.testing.assert_allclose(got.mean[..., 0], z.mean(2), rtol=1e-14)
    expected = np.stack([np.cov(block, bias=True) for block in z]) if joint else z.var(2, keepdims=True)
    np.testing.assert_allclose(got.covariance, expected, rtol=1e-13)


@pytest.mark.parametrize("joint", [False, True])
def test_integer_weights_are_repetitions(joint):
    z, times = drawn(m=6), np.array([1, 0, 3, 2, 1, 4])
    weighted = [moments.of(p, w, joint) for p, w in zip(cuts(z, 2, 5), cuts(times[None, None] * 1.0, 2, 5), strict=True)]
    same(moments.merged(weighted), moments.of(np.repeat(z, times, axis=2), joint=joint))


def test_merging_loses_nothing_far_from_zero():
    """|mean| / std = 1e8: the sum of squares less n mean^2 has no digit left, the merge has them all."""
    rng = np.random.default_rng(1)
    z = 1e8 + rng.integers(-8, 9, size=(1, 1, 400)) / 4.0
    exact = [Fraction(v) for v in z.ravel().tolist()]
    mean = sum(exact) / 400
    scatter = float(sum((v - mean) ** 2 for v in exact))
    merged = moments.merged([moments.of(p) for p in cuts(z, 3, 50, 51, 300)])
    assert abs(merged.scatter.item() - scatter) < 1e-7 * scatter
    assert abs(np.sum(z**2) - 400 * z.mean() ** 2 - scatter) > 0.1 * scatter


def test_no_samples_are_the_neutral_element():
    z = drawn()
    nothing, whole = moments.of(z[:, :, :0]), moments.of(z)
    assert nothing.count.max() == 0 and np.all(nothing.mean == 0) and np.all(nothing.scatter == 0)
    same(nothing + whole, whole, 0)
    same(whole + nothing, whole, 0)
    same(nothing + nothing, nothing, 0)
    with pytest.raises(ValueError, match="parts is empty"):
        moments.merged([])


@pytest.mark.parametrize("joint", [False, True])
def test_the_gradient_of_a_merge_is_streamed(joint):
    """Each part needs its own samples and the merged moments: against the tape through parts and merges."""
    z = drawn(2, m=9)
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 2, size=(2, 1, 9))
    whole = moments.of(z, weight, joint)
    gmean, gscatter = rng.normal(size=whole.mean.shape), rng.normal(size=whole.scatter.shape)

    def scalar(a):
        got = moments.merged([moments.of(p, w, joint) for p, w in zip(cuts(a, 2, 6), cuts(weight, 2, 6), strict=True)])
        return np.sum(gmean * got.mean) + np.sum(gscatter * got.scatter)

    taped = vjp(scalar, z)[1](1.0)[0]
    mine = [moments.backward(gmean, gscatter, p, whole, w) for p, w in zip(cuts(z, 2, 6), cuts(weight, 2, 6), strict=True)]
    np.testing.assert_allclose(np.concatenate(mine, axis=2), taped, rtol=1e-12, atol=1e-13)


def test_the_population_of_a_whole_data_set():
    """Batches pass by once, and evaluation then normalizes with the data set's own moments."""
    rng = np.random.default_rng(4)
    data = rng.normal(3, 5, size=(50, 4, 6))
    seen = moments.merged([moments.of(np.moveaxis(data[i : i + 8], 1, 0).reshape(4, 1, -1)) for i in range(0, 50, 8)])
    state = batch_norm.state(mean=seen.mean[:, 0, 0], var=seen.covariance[:, 0, 0])
    np.testing.assert_allclose(batch_norm(data, state=state, training=False), batch_norm(data)[0], rtol=1e-11, atol=1e-13)
