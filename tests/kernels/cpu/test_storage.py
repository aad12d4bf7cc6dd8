"""Every value of 16 bits is read right; writes round as NumPy and ml_dtypes do."""

import numpy as np
import pytest

from refnorm.kernels.cpu.jit import kernel
from refnorm.kernels.cpu.storage import BFLOAT16, as_stored, read, write

SIXTEEN = pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)


@kernel
def widened(stored, out):
    for j in range(stored.size):
        out[j] = read(stored, j)


@kernel
def narrowed(values, stored):
    for j in range(values.size):
        write(stored, j, values[j])


def every(dtype):
    return np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(dtype)


@SIXTEEN
def test_every_value_is_read_right(dtype):
    out = np.empty(1 << 16, np.float32)
    widened(as_stored(every(dtype)), out)
    np.testing.assert_array_equal(out, every(dtype).astype(np.float32))
    np.testing.assert_array_equal(np.signbit(out), np.signbit(every(dtype)))


@SIXTEEN
def test_writes_round_to_nearest_ties_to_even(dtype):
    rng = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        exact = every(dtype).astype(np.float32)
        ties = (exact[:-1] + exact[1:]) / 2
        beside = np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))
        bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
        values = np.concatenate([exact, ties, *beside, bits]).astype(np.float32)
        out = np.empty(values.size, dtype)
        narrowed(values, as_stored(out))
        np.testing.assert_array_equal(out.astype(np.float32), values.astype(dtype).astype(np.float32))


def test_a_read_only_array_is_aliased_not_copied():
    for dtype in (np.float64, np.float32, np.float16, BFLOAT16):
        x = np.ones(3, dtype)
        x.flags.writeable = False
        alias = as_stored(x)
        assert alias.flags.writeable and alias.ctypes.data == x.ctypes.data and alias.shape == x.shape
        assert not x.flags.writeable
