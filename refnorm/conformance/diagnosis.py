"""From failing cases to a sentence: what is wrong, where, and from which length on.

A wrong formula names the fault where it meets what was observed and the right one does not, on every failing case; of several
that do, the one that also holds on further cases, of other eps and lengths; of these the nearest, then the one that ships
most often.  What no formula explains may still be seen by where it is wrong: `places`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import evidence, fused, hypotheses, hypotheses_backward, hypotheses_fitted, places
from .evidence import Evidence
from .expected import Expectation
from .findings import Finding
from .hypotheses_options import of_any
from .hypotheses_weights import of_method

if TYPE_CHECKING:
    from .session import Session

NEAR = 4.0
"""Tolerances within which a wrong formula must meet the observation ..."""
FARTHER = 16.0
"""... while the right one is this many times farther from it, and from what is allowed."""
LOG = logging.getLogger("refnorm.conformance")


def explain(session: Session, findings: Sequence[Finding]) -> str:
    """The wrong formula that explains these observations, or where they are wrong; "" where neither is known.

    Whatever a hypothesis does on a stranger's numbers, it ends no check: an error is logged, and is no verdict.
    """
    try:
        with np.errstate(all="ignore"):
            return _explained(session, findings)
    except Exception as error:
        check = findings[0].check if findings else "nothing"
        LOG.warning("no diagnosis of %s: %s: %s", check, type(error).__name__, error)
        LOG.debug("where", exc_info=True)
        return ""


def _explained(session: Session, findings: Sequence[Finding]) -> str:
    told = places.plain(session, findings)
    if told:
        return told
    best: tuple[int, str] = (0, "")
    for name in dict.fromkeys(f.name for f in findings):
        mine = [f for f in findings if f.name == name]
        count, sentence = _named(session, name, evidence.of_findings(mine))
        if sentence and count > best[0]:
            best = count, f"{places.subject(name)}: {sentence}"
    best = best[0], _contradicted(session, findings, best[1])
    where = places.condition(session, findings, best[1]) if best[1] else ""
    return f"{best[1]} {where}".strip() if best[1] else places.untouched(findings) or places.halves(session, findings)


def _contradicted(session: Session, findings: Sequence[Finding], sentence: str) -> str:
    """A constant eps, a floor or a ceiling that right cases of the same check refute: kept from an earlier call, perhaps."""
    found = re.search(r"eps is (always|never below|never above) ([0-9.e+-]+)(, whatever is asked)?$", sentence)
    if found is None:
        return sentence
    used = float(found[2])
    right = [f.case for check in {f.check for f in findings} for f in places.examined(session, check) if f.ok and f.sharp]
    for eps in {float(case.arguments.get("eps") or 0.0) for case in right if case.stratum == "ordinary"}:
        says = {"always": used, "never below": max(used, eps), "never above": min(used, eps)}[found[1]]
        if abs(says - eps) > 5e-4:  # which ordinary values would show
            return f"{sentence[: found.start()]}eps is {used:g} here and as asked elsewhere: that of an earlier call?"
    return sentence


def _named(session: Session, name: str, known: list[Evidence]) -> tuple[int, str]:
    """(on how many cases it holds, the sentence) for one output or gradient."""
    telling = [e for e in known if e.wrong > FARTHER]
    met: dict[str, list[float]] = {}
    for e in telling:
        for sentence, distance in _near(session, e):
            met.setdefault(sentence, []).append(distance)
    fits = [s for s, found in met.items() if len(found) == len(telling)]
    if len(fits) == 1 and evidence.diverse(telling):
        return len(telling), fits[0]
    further = evidence.probed(session, name, known[0].case) if known else []
    more = [e for e in further if e.wrong > FARTHER]
    if not fits and more:  # too little of it shows in what failed
        wider: dict[str, list[float]] = {}
        for e in more:
            for sentence, distance in _near(session, e):
                wider.setdefault(sentence, []).append(distance)
        fits = [s for s, found in wider.items() if len(found) == len(more) and (not telling or s in met)]
        met = wider if fits else met
    if not fits:  # two faults at once: the one that most cases have
        most = max(met, key=lambda s: len(met[s]), default="")
        return (len(met[most]), most) if most and 2 * len(met[most]) > len(telling) and len(met[most]) > 1 else (0, "")
    held = dict.fromkeys(fits, 0)
    for e in further if len(fits) > 1 else ():
        for sentence in {s for s, value in _guesses(session, e) if s in held and e.distance(value) < NEAR}:
            held[sentence] += 1
    order = {sentence: k for k, sentence in enumerate(met)}
    chosen = min(fits, key=lambda s: (-held[s], round(max(met[s])), order[s]))
    return max(len(telling), 1), chosen


def _near(session: Session, e: Evidence) -> Iterator[tuple[str, float]]:
    """Wrong formulas that meet one observation where the right one does not, each once, with their distance."""
    right, seen = e.wrong, set()
    for sentence, value in _guesses(session, e):
        if sentence in seen:
            continue
        distance = e.distance(value)
        if distance < NEAR and distance * FARTHER < right and e.distance(value, e.expected) > NEAR:
            seen.add(sentence)
            yield sentence, distance


def _guesses(session: Session, e: Evidence) -> Iterator[hypotheses.Guess]:
    """Every wrong formula known for this result, in its shape."""
    expectation = Expectation(e.case, session.dialect, session.casts)
    known = _of_rows(expectation, e) if session.has_rows() else of_method(expectation, e.name)
    options = of_any(expectation, e.name, rows=session.has_rows())
    for source in (known, options):
        for sentence, value in source:
            value = np.asarray(value, float)
            if value.size == e.expected.size:
                yield sentence, _fused(expectation, e.name, value.reshape(e.expected.shape))


def _fused(expectation: Expectation, name: str, value: np.ndarray) -> np.ndarray:
    """What a kernel that fuses an activation or a residual makes of it."""
    case = expectation.case
    if name == "y" and case.epilogue is not None:
        return np.asarray(fused.ACTIVATIONS[case.epilogue].value(value), float)
    if case.prologue is not None and name in ("d" + case.convention.arrays[0], "dresidual"):
        return value + fused.upstream(case.dy).astype(float)
    return value


def _of_rows(expectation: Expectation, e: Evidence) -> Iterator[hypotheses.Guess]:
    rows, name = expectation.rows, e.name
    if not e.case.x.size:
        return
    view = hypotheses.View.of(rows)
    if name == "y":
        for words, y in hypotheses.of_output(view):
            yield words, rows.merge(y)
        if e.case.training:
            yield from hypotheses.of_area(rows)
        yield from _modes(e, rows, view)
        if e.case.epilogue is None:
            for words, y in hypotheses_fitted.of_output(view, rows, rows.split(e.observed.astype(float))):
                yield words, rows.merge(y)
    elif name == "d" + e.case.convention.arrays[0] or name == "dresidual":
        if view.training:
            for words, dx in hypotheses_backward.of_input_gradient(view):
                yield words, rows.merge(dx)
        else:
            yield from _evaluation_gradient(view, rows)
    elif name in ("dgamma", "dbeta"):
        yield from hypotheses_fitted.of_parameter_gradient(view, rows, name, e.observed.astype(float))
        yield from hypotheses_backward.of_parameter_gradient(view, rows, name)
    elif name in ("running_mean", "running_var") and e.case.training:
        yield from hypotheses_backward.of_state(view, rows, name)


def _modes(e: Evidence, rows, view) -> Iterator[hypotheses.Guess]:
    """Statistics of the other mode."""
    arguments = e.case.arguments
    if arguments.get("running_mean") is None:
        return
    if not e.case.training:
        mean, var = view.x.mean(axis=1, keepdims=True), view.x.var(axis=1, keepdims=True)
        yield "evaluation uses the statistics of the batch", rows.merge(view.y((view.x - mean) / np.sqrt(var + view.eps)))
        for moved_mean, moved_var in _moved(arguments, rows, mean, var, view.unbiased):
            words = "evaluation moves the running statistics, and uses them"
            yield words, rows.merge(view.y((view.x - moved_mean) / np.sqrt(moved_var + view.eps)))
        return
    mean, var = (arguments[n].astype(float)[:, None] for n in ("running_mean", "running_var"))
    yield "training uses the running statistics", rows.merge(view.y((view.x - mean) / np.sqrt(var + view.eps)))
    for moved_mean, moved_var in _moved(arguments, rows, view.mean, view.var, view.unbiased):
        words = "training uses the updated running statistics"
        yield words, rows.merge(view.y((view.x - moved_mean) / np.sqrt(moved_var + view.eps)))


def _moved(arguments, rows, mean, var, unbiased) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The running statistics after one step by these of the batch, the variance as it is and unbiased."""
    old_mean, old_var = (arguments[n].astype(float)[:, None] for n in ("running_mean", "running_var"))
    w = arguments["momentum"] if rows.e.spoken.population.weighs == "new" else 1 - arguments["momentum"]
    for factor in (1.0, unbiased):
        yield (1 - w) * old_mean + w * mean, (1 - w) * old_var + w * var * factor


def _evaluation_gradient(view, rows) -> Iterator[hypotheses.Guess]:
    r, g = view.rstd(), view.dy * view.gamma
    h = view.c * r
    mean = g.mean(axis=1, keepdims=True)
    words = "in evaluation the statistics are differentiated, as in training"
    yield words, rows.merge(r * (g - mean - h * (g * h).mean(1, keepdims=True)))
    batch, h = view.of_batch()
    yield "evaluation uses the statistics of the batch", rows.merge(batch * (g - mean - h * (g * h).mean(1, keepdims=True)))
    yield "gamma is left out", rows.merge(r * view.dy)
    yield "eps is left out", rows.merge(g * view.rstd(eps=0.0))
    yield "it is zero", rows.merge(0 * g)
    yield "dy is returned", rows.merge(view.dy)
