"""Evidence: what a candidate returned on one case beside what is right; what the wrong formulas are held against."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import values
from .cases import Case
from .expected import Expectation, OutsideDialect
from .findings import Finding

if TYPE_CHECKING:
    from .session import Session

MOST = 8
"""Failing cases on which a sentence must hold."""
PROBES = ((5, 7, 2e-3), (4, 11, 3e-5), (6, 13, 7e-2))
"""(rows, length, eps) of further cases; each with variances around eps, and with ordinary ones."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """name: the output or gradient.  observed, expected, tolerance: arrays of its shape."""

    case: Case
    name: str
    observed: np.ndarray
    expected: np.ndarray
    tolerance: np.ndarray

    def distance(self, value: np.ndarray, other: np.ndarray | None = None) -> float:
        """The largest |value - other| in tolerances; other: what was observed."""
        with np.errstate(all="ignore"):
            other = self.observed.astype(float) if other is None else other
            judged = np.isfinite(self.tolerance)
            error = np.abs(np.asarray(value, float) - other)[judged] / np.maximum(self.tolerance[judged], 1e-300)
        return float(np.nan_to_num(error.max(initial=0), nan=np.inf))

    @property
    def wrong(self) -> float:
        """How far off the candidate is, in tolerances."""
        return self.distance(self.expected)


def of_findings(findings: Iterable[Finding]) -> list[Evidence]:
    """The small failures, those farthest off first, and of different eps, lengths and options before more of the same."""
    known = [f for f in findings if f.observed is not None and f.expected is not None and f.tolerance is not None]
    known = [f for f in known if f.check != "state.steps" and _shape(f.observed) == _shape(f.expected)]
    if not known:
        return []
    limit = 4 * min(f.case.x.size for f in known) + 64
    known = sorted((f for f in known if f.case.x.size <= limit), key=lambda f: -min(f.worst, 1e300))
    seen: dict[tuple, int] = {}
    ranked = []
    for place, finding in enumerate(known):
        kind = _kind(finding.case)
        seen[kind] = seen.get(kind, -1) + 1
        ranked.append((seen[kind], place, finding))
    ranked.sort(key=lambda entry: entry[:2])
    return [_evidence(finding) for _, _, finding in ranked[:MOST]]


def _shape(array: np.ndarray | None) -> tuple[int, ...]:
    return () if array is None else array.shape


def _kind(case: Case) -> tuple:
    options = {k: v for k, v in case.arguments.items() if not isinstance(v, np.ndarray)}
    return case.x.shape[1:], case.training, tuple(sorted((k, repr(v)) for k, v in options.items()))


def _evidence(finding: Finding) -> Evidence:
    assert finding.observed is not None and finding.expected is not None and finding.tolerance is not None
    return Evidence(
        finding.case, finding.name, finding.observed, np.asarray(finding.expected, float), np.asarray(finding.tolerance, float)
    )


def diverse(known: Sequence[Evidence]) -> bool:
    """Are there cases of more than one eps, and of more than one length?"""
    return len({e.case.arguments.get("eps") for e in known}) > 1 and len({e.case.x.shape[1:] for e in known}) > 1


def probed(session: Session, name: str, like: Case) -> list[Evidence]:
    """Further cases of the kind of `like`: three eps, three lengths, variances from far below eps to far above it.

    Called once a result and arithmetic; right answers are evidence as well.
    """
    key = (name, like.arithmetic, like.training)
    if key not in session.probes:
        session.probes[key] = list(_probes(session, name, like))
    return session.probes[key]


def _evaluated(like: Case) -> dict[str, Any]:
    return {} if like.training else {"training": False}


def _probes(session: Session, name: str, like: Case) -> Iterator[Evidence]:
    if not session.has_rows():
        return
    plan, options = session.plan(like.arithmetic), _evaluated(like)
    for (rows, n, eps), flat in itertools.product(PROBES, (True, False)):
        draw = values.ragged(float(np.sqrt(eps))) if flat else values.ordinary
        case = plan.rows("eps", f"a probe, rows of {n}, {eps:g}", draw, rows, n, eps=eps, **options)
        trial = session.call(case, backward=name.startswith("d"))
        if trial is None or name not in trial.values:
            continue
        try:
            expectation = Expectation(case, session.dialect, session.casts)
            right = (expectation.gradients() if name.startswith("d") else expectation.outputs()).get(name)
        except OutsideDialect:
            continue
        if right is not None and trial.values[name].shape == right.value.shape:
            expected, bound = np.asarray(right.value, float), np.asarray(right.bound, float)
            yield Evidence(case, name, trial.values[name], expected, np.broadcast_to(bound, expected.shape))
