"""Form: how one array lies in memory, in the terms of one family of kernels.  Nothing is moved.

An area marks each axis as block (b) or sample (m); a capital says that a parameter runs along it.  Read in memory order, with
axes of length 1 left out and equal neighbours joined, every method is a short word, and the word names the family:

    layer norm                        b M          rows        (R, n)
    batch norm (N, C, *spatial)       m B m        planes      (B, M, C, n)
    group norm (N, C, *spatial)       b B M m      planes
    batch norm (N, *spatial, C)       m B          columns     (B, M, C), K adjacent columns a group
    group norm (N, *spatial, C)       b m B M      columns
    positional norm (N, C, *spatial)  b M b        positions   (B, M, C)

An array that is dense in another order of its axes (a transposed view) is read in that order; one with gaps, or reversed, is
copied once.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refnorm.anatomy.area import Partition

FAMILIES = {
    "rows": re.compile(r"(?P<b>b?)(?P<B>B?)(?P<n>M)"),
    "positions": re.compile(r"(?P<b>b?)(?P<m>M)(?P<c>b)"),
    "columns": re.compile(r"(?P<b>b?)(?P<B>B?)(?P<m>m)(?P<c>[bB]?)(?P<n>[mM]?)"),
    "planes": re.compile(r"(?P<b>b?)(?P<B>B?)(?P<m>[mM]??)(?P<c>[bB]??)(?P<n>m?)"),
}
EVALUATED = ("columns", "planes")
SHORT = 16
"""Pieces of fewer entries are read as groups of columns: a vector of 16 lanes spans several."""

ALIGNED_FROM = 1 << 20
"""Bytes from which an output is worth aligning."""


@dataclass(frozen=True)
class Form:
    """One array's place in a family: views in, views out."""

    family: str
    shape: tuple[int, ...]                        # of x, as the kernel reads it
    order: tuple[int, ...]                        # the array's axes as they lie in memory
    lengths: tuple[int, ...]                      # of these axes
    run: tuple[int, ...]                          # the parameters' lengths along the array's axes, 1 where they do not run
    parameters: tuple[int, ...]                   # the parameters' shape in the kernel, before repetition
    groups: int                                   # of columns
    repeat: int                                   # adjacent columns that share one parameter
    blocks: tuple[int, ...]                       # lengths of the block axes in memory order
    reference: tuple[int, ...]                    # where each of the reference's block axes is among them

    @cached_property
    def back(self) -> tuple[int, ...]:
        """Where each of the array's axes is in memory."""
        return tuple(int(a) for a in np.argsort(self.order))

    @cached_property
    def inverse(self) -> tuple[int, ...]:
        """Of `reference`."""
        return tuple(int(a) for a in np.argsort(self.reference))

    def read(self, x: np.ndarray) -> np.ndarray:
        """x as the kernel reads it: a view, or a copy where x has gaps or runs backwards."""
        return np.ascontiguousarray(x.transpose(self.order)).reshape(self.shape)

    def empty(self, dtype: np.dtype) -> np.ndarray:
        """An output of the kernel's shape, on a 64-byte boundary where it is large: only there can it be streamed."""
        size = math.prod(self.shape) * dtype.itemsize
        if size < ALIGNED_FROM:
            return np.empty(self.shape, dtype)
        room = np.empty(size + 64, np.uint8)
        start = -room.ctypes.data % 64
        return room[start : start + size].view(dtype).reshape(self.shape)

    def write(self, y: np.ndarray) -> np.ndarray:
        """An array of the kernel's shape as the caller sees it; a view."""
        return y.reshape(self.lengths).transpose(self.back)

    def parameter(self, values: Any, dtype: Any) -> np.ndarray:
        """A parameter that broadcasts against the array, as the kernel reads it."""
        laid = np.transpose(np.broadcast_to(values, self.run), self.order).reshape(self.parameters)
        return np.ascontiguousarray(np.repeat(laid, self.repeat, axis=-1), dtype)

    def gradient(self, sums: np.ndarray) -> np.ndarray:
        """A parameter's gradient, of shape `run`, from the kernel's: blocks, and what shares a parameter, are added."""
        if not sums.size:
            return np.zeros(self.run)
        if self.repeat > 1:
            sums = sums.reshape(*sums.shape[:-1], -1, self.repeat).sum(axis=-1)
        if len(sums) != self.parameters[0]:
            sums = sums.reshape(-1, self.parameters[0], *sums.shape[1:]).sum(axis=0)
        for axis, length in enumerate(self.parameters):
            if length != sums.shape[axis]:
                sums = sums.sum(axis=axis, keepdims=True)
        return sums.reshape([self.run[a] for a in self.order]).transpose(self.back)

    def to_reference(self, statistics: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Statistics (..., B), one a block, from memory order to the reference's (..., B, D, 1)."""
        lead = statistics.ndim - 1
        laid = statistics.reshape(*statistics.shape[:-1], *self.blocks)
        return laid.transpose(*range(lead), *(lead + a for a in self.reference)).reshape(*laid.shape[:lead], *shape[:2], 1)

    def from_reference(self, saved: Any) -> np.ndarray:
        """The inverse of to_reference, float64."""
        saved = np.asarray(saved, np.float64)
        lead = saved.ndim - 3
        laid = saved.reshape(*saved.shape[:lead], *(self.blocks[a] for a in self.reference))
        return laid.transpose(*range(lead), *(lead + a for a in self.inverse)).reshape(*saved.shape[:lead], -1)


def form_of(x: np.ndarray, part: Partition, run: tuple[int, ...], training: bool = True) -> Form | None:
    """The form of x, with parameters of lengths `run` along its axes; None where no family reads it.

    In the order of its memory, or in that of its axes, for which it is copied.  In evaluation no family but those whose kernels
    take statistics that are given.
    """
    own = tuple(range(x.ndim))
    return _form_in(memory_order(x), x, part, run, training) or _form_in(own, x, part, run, training)


def _form_in(
    order: tuple[int, ...], x: np.ndarray, part: Partition, run: tuple[int, ...], training: bool
) -> Form | None:
    owner = owners(part)
    fine = [p for axis in order for p in range(len(part.fine)) if owner[p] == axis]
    samples = part.order[2]
    block_axes = [p for p in fine if p not in samples]
    reference = tuple(block_axes.index(p) for p in (*part.order[0], *part.order[1]))
    word, spans = "", list[int]()
    for p in fine:
        letter = "m" if p in samples else "b"
        letter = letter.upper() if run[owner[p]] > 1 else letter
        if part.fine[p] == 1:
            continue
        if word.endswith(letter):
            spans[-1] *= part.fine[p]
        else:
            word, spans = word + letter, [*spans, part.fine[p]]
    common: dict[str, Any] = {
        "order": order, "lengths": tuple(x.shape[a] for a in order), "run": run,
        "blocks": tuple(part.fine[p] for p in block_axes), "reference": reference,
    }  # fmt: skip
    for family, pattern in FAMILIES.items():
        found = pattern.fullmatch(word)
        if found is None or not (training or family in EVALUATED):
            continue
        size = {name: math.prod(spans[slice(*found.span(name))]) for name in found.groupdict()}
        along = {name: size[name] if text.isupper() else 1 for name, text in found.groupdict().items()}
        b, last = size["b"] * size.get("B", 1), size.get("n", 1)
        if family == "rows":
            return Form(family, (b, last), parameters=(size["B"], last), groups=1, repeat=1, **common)
        if family == "positions":
            return Form(family, (b, size["m"], size["c"]), parameters=(1, size["m"]), groups=1, repeat=1, **common)
        if family == "columns" and size["c"] * last > 1 and (last < SHORT or along["n"] > 1):
            shared = last if along["n"] == 1 else 1
            if along["c"] == 1:                    # no parameter along the columns: one for all, repeated
                shared *= size["c"]
            if size["c"] > along["c"] and along["n"] > 1:
                continue
            shape = (b, size["m"], size["c"] * last)
            return Form(family, shape, parameters=(size["B"], shape[2] // shared), groups=size["c"], repeat=shared, **common)
        if family == "planes":
            pieces = (b, size["m"], size["c"], last)
            return Form(family, pieces, parameters=(size["B"], along["m"], along["c"]), groups=1, repeat=1, **common)
    return None


def memory_order(x: np.ndarray) -> tuple[int, ...]:
    """The order of axes in which x lies in memory without gaps; its own order where there is none."""
    own = tuple(range(x.ndim))
    if x.flags.c_contiguous:
        return own
    order = tuple(sorted(own, key=lambda a: (-x.strides[a], a)))
    return order if np.transpose(x, order).flags.c_contiguous else own


def owners(part: Partition) -> list[int]:
    """For each fine axis the axis of the array that it is a part of."""
    owner: list[int] = []
    for axis, length in enumerate(part.shape):
        owner.append(axis)
        while math.prod(f for f, o in zip(part.fine, owner, strict=False) if o == axis) != length:
            owner.append(axis)
    last = len(part.shape) - 1
    return owner + [last] * (len(part.fine) - len(owner))
