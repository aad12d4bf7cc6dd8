"""refnorm/kernels/cuda/memory.py for the simulator: the same functions, entry by entry, that check every index."""

from collections import Counter

import ml_dtypes
import numpy as np

VECTORS: Counter = Counter()
"""How many entries were read and written by accesses of several, by the array's own dtype."""
STORED = {"int16": np.dtype(np.float16), "uint16": np.dtype(ml_dtypes.bfloat16)}


def _plain(array):
    array = getattr(array, "_item", array)
    return getattr(array, "_ary", array)


def read(x, i):
    x = _plain(x)
    assert 0 <= i < len(x), f"entry {i} of {len(x)} is read"
    kind = STORED.get(x.dtype.name)
    return x[i] if kind is None else np.float32(x[i : i + 1].view(kind)[0])


def write(y, i, value):
    y = _plain(y)
    assert 0 <= i < len(y), f"entry {i} of {len(y)} is written"
    kind = STORED.get(y.dtype.name)
    if kind is None:
        y[i] = value
    else:
        y[i : i + 1] = np.array([np.float32(value)]).astype(kind).view(y.dtype)


def _load(count):
    def load(entry, k, x, i):
        x = _plain(x)
        size = min(16, count * x.dtype.itemsize)
        address = x.ctypes.data + int(i) * x.dtype.itemsize
        assert address % size == 0, f"a {size}-byte access at an address that leaves {address % size}"
        VECTORS[x.dtype.name] += count
        for j in range(count):
            entry[k + j] = read(x, i + j)

    return load


streamed = kept = _load


def stored(count):
    def store(y, i, entry, k):
        y = _plain(y)
        size = min(16, count * y.dtype.itemsize)
        assert (y.ctypes.data + int(i) * y.dtype.itemsize) % size == 0, "a store that is not aligned"
        VECTORS[y.dtype.name] += count
        for j in range(count):
            write(y, i + j, entry[k + j])

    return store
