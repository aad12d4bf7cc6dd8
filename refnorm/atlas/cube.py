"""The cube that everybody knows: which entries share statistics, drawn from the partition itself.

An Area is run on indices: each entry of a small array is labelled with the number of the row whose statistics it shares, and
the three faces of the array that one sees are drawn with those labels.  Nothing here knows what batch norm is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.anatomy.area import Area
from refnorm.anatomy.method import Method

SHAPES = ((4, 6, 5), (6, 4, 5), (4, 4, 4), (2, 4, 4), (4, 8, 4), (3, 4, 2))
"""Tried in order, until the method takes one."""
WORDS = {
    "n": "samples", "c": "channels", "s": "positions", "r": "rows", "f": "features", "o": "outputs", "i": "inputs",
    "g": "batches", "h": "heads", "d": "features a head",
}  # fmt: skip
ONE = {
    "n": "sample", "c": "channel", "s": "position", "r": "row", "f": "feature", "o": "output", "i": "input", "g": "group",
    "k": "channel of a group", "h": "head", "d": "feature",
}  # fmt: skip
MANY = {name: words.replace("channel of", "channels of") if "of" in words else words + "s" for name, words in ONE.items()}
SIDE, SLANT = 22.0, np.array([11.0, -8.0])


@dataclass(frozen=True)
class Cube:
    """Labels of a small array of three axes: rows that share statistics, and blocks of rows that are treated jointly."""

    rows: np.ndarray
    joint: int                                      # rows a block: 1 unless the operation whitens
    names: tuple[str, str, str]
    options: str

    @property
    def count(self) -> int:
        return int(self.rows.max()) + 1

    @property
    def entries(self) -> int:
        """How many entries share one row's statistics."""
        return int(self.rows.size / self.count)

    def faces(self) -> Iterator[tuple[tuple[int, int, int], str]]:
        """Each visible face: the entry it belongs to, and its corners as SVG points.

        The first axis goes into the depth, the second to the right, the third down.
        """
        depth, wide, high = self.rows.shape
        across, down, into = np.array([SIDE, 0]), np.array([0, SIDE]), SLANT

        def points(origin: np.ndarray, u: np.ndarray, v: np.ndarray) -> str:
            return " ".join(f"{x:.1f},{y:.1f}" for x, y in (origin, origin + u, origin + u + v, origin + v))

        for n in reversed(range(depth)):
            for c in range(wide):
                yield (n, c, 0), points(c * across + n * into, across, into)
            for s in range(high):
                yield (n, wide - 1, s), points(wide * across + s * down + n * into, down, into)
        for c in range(wide):
            for s in range(high):
                yield (0, c, s), points(c * across + s * down, across, down)

    def svg(self, title: str, scale: float = 1.0) -> str:
        """A picture that takes its colours from the page: entry faces have classes, data-row and data-block."""
        depth, wide, high = self.rows.shape
        left, right = -2.0, wide * SIDE + depth * SLANT[0] + 2
        top, bottom = depth * SLANT[1] - 2, high * SIDE + 2
        faces = []
        for entry, corners in self.faces():
            row = int(self.rows[entry])
            block = row // self.joint
            lit = f" lit j{row % self.joint % 4}" if block == 0 else ""
            faces.append(f'<polygon class="e{lit}" data-row="{row}" data-block="{block}" points="{corners}"/>')
        box = f"{left:.1f} {top:.1f} {right - left:.1f} {bottom - top:.1f}"
        size = f'width="{scale * (right - left):.0f}" height="{scale * (bottom - top):.0f}"'
        return f'<svg class="cube" role="img" aria-label="{title}" viewBox="{box}" {size}>{"".join(faces)}</svg>'


def spelled(area: Area) -> str:
    """An area's roles in words: "per group, whitens the channels of a group together, over samples and positions"."""
    blocks, joint, samples = (role.split() for role in area.pattern.partition("->")[2].split("|"))
    kernel = {"s": "kernel positions"} if "i" in area.pattern.split() else {}
    virtual = {"g": "virtual batch"} if area.pattern.startswith("g n") else {}
    per = "per " + " and ".join({**ONE, **virtual}[a] for a in blocks) + ", " if blocks else ""
    whitens = "whitens " + " and ".join(MANY[a] for a in joint) + " together, " if joint else ""
    return per + whitens + "over " + " and ".join({**MANY, **kernel}[a] for a in samples)


def cubes(method: Method) -> list[Cube]:
    """The pictures of a triple: for methods with `axis`, the classical one and that of a transformer's rows."""
    if method.triple is None:
        return []
    by_axis = "axis" in method.signature.parameters and "num_heads" not in method.signature.parameters
    if by_axis:
        return [c for axis in (1, -1) if (c := _cube(method, {"axis": axis}))]
    found = _cube(method, {})
    return [found] if found else []


def _cube(method: Method, more: Mapping[str, Any]) -> Cube | None:
    """Of the first example whose options a small array takes."""
    known = method.signature.parameters
    small = {k: v for k, v in {"virtual_batch_size": 2, "axes": (0, 2)}.items() if k in known}
    for example in method.examples:
        options = {k: v for k, v in example.items() if k in ("num_groups", "num_heads") and v is not None} | small | dict(more)
        for shape in SHAPES:
            try:
                arguments, _ = method.resolve(np.zeros(shape), *_parameters(method), **options)
                layout, part = method.triple.layout_of(**arguments), method.triple.partition(**arguments)
            except (ValueError, TypeError):
                continue
            if part.blocks[2] > 1 and (options.get("num_groups", 2) > 1):
                said = ", ".join(f"{k}={v}" for k, v in options.items())
                return Cube(layout.write(part.labels()), part.blocks[1], _names(layout, shape), said)
    return None


def _parameters(method: Method) -> tuple[None, ...]:
    return (None,) * (len(method.arrays) - 1)


def _names(layout: Any, shape: tuple[int, ...]) -> tuple[str, str, str]:
    """What the three axes are: by the layout's names, physical axis by physical axis, as far as they can be told."""
    if layout.of is not None or len(layout.shape) != 3:              # an axis is split
        heads = any(name == "h" for name, _ in layout.axes)
        return ("rows", "rows", "features") if heads else ("samples", "channels", "positions")
    named = {a: name for name, axes in layout.axes for a in axes}
    words = [WORDS.get(named[a], named[a]) for a in range(3)]
    return words[0], words[1], words[2] if named[2] != "s" or "o" not in named.values() else "kernel"
