"""Every planted bug is caught by a check that exists for it; a dozen at the least in every stage."""

from collections import Counter

import pytest

from refnorm.conformance.checks import CHECKS
from refnorm.conformance.session import Session

from .planted import MUTANTS, Mutant

STAGES = ("forward", "backward", "state", "numerics", "size", "edge", "layout", "facts", "contract")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_is_caught(mutant: Mutant) -> None:
    session = Session(mutant.make(), mutant.norm, mutant.dialect, quick=not mutant.full)
    outcomes = {name: CHECKS[name](session).status for name in mutant.caught_by}
    assert "failed" in outcomes.values(), outcomes


def test_every_stage_has_a_dozen_mutants() -> None:
    counted = Counter(m.stage for m in MUTANTS)
    assert {stage: n for stage, n in counted.items() if n < 12} == {}
    assert set(counted) == set(STAGES)
