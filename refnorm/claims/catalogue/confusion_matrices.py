"""Bistochastic normalization of confusion matrices: J. Erbani et al., arXiv 2509.04959.

The geometry is in analysis/bistochastic.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.bistochastic import fit, odds_ratios
from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, RED
from refnorm.claims.sweep import Sweep

SEEDS = tuple(range(20))
CLASSES = 6


def doubly_stochastic(rng: np.random.Generator) -> np.ndarray:
    """A classifier that confuses neighbours more than strangers, both sums 1."""
    distance = np.abs(np.subtract.outer(np.arange(CLASSES), np.arange(CLASSES)))
    return fit(np.exp(-1.2 * distance + 0.3 * rng.normal(size=distance.shape))).matrix


def case(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    m = rng.uniform(0.1, 1, (CLASSES, CLASSES))
    scaled = np.exp(rng.normal(size=(CLASSES, 1))) * m * np.exp(rng.normal(size=CLASSES))
    s = doubly_stochastic(rng)
    prior, bias = rng.dirichlet(np.full(CLASSES, 3)), np.exp(0.7 * rng.normal(size=CLASSES))
    confusion = prior[:, None] * s * bias
    found = fit(confusion)
    return {
        "covariant": float(np.max(np.abs(fit(scaled).matrix - fit(m).matrix))),
        "odds": float(np.max(np.abs(odds_ratios(fit(m).matrix) / odds_ratios(m) - 1))),
        "recovered": float(np.max(np.abs(found.matrix - s))),
        "rows": float(np.max(np.abs(confusion / confusion.sum(axis=1, keepdims=True) - s))),
        "columns": float(np.max(np.abs(confusion / confusion.sum(axis=0) - s))),
        "rate": found.rate,
        "sigma": float(np.linalg.svd(s, compute_uv=False)[1] ** 2),
        "errors": found.errors,
        "matrices": (confusion, confusion / confusion.sum(axis=1, keepdims=True), found.matrix, s),
    }


def refuses_without_support() -> bool:
    try:
        fit(np.array([[1.0, 1], [0, 1]]))
    except ValueError:
        return True
    return False


def measure(sweep: Sweep) -> Result:
    found = sweep(case, SEEDS)
    worst = {name: max(f[name] for f in found) for name in ("covariant", "odds", "recovered")}
    ratio = np.array([f["rate"] / f["sigma"] for f in found])
    numbers = [
        Number("IPF(D_r M D_c) - IPF(M), worst of 20", worst["covariant"], 0, high=1e-10),
        Number("odds ratios, worst relative change", worst["odds"], 0, high=1e-10),
        Number("C = diag(prior) S diag(bias): IPF(C) - S, worst", worst["recovered"], 0, high=1e-10),
        Number("row normalization of C, mean error", float(np.mean([f["rows"] for f in found])), asserted=False),
        Number("column normalization of C, mean error", float(np.mean([f["columns"] for f in found])), asserted=False),
        Number("row normalization errs, least of 20", min(f["rows"] for f in found), low=0.01),
        Number("factor of the error per sweep over sigma_2^2, mean", float(ratio.mean()), 1, 0.9, 1.1),
        Number("a matrix without total support is refused", float(refuses_without_support()), low=1, high=1),
    ]
    return Result(
        numbers,
        "holds",
        "Fitting both sums takes prior and bias out of a confusion matrix exactly, where normalizing rows alone is off by "
        f"{np.mean([f['rows'] for f in found]):.2f} on average; it converges by sigma_2^2 a sweep. Zeros need total support.",
        {},
        {"matrices": found[0]["matrices"], "errors": [f["errors"] for f in found], "sigma": [f["sigma"] for f in found]},
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9.5, 4.6)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1))
    names = ("confusion matrix", "rows normalized", "rows and columns", "behind it: S")
    for axes, name, m in zip(above.subplots(1, 4), names, result.data["matrices"], strict=True):
        axes.imshow(m / m.max(), cmap="Blues", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name)
        axes.spines[:].set(visible=True, color=FAINT)
    axes = below.subplots()
    for errors, sigma in zip(result.data["errors"], result.data["sigma"], strict=True):
        axes.semilogy(np.arange(1, len(errors) + 1), np.maximum(errors, 1e-16), color=BLUE, lw=0.8, alpha=0.6)
        end = np.array([0, len(errors) - 1.0])
        axes.semilogy(end + 1, errors[0] * sigma**end, color=RED, lw=0.5, alpha=0.6)
    axes.annotate("measured", (0.86, 0.9), xycoords="axes fraction", color=BLUE)
    axes.annotate("sigma_2²", (0.86, 0.78), xycoords="axes fraction", color=RED)
    axes.set(xlabel="sweep", ylabel="error of row sums", ylim=(1e-16, 1))
    axes.set_title("Convergence")


CLAIMS = (
    Claim(
        "confusion-matrices",
        14,
        "confusion matrices without prior and bias",
        Citation(
            "J. Erbani, P.-E. Portier, E. Egyed-Zsigmond, S. Ben Mokhtar, D. Nurbakova",
            "On the Normalization of Confusion Matrices: Methods and Geometric Interpretations",
            "arXiv",
            2025,
            "2509.04959",
        ),
        "Bistochastic normalization by iterative proportional fitting generalizes row and column normalization and, unlike "
        "them, recovers the similarity of classes.",
        SEEDS,
        measure,
        figure,
        conditions="Positive matrices, or zeros with total support.",
    ),
)
