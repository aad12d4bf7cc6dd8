"""Claim: what a paper says, how it is measured here, and what came out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from refnorm.anatomy.method import Citation

from .sweep import Sweep

Verdict = Literal["holds", "holds under conditions", "does not hold", "reported"]
Table = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""(columns, rows), for the page."""


@dataclass(frozen=True)
class Number:
    """One measured number, beside the paper's and the range in which it must lie.

    `low` and `high` are inclusive; where both are None there is nothing to assert, and the number is reported.
    """

    what: str
    measured: float
    paper: float | str | None = None
    low: float | None = None
    high: float | None = None
    asserted: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        if self.asserted and self.low is None and self.high is None:
            raise ValueError(f"{self.what!r} is asserted without a range; give low, high or both, or asserted=False")

    @property
    def ok(self) -> bool | None:
        """Does it lie in its range; None where nothing is asserted.  NaN lies nowhere."""
        if not self.asserted:
            return None
        above = self.low is None or self.measured >= self.low
        return bool(above and (self.high is None or self.measured <= self.high))


@dataclass(frozen=True)
class Result:
    """What a claim's measurement found."""

    numbers: Sequence[Number]
    verdict: Verdict
    conclusion: str
    tables: Mapping[str, Table] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)         # arrays by name, for the figure

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise ValueError(f"the verdict is {self.verdict!r}; it must be one of {', '.join(get_args(Verdict))}")
        for name, (columns, rows) in self.tables.items():
            if any(len(row) != len(columns) for row in rows):
                raise ValueError(f"table {name!r} has {len(columns)} columns and a row of another length")

    @property
    def ok(self) -> bool:
        """No asserted number lies outside its range."""
        return all(n.ok is not False for n in self.numbers)


@dataclass(frozen=True)
class Claim:
    """What a paper says (`says`), `measure(sweep)` which finds out, and `figure(result, figure)` which shows it.

    All that is drawn at random comes from `seeds`, so that a claim gives the same numbers every time.
    """

    name: str
    section: int
    title: str
    cite: Citation
    says: str
    seeds: tuple[int, ...]
    measure: Callable[[Sweep], Result]
    figure: Callable[[Result, Any], None]
    origin: Literal["paper", "refnorm"] = "paper"
    conditions: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9-]+", self.name):
            raise ValueError(f"a claim is called {self.name!r}; small letters, digits and hyphens make a name")
