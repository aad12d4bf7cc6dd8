"""How two runs of one candidate are held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..cases import Case
from ..expected import Expectation
from ..findings import Finding
from ..plan import Values
from ..session import Session
from ..trial import Trial


def probes(session: Session, stratum: str, draw: Values, sizes: tuple[tuple[int, int], ...], **asked: Any) -> Iterator[Case]:
    """A few cases in the main arithmetic, for a fact."""
    plan = session.plan(session.main)
    for rows, n in sizes:
        yield plan.rows(stratum, f"{rows} rows of {n}", draw, rows, n, **asked)


def bounds(session: Session, case: Case, *, gradients: bool = False) -> dict[str, np.ndarray]:
    """What each result may lose, in float64.  Raises OutsideDialect."""
    expectation = Expectation(case, session.dialect, session.casts)
    expected = expectation.outputs()
    if gradients and session.has_backward:
        expected |= expectation.gradients()
    return {name: np.asarray(right.bound, np.float64) for name, right in expected.items()}


def same_bits(check: str, case: Case, name: str, first: np.ndarray, second: np.ndarray, words: str, **facts: object) -> Finding:
    """Equal bit for bit; NaN equals NaN."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    differ = (a != b) & ~(np.isnan(a) & np.isnan(b))
    if not differ.any():
        return Finding(check, case, True, name=name)
    return differing(check, case, name, b, a, np.zeros(a.shape), differ, words, **facts)


def within(
    check: str,
    case: Case,
    name: str,
    observed: np.ndarray,
    expected: np.ndarray,
    bound: np.ndarray,
    words: str,
    **facts: object,
) -> Finding:
    """|observed - expected| <= bound; judged where the bound is finite."""
    observed, expected = observed.astype(np.float64), expected.astype(np.float64)
    judged = np.isfinite(bound)
    with np.errstate(all="ignore"):
        error = np.where(judged, np.abs(observed - expected), 0)
        wrong = judged & ~(error <= bound)
    if not wrong.any():
        return Finding(check, case, True, name=name, sharp=bool(judged.any()))
    return differing(check, case, name, observed, expected, bound, wrong, words, **facts)


def differing(
    check: str, case: Case, name: str, observed: np.ndarray, expected: np.ndarray, bound: np.ndarray, wrong: np.ndarray,
    words: str, **facts: object,
) -> Finding:  # fmt: skip
    with np.errstate(all="ignore"):
        error = np.where(wrong, np.nan_to_num(np.abs(observed - expected), nan=np.inf, posinf=np.inf), -1)
        ratio = np.where(wrong, error / np.maximum(bound, 1e-300), 0)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape)) if error.ndim else ()
    worst = float(min(np.max(ratio), 1e300))
    message = f"{words}: {name} differs at {int(wrong.sum())} of {wrong.size} entries"
    return Finding(check, case, False, message, name, worst, index, observed, expected, bound, facts)


def ran(trial: Trial | None) -> bool:
    return trial is not None and trial.ran and "y" in trial.values
