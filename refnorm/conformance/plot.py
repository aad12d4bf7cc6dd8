"""Pictures of accuracy: error against |mean|/std, a line for each row length, the bound drawn in.

    refnorm check kernel.py:my_layer_norm --norm layer_norm --plot FILE        of a candidate, as the check measured it
    python -m refnorm.conformance.plot FILE                                    of five ways to sum a variance, at three lengths

FILE ends in .png, .svg or .pdf.  Errors and bounds are the largest of a row, in units of xhat.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import tolerance
from .candidate import Unusable
from .tolerance_arithmetic import FORMATS, dtype_of

if TYPE_CHECKING:
    from .report import Report

Algorithm = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
KAPPAS = np.geomspace(0.3, 5e4, 14)  # no powers of two, at which sums are exact
LENGTHS = (33, 1025, 16384)
ROWS = 12
TOP = 8.0
"""The largest error that is drawn; what is larger, or infinite, stands there."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # M. Okabe, K. Ito: told apart by all eyes


def draw(reports: Sequence[Report], path: Path) -> None:
    """A panel a report and dtype.  Raises Unusable where matplotlib is absent or nothing was measured."""
    panels = [(r, d, lengths) for r in reports for d, lengths in r.accuracy.ladders.items() if lengths]
    if not panels:
        raise Unusable("--plot: no ladder in |mean|/std was measured: the norm has no rows with a mean, or no case of it ran")
    columns = min(len(panels), 3)
    figure, axes = _figure(-(-len(panels) // columns), columns)
    for place, (report, dtype, lengths) in zip(axes, panels, strict=False):
        ladders = {n: rungs for n, rungs in sorted(lengths.items()) if len(rungs) > 2} or lengths
        for colour, (n, rungs) in zip(COLOURS * 9, ladders.items(), strict=False):
            rungs = sorted(rungs, key=lambda rung: rung.kappa)
            kappas = [rung.kappa for rung in rungs]
            place.plot(kappas, _shown(r.error for r in rungs), "o-", color=colour, ms=3, lw=1.2, label=f"rows of {n}")
            place.plot(kappas, _shown(r.bound for r in rungs), "--", color=colour, lw=1)
        growth = report.accuracy.growth.get(dtype)
        told = "" if growth is None else f": error ~ (|mean|/std)^{growth:.1f}"
        place.set_title(f"{report.candidate.title}, {dtype}{told}", fontsize=9)
        _finished(place, dtype)
    for place in axes[len(panels) :]:
        place.set_visible(False)
    figure.savefig(path, dpi=150)


def draw_algorithms(path: Path) -> None:
    """Right code stays under the bound at every length; E[x^2] - E[x]^2 leaves it where rows are short."""
    figure, axes = _figure(1, len(LENGTHS))
    arithmetic = tolerance.Arithmetic.of("float32")
    for place, n in zip(axes, LENGTHS, strict=True):
        rows = [_rows(kappa, n) for kappa in KAPPAS]
        for (name, algorithm), colour in zip(ALGORITHMS.items(), COLOURS, strict=False):
            place.plot(KAPPAS, _shown(_error(algorithm, x) for x in rows), "o-", color=colour, ms=3, lw=1.2, label=name)
        bounds = [tolerance.forward(tolerance.Statistics(x[:1].astype(float), 0.0, arithmetic, "standardize")) for x in rows]
        place.plot(KAPPAS, _shown(float(np.max(b)) for b in bounds), "k--", lw=1.2, label="bound")
        place.set_title(f"float32, rows of {n}", fontsize=9)
        _finished(place, "float32")
    figure.savefig(path, dpi=150)


def _figure(rows: int, columns: int) -> tuple[Any, list[Any]]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unusable(f"--plot: matplotlib is not installed ({error}): pip install matplotlib") from error
    figure = Figure(figsize=(max(4.2 * columns, 5.2), 3.6 * rows), layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns, squeeze=False, sharey=True)))


def _finished(place: Any, dtype: str) -> None:
    unit = FORMATS[dtype_of(dtype)].unit
    place.set(xscale="log", yscale="log", xlabel="|mean| / std", ylabel="error of xhat", ylim=(unit / 8, 1.3 * TOP))
    place.axhline(unit, color="0.6", lw=0.8)
    words, beside = f"one rounding of {dtype} ", place.get_yaxis_transform()
    place.text(1, unit, words, transform=beside, fontsize=7, color="0.4", ha="right", va="bottom")
    place.tick_params(labelleft=True)
    place.spines[["top", "right"]].set_visible(False)
    title = None if any(line.get_label() == "bound" for line in place.lines) else "dashed: bound"
    place.legend(frameon=False, fontsize=7, loc="upper left", title=title, title_fontsize=7)


def _shown(values: Iterator[float]) -> np.ndarray:
    """What no right algorithm could be held to (a NaN) leaves a gap; a result that is none at all is as large as they come."""
    found = np.array(list(values), float)
    return np.where(found > 0, np.minimum(found, TOP), np.nan)


def _rows(kappa: float, n: int) -> np.ndarray:
    z = np.random.default_rng(n).normal(size=(ROWS, n))
    return ((z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True) + kappa).astype(np.float32)


def _error(algorithm: Algorithm, x: np.ndarray) -> float:
    """The largest of all rows; infinite where the variance came out as 0."""
    exact = x.astype(np.longdouble)
    exact = (exact - exact.mean(axis=1, keepdims=True)) / exact.std(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        mean, var = (np.reshape(s, (-1, 1)) for s in algorithm(x))
        error = np.abs((x - mean) / np.sqrt(var) - exact)
    return float(np.max(np.nan_to_num(error, nan=np.inf)))


def _mean(a: np.ndarray) -> np.ndarray:
    return np.asarray(np.mean(a, axis=1, dtype=np.float32))


def _mean_in_order(a: np.ndarray) -> np.ndarray:
    return np.cumsum(a, axis=1, dtype=np.float32)[:, -1] / np.float32(a.shape[1])


def _two_passes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = _mean(x)
    return mean, _mean(np.square(x - mean[:, None]))


def _two_passes_in_order(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = _mean_in_order(x)
    return mean, _mean_in_order(np.square(x - mean[:, None]))


def _welford(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, square = np.zeros(len(x), np.float32), np.zeros(len(x), np.float32)
    for k, v in enumerate(x.T, 1):
        step = v - mean
        mean = mean + step / np.float32(k)
        square = square + step * (v - mean)
    return mean, square / np.float32(x.shape[1])


def _pivoted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = x - x[:, :1]
    return x[:, 0] + _mean(z), _mean(np.square(z)) - np.square(_mean(z))


def _one_pass(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _mean(x), np.maximum(_mean(np.square(x)) - np.square(_mean(x)), 0)


ALGORITHMS: dict[str, Algorithm] = {
    "two passes": _two_passes,
    "two passes, one sum after another": _two_passes_in_order,
    "Welford": _welford,
    "one pass about the first entry": _pivoted,
    "E[x^2] - E[x]^2": _one_pass,
}


if __name__ == "__main__":
    draw_algorithms(Path(sys.argv[1]))
