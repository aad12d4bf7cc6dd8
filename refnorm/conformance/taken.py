"""The shapes that a candidate takes: what a case becomes where it does not take the shape that a stratum asks for.

A kernel whose rows are multiples of 8 from 64 on, or that knows (N, C, H, W) alone, is to be judged on every stratum all the
same: on eps, on constant rows, on parameters that are None.  So a refused shape gives way to the nearest one that is taken:
of another rank first, then with longer rows, more of them, or both.  What a stratum is about stays: the length in the
ladder of lengths and the number of rows in that of rows move to the next multiple of a block and no farther; one row, one
value a statistic, no rows stay what they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .cases import Case
from .conventions import TRAILING
from .shapes import Shape, Spread, shaped

if TYPE_CHECKING:
    from .plan import Plan

LENGTHS = (8, 16, 32, 64, 128, 256, 512, 768, 1024, 2048, 4096)
ROWS = (8, 16, 32, 64)
MULTIPLES = (8, 32, 128)
TIMES = (1, 4, 8, 32, 64)
SPREADS: tuple[Spread, ...] = ("even", "first", "last")
HOPELESS = 300
"""Shapes after which a candidate that took none is asked no more."""
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
        if self._hopeless:
            return shape
        if key not in self.found:
            tried = (s for size in wanted.sizes() for s in _arranged(plan, wanted, *size))
            self.found[key] = next((s for s in tried if self.fits(plan, s, training)), None)
        return self.found[key] or shape

    def lengthened(self, plan: Plan, shape: Shape) -> Shape:
        """The shape with its first axis, its second, its last multiplied until it is taken; itself where nothing helps."""
        if self.fits(plan, shape):
            return shape
        key = (plan.arithmetic, shape.x, shape.normalized_ndim, tuple(shape.options.items()))
        if self._hopeless:
            return shape
        if key not in self.found:
            axes = tuple(dict.fromkeys((0, min(1, len(shape.x) - 1), len(shape.x) - 1)))
            longer = (_multiplied(shape, dict(zip(axes, f, strict=True))) for f in itertools.product(TIMES, repeat=len(axes)))
            tried = sorted((s for s in longer if math.prod(s.x) <= MOST), key=lambda s: math.prod(s.x))
            self.found[key] = next((s for s in tried if self.fits(plan, s)), None)
        return self.found[key] or shape

    @property
    def _hopeless(self) -> bool:
        return len(self.known) >= HOPELESS and not any(self.known.values())

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
        if first is None or self._takes_example(plan, first) or self._hopeless:
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


def _multiplied(shape: Shape, times: dict[int, int]) -> Shape:
    return replace(shape, x=tuple(n * times.get(axis, 1) for axis, n in enumerate(shape.x)))


def _ones(_: np.random.Generator, rows: int, length: int) -> np.ndarray:
    return np.ones((rows, length))


def _arranged(plan: Plan, wanted: Wanted, rows: int, length: int) -> Iterator[Shape]:
    """Shapes with so many rows of such a length, the spread and the rank that were asked for first."""
    name, seen = plan.convention.norm, set()
    last_axes = name in TRAILING
    forced = last_axes and plan.normalized_ndim is not None
    spatial = (wanted.spatial,) if forced else tuple(dict.fromkeys((wanted.spatial, *((1, 2) if last_axes else (0, 1, 2, 3)))))
    spreads = tuple(dict.fromkeys((wanted.spread, *SPREADS)))
    leadings = (1, 2, 3, 4) if last_axes else (1,)  # rather than more normalized axes, which a gamma of None cannot tell
    for count, leading, spread, across in itertools.product(spatial, leadings, spreads, (None, *spreads)):
        shape = shaped(plan.method, rows, length, spread, count, across=across, leading=leading)
        key = (shape.x, tuple(shape.options.items()))
        if key not in seen:
            seen.add(key)
            yield shape
