"""A saved run as a picture: each cell's ratio and its floor, its part of the copy bandwidth, its accuracy beside PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .goals import COPY, GEOMETRIC_MEAN, goal
from .saved import mean_ratio, of_threads, shape

MET, MISSED, PEER, FLOOR = "#1b7f5c", "#c0392b", "#8a8a8a", "#222222"
MEANS = {"1": "o", "1e3": "s", "1e6": "D"}
"""Marks by |mean|/std."""


def draw(run: Mapping[str, Any], file: Path, threads: int | None = None) -> None:
    """Writes `file`, PNG or SVG by its name; `threads`: of which cells, by default of the most."""
    from matplotlib.figure import Figure

    rows = of_threads(run, threads or max(row["threads"] for row in run["cells"]))
    names = list(dict.fromkeys((row["op"], shape(row)) for row in rows))
    places = {name: k for k, name in enumerate(names)}
    figure = Figure(figsize=(15, 2.1 + 0.31 * len(names)), layout="constrained")
    speed, copy, accuracy = figure.subplots(1, 3, sharey=True, width_ratios=(5, 2, 4))
    for row in rows:
        at = places[row["op"], shape(row)] + (-0.17 if row["pass"] == "forward" else 0.17)
        _ratio(speed, row, at)
        if row["pass"] == "forward":
            _errors(accuracy, row, places[row["op"], shape(row)])
            if row["copy_fraction"] is not None:
                copy.barh(at + 0.17, row["copy_fraction"], 0.6, color=MET if row["copy_fraction"] >= COPY else PEER)
    operations = [op for op, _ in names]
    for k in range(1, len(names)):
        if operations[k] != operations[k - 1]:
            for axes in (speed, copy, accuracy):
                axes.axhline(k - 0.5, color="#dddddd", linewidth=0.8, zorder=0)
    speed.set_yticks(range(len(names)), [f"{op}   {size}" for op, size in names], fontsize=9)
    speed.set_ylim(len(names) - 0.5, -0.5)
    speed.set(xscale="log", xlabel="PyTorch's time over refnorm's; a tick is the floor of the goal")
    speed.xaxis.set_major_formatter("{x:g}")
    speed.axvline(1, color=PEER, linewidth=1, zorder=0)
    copy.axvline(COPY, color=FLOOR, linewidth=1, linestyle=":")
    copy.set(xlabel="forward: part of the copy bandwidth")
    copy.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    accuracy.set(xscale="log", xlabel="largest error of y, ulp of max(|y|, 1)")
    accuracy.axvline(5, color=FLOOR, linewidth=1, linestyle=":")
    _legend(figure)
    count, mean = rows[0]["threads"], mean_ratio(rows)
    met = sum(row["ratio"] >= goal(row).floor for row in rows)
    figure.suptitle(
        f"refnorm's Numba kernels against PyTorch {run['machine']['torch']}: {run['machine']['processor']}, float32, {count} "
        f"thread{'s' * (count > 1)}.  Geometric mean {mean:.2f} (goal {GEOMETRIC_MEAN}); {met} of {len(rows)} at their floor."
    )
    figure.savefig(file, dpi=110)


def _ratio(axes: Any, row: Mapping[str, Any], at: float) -> None:
    floor, colour = goal(row).floor, MET if row["ratio"] >= goal(row).floor else MISSED
    axes.plot([floor, row["ratio"]], [at, at], color=colour, linewidth=1, alpha=0.6)
    axes.plot([floor], [at], "|", color=FLOOR, markersize=7)
    axes.plot([row["ratio"]], [at], "o", color=colour, markersize=6, fillstyle="full" if row["pass"] == "forward" else "none")


def _errors(axes: Any, row: Mapping[str, Any], at: float) -> None:
    for errors, colour, off in ((row["ulp"], MET, -0.12), (row["ulp_peer"], PEER, 0.12)):
        for mean, error in errors.items():
            axes.plot([max(error, 0.1)], [at + off], MEANS[mean], color=colour, markersize=4.5, fillstyle="none")


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    def mark(marker: str, colour: str, label: str, fill: Any = "full") -> Any:
        return Line2D([], [], marker=marker, color=colour, linestyle="", fillstyle=fill, label=label)

    passes = [mark("o", MET, "forward"), mark("o", MET, "backward", "none"), mark("o", MISSED, "below its floor")]
    means = [mark(m, FLOOR, f"|mean|/std {name}", "none") for name, m in MEANS.items()]
    both = [mark("o", MET, "refnorm", "none"), mark("o", PEER, "PyTorch", "none")]
    figure.legend(handles=[*passes, *both, *means], loc="outside lower center", ncols=8, fontsize=9, frameon=False)
