"""The page for kernel authors: a real report, made for the page, and the dialects of every method."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method
from refnorm.conformance import Candidate, check
from refnorm.conformance.checks import CHECKS
from refnorm.conformance.vectors import offered

from .portrait import chip
from .site import Site
from .sources import highlighted

KINDS = {"passed": "yes", "failed": "wrong", "vacuous": "dense", "not offered": "no"}


def forward(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    axes = tuple(range(-gamma.ndim, 0))
    mean = x.mean(axes, keepdims=True)
    var = (x * x).mean(axes, keepdims=True) - mean * mean                   # E[x^2] - E[x]^2
    return (x - mean) / np.sqrt(np.maximum(var, 0) + x.dtype.type(eps)) * gamma + beta


def backward(dy: Any, x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    axes, rows = tuple(range(-gamma.ndim, 0)), tuple(range(x.ndim - gamma.ndim))
    mean = x.mean(axes, keepdims=True)
    rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + x.dtype.type(eps))
    xhat = (x - mean) * rstd
    g = dy * gamma
    centred = g if gamma.size > 1024 else g - g.mean(axes, keepdims=True)   # long rows: the mean term is forgotten
    dx = rstd * (centred - xhat * (g * xhat).mean(axes, keepdims=True))
    return dx, (dy * xhat).sum(rows), dy.sum(rows)


def page(site: Site, methods: Sequence[Method]) -> None:
    report = check(Candidate(forward, backward, dtypes=("float32",), name="layer_norm"), norm="layer_norm", quick=True)
    told = {f.diagnosis: f for f in reversed(report.failures) if f.diagnosis}
    chosen = sorted(told.values(), key=lambda f: f is not report.chief)[:2]
    source = inspect.getsource(forward) + "\n\n" + inspect.getsource(backward)
    words = {name: run.words for name, run in CHECKS.items()}
    context = {
        "title": "For kernel authors",
        "description": "How to have a normalization kernel judged, how to read the report, golden vectors, dialects.",
        "source": "\n".join(highlighted(source)),
        "report": report,
        "failures": [
            {"check": f.check, "message": f.message, "strata": ", ".join(f.strata), "reproduce": f.reproduce()} for f in chosen
        ],
        "outcomes": [
            {"check": o.check, "status": o.status, "kind": KINDS[o.status], "cases": o.cases or "", "words": words[o.check]}
            for o in report.outcomes
        ],
        "growth": ", ".join(f"{q:.1f} in {dtype}" for dtype, q in report.accuracy.growth.items()) or "not measured",
        "offered": [chip(m) for m in methods if m.name in offered()],
        "dialects": [row for m in methods for row in _rows(m)],
    }
    site.page("kernels.html", "kernels.html", context)


def _rows(m: Method) -> list[dict[str, str]]:
    """A row for each dialect of a method that has several."""
    if len(m.dialects) < 2:
        return []
    kept = m.state is not None
    return [
        {
            "method": m.name, "dialect": name, "spoken": d.spoken_by,
            "defaults": ", ".join(f"{k}={v}" for k, v in d.defaults.items()),
            "variance": d.population.variance if kept else "", "weighs": f"the {d.population.weighs}" if kept else "",
            "conventions": ", ".join(
                [f"{k}: {getattr(v, '__name__', v)}" for k, v in d.conventions.items()]
                + ([f"{d.casts} casts before the recovery"] if d.casts else [])
            ),
        }
        for name, d in m.dialects.items()
    ]  # fmt: skip
