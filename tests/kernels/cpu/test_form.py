"""Which family reads an array, and that it reads it in place."""

import numpy as np
import pytest

import refnorm as rn
from refnorm.kernels.cpu.contract import work
from refnorm.kernels.cpu.form import memory_order


def form(name, x, **options):
    method = rn.NORMS[name]
    arguments, _ = method.resolve(x, **options)
    parameters = {n: np.ones(s) for n, s in method.shapes(**arguments).items()}
    return work(method, {**arguments, **parameters}, x).form


@pytest.mark.parametrize(
    ("name", "shape", "options", "family", "read"),
    [
        ("layer_norm", (5, 4, 3), {}, "rows", (20, 3)),
        ("layer_norm", (5, 4, 3), {"axis": 1}, "rows", (5, 12)),
        ("batch_norm", (5, 4, 6, 6), {}, "planes", (1, 5, 4, 36)),
        ("batch_norm", (5, 4, 2), {}, "columns", (1, 5, 8)),
        ("batch_norm", (5, 4), {}, "columns", (1, 5, 4)),
        ("batch_norm", (5, 6, 6, 4), {"channel_axis": -1}, "columns", (1, 180, 4)),
        ("batch_norm", (1, 4, 6), {}, "planes", (4, 1, 1, 6)),
        ("group_norm", (5, 6, 20), {"num_groups": 2}, "planes", (10, 3, 1, 20)),
        ("group_norm", (5, 6), {"num_groups": 2}, "rows", (10, 3)),
        ("group_norm", (5, 7, 6), {"num_groups": 2, "channel_axis": -1}, "columns", (5, 7, 6)),
        ("group_norm", (5, 7, 6), {"num_groups": 1, "channel_axis": -1}, "columns", (5, 7, 6)),
        ("batch_norm", (5, 1), {}, "planes", (1, 1, 1, 5)),
        ("instance_norm", (5, 6, 20), {}, "planes", (30, 1, 1, 20)),
        ("instance_norm", (5, 7, 6), {"channel_axis": -1}, "columns", (5, 7, 6)),
        ("position_norm", (5, 6, 7), {}, "positions", (5, 6, 7)),
        ("position_norm", (5, 7, 6), {"channel_axis": -1}, "rows", (35, 6)),
    ],
)
def test_the_family_that_reads_it(name, shape, options, family, read):
    x = np.ones(shape, np.float32)
    found = form(name, x, **options)
    assert (found.family, found.shape) == (family, read)
    assert np.shares_memory(found.read(x), x)


def test_channels_last_seen_as_channels_first_is_read_in_place():
    x = np.ones((5, 6, 7, 4), np.float32).transpose(0, 3, 1, 2)
    found = form("batch_norm", x)
    assert found.family == "columns" and np.shares_memory(found.read(x), x)
    assert memory_order(x) == (0, 2, 3, 1)
    assert found.write(found.empty(x.dtype)).strides == x.strides
