"""Each fast kernel against the plain loop that it stands below, on lengths around the widths of its lanes."""

import numpy as np
import pytest

from refnorm.kernels.cpu import columns, columns_backward, planes, positions, row, rows, rows_lanes
from refnorm.kernels.cpu.simd import LANES
from refnorm.kernels.cpu.streaming import may_stream

EPS = 1e-5
OPERATIONS = [row.STANDARDIZE, row.RMS, row.CENTER, row.DEVIATION, row.SAMPLE_DEVIATION, row.FLOOR]


def drawn(dtype, *shape, seed=0):
    return (np.random.default_rng(seed).normal(size=shape) + 0.5).astype(dtype)


def agree(fast, plain, dtype):
    for a, b in zip(fast, plain, strict=True):
        bound = 16 * np.finfo(np.float32).eps if dtype == np.float32 else 1e-13
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * max(1.0, float(np.abs(b).max())))


def run(forward, backward, x, dy, scale, shift, statistics, sums):
    """y, statistics, dx, dscale, dshift as a pair of kernels fills them in."""
    y, dx, dscale, dshift = np.empty_like(x), np.empty_like(x), np.empty(sums), np.empty(sums)
    s = np.empty(statistics)
    forward(x, scale, shift, y, s)
    backward(dy, x, s, scale, dx, dscale, dshift)
    return y, s, dx, dscale, dshift


@pytest.mark.parametrize("module", [rows, rows_lanes], ids=["rows", "lanes"])
@pytest.mark.parametrize("shape", [(3, 1), (3, 7), (70, 16), (65, 64), (67, 100), (2, 2500), (130, 1100)], ids=str)
def test_rows(module, shape):
    for operation in OPERATIONS[: 2 if shape[0] > 3 else 6]:
        if shape[1] == 1 and operation != row.RMS:
            continue
        x, dy = drawn(np.float32, *shape), drawn(np.float32, *shape, seed=1)
        scale, shift = drawn(np.float32, 1, shape[1], seed=2), drawn(np.float32, 1, shape[1], seed=3)
        both = [
            run(
                lambda x, g, b, y, s, f=forward, o=operation: f(o, x, g, b, EPS, y, s),
                lambda dy, x, s, g, *out, f=backward, o=operation: f(o, dy, x, s, g, EPS, *out),
                x, dy, scale, shift, (3, shape[0]), (1, shape[1]),
            )
            for forward, backward in ((module.forward, module.backward), (rows.forward_plainly, rows.backward_plainly))
        ]  # fmt: skip
        agree(*both, np.float32)


def test_rows_whose_parameters_recur():
    x, dy = drawn(np.float64, 12, 9), drawn(np.float64, 12, 9, seed=1)
    scale, shift = drawn(np.float64, 3, 9, seed=2), drawn(np.float64, 3, 9, seed=3)
    both = [
        run(
            lambda x, g, b, y, s, f=forward: f(row.STANDARDIZE, x, g, b, EPS, y, s),
            lambda dy, x, s, g, *out, f=backward: f(row.STANDARDIZE, dy, x, s, g, EPS, *out),
            x, dy, scale, shift, (3, 12), (3, 9),
        )
        for forward, backward in ((rows.forward, rows.backward), (rows.forward_plainly, rows.backward_plainly))
    ]  # fmt: skip
    agree(*both, np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "parameters"), [((1, 6, 5, 33), (1, 1, 5)), ((8, 3, 1, 50), (4, 3, 1)), ((1, 40, 3, 200), (1, 1, 3))]
)
def test_planes(dtype, shape, parameters):
    x, dy = drawn(dtype, *shape), drawn(dtype, *shape, seed=1)
    scale, shift = drawn(dtype, *parameters, seed=2), drawn(dtype, *parameters, seed=3)
    for operation in OPERATIONS:
        both = [
            run(
                lambda x, g, b, y, s, f=forward, o=operation: f(o, True, x, g, b, EPS, y, s),
                lambda dy, x, s, g, *out, f=backward, o=operation: f(o, True, dy, x, s, g, EPS, *out),
                x, dy, scale, shift, (3, shape[0] * shape[2]), shape[:3],
            )
            for forward, backward in ((planes.forward, planes.backward), (planes.forward_plainly, planes.backward_plainly))
        ]  # fmt: skip
        agree(*both, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "groups", "period"),
    [((1, 50, 37), 37, 1), ((1, 600, 64), 64, 1), ((4, 21, 18), 6, 2), ((3, 64, 48), 1, 1)],
)
def test_columns(dtype, shape, groups, period):
    assert LANES == 16
    x, dy = drawn(dtype, *shape), drawn(dtype, *shape, seed=1)
    scale, shift = drawn(dtype, period, shape[2], seed=2), drawn(dtype, period, shape[2], seed=3)
    plain = columns.forward_plainly, columns_backward.backward_plainly
    for operation in OPERATIONS:
        both = [
            run(
                lambda x, g, b, y, s, f=forward, o=operation: f(o, True, groups, x, g, b, EPS, y, s),
                lambda dy, x, s, g, *out, f=backward, o=operation: f(o, True, groups, dy, x, s, g, EPS, *out),
                x, dy, scale, shift, (3, shape[0] * groups), shape[::2],
            )
            for forward, backward in ((columns.forward, columns_backward.backward), plain)
        ]  # fmt: skip
        agree(*both, dtype)


def test_positions():
    x, dy = drawn(np.float64, 3, 6, 21), drawn(np.float64, 3, 6, 21, seed=1)
    scale, shift = drawn(np.float64, 6, seed=2), drawn(np.float64, 6, seed=3)
    both = [
        run(
            lambda x, g, b, y, s, f=forward: f(row.STANDARDIZE, x, g, b, EPS, y, s),
            lambda dy, x, s, g, *out, f=backward: f(row.STANDARDIZE, dy, x, s, g, EPS, *out),
            x, dy, scale, shift, (3, 63), (3, 6),
        )
        for forward, backward in (
            (positions.forward, positions.backward), (positions.forward_plainly, positions.backward_plainly)
        )
    ]  # fmt: skip
    agree(*both, np.float64)


@pytest.mark.parametrize("family", ["planes", "columns"])
def test_what_is_streamed_past_the_cache_is_the_same(family):
    """Of at least streaming.STREAM_FROM entries, into an output on a cache line's boundary, and into one beside it."""
    shape = (1, 2, 8, 1 << 17) if family == "planes" else (1, 1 << 15, 64)
    x, dy, found = drawn(np.float32, *shape), drawn(np.float32, *shape, seed=1), []
    one = np.ones((1, 1, 8) if family == "planes" else (1, 64), np.float32)
    room = np.empty(x.size + 32, np.float32)
    start = -room.ctypes.data % 64 // 4
    for first in (start, start + 1):
        y = room[first : first + x.size].reshape(shape)
        blocks = shape[0] * shape[2]
        statistics, sums = np.empty((3, blocks)), np.zeros((2, *(shape[:3] if family == "planes" else shape[::2])))
        if family == "planes":
            planes.forward(row.STANDARDIZE, True, x, one, one, EPS, y, statistics)
            found.append(y.copy())
            planes.backward(row.STANDARDIZE, True, dy, x, statistics, one, EPS, y, *sums)
        else:
            columns.forward(row.STANDARDIZE, True, 64, x, one, one, EPS, y, statistics)
            found.append(y.copy())
            columns_backward.backward(row.STANDARDIZE, True, 64, dy, x, statistics, one, EPS, y, *sums)
        found.append(y.copy())
    assert may_stream(x, 64) == (x.ctypes.data % 64 == 0)
    for a, b in zip(found[:2], found[2:], strict=True):
        np.testing.assert_array_equal(a, b)
