"""Areas: the partition of an array into blocks, against index arithmetic written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refnorm.anatomy.area import Area, Layout

shapes = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)


@given(shapes, st.sampled_from([1, -1]))
def test_merge_inverts_split(shape, channel_axis):
    x = np.arange(np.prod(shape)).reshape(shape)
    for pattern in ("n c s -> c | | n s", "n c s -> n c | | s", "n c s -> n s | | c", "n c s -> n | c | s"):
        part = Area(pattern).partition(Layout.activations(x, channel_axis))
        z = part.split(x)
        assert z.shape == part.blocks
        np.testing.assert_array_equal(part.merge(z), x)


def test_group_area_against_written_out_indices():
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 2))
    part = Area("n (g k) s -> n g | | k s").partition(Layout.activations(x), groups=3)
    z = part.split(x)
    assert z.shape == (6, 1, 12)
    for n, g in itertools.product(range(2), range(3)):
        mine = [x[n, c, i, j] for c in (2 * g, 2 * g + 1) for i in range(3) for j in range(2)]
        np.testing.assert_array_equal(z[3 * n + g, 0], mine)


def test_channels_last_is_the_same_partition():
    x = np.random.default_rng(1).normal(size=(2, 4, 3))
    first = Area("n (g k) s -> n g | | k s").partition(Layout.activations(x), groups=2).split(x)
    moved = np.moveaxis(x, 1, -1)
    last = Area("n (g k) s -> n g | | k s").partition(Layout.activations(moved, -1), groups=2).split(moved)
    np.testing.assert_array_equal(np.sort(first, axis=2), np.sort(last, axis=2))


def test_split_is_a_view_where_strides_allow_one():
    x = np.zeros((3, 4, 5))
    assert np.shares_memory(Area("r f -> r | | f").partition(Layout.trailing(x, 1)).split(x), x)
    assert np.shares_memory(Area("n c s -> n c | | s").partition(Layout.activations(x)).split(x), x)
    assert not np.shares_memory(Area("n c s -> c | | n s").partition(Layout.activations(x)).split(x), x)


def test_labels_name_the_entries_that_share_statistics():
    part = Area("n c s -> c | | n s").partition(Layout.activations(np.zeros((2, 3, 2))))
    expected = np.broadcast_to(np.arange(3)[None, :, None], (2, 3, 2))
    np.testing.assert_array_equal(part.labels(), expected)


@pytest.mark.parametrize("pattern", ["n c s -> c | n s", "n c -> c | | n s", "n c s -> c c | | n s", "gibberish"])
def test_a_pattern_that_is_no_area_says_so(pattern):
    with pytest.raises(ValueError, match="is no area"):
        Area(pattern).partition(Layout.activations(np.zeros((2, 3))))


@pytest.mark.parametrize("groups", [0, -1, 5, 2.0, True, None])
def test_a_group_count_that_does_not_divide_is_shown(groups):
    with pytest.raises(ValueError, match=f"num_groups is {groups}.*6 channels"):
        Area("n (g k) s -> n g | | k s").partition(Layout.activations(np.zeros((2, 6))), groups)
