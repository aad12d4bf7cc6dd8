"""The smallest input that fails: shapes first, by bisection along every axis; then numbers, by Hypothesis.

A smaller case is kept when the same check fails on it again.  An array becomes a pattern where one still fails (ones, steps,
one entry); else Hypothesis draws its entries from small whole numbers, and shrinks; else it keeps fewer digits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np

from .cases import Case, stored
from .findings import Finding
from .reduction import arrays_of, pattern_order, patterned, regrouped, rounded, single, sliced, squeezed

Again = Callable[[Case], Finding | None]
SMALL = 48
"""Entries up to which an array is drawn entry by entry."""


def minimize(finding: Finding, again: Again, seconds: float = 3.0, seed: int = 0) -> Finding:
    """A finding of the same check on the smallest case that was found in that time."""
    end = time.perf_counter() + seconds
    best = _shape(finding, again, time.perf_counter() + seconds * 0.6)
    best = _layout(best, again)
    return _values(best, again, end, seed)


def _shape(best: Finding, again: Again, end: float) -> Finding:
    """Bisect every axis, drop axes of length 1, lower the number of groups, until nothing gives."""
    moved = True
    while moved and time.perf_counter() < end:
        moved = False
        for groups in (1, 2, 3):
            smaller = regrouped(best.case, groups)
            found = smaller and again(smaller)
            if found:
                best, moved = found, True
                break
        for axis in range(best.case.x.ndim):
            found = _alone(best, axis, again) or _shortest(best, axis, again, end)
            if found is not None:
                best, moved = found, True
        for axis in range(best.case.x.ndim):
            smaller = squeezed(best.case, axis)
            found = smaller and again(smaller)
            if found:
                best, moved = found, True
                break
    return best


def _alone(best: Finding, axis: int, again: Again) -> Finding | None:
    """The worst entry's own place along an axis, without the others."""
    if best.index is None or best.observed is None or best.observed.shape != best.case.x.shape:
        return None
    smaller = single(best.case, axis, best.index[axis])
    return again(smaller) if smaller else None


def _shortest(best: Finding, axis: int, again: Again, end: float) -> Finding | None:
    """The least length along an axis that still fails: gallop up from 1, then bisect; None where nothing shorter does."""
    whole = best.case.x.shape[axis]
    low, size, found = 0, 1, None
    while size < whole and time.perf_counter() < end:
        smaller = sliced(best.case, axis, size)
        found = smaller and again(smaller)
        if found:
            break
        low, size = size, size + 1 if size < 4 else 2 * size
    if not found:
        high, found = whole, None
    else:
        high = size
    while high - low > 1 and time.perf_counter() < end:
        middle = (low + high) // 2
        smaller = sliced(best.case, axis, middle)
        result = smaller and again(smaller)
        if result:
            high, found = middle, result
        else:
            low = middle
    return found or None


def _layout(best: Finding, again: Again) -> Finding:
    if best.case.layout != "contiguous":
        return again(replace(best.case, layout="contiguous")) or best
    return best


def _values(best: Finding, again: Again, end: float, seed: int) -> Finding:
    """Patterns that a reader takes in at a glance; else, for small arrays, whole numbers by Hypothesis; else fewer digits."""
    backward = best.name.startswith("d") or "gradient" in best.check or best.check.startswith("backward")
    plain: set[str] = set()
    for name, array in list(arrays_of(best.case, backward)):
        for kind in pattern_order(name):
            found = None if time.perf_counter() > end else again(_with(best.case, name, patterned(array, kind)))
            if found:
                best = found
                plain.add(name)
                break
    left = [name for name, array in arrays_of(best.case, backward) if name not in plain and 0 < array.size <= SMALL]
    if left:
        best = _whole_numbers(best, left, again, end, seed)
    for name, array in list(arrays_of(best.case, backward)):
        for digits in () if name in plain else (1, 2, 3, 4, 6, 9, 12):
            short = rounded(array, digits)
            if time.perf_counter() > end or np.array_equal(short, array):
                break
            found = again(_with(best.case, name, short))
            if found:
                best = found
                break
    return best


def _with(case: Case, name: str, array: np.ndarray) -> Case:
    return case.replaced(dy=array) if name == "dy" else case.replaced(**{name: array})


def _whole_numbers(best: Finding, names: list[str], again: Again, end: float, seed: int) -> Finding:
    """Hypothesis draws the entries of these arrays from 0, 1, -1, 2, -2, ... and shrinks what fails."""
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis import strategies as st
    from hypothesis.errors import NoSuchExample

    arrays = dict(arrays_of(best.case, True))
    seen: dict[str, Finding | None] = {}

    def fails(drawn: tuple[list[int], ...]) -> bool:
        key = repr(drawn)
        if key not in seen:
            case = best.case
            for name, numbers in zip(names, drawn, strict=True):
                signed = [(v + 1) // 2 * (1 if v % 2 else -1) for v in numbers]
                case = _with(case, name, stored(np.array(signed, float).reshape(arrays[name].shape), arrays[name].dtype))
            seen[key] = None if time.perf_counter() > end else again(case)
        return seen[key] is not None

    strategy = st.tuples(*(st.lists(st.integers(0, 9), min_size=arrays[n].size, max_size=arrays[n].size) for n in names))
    options = settings(
        database=None,
        deadline=None,
        max_examples=60,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    try:
        return seen[repr(find(strategy, fails, settings=options, random=Random(seed)))] or best
    except NoSuchExample:
        return best
