"""Strata of shapes: ladders of row lengths and row counts past every block size, ranks, groups, and edges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from . import values
from .cases import Case
from .conventions import TRAILING
from .plan import Plan
from .shapes import Shape, Spread, shaped

LENGTHS = (
    2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 191, 255, 256, 257, 300, 384, 511, 512, 513, 640,
    768, 1000, 1023, 1024, 1025, 1280, 1536, 2047, 2048, 2049, 2560, 3001, 3072, 4095, 4096, 4097,
)  # fmt: skip
LONG = (5000, 5120, 7168, 8191, 8192, 8193, 12288, 16384, 16385, 32769, 65535, 65536, 65537)
BOTH = ((67, 4099), (1030, 130), (4100, 70))
"""Many rows of many entries ..."""
PARTIAL = ((260, 520), (97, 4097), (65, 8193))
"""... where a parameter has as many: kernels choose fewer partial sums of its gradient where rows are long."""
ROWS = (1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 65, 127, 128, 129, 255, 256, 257, 512, 513, 1023, 1024, 1025, 2049)
MANY = (4097, 8193, 16385, 32769, 65535, 65536, 65537)
QUICK_LENGTHS = (33, 64, 129, 257, 1025, 4097)
QUICK_ROWS = (1, 33, 129, 1025)
PAST = (17, 65, 257, 1025, 2049, 4097, 8193, 16385, 32769, 65537)
"""One past a block: the last entry alone is what a loop over whole blocks does not come to."""
SPREADS: tuple[Spread, ...] = ("even", "first", "last")


def lengths(plan: Plan) -> Iterator[Case]:
    """Powers of two, their neighbours, primes: where a block, a warp or a tile ends."""
    for k, n in enumerate((*LENGTHS, *(LONG if plan.heavy else ()))):
        rows = 3 if n < 2000 or k % 2 else 2
        spread = SPREADS[k % 3]
        yield plan.rows("lengths", f"rows of {n}", values.ordinary, rows, n, spread=spread, quick=n in QUICK_LENGTHS)
    for n in PAST if plan.heavy else PAST[:6]:
        draw, seen = values.last_spike(3 * math.sqrt(n)), set()
        for spread in SPREADS if n > 10_000 else SPREADS[n % 3 : n % 3 + 1]:
            shape = shaped(plan.method, 2, n, spread).x
            if shape not in seen:  # of several axes each is the long one once
                seen.add(shape)
                label, quick = f"rows of {n}, the last entry large, {spread}", n == 65537 and spread == "even"
                yield plan.rows("lengths", label, draw, 2, n, spread=spread, dy="last", quick=quick)


def many_rows(plan: Plan) -> Iterator[Case]:
    """Row counts past every grid limit, 65,535 among them, of few entries a row; and many rows of many."""
    along_rows = plan.method.name in TRAILING
    for rows, n in ((*BOTH, *PARTIAL) if along_rows else BOTH) if plan.heavy else ():
        yield plan.rows("many rows", f"{rows} rows of {n}", values.ordinary, rows, n, quick=rows == 1030)
    for k, rows in enumerate((*ROWS, *(MANY if plan.heavy else ()))):
        n, dy, spread = (5, "drawn", SPREADS[k % 3]) if rows < 4000 else (3, "last", SPREADS[k % 3])
        quick = rows in QUICK_ROWS
        yield plan.rows("many rows", f"{rows} rows of {n}", values.ordinary, rows, n, spread=spread, dy=dy, quick=quick)
    for spread in ("first", "last") if plan.heavy else ():  # samples, and channels
        if spread == "first" or shaped(plan.method, 65541, 3, "first").x != shaped(plan.method, 65541, 3, "last").x:
            label = f"65541 rows of 3, {spread}"
            yield plan.rows("many rows", label, values.ordinary, 65541, 3, spread=spread, dy="last", quick=True)


def shapes(plan: Plan) -> Iterator[Case]:
    """Ranks 2 to 5, several normalized axes, groups of 1, 3 and C."""
    yield from _by_pattern(plan)
    yield from _square(plan)
    name = plan.method.name
    if name in TRAILING:
        for shape, ndim in (
            ((2, 3, 4), 1),
            ((2, 3, 4), 2),
            ((4, 3), 1),
            ((2, 3, 2, 5), 3),
            ((2, 2, 3, 2, 3), 2),
            ((3, 1, 4), 2),
        ):
            if plan.normalized_ndim in (None, ndim):
                label = f"the last {ndim} of {len(shape)} axes"
                yield plan.at("shapes", label, values.ordinary, Shape(shape, {}, ndim), quick=len(shape) == 3)
    if "num_groups" in plan.convention.options:
        for channels, groups in ((6, 1), (6, 2), (6, 3), (6, 6), (12, 4), (8, 2), (32, 8), (64, 32), (96, 32), (5, 5), (10, 5)):
            for spatial in ((), (3,), (2, 3), (2, 1, 3)):
                if channels // groups == 1 and spatial == ():
                    continue
                quick = (channels, spatial) in ((6, (2, 3)), (12, (3,)), (64, (3,)))
                label = f"{channels} channels in {groups} groups, {len(spatial)} spatial axes"
                shape_ = Shape((2, channels, *spatial), {"num_groups": groups})
                yield plan.at("shapes", label, values.ordinary, shape_, quick=quick)


def _square(plan: Plan) -> Iterator[Case]:
    """Axes of one length: a kernel that finds its axis by its length takes the wrong one."""
    known = plan.method.signature.parameters
    for rank in (2, 3, 4) if plan.normalized_ndim in (None, 1) else ():
        options: dict[str, Any] = {"num_groups": 2} if "num_groups" in known else {}
        if "axes" in known:
            options["axes"] = (0, *range(2, rank))
        if (plan.method.name, rank) != ("instance_norm", 2):  # one value a statistic
            shape = Shape((4,) * rank, options)
            yield plan.at("shapes", f"{rank} axes of 4", values.ordinary, shape, quick=True)


def _by_pattern(plan: Plan) -> Iterator[Case]:
    for spatial in (0, 1, 2, 3):
        for spread in SPREADS:
            for rows, n in ((4, 12), (6, 24)):
                shape = shaped(plan.method, rows, n, spread, spatial)
                if plan.normalized_ndim not in (None, shape.normalized_ndim):
                    continue
                label = f"{' x '.join(map(str, shape.x))}"
                yield plan.at("shapes", label, values.ordinary, shape, quick=spread == "even" and (rows == 4 or spatial == 2))


def edges(plan: Plan) -> Iterator[Case]:
    """One value a statistic, one row, one channel, a batch of one, no rows at all."""
    for spread in SPREADS:
        yield plan.rows("edges", f"one value a statistic, {spread}", values.ordinary, 4, 1, spread=spread, quick=True)
        yield plan.rows("edges", f"one row, {spread}", values.ordinary, 1, 9, spread=spread, quick=True)
    yield plan.rows("edges", "one value in all", values.ordinary, 1, 1)
    yield plan.rows("edges", "two values", values.ordinary, 1, 2, quick=True)
    yield plan.rows("edges", "two values a statistic", values.ordinary, 5, 2, quick=True)
    for spread in SPREADS:
        yield plan.rows("edges", f"no rows, {spread}", values.ordinary, 0, 6, spread=spread, quick=spread == "even")
    if "training" in plan.convention.options:
        yield plan.rows("edges", "evaluation of one value", values.ordinary, 3, 1, training=False, quick=True)
        yield plan.rows("edges", "evaluation of one row", values.ordinary, 1, 7, training=False)
