"""pytest: one test per check.

    @parametrize_with_checks(Candidate(forward, backward), norm="layer_norm")
    def test_layer_norm(check):
        check()

A failing check raises AssertionError with the report's words and a reproduction; what is not offered or vacuous is skipped.
--refnorm-seed N on the command line takes the place of `seed` (`pytest_options`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .candidate import as_candidate, load_candidate
from .checks import CHECKS, Check
from .report import Failure
from .session import Session
from .verdict import failure_of


class Lazy:
    """A session that is made when the first check asks for it, so that collecting tests calls no candidate."""

    def __init__(self, candidate: Any, norm: str, **options: Any) -> None:
        self.candidate, self.norm, self.options = candidate, norm, options
        self._session: Session | None = None

    def __call__(self) -> Session:
        if self._session is None:
            judged = load_candidate(self.candidate) if isinstance(self.candidate, str) else as_candidate(self.candidate)
            self._session = Session(judged, self.norm, **self.options)
        return self._session


@dataclass(frozen=True)
class BoundCheck:
    """One check of one candidate; calling it runs it."""

    check: Check
    session: Lazy

    def __call__(self) -> None:
        import pytest

        session = self.session()
        outcome = self.check(session)
        if outcome.status == "failed":
            failure: Failure = failure_of(session, outcome)
            where = f"{failure.case.words} (seed {session.seed})"
            raise AssertionError(f"{failure.check}: {failure.message}\n{where}\n\n{failure.reproduce()}")
        if outcome.status != "passed":
            pytest.skip(f"{outcome.status}: {outcome.words}")

    def __repr__(self) -> str:
        return self.check.identifier


def parametrize_with_checks(
    candidate: Any, norm: str, dialect: str | None = None, *, quick: bool = False, seed: int = 0,
    dtypes: Sequence[str] | None = None,
) -> Callable[[Any], Any]:  # fmt: skip
    """A decorator for a test of one argument, `check`.  Raises Unusable for an unknown norm or dialect when it runs."""
    import pytest

    session = Lazy(candidate, norm, asked=dialect, quick=quick, seed=seed, dtypes=None if dtypes is None else tuple(dtypes))
    bound = [BoundCheck(check, session) for check in CHECKS.values()]
    return pytest.mark.parametrize("check", bound, ids=[b.check.identifier for b in bound])
