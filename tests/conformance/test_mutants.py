"""Every planted bug is caught by a check that exists for it; a dozen at the least in every stage."""

from collections import Counter
from collections.abc import Iterator

import pytest

from refnorm.conformance import strata, strata_examples
from refnorm.conformance.cases import Case
from refnorm.conformance.checks import CHECKS
from refnorm.conformance.examination import GROUP_OF
from refnorm.conformance.findings import Finding
from refnorm.conformance.session import Session

from .planted import MUTANTS, Mutant

STAGES = ("forward", "backward", "state", "numerics", "size", "edge", "layout", "facts", "contract")
PLAIN = ("facts.purity", "forward.y", "forward.saved", "backward.dx", "backward.parameters", "state.running")


class Focused(Session):
    """Draws those strata alone that the wanted checks read: the verdict of these is the same, and comes sooner."""

    wanted: tuple[str, ...] = ()

    def cases(self) -> Iterator[Case]:
        judged = [c for c in self.wanted if c in PLAIN or CHECKS[c].stage not in ("facts", "contract")]
        groups = {"plain" if c in PLAIN else c.partition(".")[0] for c in judged}
        every = strata.STRATA if self.has_rows() else strata_examples.STRATA
        if any(CHECKS[c].stage == "contract" for c in self.wanted):
            groups = set(GROUP_OF.values())
        tried = {name: draw for name, draw in every.items() if GROUP_OF[name] in groups}
        if not self.quick:  # what shows in no quick case shows in the larger ones
            tried = dict(reversed(tried.items()))
        for arithmetic in self.arithmetics:
            yield from strata.cases(self.plan(arithmetic, brief=self.quick), self.quick, tried)

    def findings(self) -> Iterator[Finding]:
        """What the wanted checks find, case by case: one that is not ok fails its check, whatever follows."""
        for case in self.cases():
            found = self.examine([case]).findings
            yield from (f for name in self.wanted for f in found.get(name, []))
        for check in (CHECKS[name] for name in self.wanted):
            if check.whole is not None:
                yield from check.whole(self)
            elif check.draw is not None and check.on is not None:
                yield from (f for case in check.draw(self) for f in check.on(self, case))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_is_caught(mutant: Mutant) -> None:
    session = Focused(mutant.make(), mutant.norm, mutant.dialect, quick=not mutant.full)
    session.wanted = mutant.caught_by
    assert any(not f.ok for f in session.findings()), mutant.caught_by


def test_every_stage_has_a_dozen_mutants() -> None:
    counted = Counter(m.stage for m in MUTANTS)
    assert {stage: n for stage, n in counted.items() if n < 12} == {}
    assert set(counted) == set(STAGES)
