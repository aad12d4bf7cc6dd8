"""Small kernels, one thread an entry: arrays in another order, and statistics that stay on the device."""

from __future__ import annotations

from typing import Any

from .jit import cuda, float64, int64
from .memory import read, write
from .statistics import spread


@cuda.jit
def gather(source: Any, base: Any, lengths: Any, strides: Any, count: Any, out: Any) -> None:
    """out[i] = the i-th entry of the source in the order of `lengths`, as bits; entry (0, 0 ...) is at `base`."""
    i = int64(cuda.grid(1))
    if i >= count:
        return
    rest, at = i, int64(base)
    for d in range(len(lengths)):
        axis = len(lengths) - 1 - d
        at += rest % lengths[axis] * strides[axis]
        rest //= lengths[axis]
    out[i] = source[at]


@cuda.jit
def stack(kept: Any, row: Any, neutral: Any, given: Any, count: Any, statistics: Any) -> None:
    """statistics[row] = kept, or `neutral`."""
    i = int64(cuda.grid(1))
    if i < count:
        statistics[row, i] = read(kept, i) if given else neutral


@cuda.jit
def spread_running(
    operation: Any, mean: Any, means: Any, var: Any, variances: Any, count: Any, m: Any, eps: Any, statistics: Any
) -> None:
    """Statistics from running ones, of one entry or of `count`."""
    i = int64(cuda.grid(1))
    if i < count:
        statistics[0, i], statistics[1, i] = float64(read(mean, i % means)), float64(read(var, i % variances))
        statistics[2, i] = spread(operation, statistics[1, i], m, eps)


@cuda.jit(device=True)
def entry_of(old: Any, entries: Any, d: Any, i: Any) -> Any:
    """Entry i of a running statistic of which `entries` are kept: one stands for all, or, of matrices D x D, for that multiple
    of the identity; d is 0 where there are no matrices."""
    if d > 0 and entries == 1 and i // d % d != i % d:
        return float64(0)
    return float64(read(old, i % entries))


@cuda.jit
def widen(old: Any, entries: Any, d: Any, out: Any) -> None:
    """A running statistic in full, float64."""
    i = int64(cuda.grid(1))
    if i < len(out):
        out[i] = entry_of(old, entries, d, i)


@cuda.jit
def update(old: Any, entries: Any, d: Any, batch: Any, count: Any, weight: Any, factor: Any, new: Any) -> None:
    """new = (1 - weight) old + weight factor batch."""
    i = int64(cuda.grid(1))
    if i < count:
        write(new, i, (1 - weight) * entry_of(old, entries, d, i) + weight * factor * batch[i])


@cuda.jit
def cast(source: Any, count: Any, out: Any) -> None:
    """out = source, rounded once."""
    i = int64(cuda.grid(1))
    if i < count:
        write(out, i, read(source, i))
