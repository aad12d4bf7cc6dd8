"""The examination: every case of every stratum, once, judged against the oracle; the checks read its findings."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from . import tolerance
from .accuracy import Accuracy, Rung
from .cases import Case
from .expected import Expectation, OutsideDialect
from .findings import Finding, times
from .rows import Expected
from .trial import Trial

GROUPS = {
    "plain": ("ordinary", "parameters", "options", "shapes", "cotangents", "momentum", "mask", "shards"),
    "numerics": ("eps", "constant rows", "offset rows", "magnitudes", "odd rows", "evaluation"),
    "edge": ("edges",),
    "spectrum": ("spectra",),
    "layout": ("layouts",),
    "size": ("lengths", "many rows"),
    "real": ("real activations",),
}
GROUP_OF = {stratum: group for group, strata in GROUPS.items() for stratum in strata}
"""Which family of checks judges a stratum."""
PLAIN = {"y": "forward.y", "dx": "backward.dx", "parameters": "backward.parameters", "state": "state.running"}
RESULT_FAULTS = ("type", "shape", "dtype")


def check_of(case: Case, name: str) -> str:
    """The check that judges one output or gradient on one case: "forward.y", "numerics.gradients"."""
    group = GROUP_OF.get(case.stratum, "plain")
    convention = case.convention
    if name == "y":
        kind = "y"
    elif name == "h":
        kind = "y"
    elif name in convention.state:
        kind = "state"
    else:
        kind = "dx" if name in ("d" + convention.arrays[0], "dresidual") else "parameters"
    if group == "plain":
        return PLAIN[kind]
    return f"{group}.{'gradients' if kind in ('dx', 'parameters') else kind}"


@dataclass
class Examination:
    """Findings by check; what was lost, by dtype and stratum; what was not run, and why."""

    findings: dict[str, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    accuracy: Accuracy = field(default_factory=Accuracy)
    coverage: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    cases: int = 0
    unjudged: int = 0
    asked: Counter[str] = field(default_factory=Counter)  # cases by stratum ...
    ran: Counter[str] = field(default_factory=Counter)  # ... and those of them that were run

    @property
    def never_run(self) -> tuple[str, ...]:
        """Strata of which no case was run."""
        return tuple(stratum for stratum in self.asked if not self.ran[stratum])

    def add(self, finding: Finding) -> None:
        self.findings[finding.check].append(finding)


def judge(trial: Trial, dialect: str, casts: int, into: Examination) -> None:
    """Everything that one trial says, entered into the examination."""
    case = trial.case
    _results(trial, into)
    expectation = Expectation(case, dialect, casts)
    if _is_undefined(expectation):
        into.coverage["the unbiased deviation of one entry is undefined: NaN is right"] += 1
        return
    try:
        expected = expectation.outputs()
    except OutsideDialect as error:
        into.coverage[f"outside the dialect: {_first_words(str(error))}"] += 1
        return
    for name, right in expected.items():
        if name in trial.values:
            into.add(_compared(case, name, trial.values[name], right, into))
    if expectation.refused:
        _refused_state(trial, into)
    if expectation.by_rows and case.epilogue is None:
        _accuracy(trial, expected["y"], expectation, into)
    _scale(trial, expectation, into)
    if "rstd" in trial.values or "mean" in trial.values or "var" in trial.values:
        _saved(trial, expectation, into)
    if any(name.startswith("d") for name in trial.values):
        try:
            gradients = expectation.gradients()
        except OutsideDialect as error:
            into.coverage[f"no gradient: {_first_words(str(error))}"] += 1
            return
        for name, right in gradients.items():
            if name in trial.values:
                into.add(_compared(case, name, trial.values[name], right, into))


def _is_undefined(expectation: Expectation) -> bool:
    """Rows of one entry where a dialect divides by n - 1: the original weight standardization, by torch.std."""
    e = expectation
    if e.method.dialects[e.dialect].conventions.get("spread") != "outside":
        return False
    return bool(e.method.triple.partition(**e.arguments).blocks[2] == 1)


def _refused_state(trial: Trial, into: Examination) -> None:
    """One value a statistic where the dialect raises: a candidate that does not must leave statistics that are finite."""
    for name in trial.case.convention.state:
        if name in trial.values and trial.case.training:
            observed = trial.values[name]
            ok = bool(np.isfinite(observed.astype(float)).all())
            words = "" if ok else f"{name} is not finite after one value a statistic, which its dialect refuses"
            into.add(Finding("edge.state", trial.case, ok, words, name))


def _results(trial: Trial, into: Examination) -> None:
    """Types, shapes, dtypes; arguments written to."""
    case = trial.case
    wrong = {f.stage: f for f in trial.faults if f.kind in RESULT_FAULTS}
    for stage in ("forward", "backward"):
        if stage in wrong:
            into.add(Finding(f"{stage}.result", case, False, wrong[stage].message))
        elif stage == "forward" or any(n.startswith("d") for n in trial.values):
            into.add(Finding(f"{stage}.result", case, True))
    writes = trial.fault("writes")
    facts = {"kind": "writes", "stage": writes.stage, "argument": writes.message.split()[-1]} if writes else {}
    into.add(Finding("facts.purity", case, writes is None, writes.message if writes else "", facts=facts))


def _compared(case: Case, name: str, observed: np.ndarray, right: Expected, into: Examination) -> Finding:
    found = tolerance.compare(observed, right.value, right.bound, right.unit)
    check = check_of(case, name)
    into.unjudged += found.not_judged
    if found.ok:
        into.add(Finding("numerics.finite", case, True, name=name, sharp=found.judged + found.must_be_finite > 0))
        return Finding(check, case, True, name=name, worst=found.worst, sharp=not found.vacuous or observed.size == 0)
    bound, index = right.bound, found.index
    broken = ~np.isfinite(observed.astype(right.bound.dtype)) & ~np.isnan(bound)
    if broken.any():
        check = "numerics.finite"
        index = tuple(int(i) for i in np.unravel_index(np.argmax(broken), bound.shape))
        words = f"{name} is {float(observed[index])} where squares are in range and the result is finite"
    else:
        wrong = int(np.count_nonzero(np.abs(observed.astype(bound.dtype) - right.value) > bound))
        words = f"{name} is wrong at {wrong} of {observed.size} entries, by up to {times(found.worst)}"
    value = np.asarray(right.value, np.float64)
    return Finding(check, case, False, words, name, found.worst, index, observed, value, np.asarray(bound, np.float64))


def _accuracy(trial: Trial, right: Expected, expectation: Expectation, into: Examination) -> None:
    case, y = trial.case, trial.values.get("y")
    if y is None or y.size == 0:
        return
    value = np.where(np.isnan(right.bound), np.nan, right.value)
    unit = np.maximum(np.abs(right.unit), np.max(np.abs(right.unit)))  # entries whose gamma is 0 have no scale of their own
    unit = np.maximum(unit, 1e-30)
    lost = tolerance.bits_lost(y, value, case.arithmetic, "out", unit)
    into.accuracy.lose(case.dtype, case.stratum, lost)
    if case.kappa is not None:
        with np.errstate(all="ignore"):
            error = np.abs(y.astype(value.dtype) - value) / unit
        error = float(np.max(np.where(np.isnan(value), 0, error)))
        stable = tolerance.bits_lost(_two_passes(expectation), value, case.arithmetic, "out", unit)
        bound = float(np.nan_to_num(np.max(right.bound / unit), nan=np.inf))
        into.accuracy.climb(case.dtype, expectation.rows.shape[1], Rung(case.kappa, error, lost, stable, bound))


def _two_passes(expectation: Expectation) -> np.ndarray:
    """y of the same rows by a plain two-pass variance in the candidate's arithmetic: what could be had."""
    rows, kept = expectation.rows, np.dtype(expectation.case.arithmetic.compute)
    x = rows.split(expectation.case.x.astype(kept))
    gamma, beta = (np.asarray(p, kept) for p in (rows.gamma, rows.beta))
    mean = 0 * x[:, :1] if rows.stats.kind == "rms" else x.mean(axis=1, keepdims=True)
    c = x - mean
    deviation = np.sqrt(np.square(c).mean(axis=1, keepdims=True) + np.asarray(rows.stats.eps, kept))
    return rows.merge(gamma * (c / deviation) + beta).astype(expectation.case.arithmetic.out)


def _scale(trial: Trial, expectation: Expectation, into: Examination) -> None:
    case, y = trial.case, trial.values.get("y")
    if (
        y is None
        or y.size == 0
        or not case.training
        or case.epilogue
        or not expectation.by_rows
        or case.arithmetic.x.itemsize < 4
    ):
        return
    if not np.isfinite(y.astype(float)).all():
        return  # numerics.finite has it
    rows = expectation.rows
    found = tolerance.scale_test(rows.stats, rows.split(y.astype(expectation.wide)), rows.gamma, rows.beta, expectation.casts)
    ratio = found.ratio
    judged = np.isfinite(ratio)
    if found.ok:
        into.add(Finding("numerics.scale", case, True, worst=float(np.nanmax(ratio, initial=0)), sharp=bool(judged.any())))
        return
    row = int(np.nanargmax(ratio))
    words = (
        f"row {row} comes out {abs(float(found.scale[row])):.3g} of itself too {'large' if found.scale[row] > 0 else 'small'}, "
        f"{float(ratio[row]):.3g} times what a stable variance allows"
    )
    right = expectation.outputs()["y"]
    marks = rows.merge((np.arange(len(ratio)) == row)[:, None])
    error = np.where(marks, np.abs(y.astype(right.value.dtype) - right.value), -1)
    index = tuple(int(i) for i in np.unravel_index(np.nanargmax(error), y.shape))
    expected, bound = np.asarray(right.value, np.float64), np.asarray(right.bound, np.float64)
    into.add(Finding("numerics.scale", case, False, words, "y", float(ratio[row]), index, y, expected, bound))


def _saved(trial: Trial, expectation: Expectation, into: Examination) -> None:
    case = trial.case
    for name, right in expectation.rows.saved().items():
        if name in trial.values and case.training:
            observed = trial.values[name].reshape(-1)
            if observed.size != right.value.size:
                words = f"saved {name} has {observed.size} entries for {right.value.size} statistics"
                into.add(Finding("forward.saved", case, False, words, name))
                continue
            if observed.dtype != case.arithmetic.saved:
                right_type = f"{case.arithmetic.saved}, or what dtypes says of 'saved'"
                words = f"saved {name} has dtype {observed.dtype}; it must be {right_type}"
                into.add(Finding("forward.saved", case, False, words, name))
                continue
            found = tolerance.compare(observed, right.value, right.bound, 1.0)
            words = "" if found.ok else f"saved {name} is off by {times(found.worst)}"
            into.add(
                Finding("forward.saved", case, found.ok, words, name, found.worst, found.index, observed,
                        np.asarray(right.value, np.float64), np.asarray(right.bound, np.float64))
            )  # fmt: skip


def _first_words(text: str) -> str:
    return text.rpartition(";")[2].strip() or text
