"""Weight norms and whitenings, written by hand: right ones pass, bugs in them are seen by quick."""

from dataclasses import replace

import numpy as np
import pytest

from refnorm.conformance import Candidate, check
from refnorm.conformance.session import Session
from refnorm.operations.activation_gains import exact

from .weight_kernels import spectral_norm, weight_norm, weight_standardization, whitening

RIGHT = {
    "weight_norm": weight_norm(),
    "spectral_norm": spectral_norm(),
    "weight_standardization": weight_standardization(),
    "batch_whitening_zca": whitening("zca"),
    "batch_whitening_cholesky": whitening("cholesky"),
    "iterative_norm": whitening("newton"),
}
WEIGHT = (
    "mean for sum", "eps", "never below 1", "never below 1e-4", "centred", "tail past blocks of 8", "g left out",
    "g without its sign", "no projection", "dg over the length", "the other axis where they are alike",
)  # fmt: skip
SPECTRAL = (
    "eps added", "iterates in evaluation", "once more", "Frobenius", "exact", "never below 1", "u kept", "v kept",
    "sigma detached",
)  # fmt: skip
STANDARDIZED = ("over the outputs", "over the kernel", "mean left in", "eps ten times", "n - 1", "eps outside", "one pass")
ZCA = ("groups ignored", "m - 1", "eps ten times", "variances alone", "clamped at 1e-2", "clamped at 1e-4")
BUGS = [
    *(("weight_norm", bug, weight_norm(bug)) for bug in WEIGHT),
    *(("spectral_norm", bug, spectral_norm(bug)) for bug in SPECTRAL),
    *(("weight_standardization", bug, weight_standardization(bug)) for bug in STANDARDIZED),
    *(("batch_whitening_zca", bug, whitening("zca", bug)) for bug in ZCA),
    *(("batch_whitening_cholesky", bug, whitening("cholesky", bug)) for bug in ("transposed", "m - 1")),
    *(("iterative_norm", bug, whitening("newton", bug)) for bug in ("a step less", "trace left out")),
]
ASKED = {"weight_standardization": "timm"}
PARAMETERS = {
    "orthogonal_newton_iteration": ("v", "g", "T", "num_groups", "gain", "eps"),
    "group_whitening_iterative": ("x", "gamma", "beta", "T", "num_groups", "eps"),
}


@pytest.mark.parametrize("norm", RIGHT)
def test_right_ones_pass(norm: str) -> None:
    report = check(RIGHT[norm], norm, quick=True)
    assert report.passed, str(report)


def test_the_original_weight_standardization_may_be_nan_for_one_entry() -> None:
    session = Session(weight_standardization("original"), "weight_standardization")
    assert session.dialect == "original"
    lone = [case for case in session.cases() if case.x.shape[0] and case.x[0].size == 1]
    found = session.examine(lone)
    assert lone and all(f.ok for group in found.findings.values() for f in group)
    assert any("one entry" in reason for reason in found.coverage)


def test_whitening_of_channels_in_eights() -> None:
    eights = replace(RIGHT["batch_whitening_zca"], supports=lambda case: case.x.shape[1] % 8 == 0 or "C % 8")
    report = check(eights, "batch_whitening_zca", quick=True)
    assert report.passed and not report.never_run and report.cases > 20, str(report)


@pytest.mark.parametrize(("norm", "bug", "candidate"), BUGS, ids=[f"{norm}: {bug}" for norm, bug, _ in BUGS])
def test_bugs_are_seen(norm: str, bug: str, candidate) -> None:
    found = Session(candidate, norm, ASKED.get(norm), quick=True).examination.findings
    assert any(not f.ok for group in found.values() for f in group)


def test_a_power_iteration_is_asked_for_every_axis_and_size() -> None:
    """Also where u and v of the example do not fit."""
    cases = list(Session(spectral_norm(), "spectral_norm").cases())
    asked = {(case.x.shape, case.arguments["dim"]) for case in cases}
    assert {((4, 4, 4), dim) for dim in range(3)} <= asked
    assert {case.x.shape[0] for case in cases if case.stratum == "lengths"} >= {1, 33, 129}


def test_rows_of_one_entry_may_be_refused() -> None:
    """As PyTorch's batch norm does, by which timm standardizes."""
    plain = weight_standardization()

    def forward(w, *, eps):
        if w[:1].size == 1:
            raise ValueError("Expected more than 1 value per channel when training")
        return plain.forward(w, eps=eps)

    session = Session(replace(plain, forward=forward), "weight_standardization", "timm")
    found = session.examine([case for case in session.cases() if case.stratum == "lengths"])
    assert all(f.ok for group in found.findings.values() for f in group)
    assert any("refuses rows of one entry" in reason for reason in found.coverage)


def _iterated(v, g=None, *, T=5, num_groups=1, gain=1.0, eps=0.0):
    """Orthogonalized by Newton's iteration as its paper has it, P <- 3/2 P - 1/2 P^3 S, in the type of v."""
    m = v.reshape(num_groups, v.shape[0] // num_groups, -1)
    c = m - m.mean(axis=2, keepdims=True)
    k = c @ c.transpose(0, 2, 1) + v.dtype.type(eps) * np.eye(c.shape[1], dtype=v.dtype)
    n = np.sqrt(np.square(k).sum(axis=(1, 2), keepdims=True))
    b = np.broadcast_to(np.eye(c.shape[1], dtype=v.dtype), k.shape)
    for _ in range(T):
        b = v.dtype.type(1.5) * b - v.dtype.type(0.5) * b @ b @ b @ (k / n)
    gain = v.dtype.type(exact(gain) if isinstance(gain, str) else gain)
    y = gain * (b @ c / np.sqrt(n)).reshape(v.shape)
    return y if g is None else y * g.reshape(-1, *(1 for _ in v.shape[1:]))


@pytest.mark.parametrize("norm", ["orthogonal_newton_iteration", "group_whitening_iterative"])
def test_newton_s_iteration_as_its_papers_have_it_is_right(norm: str) -> None:
    """It drifts where eigenvalues are 0: `tolerance_whitening.drift`."""

    def grouped(x, gamma=None, beta=None, *, eps, num_groups, T):
        z = x.reshape(len(x), num_groups, -1)
        c = z - z.mean(axis=2, keepdims=True)
        s = c @ c.transpose(0, 2, 1) / np.float32(c.shape[2]) + np.float32(eps) * np.eye(num_groups, dtype=x.dtype)
        trace = np.trace(s, axis1=1, axis2=2)[:, None, None]
        p = np.broadcast_to(np.eye(num_groups, dtype=x.dtype), s.shape)
        for _ in range(T):
            p = np.float32(1.5) * p - np.float32(0.5) * p @ p @ p @ (s / trace)
        y, along = (p @ c / np.sqrt(trace)).reshape(x.shape), (1, -1) + (1,) * (x.ndim - 2)
        y = y if gamma is None else y * gamma.reshape(along)
        return y if beta is None else y + beta.reshape(along)

    kernel = Candidate(_iterated if norm == "orthogonal_newton_iteration" else grouped, dtypes=("float32",))
    session = Session(kernel, norm)
    found = session.examine([case for case in session.cases() if case.stratum in ("ordinary", "options")]).findings
    assert [f.message for group in found.values() for f in group if not f.ok] == []
    wrong = Candidate(lambda *a, T=5, **k: kernel.forward(*a, T=T - 1, **k), parameters=PARAMETERS[norm], dtypes=("float32",))
    assert not check(wrong, norm, quick=True).passed
