"""Running statistics over several calls."""

from __future__ import annotations

import numpy as np

from .. import tolerance, values
from ..cases import Case
from ..expected import Expectation, OutsideDialect
from ..findings import Finding, times
from ..session import Session
from .comparing import bounds, ran, within


def steps(session: Session) -> list[Finding]:
    """Four training steps, each given the state that the last one returned, then evaluation with it."""
    names = session.convention.state
    if not names or not session.has_rows() or not session.offers(*names):
        return []
    found: list[Finding] = []
    plan = session.plan(session.main)
    carried: dict[str, np.ndarray] = {}
    for start in ("drawn", "fresh"):
        carried = {}
        for step in range(4):
            label = f"step {step + 1} from {start} statistics"
            case = plan.rows("momentum", label, values.scaled(1 + step, step), 3, 10, momentum=0.3, running=start)
            case = case.replaced(**carried)
            trial = session.call(case, backward=False)
            if not ran(trial) or trial is None or any(n not in trial.values for n in names):
                return found
            found += _judged(session, case, trial.values, names, f"after step {step + 1}")
            carried = {n: trial.values[n] for n in names}
    if session.offers_option("training"):
        case = plan.rows("momentum", "evaluation after training", values.ordinary, 3, 10, training=False).replaced(**carried)
        trial = session.call(case, backward=False)
        if ran(trial) and trial is not None:
            found += _judged(session, case, trial.values, ("y",), "evaluated after training")
    return found


def _judged(session: Session, case: Case, got, names: tuple[str, ...], words: str) -> list[Finding]:
    try:
        expected = Expectation(case, session.dialect, session.casts).outputs()
    except OutsideDialect:
        return []
    found = []
    for name in names:
        if name not in got or name not in expected:
            continue
        right = expected[name]
        result = tolerance.compare(got[name], right.value, right.bound, right.unit)
        message = "" if result.ok else f"{name} is wrong {words}, by {times(result.worst)}"
        found.append(
            Finding("state.steps", case, result.ok, message, name, result.worst, result.index, got[name],
                    np.asarray(right.value, np.float64), np.asarray(right.bound, np.float64), sharp=not result.vacuous)
        )  # fmt: skip
    return found


def evaluation(session: Session, case: Case) -> list[Finding]:
    """In evaluation one sample's y does not depend on the others, and the running statistics stay bit for bit."""
    x = case.x.copy()
    x[1:] = (7 - 50 * x[1:].astype(np.float64)).astype(x.dtype)
    first, second = session.call(case), session.call(case.replaced(**{session.convention.arrays[0]: x}))
    if not ran(first) or not ran(second) or first is None or second is None:
        return []
    mine = np.zeros(case.x.shape, bool)
    mine[:1] = True
    bound = np.where(mine, 2 * bounds(session, case)["y"], np.nan)
    words = "in evaluation the other samples matter"
    found = [within("state.evaluation", case, "y", second.values["y"], first.values["y"], bound, words, kind="changed")]
    for kept in session.convention.state:
        if kept in first.values:
            words, given = "evaluation changes the running statistics", case.arguments[kept]
            zero = np.zeros(given.shape)
            found.append(within("state.evaluation", case, kept, first.values[kept], given, zero, words, kind="oracle"))
    return found
