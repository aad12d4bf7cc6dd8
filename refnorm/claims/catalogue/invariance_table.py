"""What each normalization does not see: J. L. Ba, J. R. Kiros, G. E. Hinton, Layer Normalization, arXiv 1607.06450, table 1.

A layer h = norm(W x) or norm(W) x, eps = 0, no bias; scales are positive.  The first six columns are the paper's (the row of
RMS norm is from B. Zhang, R. Sennrich, arXiv 1910.07467); the last two are refnorm's: a constant added to a neuron's weights,
and a scale for each half of the neurons.  What the gradient answers is in analysis/invariance.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis.invariance import moved, scaling
from refnorm.anatomy.facts import TRANSFORMATIONS
from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, INK
from refnorm.claims.sweep import Sweep

SEEDS = (0, 1, 2, 3, 4)
COLUMNS = {
    "weight_matrix_scale": "W scale",
    "weight_recentering": "W re-center",
    "weight_vector_scale": "w scale",
    "data_scale": "data scale",
    "data_shift": "data center",
    "case_scale": "single case",
    "weight_row_shift": "w + constant",
    "weight_group_scale": "halves' scale",
}
BN, LN, WN = "yes no yes yes yes no", "yes yes no yes no yes", "yes no yes no no no"
ROWS: dict[str, tuple[Callable, str, bool]] = {
    "BN": (rn.batch_norm, f"{BN} no yes", True),
    "WN": (rn.weight_norm, f"{WN} no yes", True),
    "LN": (partial(rn.layer_norm, axis=1), f"{LN} no no", True),
    "RMS": (partial(rn.rms_norm, axis=1), "yes no no yes no yes no no", True),
    "GN": (partial(rn.group_norm, num_groups=2), f"{LN} no yes", False),
    "GW": (partial(rn.group_whitening_zca, num_groups=2), f"{LN} no no", False),
    "CWN": (rn.centered_weight_norm, f"{WN} yes yes", False),
    "WS": (rn.weight_standardization, f"{WN} yes yes", False),
    "BW, ZCA": (rn.batch_whitening_zca, "yes no no yes yes no no no", False),
    "BW, CD": (rn.batch_whitening_cholesky, f"{BN} no yes", False),
}
"""Norm, its cells in the order of COLUMNS, and whether the first six are the papers'."""
ON_WEIGHTS = ("WN", "CWN", "WS")
WITNESS = 1e-3


def layer(name: str, w: Any, x: Any) -> Any:
    """h of shape (N, out)."""
    norm = ROWS[name][0]
    if name in ON_WEIGHTS:
        return x @ np.transpose(norm(w, eps=0.0))
    y = norm(x @ np.transpose(w), eps=0.0)
    return y[0] if isinstance(y, tuple) else y


def row(item: tuple[str, int]) -> list[float]:
    """(norm, seed) -> how far each transformation moves the layer's output."""
    name, seed = item
    rng = np.random.default_rng(seed)
    w, x, found = rng.normal(size=(8, 10)) + 0.3, rng.normal(size=(16, 10)) + 0.5, []
    for key in COLUMNS:
        t = TRANSFORMATIONS[key]
        v = w if t.of == "weight" else x
        after = t.apply(v, t.draw(rng, v.shape))
        found.append(moved(layer(name, *((after, x) if t.of == "weight" else (w, after))), layer(name, w, x)))
    return found


def measure(sweep: Sweep) -> Result:
    items = [(name, seed) for name in ROWS for seed in SEEDS]
    found = np.reshape(sweep(row, items), (len(ROWS), len(SEEDS), len(COLUMNS)))
    numbers = []
    for (name, (_, cells, published)), each in zip(ROWS.items(), found, strict=True):
        holds = np.array([c == "yes" for c in cells.split()])
        paper = 0 if published else None
        numbers.append(Number(f"{name}: {sum(holds)} invariances, worst move", each[:, holds].max(), paper, high=1e-8))
        numbers.append(Number(f"{name}: {sum(~holds)} that are none, least move", each[:, ~holds].min(), low=WITNESS))
    rng = np.random.default_rng(SEEDS[0])
    w, x = rng.normal(size=(8, 10)), rng.normal(size=(16, 10))
    for name, parts in (("BN", 1), ("WN", 1), ("LN", 0), ("RMS", 0)):
        s = scaling(partial(layer, name), (w, x), 0, parts=parts)
        numbers.append(Number(f"{name}: <w, dL/dw> per {'neuron' if parts else 'matrix'}, relative", s.along, 0, high=1e-13))
        numbers.append(Number(f"{name}: exponent of a in |dL/d(a W)|", s.exponent, -1, -1 - 1e-10, -1 + 1e-10))
    rows = [(name, *("inv" if c == "yes" else "no" for c in cells.split())) for name, (_, cells, _) in ROWS.items()]
    return Result(
        numbers,
        "holds",
        "Every cell of the table is as printed, in both directions: to rounding where it says invariant, with a witness where "
        "it does not. Weight centring adds an invariance (w + constant), norms per neuron or group another (halves' scale).",
        {"invariances": (("norm", *COLUMNS.values()), rows)},
        {"moves": found.mean(axis=1)},
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 4.4)
    axes, moves = figure.subplots(), result.data["moves"]
    for i in range(len(ROWS)):
        for j in range(len(COLUMNS)):
            m = moves[i, j]
            if m < WITNESS:
                axes.plot(j, i, "o", color=BLUE, ms=11)
            else:
                axes.plot(j, i, "o", color=FAINT, ms=11, mfc="none", mew=1.2)
                axes.annotate(f"{m:.2g}", (j, i), (10, -3), textcoords="offset points", color=INK, fontsize=7.5)
        if i == 4:
            axes.axhline(3.5, color=FAINT, lw=0.8)
    axes.axvline(5.5, color=FAINT, lw=0.8)
    axes.set_xticks(range(len(COLUMNS)), COLUMNS.values())
    axes.set_yticks(range(len(ROWS)), ROWS)
    axes.xaxis.tick_top()
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlim=(-0.4, 7.8), ylim=(len(ROWS) - 0.5, -0.5))
    axes.set_title("Invariant (full), or moved by how much of the output (open)", pad=14)


CLAIMS = (
    Claim(
        "invariance-table",
        15,
        "what each normalization does not see",
        Citation("J. L. Ba, J. R. Kiros, G. E. Hinton", "Layer Normalization", "arXiv", 2016, "1607.06450"),
        "Table 1: invariance of batch, weight and layer norm under re-scaling and re-centring of weight matrix, weight "
        "vectors, data set and single case.",
        SEEDS,
        measure,
        figure,
        conditions="eps = 0, positive scales, no bias; layer norm's re-centring and the group norms' without spatial axes.",
    ),
)
