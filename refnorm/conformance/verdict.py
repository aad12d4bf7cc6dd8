"""check: one candidate, every check, and a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import arithmetic_class
from .adapters.bare import as_it_is_called
from .caller import PATIENCE
from .candidate import Candidate, Unusable, as_candidate, load_candidate
from .checks import CHECKS, Check
from .diagnosis import explain
from .examination import GROUP_OF
from .findings import Finding, Outcome, settled
from .places import threshold
from .records import read_failures
from .report import Failure, Report
from .search import minimize
from .session import Progress, Session

NUMERIC = tuple(s for s, group in GROUP_OF.items() if group in ("numerics", "size", "real"))
Modes = dict[tuple[str, str], str]
SEARCH = 8.0
"""Seconds for making counterexamples smaller, over all failures."""


def check(
    candidate: Any, norm: str, dialect: str | None = None, *, quick: bool = False, seed: int = 0,
    dtypes: Sequence[str] | None = None, progress: Progress | None = None, patience: float = PATIENCE,
) -> Report:  # fmt: skip
    """Judge a candidate (a Candidate, a bare callable, an nn.Module, or "path/to/file.py:name") as a norm.

    dialect: whose conventions it must follow; None: whose it is found to follow.  dtypes: in the place of those that it
    declares.  progress(done, total, stratum) is called after each case.  patience: seconds for one call.
    Raises Unusable for a candidate that cannot be loaded, an unknown norm, dialect or dtype; nothing that the candidate does.
    """
    start = time.perf_counter()
    judged = load_candidate(candidate) if isinstance(candidate, str) else as_candidate(candidate)
    names = None if dtypes is None else tuple(dtypes)
    session = Session(judged, norm, dialect, quick, seed, names, patience, progress)
    with np.errstate(all="ignore"):  # a candidate's numbers may be anything
        session = replace(session, candidate=as_it_is_called(session))
        outcomes = [run(session) for run in CHECKS.values()]
        report = _report(session, outcomes)
    report.seconds = time.perf_counter() - start
    return report


def _report(session: Session, outcomes: list[Outcome]) -> Report:
    spoken, examined = session.spoken, session.examination
    failed = [o for o in outcomes if o.status == "failed"]
    every = [f for o in failed for f in o.failures]
    seconds = SEARCH * (0.25 if session.quick else 1.0) / max(len(failed), 1)
    modes = _arithmetic(session, every)
    failures = [_failure(session, outcome, CHECKS[outcome.check], min(seconds, 3.0), modes) for outcome in failed]
    coverage = {**examined.coverage, **session.skipped}
    method = session.method
    dialect = spoken.dialect if not spoken.conflict else ""
    return Report(
        session.candidate, session.norm, dialect, session.asked, spoken.mismatches, spoken.traits, outcomes, failures,
        examined.accuracy, coverage, ", ".join(dict.fromkeys(modes.values())),
        tuple(a.x.name for a in session.arithmetics), examined.cases, session.seed,
        spoken_by=method.dialects[spoken.dialect].spoken_by, never_run=examined.never_run,
        notes=tuple(dict.fromkeys(words for o in outcomes for words in o.notes)),
    )  # fmt: skip


def failure_of(session: Session, outcome: Outcome, seconds: float = 2.0) -> Failure:
    """A failed outcome on its smallest input, with its diagnosis."""
    return _failure(session, outcome, CHECKS[outcome.check], seconds, _arithmetic(session, outcome.failures))


def _arithmetic(session: Session, failing: list[Finding]) -> Modes:
    """By type and result, the class that explains it."""
    if not session.has_rows() or not session.plain:
        return {}
    growth, found = session.examination.accuracy.growth, Modes()
    for dtype in sorted({f.case.dtype for f in failing}, key=lambda dtype: -growth.get(dtype, 0.0)):
        mine = [f for f in failing if f.case.dtype == dtype]
        modes = _of_type(session, mine, growth.get(dtype, 0.0) >= 1.5, "one-pass" in found.values())
        found |= {(dtype, name): mode for name, mode in modes.items()}
    return found


def _of_type(session: Session, failing: list[Finding], steep: bool, shared: bool) -> dict[str, str]:
    """One-pass where errors grow like kappa^2 and ordinary values are right or as far off as one-pass allows; where they do
    so in another type, if all that fails here is no farther off."""
    wrong = [f for f in failing if f.name == "y" and f.observed is not None]
    told = [f for f in wrong if f.case.stratum not in NUMERIC] if steep else wrong
    within = all(arithmetic_class.passes(f, "one-pass", session.dialect, session.casts) for f in told)
    if within and (steep or (shared and told)):
        return dict.fromkeys((f.name for f in failing), "one-pass")
    found = arithmetic_class.by_result(failing, session.dialect, session.casts)
    rounded = "casts" in session.spoken.traits  # y is explained by where it is rounded
    return {name: mode for name, mode in found.items() if mode != "one-pass" and not (rounded and name == "y")}


def _failure(session: Session, outcome: Outcome, run: Check, seconds: float, modes: Modes) -> Failure:
    first = outcome.smallest
    small = first
    if run.on is not None and session.hung == 0:
        small = minimize(first, lambda case: _clearly(_again(session, run, first, case), first), seconds, session.seed)
    diagnosis = _only_in_memory(session, outcome, run) or explain(session, outcome.failures) or explain(session, [first])
    known = {(f.name, modes[f.case.dtype, f.name]) for f in outcome.failures if (f.case.dtype, f.name) in modes}
    if diagnosis:  # a gradient has causes of its own, beside a variance that is poor
        known = {(name, mode) for name, mode in known if name == "y" or mode != "one-pass"}
    named = dict.fromkeys(arithmetic_class.WORDS[mode] for _, mode in sorted(known))
    if named and outcome.stage not in ("facts", "dialect", "contract"):
        diagnosis = "; ".join(named)
    elif run.identifier.startswith("size.") and "whole blocks" not in diagnosis:
        where = threshold(session, outcome, small.case)
        diagnosis = f"{diagnosis or first.message} {where}" if where else diagnosis
    strata = tuple(dict.fromkeys(f.case.stratum for f in outcome.failures))
    dtypes = tuple(dict.fromkeys(f.case.dtype for f in outcome.failures))
    return Failure(
        small, session.candidate, session.dialect, diagnosis, strata, dtypes, len(outcome.failures), len(session.arithmetics)
    )


def _clearly(found: Finding | None, first: Finding) -> Finding | None:
    """A finding that is as plain as the first was, up to four tolerances: smaller inputs must not be borderline ones."""
    return found if found is not None and found.worst >= min(first.worst, 4.0) else None


def _only_in_memory(session: Session, outcome: Outcome, run: Check) -> str:
    """As "wrong where arrays are reversed": the same numbers are right when they lie contiguously."""
    strided = [f for f in outcome.failures if f.case.layout != "contiguous"]
    if run.on is None or len(strided) < len(outcome.failures):
        return ""
    every = (f for group in session.examination.findings.values() for f in group if not f.ok and f.observed is not None)
    if strided[0].name in {f.name for f in every if f.case.layout == "contiguous"}:
        return ""  # it is wrong anyhow
    if _again(session, run, strided[0], replace(strided[0].case, layout="contiguous")):
        return ""
    names = dict.fromkeys(f.case.layout for f in strided)
    what = "raises" if strided[0].check.endswith("runs") else f"{strided[0].name or 'the result'} is wrong"
    where = ", ".join(n if " is " in n else f"arrays are {n}" for n in names)
    return f"{what} where {where}, right where they are contiguous"


def _again(session: Session, run: Check, first: Finding, case: Any) -> Finding | None:
    """Does the same check fail on another case, in the same result?"""
    assert run.on is not None
    failing = [f for f in run.on(session, case) if not f.ok]
    failing = [
        f for f in failing if (f.check == first.check and f.message[:40] == first.message[:40]) or f.observed is not None
    ]
    same = [f for f in failing if f.name == first.name and f.check == first.check]
    return next(iter(same or [f for f in failing if f.check == first.check]), None)


def replay(path: str | Path, candidate: Any = None) -> list[Report]:
    """Run the counterexamples of a saved report (JSON) again: one Report each, failed where the fault is still there.

    candidate: whom to ask; None: the one that the report names, imported again.  Raises Unusable.
    """
    reports = []
    for record in read_failures(path):
        case = record["case"]
        target = candidate if candidate is not None else record["origin"]
        if target is None:
            raise Unusable(f"{path} does not say how to import {record['candidate']}; name the candidate")
        judged = load_candidate(target) if isinstance(target, str) else as_candidate(target)
        session = Session(judged, case.norm, record["dialect"])
        run = CHECKS[record["check"]]
        found = run.on(session, case) if run.on is not None else (run.whole or (lambda _: []))(session)
        mine = [f for f in found if f.check == run.identifier]
        outcome = settled(run.identifier, run.stage, mine)
        failures = [
            Failure(f, judged, session.dialect, explain(session, [f]), (case.stratum,), (case.dtype,), 1)
            for f in outcome.failures[:1]
        ]
        reports.append(
            Report(judged, case.norm, record["dialect"], outcomes=[outcome], failures=failures, dtypes=(case.dtype,), cases=1)
        )
    return reports


__all__ = ["Candidate", "check", "replay"]
