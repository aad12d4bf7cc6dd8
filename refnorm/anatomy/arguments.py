"""Checks of arguments: a wrong one raises a ValueError of one line that names it, shows its value and says what is right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def positive_integer(name: str, value: Any, words: str = "") -> int:
    """`words` say what it is, after a comma."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be a positive integer{words and ', ' + words}")
    return int(value)


def finite_number(name: str, value: Any, words: str = "") -> float:
    """`words` say what else it may be, after a comma."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a finite number{words and ', ' + words}")
    return float(value)


def eps_or_momentum(name: str, value: Any) -> float | None:
    """A finite number, 0 or more; a momentum at most 1, or None."""
    if value is None and name == "momentum":
        return None
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value < np.inf:
        raise ValueError(f"{name} is {value!r}; it must be a finite number, 0 or more")
    if name == "momentum" and value > 1:
        raise ValueError(f"momentum is {value!r}; it must lie in 0..1")
    return float(value)
