"""What a golden vector is, whatever file it lies in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .tolerance_arithmetic import NAMES

JUDGING = (
    "Judge every element of every result against expected.<result> and tolerance.<result>, in double:",
    "tolerance finite: right where |observed - expected| <= tolerance.",
    "tolerance inf: observed must be finite; its value is not judged.  tolerance nan: not judged.",
    "A result is taken as it is stored, in the type that its case names; the tolerance allows for that rounding.",
)
"""Stands at the head of every manifest."""


class Result(NamedTuple):
    """expected and tolerance, float64, of the result's shape; dtype: the name of the type in which the result is stored."""

    expected: np.ndarray
    tolerance: np.ndarray
    dtype: str


@dataclass(frozen=True, eq=False)
class Vector:
    """One case: inputs in their storage types, contiguous; options; results by name (y, running_mean, dx, dgamma ...).

    dtype: its arithmetic, a key of the header's "arithmetic".
    """

    name: str
    stratum: str
    label: str
    dtype: str
    options: Mapping[str, Any]
    inputs: Mapping[str, np.ndarray]
    results: Mapping[str, Result]

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Everything that a file holds of it: x, ..., dy, and for each result "expected.y", "tolerance.y"."""
        yield from self.inputs.items()
        for name, result in self.results.items():
            yield f"expected.{name}", result.expected
            yield f"tolerance.{name}", result.tolerance

    def words(self) -> dict[str, Any]:
        """Everything but the arrays' contents, for a manifest."""
        return {
            "name": self.name, "stratum": self.stratum, "label": self.label, "dtype": self.dtype, "options": dict(self.options),
            "results": {name: result.dtype for name, result in self.results.items()},
            "arrays": {name: {"dtype": a.dtype.name, "shape": list(a.shape)} for name, a in self.arrays()},
        }  # fmt: skip

    @classmethod
    def of(cls, words: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Vector:
        """The inverse of `words` and `arrays`."""
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in words["options"].items()}
        inputs = {name: a for name, a in arrays.items() if "." not in name}
        results = {r: Result(arrays[f"expected.{r}"], arrays[f"tolerance.{r}"], d) for r, d in words["results"].items()}
        return cls(words["name"], words["stratum"], words["label"], words["dtype"], options, inputs, results)


class Vectors(NamedTuple):
    """header: version, norm, dialect, seed, quick, casts, and under "arithmetic" the types of the roles of each."""

    header: dict[str, Any]
    cases: list[Vector]


def as_bits(array: np.ndarray) -> np.ndarray:
    """16-bit types as uint16 that hold their bits, all others as they are; C order, little-endian."""
    array = np.array(array, order="C")
    return array.view("<u2") if array.dtype.itemsize == 2 else array.astype(array.dtype.newbyteorder("<"), copy=False)


def from_bits(array: np.ndarray, dtype: str) -> np.ndarray:
    """The inverse of `as_bits`, for an array of the named dtype."""
    return array.view(NAMES[dtype]) if array.dtype == np.uint16 else array
