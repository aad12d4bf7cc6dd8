"""A saved run as Markdown, for a README."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .goals import COPY, GEOMETRIC_MEAN, goal

Row = Mapping[str, Any]


def shape(row: Row) -> str:
    return " x ".join(map(str, row["shape"]))


def of_threads(run: Mapping[str, Any], threads: int) -> list[Row]:
    return [row for row in run["cells"] if row["threads"] == threads]


def mean_ratio(rows: Iterable[Row]) -> float:
    """The geometric mean."""
    logarithms = [math.log(row["ratio"]) for row in rows]
    return math.exp(sum(logarithms) / len(logarithms))


def markdown(run: Mapping[str, Any]) -> str:
    """Ratios, forward and backward in one line, what misses its floor in bold; then accuracy."""
    counts = sorted({row["threads"] for row in run["cells"]})
    machine = run["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, PyTorch {machine['torch']}, Numba {machine['numba']}.", ""]
    heads = [f"{n} thread{'s' * (n > 1)}: forward, backward" for n in counts]
    most = max(counts)
    lines += _head(["operation", "shape", *heads, "floor", f"of copy, {most} threads", "public call"])
    for first, second in _pairs(of_threads(run, most)):
        cells = [_ratio(_same(run, row, n)) for n in counts for row in (first, second)]
        both = [", ".join(cells[2 * k : 2 * k + 2]) for k in range(len(counts))]
        copy = "" if first["copy_fraction"] is None else f"{first['copy_fraction']:.0%}"
        calls = f"{first['ratio_call']:.2f}, {second['ratio_call']:.2f}"
        floors = f"{goal(first).floor:g}, {goal(second).floor:g}"
        lines.append(_line([first["op"], shape(first), *both, floors, copy, calls]))
    means = ", ".join(f"{mean_ratio(of_threads(run, n)):.2f} on {n}" for n in counts)
    met = sum(row["ratio"] >= goal(row).floor for row in of_threads(run, most))
    passed = f"On {most} threads {met} of {len(of_threads(run, most))} cells pass their floor; in bold what does not."
    lines += ["", f"Geometric mean {means} (goal {GEOMETRIC_MEAN} on 2). {passed} Of copy: goal {COPY:.0%}.", ""]
    lines += _head(["largest error, ulp", "shape", "y at 1, 1e3, 1e6", "PyTorch's y", "dx"])
    for first, second in _pairs(of_threads(run, most)):
        errors = [_errors(first["ulp"]), _errors(first["ulp_peer"]), _errors(second["ulp"])]
        lines.append(_line([first["op"], shape(first), *errors]))
    return "\n".join(lines) + "\n"


def _pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """(forward, backward) of each operation and shape."""
    return list(zip(rows[::2], rows[1::2], strict=True))


def _same(run: Mapping[str, Any], row: Row, threads: int) -> Row:
    of = ("op", "shape", "pass")
    return next(other for other in of_threads(run, threads) if all(other[k] == row[k] for k in of))


def _ratio(row: Row) -> str:
    return f"{row['ratio']:.2f}" if row["ratio"] >= goal(row).floor else f"**{row['ratio']:.2f}**"


def _errors(found: Mapping[str, float]) -> str:
    return ", ".join(f"{e:.1f}" if e < 100 else f"{e:.1e}" for e in found.values())


def _head(names: list[str]) -> list[str]:
    return [_line(names), _line(["---"] * len(names))]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
