"""Planted bugs: what a mutant is, and how one is planted.  Most of them have shipped somewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from refnorm.conformance import Candidate

from ..kernels import Parts, candidate, two_pass


@dataclass(frozen=True)
class Mutant:
    """caught_by: identifiers, one of which must fail; full: it shows in no quick case."""

    name: str
    stage: str
    norm: str
    make: Callable[[], Candidate]
    caught_by: tuple[str, ...]
    full: bool = False
    dialect: str | None = None


MUTANTS: list[Mutant] = []


def plant(
    stage: str, norm: str, name: str, parts: Any, *caught_by: str, full: bool = False, dialect: str | None = None, **fields: Any
) -> None:
    """parts: a Parts with a bug in it, or a function that makes the candidate."""
    fields = {"dtypes": ("float32",), **fields}
    make = parts if callable(parts) and not isinstance(parts, Parts) else lambda: candidate(norm, parts, **fields)
    MUTANTS.append(Mutant(f"{norm}: {name}", stage, norm, make, caught_by, full, dialect))


def wrapped(norm: str, change: Callable[..., Any], parts: Parts | None = None, **fields: Any) -> Candidate:
    """forward(*args, **kwargs) -> change(kernel's forward, ...)."""
    base = candidate(norm, parts, **{"dtypes": ("float32",), **fields})

    @functools.wraps(base.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return change(base.forward, *args, **kwargs)

    return replace(base, forward=forward)


def backwards(norm: str, change: Callable[..., Any], parts: Parts | None = None, **fields: Any) -> Candidate:
    base = candidate(norm, parts, **{"dtypes": ("float32",), **fields})
    assert base.backward is not None

    @functools.wraps(base.backward)
    def backward(*args: Any, **kwargs: Any) -> Any:
        return change(base.backward, *args, **kwargs)

    return replace(base, backward=backward)


def first_only(x: Any, n: int) -> Any:
    return two_pass(x[:, :n])


def whole_blocks(x: Any, block: int) -> Any:
    return two_pass(x[:, : max(x.shape[1] // block * block, min(block, x.shape[1]))])


def unbiased(x: Any) -> Any:
    mean, var = two_pass(x)
    return mean, var * x.dtype.type(x.shape[1] / max(x.shape[1] - 1, 1))
