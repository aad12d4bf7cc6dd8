"""Wrong uses of an argument, for any method: the reference itself, called with another value.

An option that is ignored, one too many of a count, another axis, a parameter that is left out, another framework's
convention: what would then come out, forward or gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .cases import Case
from .expected import Expectation, OutsideDialect
from .hypotheses import DEFAULTS, Guess

COUNTS = ("T", "n_power_iterations", "size", "num_groups", "steps", "iterations")
AXES = ("dim", "axis")


def of_any(expectation: Expectation, name: str, rows: bool) -> Iterator[Guess]:
    """rows: are eps and the axes told by the formulas of rows already?"""
    case, method = expectation.case, expectation.method
    if name in case.convention.state or not case.x.size:
        return
    for words, changed in _changed(case, rows):
        value = _value(Expectation(changed, expectation.dialect), name)
        if value is not None:
            yield words, value
    for other in method.dialects:
        if other != expectation.dialect and not (rows and method.dialects[other].conventions == expectation.spoken.conventions):
            value = _value(Expectation(_by_default(case, expectation, other), other), name)
            if value is not None:
                said = method.dialects[other].spoken_by
                yield f"it is {other}'s" + (f" ({said})" if said else ""), value


def _by_default(case: Case, expectation: Expectation, other: str) -> Case:
    """Where an option stands at the dialect's default, at that of the other dialect."""
    mine, theirs = expectation.method.dialects[expectation.dialect].defaults, expectation.method.dialects[other].defaults
    changes = {k: v for k, v in theirs.items() if k in case.arguments and k != "eps" and case.arguments[k] == mine.get(k)}
    return case.replaced(**changes)


def _value(expectation: Expectation, name: str) -> np.ndarray | None:
    try:
        with np.errstate(all="ignore"):
            if name == "y":
                return np.asarray(expectation.computed[0], float)
            found = expectation.derived.get(name[1:])
    except (OutsideDialect, ValueError, TypeError, IndexError, ZeroDivisionError, np.linalg.LinAlgError):
        return None
    return None if found is None else np.asarray(found, float)


def _changed(case: Case, rows: bool) -> Iterator[tuple[str, Case]]:
    for option, value in case.arguments.items():
        if isinstance(value, np.ndarray) or option not in case.convention.options:
            continue
        for words, other in _others(case, option, value, rows):
            yield words, case.replaced(**{option: other})
    for name in case.convention.parameters:
        if case.arguments.get(name) is not None and not (rows and name in ("gamma", "beta")):
            yield f"{name} is not applied", case.replaced(**{name: None})
    if "mask" in case.arguments:
        yield "the mask is ignored", replace(case, arguments={k: v for k, v in case.arguments.items() if k != "mask"})


def _others(case: Case, option: str, value: Any, rows: bool) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool) or value is None:
        return
    if option in COUNTS:
        if option == "num_groups":
            yield "groups are ignored: all channels are one group", 1
            yield "each channel is a group of its own", case.x.shape[case.channel_axis]
        yield f"{option} is one too few", value - 1
        yield f"{option} is one too many", value + 1
        yield f"{option} is twice as large", 2 * value
        for fixed in (0, 1, 2, 3, 5, 10, 15):
            if fixed != value:
                yield f"{option} is always {fixed}, whatever is asked", fixed
    elif option in AXES and isinstance(value, int):
        for axis in range(case.x.ndim):
            if axis != value % case.x.ndim:
                yield f"{option} is always {axis}, whatever is asked", axis
    elif option == "axes":
        for axis in range(case.x.ndim):
            yield f"the axes are always ({axis},), whatever is asked", (axis,)
    elif option == "eps":
        if rows:
            return
        for eps in DEFAULTS:
            if eps != value:
                yield ("eps is left out" if eps == 0 else f"eps is always {eps:g}, whatever is asked"), eps
        yield "eps is squared", value**2
        yield "eps is added twice", 2 * value
        yield "eps is multiplied by 10", 10 * value
        yield "the root of eps is added", float(np.sqrt(value))
    elif isinstance(value, int | float) and option not in ("offset", "momentum"):
        for number in (0, 0.5, 1, 2, 3):
            if number != value:
                yield f"{option} is always {number:g}, whatever is asked", number
        yield f"{option} is twice as large", 2 * value
        yield f"{option} is half as large", value / 2
        yield f"{option} has the wrong sign", -value
        if "size" in case.arguments:
            yield f"{option} is not divided by size", value * case.arguments["size"]
            yield f"{option} is divided by size twice", value / case.arguments["size"]
