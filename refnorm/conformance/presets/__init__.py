"""Presets: every norm that a framework has, as candidates; `run_preset("torch")`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from ..candidate import Candidate, Unusable
from ..report import Report
from ..verdict import check

NEEDS = {"onnxruntime": "onnx onnxruntime", "jax": "jax flax", "keras": "keras jax"}
PRESETS = {"torch": "torch", "onnx": "onnx", "onnxruntime": "onnxruntime", "jax": "jax", "keras": "keras"}
"""Name -> module in this package with `candidates() -> iterable of (norm, dialect, Candidate)` and `PACKAGE`."""


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
    return run_each(chosen, quick=quick, seed=seed, dtypes=dtypes, progress=progress, on_report=on_report)


def run_each(
    chosen: Iterable[tuple[str, str, Candidate]], *, on_report: Callable[[Report], Any] | None = None, **options: Any
) -> list[Report]:
    """One report for each (norm, dialect, candidate); options are check's."""
    reports = []
    for norm, dialect, candidate in chosen:
        report = check(candidate, norm, dialect, **options)
        reports.append(report)
        if on_report is not None:
            on_report(report)
    return reports
