"""Shapes for a wanted number of statistics and of entries in each, read off a method's Area."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from refnorm.anatomy.area import _parse
from refnorm.anatomy.method import Method
from refnorm.anatomy.recovery import Affine, Identity, Scale

from .rows import KIND_OF

Spread = Literal["even", "first", "last"]


PLAIN_OPTIONS = {
    *("state", "training", "momentum", "mask", "dialect", "backend"),
    *("eps", "offset", "num_groups", "axis", "axes", "dim", "channel_axis"),
}
"""Options that leave the rows of an Area what its pattern says."""


def has_rows(method: Method) -> bool:
    """Is every statistic one of a row (mean, variance, mean square), read off the Area's pattern?"""
    triple = method.triple
    if triple is None or triple.operation.name not in KIND_OF or not isinstance(triple.recovery, Affine | Scale | Identity):
        return False
    items, (_, joint, _) = _parse(triple.area.pattern)
    known = {("n",), ("c",), ("s",), ("g", "k"), ("r",), ("f",), ("o",), ("i",)}
    return not joint and set(items) <= known and set(method.signature.parameters) <= {*method.arrays, *PLAIN_OPTIONS}


@dataclass(frozen=True)
class Shape:
    """The first array's shape, and the options that belong to it (num_groups, axes)."""

    x: tuple[int, ...]
    options: Mapping[str, Any]
    normalized_ndim: int = 1


def shaped(
    method: Method, rows: int, length: int, spread: Spread = "even", spatial: int = 1, joint: int = 3, *,
    across: Spread | None = None, leading: int = 1,
) -> Shape:  # fmt: skip
    """A Shape with `rows` blocks and `length` entries a statistic.

    spread: where a role has several axes, its size goes to the first, to the last, or is factored among them; `across`: the
    same for the blocks alone.  spatial: number of spatial axes where there are any; 0 leaves them out when their size is 1.
    leading: number of axes before those that layer_norm and rms_norm normalize.  joint: D, where whitened.
    """
    items, (blocks, coordinates, samples) = _parse(method.triple.area.pattern)
    sizes = {
        **_share(blocks, rows, across or spread), **_share(coordinates, joint, spread), **_share(samples, length, spread)
    }  # fmt: skip
    options: dict[str, Any] = {"num_groups": sizes["g"]} if "g" in sizes else {}
    if "axes" in method.signature.parameters:
        return _between(sizes["r"], sizes["f"], spread, spatial)
    if items == (("r",), ("f",)):
        feature = factors(sizes["f"], spatial or 1)
        return Shape((*factors(sizes["r"], leading), *feature), options, len(feature))
    shape: list[int] = []
    for item in items:
        size = math.prod(sizes[atom] for atom in item)
        shape += _spatial(size, spatial) if item == ("s",) else [size]
    return Shape(tuple(shape), options)


def _between(rows: int, length: int, spread: Spread, spatial: int) -> Shape:
    """(length, rows, length): statistics over every axis but the second, as ONNX's default axes."""
    if spread == "first":
        return Shape((length, rows), {"axes": (0,)})
    if spread == "last":
        return Shape((1, rows, *factors(length, max(spatial, 1))), {"axes": (0, *range(2, 2 + max(spatial, 1)))})
    first, *rest = factors(length, max(spatial, 1) + 1)
    return Shape((first, rows, *rest), {"axes": (0, *range(2, 2 + len(rest)))})


def _share(atoms: tuple[str, ...], total: int, spread: Spread) -> dict[str, int]:
    if not atoms:
        return {}
    if total == 0:
        return {atom: 2 if k else 0 for k, atom in enumerate(atoms)}
    if len(atoms) == 1 or spread != "even":
        chosen = atoms[-1] if spread == "last" else atoms[0]
        return {atom: total if atom == chosen else 1 for atom in atoms}
    return dict(zip(atoms, factors(total, len(atoms)), strict=True))


def _spatial(size: int, rank: int) -> tuple[int, ...]:
    return () if rank == 0 and size == 1 else factors(size, max(rank, 1))


def factors(total: int, count: int) -> tuple[int, ...]:
    """total as a product of `count` factors, as even as its divisors allow, largest first: 12, 2 -> (4, 3)."""
    if count == 1:
        return (total,)
    if total == 0:
        return (0,) + (1,) * (count - 1)
    aim = round(total ** (1 / count))
    small = max(d for d in range(1, max(aim, 1) + 1) if total % d == 0)
    return (*factors(total // small, count - 1), small)
