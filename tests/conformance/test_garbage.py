"""No candidate makes the kit raise: what returns garbage of any kind is a finding that can be printed, exported, reproduced."""

import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from refnorm.anatomy.method import NORMS
from refnorm.conformance import Candidate, check
from refnorm.conformance.conventions import convention_of, method_named
from refnorm.conformance.diagnosis import explain
from refnorm.conformance.report import Report
from refnorm.conformance.session import Session

from .kernels import candidate


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raising(error: BaseException) -> Any:
    def forward(x: Any, *_: Any, **__: Any) -> Any:
        raise error

    return forward


GARBAGE = {
    "nothing": lambda x, *_, **__: None,
    "NaN": lambda x, *_, **__: np.full_like(x, np.nan),
    "fives": lambda x, *_, **__: np.full_like(x, 5),
    "no axes": lambda x, *_, **__: np.float32(1),
    "a number": lambda x, *_, **__: 1.0,
    "another shape": lambda x, *_, **__: x[None],
    "objects": lambda x, *_, **__: x.astype(object),
    "strings": lambda x, *_, **__: x.astype("U8"),
    "records": lambda x, *_, **__: np.zeros(x.shape, [("a", float)]),
    "complex numbers": lambda x, *_, **__: x.astype(np.complex64),
    "lists": lambda x, *_, **__: x.tolist(),
    "too many": lambda x, *_, **__: (x, x, x, x, x),
    "itself": lambda x, *_, **__: x,
    "an exit": raising(SystemExit(3)),
    "an unreadable exception": raising(Unreadable()),
}
BACKWARDS = {
    "none of them": lambda given: None,
    "ones, of nothing too": lambda given: tuple(None if a is None else np.ones_like(a) for a in given),
    "NaN": lambda given: tuple(None if a is None else np.full_like(a, np.nan) for a in given),
    "objects": lambda given: tuple(None if a is None else a.astype(object) for a in given),
    "another shape": lambda given: tuple(np.ones(7, np.float32) for _ in given),
}


def shown(report: Report) -> None:
    """Everything that is made of a report."""
    assert not report.passed
    assert str(report)
    report.print(Console(file=io.StringIO(), width=80))
    json.loads(report.to_json())
    assert report.to_junit()
    for failure in report.failures:
        compile(failure.reproduce(), "reproduction", "exec")
        assert failure.message and failure.inputs


def judged(norm: str, forward: Any, backward: Any = None) -> Report:
    convention = convention_of(method_named(norm))
    parameters = (*convention.arrays, *convention.options)
    return check(Candidate(forward, backward, parameters=parameters, dtypes=("float32",)), norm, quick=True, patience=2)


def backward_of(norm: str, kind: str) -> Any:
    count = len(convention_of(method_named(norm)).gradients)
    return lambda dy, x, *a, **__: BACKWARDS[kind]((x, *a)[:count])


@pytest.mark.parametrize("kind", ["fives", "records", "no axes", "an unreadable exception"])
def test_garbage_is_a_finding(kind: str) -> None:
    shown(judged("layer_norm", GARBAGE[kind]))


def test_gradients_of_nothing_that_are_not_zero() -> None:
    """Memory that is never written where there are no rows."""
    right = candidate("layer_norm")

    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        return right.forward(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim) if x.size else x

    def backward(dy, x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        if not x.size:
            return tuple(None if a is None else np.ones_like(a) for a in (x, gamma, beta))
        return right.backward(dy, x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)

    session = Session(Candidate(forward, backward, dtypes=("float32",)), "layer_norm")
    found = session.examine([case for case in session.cases() if case.stratum == "edges"]).findings["edge.gradients"]
    wrong = [f for f in found if not f.ok]
    assert wrong and all(f.case.x.size == 0 for f in wrong)
    assert "it is not 0 where the input is empty and nothing is summed" in explain(session, wrong)


def test_a_wrong_kernel_behind_a_residual_is_reproduced() -> None:
    right = candidate("layer_norm")

    def forward(x, residual, gamma=None, beta=None, *, eps, normalized_ndim=1):
        h = x + residual
        return right.forward(h, gamma, beta, eps=10 * eps, normalized_ndim=normalized_ndim), h

    report = check(Candidate(forward, prologue="residual", dtypes=("float32",)), "layer_norm", quick=True)
    shown(report)
    assert "eps is multiplied by 10" in report.headline
    scope: dict[str, Any] = {}
    lines = report.chief.reproduce().splitlines()
    scope["forward"] = forward
    with pytest.raises(AssertionError):
        exec("\n".join(line for line in lines if not line.startswith("forward =")), scope)


@pytest.mark.slow
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_garbage_of_every_kind_for_every_norm(norm: str) -> None:
    for forward in GARBAGE.values():
        shown(judged(norm, forward))
    for kind in BACKWARDS:
        shown(judged(norm, GARBAGE["itself"], backward_of(norm, kind)))


def test_any_exception_says_that_none_is_not_offered() -> None:
    right = candidate("layer_norm")

    def forward(x, gamma, beta, *, eps, normalized_ndim=1):
        assert gamma is not None and beta is not None, "weight required"
        return right.forward(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)

    report = check(Candidate(forward, dtypes=("float32",)), "layer_norm", quick=True)
    assert report.passed, str(report)
    assert any("not offered: AssertionError" in reason for reason in report.coverage)


def test_saved_statistics_have_the_type_that_they_are_said_to_have() -> None:
    def kernel(kept: Any, **fields: Any) -> Candidate:
        right = candidate("layer_norm")

        def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
            k = next((p.ndim for p in (gamma, beta) if p is not None), normalized_ndim)
            rows = x.reshape(-1, int(np.prod(x.shape[x.ndim - k :]))).astype(np.float64)
            saved = rows.mean(1), 1 / np.sqrt(rows.var(1) + eps)
            y = right.forward(x, gamma, beta, eps=eps, normalized_ndim=k)
            return y, tuple(s.astype(kept) for s in saved)

        return Candidate(forward, saves=True, saved_as=("mean", "rstd"), **fields)

    wrong = check(kernel(np.float64, dtypes=("float32",)), "layer_norm", quick=True)
    assert [f.check for f in wrong.failures] == ["forward.saved"] and "float64; it must be float32" in wrong.headline
    declared = {"x": "float32", "saved": "float64"}
    assert check(kernel(np.float64, dtypes=(declared,)), "layer_norm", quick=True).passed
