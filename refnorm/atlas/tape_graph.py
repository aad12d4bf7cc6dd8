"""The tape of one small batch norm, drawn: its own nodes, read off after a real forward.

A node knows its parents and how to pull a cotangent back; which function it records is found by the rule it pulls with.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from refnorm.autodiff import vjp
from refnorm.autodiff.core import TABLE, Box, Node
from refnorm.operations import standardize

WORDS = {
    "subtract": "a − b", "add": "a + b", "divide": "a / b", "multiply": "a · b", "square": "a²", "sqrt": "√a", "mean": "mean",
    "true_divide": "a / b",
}  # fmt: skip
WIDE, HIGH, BOX = 190, 66, (150, 40)


@dataclass(frozen=True)
class Drawn:
    """One node: the function that it records, its value, and the nodes it depends on."""

    serial: int
    function: str
    value: Any
    parents: tuple[int, ...]


def record(z: np.ndarray, eps: float = 1e-5) -> list[Drawn]:
    """The tape of standardize.forward(z), the oldest node first."""
    leaf = Node()
    zhat, _ = standardize.forward(Box(z, 0, leaf), eps=eps)
    nodes, stack = {leaf}, [zhat.node]
    while stack:
        node = stack.pop()
        if node not in nodes:
            nodes.add(node)
            stack += node.parents
    return [_drawn(node, z) for node in sorted(nodes, key=lambda n: n.serial)]


def pulled(z: np.ndarray, g: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """The tape's own gradient of the same forward."""
    return vjp(lambda z: standardize.forward(z, eps=eps)[0], z)[1](g)[0]


def _drawn(node: Node, z: np.ndarray) -> Drawn:
    parents = tuple(p.serial for p in node.parents)
    if node.pull is None:
        return Drawn(node.serial, "z", z, ())
    held = inspect.getclosurevars(node.pull).nonlocals
    return Drawn(node.serial, _function_of(held["used"][0][1]), held["ans"], parents)


def _function_of(rule: Any) -> str:
    """The name of the function whose rule this is."""
    text = getattr(rule, "func", rule)
    return next(fun.__name__ for fun, entry in TABLE.items() if any(text is t for t in entry.texts))


def svg(nodes: list[Drawn]) -> str:
    """From the input at the top to the output at the bottom, each node below all that it depends on."""
    layer: dict[int, int] = {}
    column: dict[int, float] = {}
    for node in nodes:
        layer[node.serial] = 1 + max((layer[p] for p in node.parents), default=-1)
    rows: dict[int, list[Drawn]] = {}
    for node in nodes:
        rows.setdefault(layer[node.serial], []).append(node)
    most = max(map(len, rows.values()))
    for row in rows.values():
        for k, node in enumerate(sorted(row, key=lambda n: np.mean([column[p] for p in n.parents] or [0]))):
            column[node.serial] = (k + 0.5) * (most / len(row))
    places = {s: (40 + column[s] * WIDE, 8 + layer[s] * HIGH) for s in layer}
    middle = 40 + most * WIDE / 2
    edges = "".join(_edge(places[p], places[n.serial], layer[n.serial] - layer[p], middle) for n in nodes for p in n.parents)
    boxes = "".join(_box(places[n.serial], n) for n in nodes)
    size = f"0 0 {80 + most * WIDE + 30} {16 + (max(layer.values()) + 1) * HIGH}"
    label = "The tape of a batch norm: each box a recorded call, each line a value that it used"
    return f'<svg class="graph" role="img" aria-label="{label}" viewBox="{size}">{edges}{boxes}</svg>'


def _edge(above: tuple[float, float], below: tuple[float, float], layers: int, middle: float) -> str:
    """Straight down to the next layer; past others in a bow, the wider the longer, on the side where the boxes are."""
    (x, y), (u, v) = (above[0], above[1] + BOX[1]), below
    if layers == 1:
        return f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + 18:.0f} {u:.0f} {v - 18:.0f} {u:.0f} {v:.0f}"/>'
    side = 1 if max(x, u) > middle + 1 else -1
    x, u = x + 50 * side, u + 50 * side
    bow = (max(x, u) if side > 0 else min(x, u)) + side * (34 + 10 * layers)
    return f'<path d="M{x:.0f} {y:.0f}C{bow:.0f} {y + 30:.0f} {bow:.0f} {v - 30:.0f} {u:.0f} {v:.0f}"/>'


def _box(place: tuple[float, float], node: Drawn) -> str:
    x, y = place
    kind = "leaf" if not node.parents else "node"
    values = np.ravel(node.value)
    said = " ".join(f"{v:.3g}" for v in values[:4]) + (" …" if len(values) > 4 else "")
    name = WORDS.get(node.function, node.function)
    return (
        f'<g class="{kind}"><rect x="{x - BOX[0] / 2:.0f}" y="{y:.0f}" width="{BOX[0]}" height="{BOX[1]}"/>'
        f'<text x="{x:.0f}" y="{y + 16:.0f}">{escape(name)}</text>'
        f'<text class="s" x="{x:.0f}" y="{y + 32:.0f}">{escape(said)}</text></g>'
    )
