"""Presets: every norm that a framework has, as candidates; `run_preset("torch")`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from ..candidate import Candidate, Unusable
from ..report import Report
from ..verdict import check

NEEDS = {"onnxruntime": "onnx onnxruntime", "jax": "jax flax", "keras": "keras jax"}
PRESETS = {"torch": "torch", "onnx": "onnx", "onnxruntime": "onnxruntime", "jax": "jax", "keras": "keras"}
"""Name -> module in this package with `candidates() -> iterable of (norm, dialect, Candidate)`; ADVICE where options help."""


def candidates(name: str) -> list[tuple[str, str, Candidate]]:
    """(norm, dialect, candidate) of a framework.  Raises Unusable where it is unknown or not installed."""
    if name not in PRESETS:
        raise Unusable(f"preset {name!r} is unknown; it must be one of {', '.join(PRESETS)}")
    try:
        module = import_module(f"{__name__}.{PRESETS[name]}")
    except ImportError as error:
        raise Unusable(f"{name} is not installed ({error}): pip install {NEEDS.get(name, name)}") from error
    return list(module.candidates())


def run_preset(
    name: str, norm: str | None = None, *, quick: bool = False, seed: int = 0, dtypes: Sequence[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None, on_report: Callable[[Report], Any] | None = None,
) -> list[Report]:  # fmt: skip
    """One report for every norm of a framework, or for one norm of it; on_report is called as each is ready."""
    chosen = [c for c in candidates(name) if norm in (None, c[0])]
    if not chosen:
        has = ", ".join(dict.fromkeys(n for n, _, _ in candidates(name)))
        raise Unusable(f"{name} has no {norm}; it has {has}")
    advice = getattr(import_module(f"{__name__}.{PRESETS[name]}"), "ADVICE", {})
    options: Any = {"quick": quick, "seed": seed, "dtypes": dtypes, "progress": progress}
    return run_each(chosen, on_report=on_report, advice=advice, **options)


def run_each(
    chosen: Iterable[tuple[str, str, Candidate]], *, on_report: Callable[[Report], Any] | None = None,
    advice: Mapping[str, str] | None = None, **options: Any,
) -> list[Report]:  # fmt: skip
    """One report for each (norm, dialect, candidate); options are check's.

    advice: by a part of a candidate's name, the option that computes the variance in two passes.
    """
    reports = []
    for norm, dialect, candidate in chosen:
        report = check(candidate, norm, dialect, **options)
        if any("E[x^2] - E[x]^2" in failure.diagnosis for failure in report.failures):
            helps = (option for part, option in (advice or {}).items() if part in candidate.title)
            report.notes = (*report.notes, *(f"{option} computes the variance in two passes" for option in helps))
        reports.append(report)
        if on_report is not None:
            on_report(report)
    return reports
