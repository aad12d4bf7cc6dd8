"""The public names, with their signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from typing import Any

from refnorm.anatomy.method import FROM_DIALECT, Method

from .site import Site
from .text import docstring, prose

ROOMS = (
    "refnorm", "refnorm.autodiff", "refnorm.autodiff.matrix", "refnorm.conformance", "refnorm.strategies", "refnorm.proofs",
    "refnorm.nets", "refnorm.analysis", "refnorm.claims", "refnorm.atlas",
)  # fmt: skip
"""Where public names live; a room without `__all__` shows the functions and classes of its own."""


def page(site: Site, methods: Sequence[Method]) -> None:
    linked = {m.name: f"methods/{m.name}.html" for m in methods}
    rooms = [_room(name, linked if name == "refnorm" else {}) for name in ROOMS]
    context = {"title": "API", "description": "Every public name of refnorm with its signature and docstring."}
    site.page("api.html", "api.html", {**context, "rooms": rooms})


def _room(name: str, linked: dict[str, str]) -> dict[str, Any]:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [
        n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", "") == name and callable(v)
    ]
    entries = [_entry(n, getattr(module, n), linked.get(n, "")) for n in sorted(public, key=str.lower)]
    doc = prose(inspect.cleandoc(module.__doc__ or ""))
    return {"name": name, "anchor": name.replace(".", "-"), "doc": doc, "entries": entries}


def _entry(name: str, value: Any, link: str) -> dict[str, Any]:
    documented = callable(value) or inspect.ismodule(value)
    doc = inspect.getdoc(value) if documented else f"A {type(value).__name__}."
    anchor = re.sub(r"\W", "-", name)
    return {"name": name, "anchor": anchor, "signature": _signature(value), "doc": docstring(doc or ""), "link": link}


def _signature(value: Any) -> str:
    """Names and defaults; annotations are in the source."""
    if not callable(value):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    shown: list[str] = []
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and "*" not in shown and not any(s.startswith("*") for s in shown):
            shown.append("*")
        star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        default = "" if p.default is p.empty else "=<by dialect>" if p.default is FROM_DIALECT else f"={_plain(p.default)}"
        shown.append(star + p.name + default)
    return f"({', '.join(shown)})"


def _plain(default: Any) -> str:
    """A default as one line without addresses in memory."""
    text = getattr(default, "__name__", None) if callable(default) else repr(default)
    return re.sub(r" at 0x[0-9a-f]+", "", text or type(default).__name__)
