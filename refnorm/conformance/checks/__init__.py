"""The registry of checks: identifier, stage, what it says, and how it is run on a session.

A check that reads the examination judges every case of its strata against the oracle; a fact needs no oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .. import values
from ..cases import Case
from ..expected import OutsideDialect
from ..findings import Finding, Outcome, settled
from ..plan import Values
from ..session import Session
from . import blocks, dialect, exact, identities, state
from .comparing import probes

On = Callable[[Session, Case], list[Finding]]


@dataclass(frozen=True)
class Check:
    """on: judges one case; a failure is made smaller by asking it again.  draw: the cases on which a fact is asked."""

    identifier: str
    stage: str
    words: str
    on: On | None = None
    draw: Callable[[Session], Iterable[Case]] | None = None
    whole: Callable[[Session], list[Finding]] | None = None
    needs: str = ""  # what a candidate must offer, for "not offered"

    def __call__(self, session: Session) -> Outcome:
        if self.whole is not None:
            found = self.whole(session)
        elif self.draw is not None and self.on is not None:
            found = [finding for case in self.draw(session) for finding in self.on(session, case)]
        else:
            found = session.examination.findings.get(self.identifier, [])
        return settled(self.identifier, self.stage, found, self.needs)


def _examined(identifier: str, stage: str, words: str, needs: str = "") -> Check:
    def on(session: Session, case: Case) -> list[Finding]:
        found = session.examine([case]).findings
        return [*found.get(identifier, []), *(f for f in found.get("numerics.finite", []) if not f.ok)]

    return Check(identifier, stage, words, on, needs=needs)


def _fact(identifier: str, words: str, on: On, draw: Callable[[Session], Iterable[Case]], needs: str = "") -> Check:
    def within_dialect(session: Session, case: Case) -> list[Finding]:
        try:
            return on(session, case)
        except OutsideDialect:
            return []

    return Check(identifier, identifier.partition(".")[0], words, within_dialect, draw, needs=needs)


def _drawn(
    *sizes: tuple[int, int],
    needs: str = "",
    rows: bool = True,
    plain: bool = False,
    draw: Values = values.ordinary,
    **asked: Any,
) -> Any:
    """Cases for a fact: none where the candidate does not offer what it needs, or where the method has no rows."""

    def cases(session: Session) -> Iterable[Case]:
        offered = session.has_backward if needs == "backward" else not needs or session.offers_option(needs)
        if not offered or (rows and not session.has_rows()) or (plain and not session.plain):
            return ()
        if not session.has_rows():
            return session.examples()
        return probes(session, "ordinary", draw, sizes, **asked)

    return cases


def _several(*draws: Any) -> Any:
    """The cases of each."""
    return lambda session: (case for draw in draws for case in draw(session))


_BACKWARD, _STATE = "a backward", "running statistics"
_ALL = [
    _examined("forward.runs", "contract", "answers every case: does not raise, does not hang"),
    _examined("forward.result", "contract", "returns arrays of the right number, shape and dtype"),
    _examined("backward.runs", "contract", "the backward answers every case", _BACKWARD),
    _examined("backward.result", "contract", "returns gradients of the right number, shape and dtype", _BACKWARD),
    _examined("facts.purity", "facts", "writes to none of its arguments"),
    Check("dialect", "dialect", "speaks the dialect asked for, or one that exists", whole=dialect.spoken),
    _examined("forward.y", "forward", "y, ordinary values, every option"),
    _examined("forward.saved", "forward", "what is saved for the backward", "saved statistics, named by saved_as"),
    _examined("backward.dx", "backward", "the gradient of the input", _BACKWARD),
    _examined("backward.parameters", "backward", "the gradients of the parameters", _BACKWARD),
    _examined("state.running", "state", "running mean and variance after one step", _STATE),
    _examined("numerics.finite", "numerics", "finite whenever eps > 0 and the squares are in range"),
    _examined("numerics.y", "numerics", "y on offset, tiny, huge, constant and spiked rows, eps of every size"),
    _examined("numerics.scale", "numerics", "each row's scale: what the variance lost", "training, 32 bits or more"),
    _examined("numerics.gradients", "numerics", "gradients on the same rows", _BACKWARD),
    _examined("numerics.state", "numerics", "running statistics on the same rows", _STATE),
    _examined("edge.y", "edge", "y of one value a statistic, one row, one channel, nothing at all"),
    _examined("edge.gradients", "edge", "gradients there", _BACKWARD),
    _examined("edge.state", "edge", "running statistics there", _STATE),
    _examined("size.y", "size", "y on rows of 2 to 65,537 entries and on 1 to 65,541 rows"),
    _examined("size.gradients", "size", "gradients there", _BACKWARD),
    _examined("size.state", "size", "running statistics there", _STATE),
    _examined("spectrum.y", "numerics", "whitened y at repeated, nearly repeated and vanishing eigenvalues", "a whitening"),
    _examined("spectrum.gradients", "numerics", "gradients there: no eigenvalue gap may be divided by", "a whitening"),
    _examined("layout.y", "layout", "y of strided, reversed, transposed, misaligned and broadcast arrays"),
    _examined("layout.gradients", "layout", "gradients there", _BACKWARD),
    _examined("layout.state", "layout", "running statistics there", _STATE),
    _examined("real.y", "real", "y of activations of a trained network", "recorded activations"),
    _examined("real.gradients", "real", "gradients there", _BACKWARD),
    _examined("real.state", "real", "running statistics there", _STATE),
    _fact(
        "facts.determinism", "the same bits in every run", blocks.determinism, _drawn((3, 12), (4, 129), (130, 7), rows=False)
    ),
    _fact(
        "facts.saved",
        "a second forward spoils nothing that the first handed out",
        blocks.saved,
        _drawn((3, 12), (4, 65), rows=False),
    ),
    _fact("facts.independence", "what shares no statistics does not matter", blocks.independence, _drawn((4, 9), (3, 33))),
    _fact(
        "facts.confinement",
        "NaN and infinity in x and in dy stay in their block, and show there",
        blocks.confinement,
        _several(_drawn((4, 9), (3, 40)), _drawn((4, 9), gamma="zeros")),
    ),
    _fact(
        "facts.permutation",
        "entries of a row may trade places",
        blocks.permutation,
        _drawn((3, 10), (2, 130), plain=True, gamma="ones", beta="zeros"),
    ),
    _fact(
        "facts.constraints",
        "mean 0, variance s2 / (s2 + eps)",
        identities.constraints,
        _drawn((4, 9), (3, 33), (2, 257), plain=True, gamma="ones", beta="zeros", eps=1e-3, offset=0),
        "rows that are normalized",
    ),
    _fact(
        "facts.invariance",
        "the same for a x + b with a^2 eps",
        identities.invariance,
        _drawn((4, 9), (3, 64), needs="eps", draw=values.integers, eps=0.0625),
        "eps",
    ),
    _fact(
        "facts.gradient",
        "<dx, 1> = 0 and the exact <dx, xhat>",
        identities.gradient,
        _drawn((4, 9), (3, 33), (2, 257), needs="backward", plain=True, eps=0.01),
        _BACKWARD,
    ),
    _fact(
        "facts.scaling",
        "x -> 2^p x with 4^p eps, exactly",
        exact.powers_of_two,
        _drawn((4, 9), (3, 65), needs="eps", plain=True, eps=2.0**-8, momentum=0.25),
        "eps",
    ),
    _fact("facts.symmetry", "x -> -x, exactly", exact.negation, _drawn((4, 9), (3, 65), plain=True, beta="zeros")),
    _fact(
        "facts.linearity",
        "dy -> 2 dy, dy -> -dy, exactly",
        exact.linearity,
        _drawn((4, 9), (3, 65), needs="backward", rows=False, plain=True),
        _BACKWARD,
    ),
    Check("state.steps", "state", "several steps, then evaluation", whole=state.steps, needs=_STATE),
    _fact(
        "state.evaluation",
        "evaluation looks at no batch and changes nothing",
        state.evaluation,
        _drawn((3, 6), (3, 40), needs="training", training=False),
        "training=False",
    ),
]
CHECKS: dict[str, Check] = {check.identifier: check for check in _ALL}
"""In the order of a report."""
