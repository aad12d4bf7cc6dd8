"""The conformance kit's own cases in the simulator: every method that the backend has, small arrays, the four dtypes in turn.
test_without_a_gpu.py runs this in a process of its own: pytest -p tests.kernels.cuda.simulator tests/kernels/cuda/in_kit.py
"""

import numpy as np
import pytest

from refnorm.conformance import backends, strata, strata_examples
from refnorm.conformance.detection import Spoken
from refnorm.conformance.session import Session
from tests.kernels.cuda.in_simulator import small  # noqa: F401

MOST = 48                                         # entries of x
HUGE = {"lengths", "many rows", "real activations"}


def session_of(name, dialect, candidate):
    """As `refnorm check --backend cuda --dialect ...` has it, but for what it would first find out by hundreds of calls."""
    session = Session(candidate, name, dialect, patience=600.0)
    session.spoken = Spoken(dialect)
    return session


def chosen(session):
    """A small case of every stratum, each in the next of the four dtypes; where there are few, ordinary ones in the others."""
    tried = strata.STRATA if session.has_rows() else strata_examples.STRATA
    some = [stratum for name, stratum in tried.items() if name not in HUGE]
    plans, made = [session.plan(arithmetic) for arithmetic in session.arithmetics], 0
    for k, stratum in enumerate([*some, *some[:1] * 4]):
        if k >= len(some) and made >= len(plans):
            return
        case = next((c for c in stratum(plans[made % len(plans)]) if 0 < c.x.size <= MOST), None)
        if case is not None:
            made += 1
            yield case


JUDGED = list(backends.candidates("cuda"))


@pytest.mark.parametrize(("name", "dialect", "candidate"), JUDGED, ids=[c.name for _, _, c in JUDGED])
def test_the_kit_finds_it_right(name, dialect, candidate):
    session = session_of(name, dialect, candidate)
    cases = list(chosen(session))
    if not cases:
        assert name == "ghost_batch_norm"            # whose examples have channels in one place alone
        return
    with np.errstate(all="ignore"):
        examined = session.examine(cases)
    wrong = [f for found in examined.findings.values() for f in found if not f.ok]
    assert not wrong, "\n".join(f"{f.case.label}, {f.case.dtype}: {f.message} {f.entry}" for f in wrong)
    assert examined.cases >= 0.5 * len(cases) and not session.skipped
    assert len({case.dtype for case in cases}) == 4


def test_it_would_find_a_wrong_one(monkeypatch):
    from refnorm.kernels.cuda import rows

    right = rows.spread
    monkeypatch.setattr(rows, "spread", lambda operation, var, count, eps: right(operation, var * 1.01, count, eps))
    name, dialect, candidate = next(c for c in JUDGED if c[0] == "layer_norm")
    session = session_of(name, dialect, candidate)
    examined = session.examine(list(chosen(session)))
    assert any(not f.ok for found in examined.findings.values() for f in found)
