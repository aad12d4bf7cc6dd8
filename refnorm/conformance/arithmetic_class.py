"""Which class of arithmetic explains the failures, where one does: found from behaviour and named, like a dialect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import tolerance
from .expected import Expectation
from .findings import Finding
from .tolerance_arithmetic import Arithmetic

WORDS = {
    "saved": "as inexact as where mean and deviation pass through the storage type before they are used",
    "storage sums": "as inexact as where sums are in the storage type",
    "narrow": "it computes in float32, whatever it is given (if that is meant: dtypes=(\"float32\",), --dtype float32)",
    "one-pass": "the variance is E[x^2] - E[x]^2",
}
FLOAT32 = Arithmetic.of("float32")


def explaining(findings: list[Finding], dialect: str, casts: int) -> str:
    """The one class under whose bounds each of these failing results would pass; "" where there is none."""
    failing = [f for f in findings if f.observed is not None and f.case.training and _is_result(f)]
    failing = sorted(failing, key=lambda f: f.case.x.size)[:40]
    fits = [mode for mode in WORDS if failing and all(passes(f, mode, dialect, casts) for f in failing)]
    return fits[0] if fits else ""


def by_result(findings: list[Finding], dialect: str, casts: int) -> dict[str, str]:
    """Result -> the class that explains it, as {"dx": "saved"}; a result that none explains is left out."""
    names = dict.fromkeys(f.name for f in findings if f.observed is not None and _is_result(f))
    found = {name: explaining([f for f in findings if f.name == name], dialect, casts) for name in names}
    return {name: mode for name, mode in found.items() if mode}


def _is_result(finding: Finding) -> bool:
    state = finding.name in finding.case.convention.state
    return finding.name == "y" or state or (finding.name[:1] == "d" and " " not in finding.name)


def passes(finding: Finding, mode: str, dialect: str, casts: int) -> bool:
    """Is it within the bounds of that class?"""
    declared = finding.case.arithmetic
    if mode == "narrow":
        return declared.compute == np.float64 and _as_if_cast(finding, dialect, casts)
    if mode != "one-pass" and declared.x == declared.compute:
        return False  # storage and arithmetic are one type: there is nothing to tell apart
    compute = declared.x if mode == "storage sums" else declared.compute
    arithmetic = Arithmetic(
        declared.x, declared.params, declared.out, declared.dx, declared.grads, declared.state, declared.saved, compute, mode
    )
    expectation = Expectation(replace(finding.case, arithmetic=arithmetic), dialect, casts)
    right = (expectation.gradients() if finding.name[0] == "d" else expectation.outputs())[finding.name]
    found = tolerance.compare(finding.observed, right.value, right.bound, right.unit)
    if mode == "one-pass":  # unclipped, it is NaN where nothing can be judged
        return found.worst <= 1
    return bool(found.ok and np.isfinite(right.bound).any())


def _as_if_cast(finding: Finding, dialect: str, casts: int) -> bool:
    """Is it right for these arguments rounded to float32, at float32's bounds?  What float32 cannot hold tells nothing."""
    case = finding.case
    floats = {k: v for k, v in case.arguments.items() if isinstance(v, np.ndarray) and v.dtype == np.float64}
    rounded = case.replaced(case.dy.astype(np.float32), **{k: v.astype(np.float32) for k, v in floats.items()})
    expectation = Expectation(replace(rounded, arithmetic=FLOAT32), dialect, casts)
    right = (expectation.gradients() if finding.name[0] == "d" else expectation.outputs())[finding.name]
    in_range = bool(np.isfinite(right.bound).any())
    return not in_range or bool(tolerance.compare(finding.observed, right.value, right.bound, right.unit).ok)
