"""Lie: where the entries of a whitening's blocks lie in one array, so that it is read in place.

Coordinate d of sample (o, s) of block b is the entry o so + b sb + d sd + s of the array in the order of its memory.  Batch
whitening, group whitening, channels first or last: all are this.  An array that is none (samples over three axes that are not
neighbours) is copied into (B, D, M) once, as one with gaps is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.anatomy.area import Partition

from .form import memory_order, owners


@dataclass(frozen=True)
class Lie:
    """One array's blocks: views in, views out."""

    numbers: tuple[int, int, int, int, int, int, int]            # O, B, D, S, so, sb, sd: what the kernels read
    order: tuple[int, ...]                                       # the array's axes as they lie in memory
    lengths: tuple[int, ...]                                     # of these axes
    part: Partition | None = None                                # for an array that is copied

    def read(self, x: np.ndarray) -> np.ndarray:
        """x in one dimension: a view, or a copy where it has gaps or runs backwards."""
        if self.part is not None:
            x = self.part.split(x)
        return np.ascontiguousarray(np.transpose(x, self.order)).reshape(-1)

    def empty(self, dtype: np.dtype) -> np.ndarray:
        return np.empty(math.prod(self.lengths), dtype)

    def write(self, y: np.ndarray) -> np.ndarray:
        """What a kernel has written, as the caller sees it; a view where x was one."""
        y = np.transpose(y.reshape(self.lengths), np.argsort(self.order))
        return y if self.part is None else self.part.merge(y)

    def pivot(self, x: np.ndarray, number: Any) -> np.ndarray:
        """What to centre statistics by, float64 (B, D): for float64 the mean, which will be corrected; the first sample does
        for less, whose squares lose nothing in float64."""
        outer, blocks, coordinates, inner, so, sb, sd = self.numbers
        steps = tuple(x.itemsize * n for n in (so, sb, sd, 1))
        seen = np.lib.stride_tricks.as_strided(x, (outer, blocks, coordinates, inner), steps, writeable=False)
        return seen.mean(axis=(0, 3)) if number is np.float64 else seen[0, :, :, 0].astype(np.float64)


def lie_of(x: np.ndarray, part: Partition) -> Lie:
    """Where x's entries lie."""
    order = memory_order(x)
    lengths = tuple(x.shape[a] for a in order)
    step, steps = 1, dict[int, int]()
    owner = owners(part)
    for axis in reversed(order):
        for p in reversed([p for p in range(len(part.fine)) if owner[p] == axis]):
            steps[p], step = step, step * part.fine[p]
    blocks, joint, samples = (_joined([(part.fine[p], steps[p]) for p in role]) for role in part.order)
    inner = samples.pop() if samples and samples[-1][1] == 1 else (1, 1)
    if max(len(blocks), len(joint), len(samples)) > 1 or not _in_order(part, steps):
        b, d, m = part.blocks
        return Lie((1, b, d, m, 0, d * m, m), (0, 1, 2), (b, d, m), part)
    ((outer, so),), ((b, sb),), ((d, sd),) = (axes or [(1, 0)] for axes in (samples, blocks, joint))
    return Lie((outer, b, d, inner[0], so, sb, sd), order, lengths)


def _joined(axes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(length, step) of axes, the widest step first, neighbours made one."""
    found: list[tuple[int, int]] = []
    for length, step in sorted((a for a in axes if a[0] != 1), key=lambda a: -a[1]):
        if found and found[-1][1] == length * step:
            found[-1] = (found[-1][0] * length, step)
        else:
            found.append((length, step))
    return found


def _in_order(part: Partition, steps: dict[int, int]) -> bool:
    """Do blocks and coordinates lie in the reference's order, so that statistics need no reordering?"""
    return all(
        [steps[p] for p in role if part.fine[p] > 1] == sorted((steps[p] for p in role if part.fine[p] > 1), reverse=True)
        for role in part.order[:2]
    )
