"""From a failing case to a sentence: what is wrong, and from which length on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import hypotheses, hypotheses_backward
from .expected import Expectation
from .findings import Finding, Outcome

if TYPE_CHECKING:
    from .session import Session

NEAR = 4.0
"""Tolerances within which a wrong formula must meet the observation ..."""
FARTHER = 16.0
"""... while the right one is this many times farther from it, and from what is allowed."""


def explain(session: Session, findings: Sequence[Finding]) -> str:
    """The wrong formula that explains most of these observations; "" where none is known."""
    known = [f for f in findings if f.observed is not None and f.tolerance is not None and f.check != "state.steps"]
    if not known or not session.has_rows() or not session.plain:
        return ""
    known = [f for f in known if f.worst > FARTHER] or known  # what is borderline speaks for any formula
    agreed: Counter[str] = Counter()
    for name in dict.fromkeys(f.name for f in known):
        mine, votes = [f for f in known if f.name == name], Counter[str]()
        for finding in mine:
            votes.update(dict.fromkeys(_near(session, finding), 1))
        for sentence, count in votes.most_common(1):  # of equals the first: formulas stand in the order of how often they ship
            if 2 * count > len(mine):
                agreed[f"{_subject(name)}: {sentence}"] = count
    if agreed:
        return agreed.most_common(1)[0][0]
    idle = [words for words in map(_untouched, known) if words]
    return idle[-1] if 2 * len(idle) > len(known) else ""


def _near(session: Session, finding: Finding) -> Iterator[str]:
    """Wrong formulas that meet one observation where the right one does not."""
    assert finding.observed is not None and finding.expected is not None and finding.tolerance is not None
    rows = Expectation(finding.case, session.dialect, session.casts).rows
    with np.errstate(all="ignore"):
        expected = np.asarray(finding.expected, float)
        right = _distance(finding.observed, expected, finding.tolerance)
        for sentence, guess in _guesses(finding, rows) if right > FARTHER else ():
            guess = guess.reshape(expected.shape)
            distance = _distance(finding.observed, guess, finding.tolerance)
            if distance < NEAR and distance * FARTHER < right and _distance(guess, expected, finding.tolerance) > NEAR:
                yield sentence


def _subject(name: str) -> str:
    return {
        "dx": "the gradient of x",
        "dgamma": "the gradient of gamma",
        "dbeta": "the gradient of beta",
        "y": "the forward",
    }.get(name, name.replace("_", " "))


def _distance(observed: np.ndarray, guess: np.ndarray, tolerance: np.ndarray) -> float:
    judged = np.isfinite(tolerance)
    error = np.abs(observed.astype(float) - guess)[judged] / np.maximum(tolerance[judged], 1e-300)
    return float(np.nan_to_num(error.max(initial=0), nan=np.inf))


def _guesses(finding: Finding, rows) -> Iterator[hypotheses.Guess]:
    view, name = hypotheses.View.of(rows), finding.name
    if name == "y":
        for words, y in hypotheses.of_output(view):
            yield words, rows.merge(y)
        if finding.case.training:
            yield from hypotheses.of_area(rows)
        yield from _modes(finding, rows, view)
    elif name == "dx" or name == "d" + finding.case.convention.arrays[0]:
        if view.training:
            for words, dx in hypotheses_backward.of_input_gradient(view):
                yield words, rows.merge(dx)
        else:
            yield from _evaluation_gradient(view, rows)
    elif name in ("dgamma", "dbeta"):
        for words, value in hypotheses_backward.of_parameter_gradient(view, rows, name):
            yield words, value
    elif name in ("running_mean", "running_var") and finding.case.training:
        yield from hypotheses_backward.of_state(view, rows, name)


def _modes(finding: Finding, rows, view) -> Iterator[hypotheses.Guess]:
    """Statistics of the other mode."""
    arguments = finding.case.arguments
    if arguments.get("running_mean") is None:
        return
    if not finding.case.training:
        mean, var = view.x.mean(axis=1, keepdims=True), view.x.var(axis=1, keepdims=True)
        yield "evaluation uses the statistics of the batch", rows.merge(view.y((view.x - mean) / np.sqrt(var + view.eps)))
        return
    mean, var = (arguments[n].astype(float)[:, None] for n in ("running_mean", "running_var"))
    yield "training uses the running statistics", rows.merge(view.y((view.x - mean) / np.sqrt(var + view.eps)))
    w = arguments["momentum"] if rows.e.spoken.population.weighs == "new" else 1 - arguments["momentum"]
    new_mean, new_var = (1 - w) * mean + w * view.mean, (1 - w) * var + w * view.var
    for factor in (1.0, view.unbiased):
        updated = (1 - w) * var + w * view.var * factor
        yield (
            "training uses the updated running statistics",
            rows.merge(view.y((view.x - new_mean) / np.sqrt(updated + view.eps))),
        )
    del new_var


def _evaluation_gradient(view, rows) -> Iterator[hypotheses.Guess]:
    r, g = view.rstd(), view.dy * view.gamma
    h = view.c * r
    mean = g.mean(axis=1, keepdims=True)
    yield (
        "in evaluation the statistics are differentiated, as in training",
        rows.merge(r * (g - mean - h * (g * h).mean(1, keepdims=True))),
    )
    x = view.x
    batch = 1 / np.sqrt(x.var(axis=1, keepdims=True) + view.eps)
    h = (x - x.mean(axis=1, keepdims=True)) * batch
    yield "evaluation uses the statistics of the batch", rows.merge(batch * (g - mean - h * (g * h).mean(1, keepdims=True)))
    yield "gamma is left out", rows.merge(r * view.dy)


def _untouched(finding: Finding) -> str:
    """Entries that are never written: a tail of one axis that is 0, or still the input."""
    assert finding.observed is not None and finding.expected is not None and finding.tolerance is not None
    observed = finding.observed.astype(float)
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(observed - finding.expected) <= finding.tolerance) & ~np.isnan(finding.tolerance)
    idle = observed == 0
    if finding.observed.shape == finding.case.x.shape:
        idle |= observed == finding.case.x.astype(float)
    if not wrong.any() or wrong.all() or not idle[wrong].all():
        return ""
    for axis in range(wrong.ndim):
        others = tuple(a for a in range(wrong.ndim) if a != axis)
        along = wrong.any(axis=others) if others else wrong
        first, n = int(np.argmax(along)), len(along)
        if first and along[first:].all():
            where = f"entry {first}, the last," if first == n - 1 else f"whatever stands from {first} on"
            return f"{_subject(finding.name)}: {where} of axis {axis}, of length {n}, is not written"
    return ""


def threshold(session: Session, outcome: Outcome) -> str:
    """As "when rows are longer than 1024": from which size on a check fails, by bisection; "" where it fails at once."""
    if not session.has_rows():
        return ""
    examined = session.examination.findings.get(outcome.check, [])
    for label, what in (("rows of", "when rows are longer than"), ("rows", "when there are more rows than")):
        sizes: dict[int, bool] = {}
        name = outcome.failures[0].name
        for f in examined:
            if f.name == name and f.case.stratum in ("lengths", "many rows", "shapes", "ordinary"):
                size = _size(session, f, label == "rows of")
                sizes[size] = sizes.get(size, True) and f.ok
        good, bad = [s for s, ok in sizes.items() if ok], [s for s, ok in sizes.items() if not ok]
        clear = all(f.worst > FARTHER for f in outcome.failures)
        if clear and good and bad and max(good) < min(bad) and max(good) > 4:
            limit = _bisected(session, outcome, label == "rows of", max(good), min(bad))
            return f"{what} {limit}"
        if label == "rows of" and len(bad) > 3 and len(good) > 3:
            for block in reversed(hypotheses.BLOCKS):
                if all(s % block for s in bad) and not any(s % block and s > block for s in good):
                    return f"when the row length is no multiple of {block}"
    return ""


def _size(session: Session, finding: Finding, length: bool) -> int:
    case = finding.case
    arguments, _ = session.method.resolve(**case.reference(), dialect=session.dialect)
    b, d, m = session.method.triple.partition(**arguments).blocks
    return m if length else b * d


def _bisected(session: Session, outcome: Outcome, length: bool, low: int, high: int) -> int:
    """The largest size that is right, between one that is and one that is not."""
    from . import values

    plan, name = session.plan(session.main), outcome.failures[0].name
    stratum = "lengths" if length else "many rows"
    while high - low > 1:
        middle = (low + high) // 2
        rows, n = (2, middle) if length else (middle, 3)
        case = plan.rows(stratum, f"bisecting, {rows} rows of {n}", values.ordinary, rows, n, spread="first")
        found = session.examine([case]).findings
        fails = any(not f.ok and f.name == name for group in found.values() for f in group)
        low, high = (low, middle) if fails else (middle, high)
    return low
