"""What a candidate takes: shapes redrawn where it refuses them, ranks found out, strata that never ran named, its pace."""

import argparse
import math

import numpy as np
import pytest

from refnorm import NORMS
from refnorm.conformance import Candidate, check, strata
from refnorm.conformance.command import judge
from refnorm.conformance.memory import LAYOUTS, laid, layout_of, source
from refnorm.conformance.pace import SLOW, Pace
from refnorm.conformance.plan import Plan
from refnorm.conformance.ranks import raises_on
from refnorm.conformance.session import Session
from refnorm.conformance.taken import Taken
from refnorm.conformance.tolerance import Arithmetic

from .kernels import candidate
from .planted.supported import SUPPORTS

F32 = Arithmetic.of("float32")


def plan(norm: str, supports, **fields) -> Plan:
    return Plan(NORMS[norm], F32, 1e-5, taken=Taken(lambda case: supports(case) is True), **fields)


@pytest.mark.parametrize(("norm", "supports"), [(n, s) for n, many in SUPPORTS.items() for s in many])
def test_every_stratum_is_drawn_at_shapes_that_are_taken(norm: str, supports) -> None:
    """Edges have one value and one row, real activations their own shapes, the stratum of shapes those of one rank."""
    brief = plan(norm, supports, brief=True)
    for name, stratum in strata.STRATA.items():
        drawn = [case for case in stratum(brief) if case.quick]
        taken = [case for case in drawn if supports(case) is True]
        if drawn and name not in ("edges", "real activations"):
            assert len(taken) >= (1 if name == "shapes" else 0.6 * len(drawn)), (name, len(taken), len(drawn))


def test_a_redrawn_case_keeps_what_it_is_about() -> None:
    def rows_of_64(case):
        return case.x.shape[-1] % 64 == 0

    eps = {c.label: c for c in strata.epsilons(plan("layer_norm", rows_of_64))}
    assert eps["eps 0"].arguments["eps"] == 0 and eps["eps 0"].x.shape[-1] == 64
    assert {c.arguments["gamma"] is None for c in strata.parameters(plan("layer_norm", rows_of_64))} == {True, False}
    constant = [c for c in strata.constants(plan("layer_norm", rows_of_64)) if c.label.startswith("3, ")]
    assert all((np.ptp(c.x, axis=-1) == 0).all() for c in constant)
    lengths = {c.x.shape[-1] for c in strata.STRATA["lengths"](plan("layer_norm", rows_of_64)) if rows_of_64(c)}
    assert {64, 512, 1024, 1152, 65536} <= lengths


def test_ranks_are_found_out() -> None:
    base = candidate("instance_norm")

    def four(x, gamma, beta, *, eps):
        _n, _c, _h, _w = x.shape
        return base.forward(x, gamma, beta, eps=eps)

    def three(x, gamma, beta, *, eps):
        assert x.ndim == 3
        return base.forward(x, gamma, beta, eps=eps)

    def broken(x, gamma, beta, *, eps):
        return x * np.ones((1, 1, 16, 1), x.dtype)  # for arrays of other lengths it fails to broadcast

    def refused(forward) -> set[int]:
        return set(raises_on(Session(Candidate(forward, dtypes=("float32",)), "instance_norm")))

    assert refused(four) == {3, 5} and refused(three) == {4, 5}
    assert refused(base.forward) == refused(broken) == set()
    report = check(Candidate(four, dtypes=("float32",)), "instance_norm", quick=True)
    assert report.passed and any("takes no arrays of 3 axes" in reason for reason in report.coverage), str(report)


def test_a_module_of_fixed_rank() -> None:
    torch = pytest.importorskip("torch")
    report = check(Candidate.from_torch(torch.nn.BatchNorm2d(4), dtypes=("float32",)), "batch_norm", quick=True)
    assert report.passed and not report.never_run, str(report)


def test_strata_that_never_ran_are_named() -> None:
    def training(case):
        return case.training or "training alone"

    report = check(candidate("batch_norm", dtypes=("float32",), supports=training), "batch_norm", quick=True)
    assert report.passed and report.never_run == ("evaluation",)
    assert "never on evaluation" in report.headline and "never run: evaluation" in str(report)


def test_nothing_judged_is_not_right_and_exits_with_2(tmp_path) -> None:
    refuses = "k = Candidate(lambda x, gamma, beta, *, eps: x, supports=lambda c: 'no')"
    (tmp_path / "refuses.py").write_text(f"from refnorm.conformance import Candidate\n{refuses}\n")
    given = dict.fromkeys("dialect dtype backend json junit plot replay verbose normalized_ndim channel_axis".split())
    options = argparse.Namespace(target=f"{tmp_path}/refuses.py:k", norm="layer_norm", quick=True, seed=0, **given)
    assert judge(options) == 2


def test_supports_that_raises_is_coverage() -> None:
    def supports(case):
        return case.arguments["gamma"].size > 0

    report = check(candidate("layer_norm", dtypes=("float32",), supports=supports), "layer_norm", quick=True)
    assert report.passed and any("supports raises AttributeError" in reason for reason in report.coverage)


class Sized:
    """What Pace reads of a case."""

    def __init__(self, entries: int) -> None:
        self.x = np.zeros(entries)


def test_the_time_of_compiling_is_no_speed() -> None:
    compiled, slow = Pace(), Pace()
    for pace in (compiled, slow):
        pace.took(Sized(8), 0.01)
        pace.took(Sized(1000), 1.0)
    assert not compiled.too_slow(Sized(100_000), lambda case: 0.011)  # the second call of that shape
    assert slow.too_slow(Sized(100_000), lambda case: 1.0) and not slow.too_slow(Sized(1000), lambda case: math.nan)
    process = Pace()  # a program that is started anew: the start is no time of an entry
    for entries in (8, 1000, 2000):
        process.took(Sized(entries), SLOW / 10)
    assert not process.too_slow(Sized(1_000_000), lambda case: SLOW / 10)


def test_layouts_of_single_arrays() -> None:
    layout = "x is reversed and dy is broadcast"
    assert [layout_of(layout, n) for n in ("x", "dy", "gamma")] == ["reversed", "broadcast", "contiguous"]
    assert [layout_of("a parameter is rows apart", n) for n in ("x", "dy", "gamma")] == ["contiguous"] * 2 + ["rows apart"]
    assert layout_of("reversed", "dy") == "reversed"
    dy = laid(layout, "dy", np.ones((3, 4), np.float32))
    assert dy.strides == (0, 0) and laid("broadcast", "dy", np.arange(6.0).reshape(2, 3)).strides == (24, 8)
    for name in LAYOUTS:
        for a in (np.ones((3, 4)), np.arange(12.0).reshape(3, 4), np.arange(24.0).reshape(2, 3, 4)):
            written = eval(source(name, "a"), {"np": np, "a": a})
            assert np.array_equal(written, a)
            assert np.array_equal(np.sign(written.strides), np.sign(LAYOUTS[name](a).strides))


def test_a_forward_whose_backward_is_excused_was_run() -> None:
    """F.group_norm's backward refuses gamma without beta: y of that case is judged all the same."""
    right = candidate("layer_norm", dtypes=("float32",))

    def backward(dy, x, gamma, beta, *, eps):
        if (gamma is None) != (beta is None):
            raise RuntimeError("both or none")
        return right.backward(dy, x, gamma, beta, eps=eps)

    session = Session(Candidate(right.forward, backward, dtypes=("float32",)), "layer_norm")
    lone = [case for case in session.cases() if case.arguments["gamma"] is not None and case.arguments["beta"] is None]
    found = session.examine(lone)
    assert found.never_run == () and found.findings["forward.y"] and sum(found.coverage.values()) == len(lone)
