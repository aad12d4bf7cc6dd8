"""One method's page, from its declaration and what was measured of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from refnorm.anatomy.method import FROM_DIALECT, Dialect, Method

from . import formula, sources, text
from .accuracy import DRAWS, KAPPAS, plot
from .cube import Cube, cubes, spelled
from .evidence import Evidence
from .slider import playground

ASKS = {
    "loops": "naive loops in arbitrary precision, sharing no code, against the forward",
    "tape": "a tape over the forward against the explicit backward",
    "differences": "central differences of the forward against the explicit backward",
    "slope": "the Taylor remainder falls like h²",
    "peer": "PyTorch’s own operation and its autograd, in float64",
    "curvature": "a Hessian-vector product: twice taped, once taped, by differences",
    "rule": "loops over the published rule of this backward",
    "not the gradient": "a witness that the rule is not the gradient",
    "constraints": "the output’s exact constraints, with eps and without",
    "constraint count": "their number, as the rank of their Jacobian",
    "identities": "⟨dx, 1⟩ and the exact ⟨dx, x̂⟩",
    "purity": "no argument is written to, two runs give the same bits",
    "confinement": "NaN and infinity stay in the block where they entered",
    "invariance": "each declared invariance, in both directions",
}
MARKS = {"Affine": "γβ", "Scale": "γ", "Coloring": "Γ", "Gain": "g", "Identity": ""}


def chip(method: Method, root: str = "") -> str:
    """A link with the mark of its recovery, and the words by which a search finds it."""
    mark = MARKS[type(method.recovery).__name__] if method.triple else ""
    tail = f'<span class="r">{mark}</span>' if mark else ""
    known = f'data-name="{method.name}" data-find="{escape(searchable(method))}"'
    return f'<a class="chip" href="{root}methods/{method.name}.html" {known}>{method.name}{tail}</a>'


def searchable(method: Method) -> str:
    """All that one may look a method up by, in small letters."""
    parts = [method.name, method.name.replace("_", " "), str(method.cite), method.formula, method.acts_on]
    parts += [f"{name} {d.spoken_by}" for name, d in method.dialects.items()]
    parts += [method.area.words, method.operation.name] if method.triple else []
    return " ".join(parts).lower()


def says(method: Method) -> str:
    """The first sentence of its docstring."""
    return inspect.cleandoc(method.doc).split("\n\n")[0].replace("\n", " ")


def page(evidence: Evidence, methods: Sequence[Method]) -> dict[str, Any]:
    """What the template needs."""
    m = evidence.method
    chief, called = sources.listings(m)
    derivation = sources.derivation(m).replace("  START READING HERE.", "")
    play = playground(m)
    drawn = [_figure(c, m) for c in cubes(m)]
    skipped = list(dict.fromkeys(f.skipped for f in evidence.findings if f.skipped))
    return {
        "title": m.name, "description": says(m), "m": m, "says": says(m), "formulas": formula.lines(m.formula),
        "summary": _summary(m), "cubes": drawn, "pattern": m.triple and m.area.pattern,
        "area_words": m.triple and spelled(m.area), "play": play and _json(play.data), "layer": _layer(m),
        "whose": "its weight", "chief": chief, "called": called,
        "unequal": not any(equation for listing in chief for _, equation in listing.rows), "derivation": text.prose(derivation),
        "derivation_short": len(derivation) < 2400, "invariances": evidence.cells,
        "constraints": _constraints(evidence), "proofs": _proofs(evidence), "not_asked": skipped,
        "dialects": _dialects(m), "curve": plot(evidence.curves, m.name), "draws": DRAWS,
        "curve_shape": " × ".join(map(str, evidence.curves.shape)), "curve_says": _curve_says(evidence),
        "kappas": [f"{k:,.0f}" for k in KAPPAS[::2]],
        "curve_rows": [(k, [f"{b:.1f}" for b in v[::2]]) for k, v in evidence.curves.bits.items()],
        "signature": _signature(m), "doc": text.docstring(m.doc), "bibtex": text.bibtex(m.cite),
        "relatives": _relatives(m, methods),
        "contents": _contents(bool(drawn), play is not None),
    }  # fmt: skip


def _contents(drawn: bool, play: bool) -> list[tuple[str, str]]:
    return [
        *([("Area", "area")] if drawn else []), *([("Slider", "play")] if play else []),
        ("Source", "source"), ("Facts", "facts"),
        ("Proofs", "proofs"), ("Dialects", "dialects"), ("Accuracy", "accuracy"), ("Use", "use"), ("Citation", "cite"),
    ]  # fmt: skip


def _summary(m: Method) -> list[tuple[str, str]]:
    rows = [("acts on", {"layer": "a layer, its product included"}.get(m.acts_on, m.acts_on))]
    if m.triple:
        rows += [("area", f"<code>{escape(m.area.pattern)}</code>"), ("operation", escape(m.operation.name))]
        rows += [("recovery", type(m.recovery).__name__.lower())]
    rows += [("gradients of", ", ".join(m.arrays))]
    rows += [("keeps", "running statistics")] if m.state is not None else []
    rows += [("constants of the gradient", escape(", ".join(m.stops)))] if m.stops else []
    return [*rows, ("paper", f"{escape(m.cite.authors.split(',')[0])}, {m.cite.year}")]


def _figure(cube: Cube, m: Method) -> dict[str, Any]:
    depth, right, down = cube.names
    joint = f", {cube.joint} of them treated jointly" if cube.joint > 1 else ""
    asked = f" with {cube.options}" if cube.options else ""
    where = f"{right} to the right, {down} down, {depth} into the depth"
    if cube.options.startswith("axis"):
        where = "first axis into the depth, second to the right, third down"
    label = f"A cube of {' by '.join(map(str, cube.rows.shape))} entries; those that share statistics in {m.name} are lit"
    kind = f"{cube.count} rows of {cube.entries} entries that share statistics{joint}{asked}; {where}."
    return {"svg": cube.svg(label, 1.25), "says": kind, "last": cube.count - 1}


def _layer(m: Method) -> str:
    inside = "norm(W) x" if m.acts_on == "weights" else "norm(W x)"
    return formula.formula(f"h = {inside}")


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _constraints(evidence: Evidence) -> list[str]:
    """The first finding of each kind."""
    found: dict[str, Any] = {}
    for f in evidence.findings:
        if f.proof in ("constraints", "constraint count", "identities"):
            found.setdefault(f.proof, f)
    said = {proof: f.words.split(": ", 1)[1] for proof, f in found.items()}
    return [f"{proof}: {said[proof]} (error {f.error:.0e}, bound {f.bound:.0e})" for proof, f in found.items()]


def _proofs(evidence: Evidence) -> list[dict[str, Any]]:
    rows = []
    asked = [f for f in evidence.findings if not f.skipped]
    for proof in dict.fromkeys(f.proof.split(":")[0] for f in asked):
        mine = [f for f in asked if f.proof.split(":")[0] == proof]
        worst = max(mine, key=lambda f: f.error / f.bound if f.bound else f.error)
        numbers = {"error": f"{worst.error:.1e}", "bound": f"{worst.bound:.1e}"}
        rows.append({"name": proof, "count": len(mine), "ok": all(f.ok for f in mine), "asks": ASKS.get(proof, ""), **numbers})
    return rows


def _dialects(m: Method) -> dict[str, Any]:
    columns = list(m.dialects)
    facts = [_facts_of(m, d) for d in m.dialects.values()]
    names = list(dict.fromkeys(name for of in facts for name in of))
    rows = []
    for name in names:
        cells = [of.get(name, "") for of in facts]
        rows.append({"name": name, "cells": cells, "differs": len(set(cells)) > 1 and name != "spoken by"})
    return {"columns": columns, "rows": rows}


def _facts_of(m: Method, d: Dialect) -> dict[str, str]:
    """What one dialect means, property by property."""
    facts = {name: str(v) for name, v in d.defaults.items()}
    if "eps" in facts and d.defaults["eps"] is None:
        facts["eps"] = "machine epsilon of the accumulation type"
    if m.state is not None:
        facts["momentum weighs"] = f"the {d.population.weighs} {'batch' if d.population.weighs == 'new' else 'value'}"
        facts["running variance"] = d.population.variance
        facts["one value a statistic, in training"] = {"error": "an error", "allowed": "allowed"}[d.lone_value]
    if d.casts:
        facts["casts before the recovery"] = str(d.casts)
    facts |= {name: v if isinstance(v, str) else getattr(v, "__name__", str(v)) for name, v in d.conventions.items()}
    return {**facts, "spoken by": d.spoken_by}


def _curve_says(evidence: Evidence) -> str:
    bits = evidence.curves.bits
    if len(bits) == 1:
        return "Only refnorm’s own arithmetic is drawn: this text makes float64 arrays inside, and cannot run in float32 alone."
    text_, lost = "the same text, float32 throughout", {k: float(v[-1]) for k, v in bits.items()}
    if text_ in lost and lost[text_] < 4:
        return "Nothing is subtracted here that is close to itself, so nothing is lost even in float32."
    return "Two passes lose one bit for each doubling, which the inputs’ own rounding would cost too; one pass loses two."


def _signature(m: Method) -> str:
    shown = []
    for p in m.signature.parameters.values():
        default = "" if p.default is p.empty else "=<by dialect>" if p.default is FROM_DIALECT else f"={p.default!r}"
        if p.kind is p.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        shown.append(p.name + default)
    return "(" + ", ".join(shown) + ")"


def _relatives(m: Method, methods: Sequence[Method]) -> list[tuple[str, list[str]]]:
    if m.triple is None:
        same = [o for o in methods if o.source[0].__module__ == m.source[0].__module__ and o is not m]
        return [("In the same file", [chip(o, "../") for o in same])] if same else []
    others = [o for o in methods if o.triple and o is not m]
    area = [o for o in others if o.area.words == m.area.words and o.acts_on == m.acts_on]
    operation = [o for o in others if o.operation.name == m.operation.name and o not in area]
    named = [("The same area", area), ("The same operation elsewhere", operation)]
    return [(title, [chip(o, "../") for o in found]) for title, found in named if found]
