"""The shapes that a candidate takes: what a case becomes where it does not take the shape that a stratum asks for.

A kernel whose rows are multiples of 8 from 64 on, or that knows (N, C, H, W) alone, is to be judged on every stratum all the
same: on eps, on constant rows, on parameters that are None.  So a refused shape gives way to the nearest one that is taken:
of another rank first, then with longer rows, more of them, or both.  What a stratum is about stays: the length in the
ladder of lengths and the number of rows in that of rows move to the next multiple of a block and no farther; one row, one
value a statistic, no rows stay what they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .cases import Case
from .shapes import Shape, Spread, shaped

if TYPE_CHECKING:
    from .plan import Plan

LENGTHS = (8, 16, 32, 64, 128, 256, 512, 768, 1024, 2048, 4096)
ROWS = (8, 16, 32, 64)
MULTIPLES = (8, 32, 128)
SPREADS: tuple[Spread, ...] = ("even", "first", "last")
MOST = 2**16
"""Entries of the largest case that a small one becomes."""


class Wanted(NamedTuple):
    """What `shapes.shaped` was asked for, and what of it must stay."""

    rows: int
    length: int
    spread: Spread
    spatial: int
    rows_fixed: bool = False
    length_fixed: bool = False

    def sizes(self) -> Iterator[tuple[int, int]]:
        """(rows, length): as asked, then larger ones, the nearest first, then smaller ones."""
        rows, lengths = _ladder(self.rows, 1, ROWS, self.rows_fixed), _ladder(self.length, 2, LENGTHS, self.length_fixed)

        def order(size: tuple[int, int]) -> tuple[bool, int, int]:
            r, n = size
            smaller = r < self.rows or n < self.length
            return smaller, -r * n if smaller else r * n, r

        found = {(r, n) for r in rows for n in lengths if r * n <= max(MOST, 2 * self.rows * self.length)}
        yield from sorted(found, key=order)


def _ladder(asked: int, least: int, ladder: tuple[int, ...], fixed: bool) -> tuple[int, ...]:
    """What a size may become: nothing else up to `least`, the next multiples where it is what the stratum is about."""
    if asked <= least:
        return (asked,)
    return (asked, *(-(-asked // block) * block for block in MULTIPLES)) if fixed else (asked, *ladder)


@dataclass
class Taken:
    """takes(case) is True where the candidate takes a plain case of that shape; asked once a shape."""

    takes: Callable[[Case], bool]
    known: dict[Any, bool] = field(default_factory=dict)
    found: dict[Any, Shape | None] = field(default_factory=dict)

    def nearest(self, plan: Plan, shape: Shape, wanted: Wanted, training: bool = True) -> Shape:
        """The first shape that is taken, from the one that is asked for on; that one itself where none is."""
        if self.fits(plan, shape, training):
            return shape
        key = (plan.arithmetic, plan.normalized_ndim, wanted, training)
        if key not in self.found:
            tried = (s for size in wanted.sizes() for s in _arranged(plan, wanted, *size))
            self.found[key] = next((s for s in tried if self.fits(plan, s, training)), None)
        return self.found[key] or shape

    def lengthened(self, plan: Plan, shape: Shape) -> Shape:
        """The shape with its channels, its last axis, or both, multiplied until it is taken; itself where nothing helps."""
        if self.fits(plan, shape):
            return shape
        last, channels = len(shape.x) - 1, min(1, len(shape.x) - 1)
        factors = [(1, f) for f in (2, 4, 8, 16, 32, 64)]
        for f, g in sorted((*factors, *(f[::-1] for f in factors), (8, 8), (16, 16)), key=lambda fg: fg[0] * fg[1]):
            x = tuple(n * (f if a == channels else 1) * (g if a == last else 1) for a, n in enumerate(shape.x))
            if self.fits(plan, longer := replace(shape, x=x)):
                return longer
        return shape

    def fits(self, plan: Plan, shape: Shape, training: bool = True) -> bool:
        key = (plan.arithmetic, shape.x, shape.normalized_ndim, tuple(shape.options.items()), training)
        if key not in self.known:
            options: dict[str, Any] = {"training": training} if "training" in plan.convention.options else {}
            case = plan.case("ordinary", "a shape that is taken", _ones, shape, dy="zeros", **options)
            self.known[key] = self.takes(case)
        return self.known[key]

    def example(self, plan: Plan, asked: tuple[int, ...], draw: Callable[[tuple[int, ...]], Case | None]) -> Case | None:
        """draw(shape) at the nearest shape that is taken, axis after axis rounded up; as asked for where none is."""
        first = draw(asked)
        if first is None or self._takes_example(plan, first):
            return first
        key = (plan.arithmetic, "example", asked)
        if key not in self.found:
            ladders = [(n, *(m for m in (8, 16, 32, 64, 128) if m > n)) for n in asked]
            shapes = sorted((s for s in itertools.product(*ladders) if np.prod(s) <= 2**14), key=np.prod)
            fits = (s for s in shapes if (case := draw(s)) is not None and self._takes_example(plan, case))
            found = next(fits, None)
            self.found[key] = None if found is None else Shape(found, {})
        shape = self.found[key]
        return first if shape is None else draw(shape.x)

    def _takes_example(self, plan: Plan, case: Case) -> bool:
        key = (plan.arithmetic, "example", case.x.shape, case.arguments.get("num_groups"), case.training)
        if key not in self.known:
            self.known[key] = self.takes(case)
        return self.known[key]


def _ones(_: np.random.Generator, rows: int, length: int) -> np.ndarray:
    return np.ones((rows, length))


def _arranged(plan: Plan, wanted: Wanted, rows: int, length: int) -> Iterator[Shape]:
    """Shapes with so many rows of such a length, the spread and the rank that were asked for first."""
    name, seen = plan.convention.norm, set()
    last_axes = name in ("layer_norm", "rms_norm")
    forced = last_axes and plan.normalized_ndim is not None
    spatial = (wanted.spatial,) if forced else tuple(dict.fromkeys((wanted.spatial, *((1, 2) if last_axes else (0, 1, 2, 3)))))
    spreads = tuple(dict.fromkeys((wanted.spread, *SPREADS)))
    for leading in (1, 2, 3, 4) if last_axes else (1,):
        for count, spread in itertools.product(spatial, spreads):
            for across in (None, *spreads):
                shape = shaped(plan.method, rows, length, spread, count, across=across, leading=leading)
                key = (shape.x, tuple(shape.options.items()))
                if key not in seen:
                    seen.add(key)
                    yield shape
