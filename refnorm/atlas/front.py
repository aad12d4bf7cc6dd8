"""The front page: the map of all methods, and the two matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refnorm.anatomy.facts import TRANSFORMATIONS
from refnorm.anatomy.method import Method

from .cube import cubes, spelled
from .evidence import Evidence
from .portrait import chip, searchable

FAMILIES = ("centre", "standardize", "scale to a length", "whiten, orthogonalize")


def family(method: Method) -> str:
    """What an operation does to a row, by the constraints that its output is proven to meet."""
    if "whitens" in method.area.words:
        return FAMILIES[3]
    words = method.operation.constraints.words if method.operation.constraints else ""
    if words == "mean 0":
        return FAMILIES[0]
    return FAMILIES[1] if words.startswith(("mean 0", "sum 0", "variance")) else FAMILIES[2]


def page(evidence: Sequence[Evidence]) -> dict[str, Any]:
    methods = [e.method for e in evidence]
    triples = [m for m in methods if m.triple]
    findings = [f for e in evidence for f in e.findings]
    return {
        "title": "Normalization, all of it",
        "description": "Every normalization method of deep learning: what it computes, its gradient, what holds of it.",
        "triples": len(triples), "total": len(methods),
        "findings": f"{len(findings):,}", "red": sum(not f.ok for f in findings),
        "families": FAMILIES, "map": _map(triples), "others": [chip(m) for m in methods if not m.triple],
        "transformations": [
            {"name": name.replace("_", " "), "words": t.words, "exponent": f"{t.exponent:+d}" if t.exponent else "0"}
            for name, t in TRANSFORMATIONS.items()
        ],
        "invariances": [{"name": e.method.name, "find": searchable(e.method), "cells": e.cells} for e in evidence],
        "constraints": [
            {"name": e.method.name, "find": searchable(e.method), **vars(e.count)} for e in evidence if e.count is not None
        ],
    }  # fmt: skip


def _map(triples: Sequence[Method]) -> list[dict[str, Any]]:
    """A row for each area, activations first, with the methods in the columns of their families."""
    rows: dict[tuple[str, str], list[Method]] = {}
    for m in sorted(triples, key=lambda m: m.acts_on):
        rows.setdefault((m.acts_on, m.area.words), []).append(m)
    return [
        {
            "words": spelled(members[0].area),
            "acts": f"of {acts_on}",
            "svg": _icon(members),
            "cells": {f: [chip(m) for m in members if family(m) == f] for f in FAMILIES},
        }
        for (acts_on, _), members in rows.items()
    ]


def _icon(members: Sequence[Method]) -> str:
    """Of a method that is asked for one axis, where there is one, and has channels first: as everybody draws it."""
    known = sorted(members, key=lambda m: ("axis" not in m.signature.parameters, _channels_last(m)))
    drawn = next((found for m in known if (found := cubes(m))), None)
    return drawn[0].svg(f"Entries that share statistics: {spelled(members[0].area)}", 0.6) if drawn else ""


def _channels_last(m: Method) -> bool:
    axis = m.signature.parameters.get("channel_axis")
    return axis is not None and axis.default == -1
