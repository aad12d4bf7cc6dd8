"""Area: which entries of an array share one set of statistics.

A pattern reads an array's axes on the left and sorts them into three roles on the right,

    Area("n c s -> c | | n s")          B | D | M

B independent blocks, D coordinates treated jointly, M samples that share statistics.  An empty role has size 1.
Parentheses split an axis: in "n (g k) s -> n g | | k s" the channels are g groups of k.

(B, D, M) is the survey's normalization area partitioning, L. Huang et al., arXiv 2009.12836, section 3.1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from .arguments import positive_integer


@dataclass(frozen=True)
class Layout:
    """Names for the axes of one array, in the order in which an Area's pattern reads them.

    `axes[name]` are physical axes, none or several: activations of any rank are n, c and s (all spatial axes).
    `shape` is the array's own, or one that it is read through: `read` reshapes, and pads at the end where it is short.
    """

    shape: tuple[int, ...]
    axes: tuple[tuple[str, tuple[int, ...]], ...]
    of: tuple[int, ...] | None = None                  # the array's own shape, where that is another

    @property
    def native(self) -> tuple[int, ...]:
        """The array's own shape."""
        return self.shape if self.of is None else self.of

    @property
    def missing(self) -> int:
        """How many entries of `shape` the array does not have."""
        return math.prod(self.shape) - math.prod(self.native)

    def read(self, x: Any) -> Any:
        """An array of shape `native` in the layout's shape."""
        if self.of is None:
            return x
        if self.missing:
            x = np.concatenate([np.reshape(x, (-1,)), np.zeros(self.missing, x.dtype)])
        return np.reshape(x, self.shape)

    def write(self, y: Any) -> Any:
        """An array of the layout's shape in the shape `native`, the inverse of read."""
        if self.of is None:
            return y
        return np.reshape(np.reshape(y, (-1,))[: math.prod(self.native)] if self.missing else y, self.native)

    @staticmethod
    def activations(x: Any, channel_axis: int = 1) -> Layout:
        """x of shape (N, C, *spatial) with channel_axis=1, or (N, *spatial, C) with channel_axis=-1."""
        shape = np.shape(x)
        if channel_axis not in (1, -1):
            raise ValueError(f"channel_axis is {channel_axis!r}; it must be 1 for (N, C, *spatial), or -1 for (N, *spatial, C)")
        if len(shape) < 2:
            raise ValueError(f"x has shape {shape}; it must have at least two axes, (N, C, *spatial)")
        channel = channel_axis % len(shape)
        spatial = tuple(a for a in range(1, len(shape)) if a != channel)
        return Layout(shape, (("n", (0,)), ("c", (channel,)), ("s", spatial)))

    @staticmethod
    def virtual(x: Any, size: int, channel_axis: int = 1) -> Layout:
        """Activations in virtual batches (g) of `size` samples (n) each, in order; the last one may be short."""
        plain = Layout.activations(x, channel_axis)
        size = positive_integer("virtual_batch_size", size, f"x has {plain.shape[0]} samples")
        axes = (("g", (0,)), *((name, tuple(a + 1 for a in physical)) for name, physical in plain.axes))
        return Layout((-(-plain.shape[0] // size), size, *plain.shape[1:]), axes, plain.shape)

    @staticmethod
    def heads(x: Any, num_heads: int, axis: int = -1) -> Layout:
        """One axis of x as heads (h) of d features each; every other axis (r) is kept apart."""
        ((_, rest), (_, (axis,))) = Layout.over(x, (axis,), "axis").axes
        shape = np.shape(x)
        num_heads = positive_integer("num_heads", num_heads, f"a divisor of {shape[axis]}")
        if shape[axis] % num_heads:
            raise ValueError(f"num_heads is {num_heads!r}; it must divide {shape[axis]}, x has shape {shape}")
        apart = tuple(a + (a > axis) for a in rest)
        split = (*shape[:axis], num_heads, shape[axis] // num_heads, *shape[axis + 1 :])
        return Layout(split, (("r", apart), ("h", (axis,)), ("d", (axis + 1,))), shape)

    @staticmethod
    def over(x: Any, axes: tuple[int, ...], argument: str = "axes") -> Layout:
        """Statistics over `axes` (f, the features); every other axis (r, the rows) is kept apart."""
        shape = np.shape(x)
        if not axes:
            raise ValueError(f"{argument} is empty; it must name at least one axis of x, which has shape {shape}")
        for a in axes:
            if not isinstance(a, (int, np.integer)) or not -len(shape) <= a < len(shape):
                rank = len(shape)
                raise ValueError(f"{argument} names {a!r}; x has shape {shape}, so an axis lies in {-rank}..{rank - 1}")
        chosen = sorted({int(a) % len(shape) for a in axes})
        if len(chosen) != len(axes):
            raise ValueError(f"{argument} is {tuple(axes)}; it names an axis of x, which has shape {shape}, more than once")
        rest = tuple(a for a in range(len(shape)) if a not in chosen)
        return Layout(shape, (("r", rest), ("f", tuple(chosen))))

    @staticmethod
    def trailing(x: Any, axis: int = -1) -> Layout:
        """Statistics over the axes from `axis` on (ONNX's convention; PyTorch's normalized_shape is their lengths)."""
        rank = np.ndim(x)
        Layout.over(x, (axis,), "axis")
        return Layout.over(x, tuple(range(axis % rank, rank)), "axis")

    @staticmethod
    def weights(w: Any, name: str = "w", dim: int | None = 0) -> Layout:
        """A weight of shape (out, in, *kernel); `dim` is the axis of its outputs (o), None for one row of all entries."""
        shape, rank = np.shape(w), np.ndim(w)
        if rank < 2:
            raise ValueError(f"{name} has shape {shape}; it must have at least two axes, (out, in, *kernel)")
        if dim is not None and (not isinstance(dim, (int, np.integer)) or not -rank <= dim < rank):
            raise ValueError(f"dim is {dim!r}; {name} has shape {shape}, so it must lie in {-rank}..{rank - 1}, or be None")
        out = () if dim is None else (int(dim) % rank,)
        inputs, *kernel = (a for a in range(rank) if a not in out)
        return Layout(shape, (("o", out), ("i", (inputs,)), ("s", tuple(kernel))))

    def axes_of(self, names: str) -> tuple[int, ...]:
        """The physical axes of one name or of several, "n c", in the array's own order."""
        named = dict(self.axes)
        return tuple(sorted(a for name in names.split() for a in named[name]))

    def lengths(self, names: str) -> tuple[int, ...]:
        """The lengths of the named axes: the shape of a parameter that runs along them."""
        return tuple(self.shape[a] for a in self.axes_of(names))

    def require(self, names: str) -> None:
        """Raise ValueError where the named axes have no entries to take a statistic over."""
        if 0 in self.lengths(names):
            raise ValueError(f"x has shape {self.native}: its statistics are over no entries (over {names})")

    def along(self, parameter: Any, names: str) -> Any:
        """A parameter of shape lengths(names), viewed so that it broadcasts against the array."""
        mine = self.axes_of(names)
        return np.reshape(parameter, tuple(n if a in mine else 1 for a, n in enumerate(self.shape)))

    def sum_to(self, array: Any, names: str) -> Any:
        """Sum an array of this layout down to lengths(names): the gradient of a parameter that was laid along it."""
        others = tuple(a for a in range(len(self.shape)) if a not in self.axes_of(names))
        return np.sum(array, axis=others) if others else array


@dataclass(frozen=True)
class Area:
    """Which entries share statistics: a pattern "axes -> B | D | M"."""

    pattern: str

    def partition(self, layout: Layout, groups: int | None = None) -> Partition:
        """The pattern applied to one array; `groups` is the size of the atom g.  Raises ValueError where g does not divide."""
        items, roles = _parse(self.pattern)
        fine: dict[str, list[int]] = {}             # atom -> positions in the fine shape
        shape: list[int] = []
        names = {axis: (item, name) for item, (name, axes) in zip(items, layout.axes, strict=True) for axis in axes}
        for axis, length in enumerate(layout.shape):
            atoms, name = names[axis]
            for atom, size in zip(atoms, self._sizes(atoms, name, length, groups, layout.shape), strict=True):
                fine.setdefault(atom, []).append(len(shape))
                shape.append(size)
        order = tuple(tuple(p for atom in role for p in fine.get(atom, ())) for role in roles)
        return Partition(layout.shape, tuple(shape), order)

    @staticmethod
    def _sizes(atoms: tuple[str, ...], name: str, length: int, groups: int | None, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(atoms) == 1:
            return (length,)
        what = {"c": "channels of x", "o": "outputs of w"}.get(name, f"entries of axis {name}")
        if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
            raise ValueError(f"num_groups is {groups!r}; it must be a positive integer that divides the {length} {what}")
        if length % groups:
            divisors = [d for d in range(1, length + 1) if length % d == 0]
            raise ValueError(f"num_groups is {groups}; it must divide the {length} {what}, shape {shape}: one of {divisors}")
        return tuple(int(groups) if atom == "g" else length // int(groups) for atom in atoms)

    @property
    def words(self) -> str:
        """The pattern's roles in words, for tables: "per c, over n s"."""
        _, (blocks, joint, samples) = _parse(self.pattern)
        per = "per " + " ".join(blocks) + ", " if blocks else ""
        return per + ("whitens " + " ".join(joint) + ", " if joint else "") + "over " + " ".join(samples)


@dataclass(frozen=True)
class Partition:
    """An Area laid on one array: x of `shape` to z of shape (B, D, M) and back.

    `fine` is the shape with composite axes split; `order` lists its axes by role.
    """

    shape: tuple[int, ...]
    fine: tuple[int, ...]
    order: tuple[tuple[int, ...], ...]

    @cached_property
    def blocks(self) -> tuple[int, int, int]:
        """(B, D, M)."""
        b, d, m = (math.prod(self.fine[p] for p in role) for role in self.order)
        return b, d, m

    @cached_property
    def _permutation(self) -> tuple[int, ...]:
        return tuple(p for role in self.order for p in role)

    def split(self, x: Any) -> Any:
        """x -> z of shape (B, D, M): a view wherever strides allow one, a copy otherwise."""
        return np.reshape(np.transpose(np.reshape(x, self.fine), self._permutation), self.blocks)

    def merge(self, z: Any) -> Any:
        """z of shape (B, D, M) -> x, the inverse of split."""
        z = np.reshape(z, tuple(self.fine[p] for p in self._permutation))
        return np.reshape(np.transpose(z, tuple(int(i) for i in np.argsort(self._permutation))), self.shape)

    def labels(self) -> np.ndarray:
        """For each entry of x, the number of the (block, coordinate) row whose statistics it shares; shape of x, int64."""
        b, d, m = self.blocks
        return self.merge(np.broadcast_to(np.arange(b * d).reshape(b, d, 1), (b, d, m)))


@cache
def _parse(pattern: str) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """("n (g k) s -> n g | | k s")  ->  ((n), (g k), (s)), ((n g), (), (k s))."""
    left, _, right = pattern.partition("->")
    items = tuple(tuple((split or single).split()) for split, single in re.findall(r"\(([^)]*)\)|([^\s()]+)", left))
    roles = tuple(tuple(role.split()) for role in right.split("|"))
    if len(roles) != 3 or sorted(a for item in items for a in item) != sorted(a for role in roles for a in role):
        raise ValueError(f"{pattern!r} is no area; it must read like 'n c s -> c | | n s', each axis once on either side")
    return items, roles
