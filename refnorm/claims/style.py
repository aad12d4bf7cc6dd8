"""One quiet style for every figure.

The background is light and the ink a middle grey that can also be read on a dark page, should one make the background
transparent.  The colours keep their order of lightness without hue (P. Tol, "Colour schemes", SRON 2021).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .claim import Claim, Result

INK, FAINT, PAPER = "#5b6470", "#c9cdd3", "#fbfaf8"
BLUE, RED, GREEN, YELLOW, CYAN, PURPLE, GREY = "#3b78b0", "#d8596c", "#2c8a57", "#c49a1f", "#4fb0c6", "#9c4f8f", "#8d949d"
COLOURS = (BLUE, RED, GREEN, YELLOW, PURPLE, CYAN, GREY)
SIZE = (8.0, 4.0)
"""Inches, unless a figure sets its own with figure.set_size_inches."""

PARAMETERS: dict[str, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "savefig.dpi": 150,
    "svg.hashsalt": "refnorm",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "image.cmap": "cividis",
}


@contextlib.contextmanager
def drawn(claim: Claim, result: Result) -> Iterator[Any]:
    """The claim's figure in this style, for as long as the context lasts (saving reads the style too)."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    parameters: Any = {**PARAMETERS, "axes.prop_cycle": cycler(color=COLOURS)}
    with matplotlib.rc_context(parameters):
        figure = Figure(figsize=SIZE, layout="constrained")
        claim.figure(result, figure)
        yield figure
