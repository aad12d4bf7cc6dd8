"""Reports on disk: JSON with every counterexample whole, JUnit for CI, and counterexamples read back."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refnorm.anatomy.precision import dtype_named

from .candidate import Unusable
from .cases import Case
from .tolerance_arithmetic import Arithmetic

if TYPE_CHECKING:
    from .report import Failure, Report

ROLES = ("x", "params", "out", "dx", "grads", "state", "saved", "compute")
LISTED = 256


def report_json(report: Report) -> str:
    return json.dumps(as_dict(report), indent=1)


def as_dict(report: Report) -> dict[str, Any]:
    return {
        "candidate": report.candidate.title, "origin": report.candidate.origin, "norm": report.norm, "passed": report.passed,
        "headline": report.headline, "dialect": report.dialect, "asked": report.asked, "mismatches": list(report.mismatches),
        "traits": dict(report.traits), "arithmetic": report.arithmetic, "dtypes": list(report.dtypes), "cases": report.cases,
        "seed": report.seed, "seconds": round(report.seconds, 3),
        "checks": {o.check: {"status": o.status, "stage": o.stage, "cases": o.cases} for o in report.outcomes},
        "failures": [failure_dict(f) for f in report.failures],
        "bits_lost": {d: {s: _finite(b) for s, b in of.items()} for d, of in report.accuracy.bits.items()},
        "growth": {d: _finite(q) for d, q in report.accuracy.growth.items()}, "coverage": dict(report.coverage),
    }  # fmt: skip


def failure_dict(failure: Failure) -> dict[str, Any]:
    finding, case = failure.finding, failure.case
    return {
        "check": failure.check, "stratum": failure.stratum, "strata": list(failure.strata), "dtypes": list(failure.dtypes),
        "message": failure.message, "diagnosis": failure.diagnosis, "name": finding.name,
        "index": list(finding.index) if finding.index is not None else None, "observed": _array(finding.observed),
        "expected": _array(finding.expected), "tolerance": _array(finding.tolerance), "reproduce": failure.reproduce(),
        "dialect": failure.dialect, "case": case_dict(case),
    }  # fmt: skip


def case_dict(case: Case) -> dict[str, Any]:
    arguments = {k: _array(v) if isinstance(v, np.ndarray) else _plain(v) for k, v in case.arguments.items()}
    return {
        "norm": case.norm, "stratum": case.stratum, "label": case.label, "arguments": arguments, "dy": _array(case.dy),
        "roles": {role: getattr(case.arithmetic, role).name for role in ROLES}, "mode": case.arithmetic.mode,
        "channel_axis": case.channel_axis, "normalized_ndim": case.normalized_ndim, "layout": case.layout,
    }  # fmt: skip


def read_case(record: dict[str, Any]) -> Case:
    """A Case from `case_dict`.  Raises KeyError, ValueError for what is none."""
    given = {k: _read(v) for k, v in record["arguments"].items()}
    roles = {role: dtype_named(name) for role, name in record["roles"].items()}
    dy = _read(record["dy"])
    return Case(
        record["norm"], record["stratum"], record["label"], given, dy, Arithmetic(**roles, mode=record["mode"]),
        record["channel_axis"], record["normalized_ndim"], record["layout"],
    )  # fmt: skip


def read_failures(path: str | Path) -> Iterator[dict[str, Any]]:
    """The failures in a saved report, in a list of reports, or a single one.  Raises Unusable in one line."""
    try:
        record = json.loads(Path(path).read_text())
        reports = record if isinstance(record, list) else record.get("reports", [record])
        for part in reports:
            for failure in part["failures"] if "failures" in part else [part]:
                yield {
                    "origin": part.get("origin"),
                    "candidate": part.get("candidate"),
                    **failure,
                    "case": read_case(failure["case"]),
                }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"cannot replay {path}: {type(error).__name__}: {error}") from error


def _array(array: np.ndarray | None) -> Any:
    if array is None:
        return None
    head = {"dtype": array.dtype.name, "shape": list(array.shape)}
    if array.size <= LISTED:
        return {**head, "values": [_finite(v) for v in array.astype(np.float64).ravel()]}
    packed = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode()
    return {**head, "base64_zlib": packed}


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    dtype = np.dtype(bool) if value["dtype"] == "bool" else dtype_named(value["dtype"])
    if "values" in value:
        return np.array([float(v) for v in value["values"]]).astype(dtype).reshape(value["shape"])
    raw = zlib.decompress(base64.b64decode(value["base64_zlib"]))
    return np.frombuffer(raw, dtype).reshape(value["shape"]).copy()


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are words."""
    value = float(value)
    return value if np.isfinite(value) else str(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def junit(reports: Sequence[Report]) -> str:
    """JUnit XML: a suite a report, a test case a check."""
    import xml.etree.ElementTree as xml

    root = xml.Element("testsuites")
    for report in reports:
        failures = {f.check: f for f in report.failures}
        skipped = sum(o.status in ("vacuous", "not offered") for o in report.outcomes)
        name = f"{report.candidate.title} as {report.norm}"
        suite = xml.SubElement(
            root, "testsuite", name=name, tests=str(len(report.outcomes)), failures=str(len(failures)), skipped=str(skipped),
            errors="0", time=f"{report.seconds:.3f}",
        )  # fmt: skip
        for outcome in report.outcomes:
            test = xml.SubElement(suite, "testcase", classname=f"refnorm.{report.norm}", name=outcome.check)
            if outcome.status == "failed":
                failure = failures.get(outcome.check)
                message = failure.message if failure else outcome.failures[0].message
                node = xml.SubElement(test, "failure", message=message)
                node.text = failure.reproduce() if failure else ""
            elif outcome.status != "passed":
                xml.SubElement(test, "skipped", message=f"{outcome.status}: {outcome.words}")
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True)
