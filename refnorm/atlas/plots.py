"""Figures as SVG inside the page, in the page's own colours, so that they are dark where it is dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from refnorm.claims.style import PARAMETERS

INKS = {"#010203": "currentColor", "#010204": "var(--faint)"}
"""Colours that matplotlib is given, and what takes their places."""
INK, FAINT = INKS
SERIES = {f"#02030{k}": f"var(--series-{k})" for k in range(1, 6)}
COLOURS = tuple(SERIES)


@contextmanager
def drawing(width: float = 6.4, height: float = 3.4, columns: int = 1) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes (an array of them, for several columns) in the page's style."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    ours: Any = {name: INK for name in PARAMETERS if name.endswith("color") and "face" not in name}
    ours |= dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), FAINT)
    ours |= dict.fromkeys(("savefig.facecolor", "figure.facecolor", "svg.fonttype"), "none") | {"font.family": "sans-serif"}
    with matplotlib.rc_context(PARAMETERS | ours | {"axes.prop_cycle": cycler(color=COLOURS)}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(1, columns)


def inline(figure: Any, title: str, prefix: str) -> str:
    """The figure as an <svg> element; `prefix` keeps its ids apart from another figure's on the same page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    svg = re.sub(r"(?s)^.*?(?=<svg)", "", file.getvalue())
    svg = re.sub(r"(?s)<metadata>.*?</metadata>", "", svg)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", svg)
    for placeholder, colour in {**INKS, **SERIES}.items():
        svg = svg.replace(placeholder, colour)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0]
    head = f'<svg class="plot" role="img" aria-label="{title}" viewBox="0 0 {width} {height}">'
    return re.sub(r"(?s)<svg.*?>", head, svg, count=1).replace("font-family: sans-serif", "").strip()


def heatmap(matrix: Any, title: str, cell: int = 40) -> str:
    """A matrix as a table of squares, positive in one colour, negative in another, with its numbers."""
    rows, columns = matrix.shape
    largest = abs(matrix).max()
    squares = []
    for i in range(rows):
        for j in range(columns):
            v, x, y = matrix[i, j], j * cell, i * cell
            colour = "var(--series-1)" if v > 0 else "var(--series-3)"
            place = f'x="{x + 1}" y="{y + 1}" width="{cell - 2}" height="{cell - 2}"'
            squares.append(f'<rect {place} fill="{colour}" fill-opacity="{0.5 * abs(v) / largest:.3f}"/>')
            said = "0" if abs(v) < 5e-3 else f"{v:.2f}".replace("-", "\u2212")
            centre = f'x="{x + cell / 2:.0f}" y="{y + cell / 2 + 4:.0f}"'
            squares.append(f'<text {centre} text-anchor="middle" font-size="11" fill="currentColor">{said}</text>')
    size = f'viewBox="0 0 {columns * cell} {rows * cell}" style="max-width:{columns * cell}px"'
    return f'<svg class="plot" role="img" aria-label="{title}" {size}>{"".join(squares)}</svg>'
