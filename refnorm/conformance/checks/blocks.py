"""Facts about who sees whom: runs, calls, blocks, entries."""

from __future__ import annotations

import numpy as np

from .. import values
from ..cases import Case
from ..findings import Finding
from ..session import Session
from ..trial import Trial
from .comparing import bounds, probes, ran, same_bits, within


def determinism(session: Session, case: Case) -> list[Finding]:
    """Three runs, with another shape in between, give the same bits."""
    found: list[Finding] = []
    other = next(probes(session, "ordinary", values.spike(1e3), ((5, 21),))) if session.has_rows() else session.examples()[-1]
    first = session.call(case)
    for _ in range(2 if ran(first) else 0):
        session.call(other)
        found += _same(session, first, session.call(case), "facts.determinism", "results change between runs", kind="twice")
    return found


def saved(session: Session, case: Case) -> list[Finding]:
    """Forward of one input, forward of another, then the backward of the first; and the backward twice."""
    plain = session.call(case)
    if not ran(plain) or session.candidate.factory is not None:
        return []
    x = session.convention.arrays[0]
    other = case.replaced(**{x: (-3 * case.x.astype(np.float64) + 1).astype(case.x.dtype)})
    first = session.caller.forward(case)
    session.call(other)
    words = "a second forward writes to what the first one returned"
    found = [
        same_bits("facts.saved", case, name, first.values[name], kept, words, kind="aliased")
        for name, kept in first.kept.items()
    ]
    if not session.has_backward:
        return found
    session.caller.backward(first)
    words = "the backward changes when another forward runs before it"
    found += _same(session, plain, first, "facts.saved", words, kind="saved")
    again = Trial(case, saved=first.saved)
    session.caller.backward(again)
    once = Trial(case, {k: v for k, v in first.values.items() if k in again.values})
    found += _same(session, once, again, "facts.saved", "a second backward differs from the first", kind="saved")
    return found


def _same(
    session: Session, first: Trial | None, again: Trial | None, check: str, words: str, **facts: object
) -> list[Finding]:  # fmt: skip
    """Equal bits; gradients of parameters, which atomic additions sum in an order of chance, within their tolerance."""
    if first is None or again is None:
        return []
    if again.fault("raises", "hangs"):
        fault = again.fault("raises", "hangs")
        assert fault is not None
        return [Finding(check, first.case, False, f"{words}: {fault.message}", facts=facts)]
    found = [
        same_bits(check, first.case, name, value, again.values[name], words, **facts)
        for name, value in first.values.items()
        if name in again.values and again.values[name].shape == value.shape
    ]
    summed = tuple("d" + name for name in session.convention.gradients[1:])
    return [f if f.ok or f.name not in summed else _summed_by_chance(session, f) for f in found]


def _summed_by_chance(session: Session, finding: Finding) -> Finding:
    """A gradient of a parameter that differs between runs: a note where both may be right."""
    bound = bounds(session, finding.case, gradients=True).get(finding.name)
    if bound is None or finding.observed is None or finding.expected is None:
        return finding
    with np.errstate(invalid="ignore"):
        near = np.abs(finding.observed - finding.expected) <= bound
    if not np.all(near | np.isinf(bound)):
        return finding
    words = f"{finding.name} is not the same bit for bit in every run, but within its tolerance: it is summed in another order"
    return Finding(finding.check, finding.case, True, words, finding.name)


def labels(session: Session, case: Case) -> np.ndarray:
    """For each entry of x the number of the block whose statistics it shares."""
    arguments, _ = session.method.resolve(**case.reference(), dialect=session.dialect)
    return session.method.triple.blocks(**arguments)


def independence(session: Session, case: Case) -> list[Finding]:
    """Other blocks are given other numbers; the first block's y and dx stay what they are."""
    block, name = labels(session, case), session.convention.arrays[0]
    first = session.call(case)
    if not ran(first) or first is None or not block.size:
        return []
    mine = block == block.flat[0]
    noise = 7 - 100 * np.roll(case.x.astype(np.float64), 1)
    changed = case.replaced(**{name: np.where(mine, case.x.astype(np.float64), noise).astype(case.x.dtype)})
    second = session.call(changed)
    if not ran(second) or second is None:
        return []
    words = "the numbers in other blocks matter"
    may = {out: np.where(mine, 2 * bound, np.nan) for out, bound in _bounds_of(session, case, name).items()}
    return _held("facts.independence", case, first, second, may, words, kind="changed")


def confinement(session: Session, case: Case) -> list[Finding]:
    """A NaN or an infinity in one entry: its block shows it, no other block does."""
    block, name = labels(session, case), session.convention.arrays[0]
    clean = session.call(case)
    if not ran(clean) or clean is None or not block.size:
        return []
    found, last = [], (-1,) * case.x.ndim
    mine = block == block[last]
    may = {out: np.where(mine, np.nan, 2 * bound) for out, bound in _bounds_of(session, case, name).items()}
    for poison in (np.nan, np.inf):
        x = case.x.copy()
        x[last] = poison
        poisoned = case.replaced(**{name: x})
        trial = session.call(poisoned)
        if not ran(trial) or trial is None:
            continue
        facts = {"kind": "poisoned", "poison": poison}
        found += _held("facts.confinement", poisoned, clean, trial, may, f"{poison} in one block reaches another", **facts)
        shows = trial.values["y"].astype(np.float64)[mine]
        hidden = bool(np.isfinite(shows).all() if np.isinf(poison) else not np.isnan(shows).all())
        words = f"{poison} in the input does not show in the output of its block" if hidden else ""
        found.append(Finding("facts.confinement", poisoned, not hidden, words, "y", facts=facts))
    return found + _poisoned_cotangent(session, case, clean, mine, may["d" + name] if "d" + name in may else None)


def _poisoned_cotangent(
    session: Session, case: Case, clean: Trial, mine: np.ndarray, may: np.ndarray | None
) -> list[Finding]:  # fmt: skip
    """A NaN or an infinity in one entry of dy: other blocks keep their dx, its own shows it, so do dgamma and dbeta.

    A loss scaler looks for infinities in gradients: what hides them lets a step with garbage through.
    """
    first, found = "d" + session.convention.arrays[0], []
    if may is None or not session.plain:  # a ReLU's derivative of 0 hides what it multiplies; dh follows dy
        return []
    for poison in (np.nan, np.inf):
        dy = case.dy.copy()
        dy[(-1,) * dy.ndim] = poison
        poisoned = case.replaced(dy=dy)
        trial = session.call(poisoned)
        if not ran(trial) or trial is None or first not in trial.values:
            continue
        words, facts = f"{poison} in dy", {"kind": "poisoned", "poison": poison}
        reaches = f"{words}, in one block, reaches the gradient of another"
        found += _held("facts.confinement", poisoned, clean, trial, {first: may}, reaches, **facts)
        for name in (n for n in clean.values if n.startswith("d") and n in trial.values):
            shows = trial.values[name].astype(np.float64)
            hidden = bool(np.isfinite(shows[mine] if name == first else shows).all())
            said = f"{words} does not show in {name}" if hidden else ""
            found.append(Finding("facts.confinement", poisoned, not hidden, said, name, facts=facts))
    return found


def permutation(session: Session, case: Case) -> list[Finding]:
    """The entries of every row change places, the same way; y and dx follow (gamma 1, beta 0)."""
    arguments, _ = session.method.resolve(**case.reference(), dialect=session.dialect)
    part = session.method.triple.partition(**arguments)
    order = np.random.default_rng(session.seed).permutation(part.blocks[2])

    def moved(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(part.merge(part.split(a)[:, :, order]))

    name = session.convention.arrays[0]
    first = session.call(case)
    second = session.call(case.replaced(dy=moved(case.dy), **{name: moved(case.x)}))
    if not ran(first) or not ran(second) or first is None or second is None:
        return []
    followed = Trial(case, {out: moved(a) for out, a in first.values.items() if a.shape == case.x.shape})
    may = {out: 2 * moved(bound) for out, bound in _bounds_of(session, case, name).items()}
    words = "entries of a row trade places and the result does not follow"
    return _held("facts.permutation", case, followed, second, may, words, kind="permuted")


def _bounds_of(session: Session, case: Case, name: str) -> dict[str, np.ndarray]:
    """Bounds on y and dx."""
    return {out: bound for out, bound in bounds(session, case, gradients=True).items() if out in ("y", "d" + name)}


def _held(
    check: str, case: Case, first: Trial, second: Trial, may: dict[str, np.ndarray], words: str, **facts: object
) -> list[Finding]:
    return [
        within(check, case, out, second.values[out], first.values[out], bound, words, **facts)
        for out, bound in may.items()
        if out in first.values and out in second.values
    ]
