"""Where a result is wrong, when that says more than a formula, or all that is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import values
from .cases import Case
from .conventions import method_named
from .expected import Expectation
from .findings import Finding, Outcome

if TYPE_CHECKING:
    from .session import Session

BLOCKS = (1024, 512, 256, 128, 64, 32, 16, 8, 4, 2)
FARTHER = 16.0


def plain(session: Session, findings: Sequence[Finding]) -> str:
    """What needs no formula: a state that evaluation changes, sums of nothing that are not 0, squares that overflow."""
    known = [f for f in findings if f.observed is not None and f.expected is not None and f.tolerance is not None]
    if not known:
        return ""
    if all(f.name in f.case.convention.state and not f.case.training for f in known):
        return f"evaluation changes the running statistics ({', '.join(dict.fromkeys(f.name for f in known))})"
    if all(f.case.x.size == 0 and f.name.startswith("d") for f in known):
        return f"{subject(known[0].name)}: it is not 0 where the input is empty and nothing is summed (memory never written?)"
    casts = session.spoken.traits.get("casts")
    if casts and all(f.name == "y" and f.case.arithmetic.x.itemsize == 2 for f in known):
        return f"the forward: {casts}"
    return _overflow(session, known)


def _overflow(session: Session, known: list[Finding]) -> str:
    """Rows whose squares leave a type come out as 0, infinite or NaN, and all others are right."""
    if not session.has_rows() or not session.plain or not all(f.name == "y" for f in known):
        return ""
    tops, known = [], [f for f in known if f.worst > FARTHER]
    if not known:
        return ""
    for f in known:
        observed, expected = np.asarray(f.observed, float), np.asarray(f.expected, float)
        rows = Expectation(f.case, session.dialect).rows
        beta = rows.merge(np.asarray(rows.beta, float))
        wrong = ~(np.abs(observed - expected) <= f.tolerance) & ~np.isnan(np.asarray(f.tolerance, float))
        lost = ~np.isfinite(observed) | (np.abs(observed - beta) <= 0.01 * np.abs(expected - beta))
        x = np.abs(f.case.x.astype(float))
        if not wrong.any() or not lost[wrong].all() or wrong.shape != x.shape:
            return ""
        tops.append(float(x[wrong].max()))
    every = examined(session, known[0].check)
    fine = [float(np.abs(f.case.x.astype(float)).max(initial=0)) for f in every if f.ok and f.name == "y"]
    least, most = min(tops, default=0.0), max((v for v in fine if np.isfinite(v)), default=0.0)
    if least < 100 or least <= most or not every:
        return ""
    half = all(f.case.arithmetic.x == np.float16 for f in known) and least < 65504 < least * least
    what = "squares overflow in float16" if half else "it overflows"
    below = f", and is right up to {most:.2g}" if most else ""
    return f"the forward: {what}: what comes out is 0, infinite or NaN from |x| = {least:.2g} on{below}"


def _has_channels(case: Case) -> bool:
    return "channel_axis" in method_named(case.norm).signature.parameters


FEATURES: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("where gamma is None", lambda c: "gamma" in c.arguments and c.arguments["gamma"] is None),
    ("where beta is None", lambda c: "beta" in c.arguments and c.arguments["beta"] is None),
    ("where gamma is given", lambda c: c.arguments.get("gamma") is not None),
    ("where beta is given", lambda c: c.arguments.get("beta") is not None),
    ("where eps is 0", lambda c: c.arguments.get("eps") == 0),
    ("where a mask is given", lambda c: "mask" in c.arguments),
    ("in evaluation", lambda c: not c.training),
    ("in training", lambda c: c.training),
    ("where there are several groups", lambda c: (c.arguments.get("num_groups") or 1) > 1),
    ("where there are spatial axes", lambda c: c.x.ndim > 2 and _has_channels(c)),
    ("where there are no spatial axes", lambda c: c.x.ndim == 2 and _has_channels(c)),
    ("where arrays do not lie contiguously", lambda c: c.layout != "contiguous"),
)


def examined(session: Session, check: str) -> list[Finding]:
    """What the examination found for a check, where there was one (a replay has none)."""
    whole = session.__dict__.get("examination")
    return [] if whole is None else whole.findings.get(check, [])


def condition(session: Session, findings: Sequence[Finding], sentence: str) -> str:
    """As "where gamma is None": what all failing cases have and no right one has; "" where it is wrong everywhere.

    A sentence about gamma is one about cases where gamma is given.
    """
    names, dtypes = {f.name for f in findings}, {f.case.dtype for f in findings}
    checks = {f.check for f in findings}
    every = [f for check in checks for f in examined(session, check)]
    told = [name for name in ("gamma", "beta") if name in sentence]
    right = [f for f in every if f.ok and f.sharp and f.name in names and f.case.dtype in dtypes]
    right = [f for f in right if all(f.case.arguments.get(name) is not None for name in told)]
    wrong = [f for f in every if not f.ok and f.name in names] or list(findings)
    if not right:
        return ""
    for option, value in wrong[0].case.arguments.items():
        if isinstance(value, int | float | None) and option not in ("eps", "training", *wrong[0].case.convention.arrays):
            mine = {repr(f.case.arguments.get(option)) for f in wrong}
            if mine == {repr(value)} and repr(value) not in {repr(f.case.arguments.get(option)) for f in right}:
                return f"where {option} is {value}" if f"{option} is" not in sentence else ""
    for words, has in FEATURES:
        if words.endswith("is given") and words.split()[1] in sentence:
            continue
        if all(has(f.case) for f in wrong) and not any(has(f.case) for f in right):
            return words
    return ""


def untouched(findings: Sequence[Finding]) -> str:
    """Entries that are never written, where that is so in most cases; the sentence of the smallest."""
    known = [f for f in findings if f.observed is not None and f.tolerance is not None and f.expected is not None]
    idle = [words for words in map(_untouched, known) if words]
    return idle[-1] if 2 * len(idle) > len(known) else ""


def halves(session: Session, findings: Sequence[Finding]) -> str:
    """As "y is right in float32 and wrong in float16": by more than the one rounding that a result is allowed."""
    known = [f for f in findings if f.observed is not None and f.tolerance is not None]
    wrong = [a.x.name for a in session.arithmetics if any(f.case.arithmetic == a for f in known)]
    wider = [a.x.name for a in session.arithmetics if a.x.itemsize > 2]
    short = all(f.case.arithmetic.x.itemsize == 2 for f in known)
    names = dict.fromkeys(f.name for f in known)
    if not known or not short or not wider or any(not f.ok for n in names for f in _wide(session, findings, n)):
        return ""
    words = f"right in {' and '.join(wider)}, wrong in {' and '.join(dict.fromkeys(wrong))}"
    return f"{', '.join(map(subject, names))}: {words}: more is rounded to storage than the result"


def _wide(session: Session, findings: Sequence[Finding], name: str) -> list[Finding]:
    every = [f for check in {f.check for f in findings} for f in examined(session, check)]
    return [f for f in every if f.name == name and f.case.arithmetic.x.itemsize > 2]


def _untouched(finding: Finding) -> str:
    """A tail of one axis that is 0, or still the input."""
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
            return f"{subject(finding.name)}: {where} of axis {axis}, of length {n}, is not written"
    return ""


def subject(name: str) -> str:
    return "the forward" if name == "y" else f"the gradient of {name[1:]}" if name.startswith("d") else name.replace("_", " ")


def threshold(session: Session, outcome: Outcome, shown: Case) -> str:
    """As "when rows are longer than 1024": from which size on a check fails, by bisection; "" where it fails at once.

    shown: the smallest input that fails; what it refutes is not said.
    """
    if not session.has_rows():
        return ""
    every = examined(session, outcome.check)
    for length, what in ((True, "when rows are longer than"), (False, "when there are more rows than")):
        sizes: dict[int, bool] = {}
        name, least = outcome.failures[0].name, _size(session, shown, length)
        for f in every:
            if f.name == name and f.case.stratum in ("lengths", "many rows", "shapes", "ordinary"):
                size = _size(session, f.case, length)
                sizes[size] = sizes.get(size, True) and f.ok
        good, bad = [s for s, ok in sizes.items() if ok], [s for s, ok in sizes.items() if not ok]
        clear = all(f.worst > FARTHER for f in outcome.failures)
        if clear and good and bad and max(good) < min(*bad, least) and max(good) > 4:
            limit = _bisected(session, outcome, length, max(good), min(*bad, least))
            return f"{what} {limit}"
        if length and len(bad) > 3 and len(good) > 3:
            for block in reversed(BLOCKS):
                if all(s % block for s in (*bad, least)) and not any(s % block and s > block for s in good):
                    fails = _failing(session, name, length)
                    if fails(3 * block + (block + 1) // 2) and not fails(3 * block):
                        return f"when the row length is no multiple of {block}"
    return ""


def _size(session: Session, case: Case, length: bool) -> int:
    arguments, _ = session.method.resolve(**case.reference(), dialect=session.dialect)
    b, d, m = session.method.triple.partition(**arguments).blocks
    return m if length else b * d


def _failing(session: Session, name: str, length: bool) -> Callable[[int], bool]:
    """Whether a result is wrong on rows of a length, or on a number of rows."""
    plan, stratum = session.plan(session.main), "lengths" if length else "many rows"

    def fails(size: int) -> bool:
        rows, n = (2, size) if length else (size, 3)
        draw = values.last_spike(3 * math.sqrt(n)) if length else values.ordinary
        case = plan.rows(stratum, f"bisecting, {rows} rows of {n}", draw, rows, n, spread="first", dy="last")
        found = session.examine([case], backward=name.startswith("d")).findings
        return any(not f.ok and f.name == name for group in found.values() for f in group)

    return fails


def _bisected(session: Session, outcome: Outcome, length: bool, low: int, high: int) -> int:
    """The largest size that is right, between one that is and one that is not: powers of two first."""
    fails = _failing(session, outcome.failures[0].name, length)
    sizes = [low, *(1 << k for k in range(low.bit_length(), high.bit_length()) if low < 1 << k < high), high]
    first, last = 0, len(sizes) - 1
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (first, middle) if fails(sizes[middle]) else (middle, last)
    low, high = sizes[first], sizes[last]
    if high - low > 1 and fails(low + 1):
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return low
