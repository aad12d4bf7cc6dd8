"""For inference average covariances, not whitening matrices.

L. Huang et al. (CVPR 2020) compare the two; why the second is wrong, and by how much, is in analysis/averaged_whitening.py.
The dialect "covariance" of refnorm's whitenings averages covariances, "matrix" whitening matrices, as the authors' two classes
do; here all batches count equally, as under momentum=None.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis import averaged_whitening as exact
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREEN, GREY, RED, YELLOW
from refnorm.claims.sweep import Sweep

from .stochasticity import CITE

SEEDS = (0, 1, 2, 3)
D, BATCHES = 16, 2000
SIZES = (24, 32, 64, 128, 256)
NORMS = {"PCA": rn.batch_whitening_pca, "ZCA": rn.batch_whitening_zca, "CD": rn.batch_whitening_cholesky}
COLOUR = {"PCA": RED, "ZCA": GREEN, "CD": YELLOW, "covariance": BLUE}


def averaged(item: tuple[str, int, int]) -> np.ndarray:
    """(norm, m, seed) -> the average whitening matrix; for "covariance", the inverse root of the average covariance."""
    name, m, seed = item
    operation = NORMS.get(name, rn.batch_whitening_zca).declaration.operation
    z = np.random.default_rng([seed, m]).normal(size=(BATCHES, D, m))
    saved = operation.forward(z, eps=0.0)[1]
    if name != "covariance":
        return operation.apply(saved.mean + np.eye(D), saved).mean(axis=0)              # W (z - mean) at z - mean = I
    values, vectors = np.linalg.eigh(saved.covariance.mean(axis=0))
    return vectors * values**-0.5 @ vectors.T


def measure(sweep: Sweep) -> Result:
    names = [*NORMS, "covariance"]
    items = [(name, m, seed) for name in names for m in SIZES for seed in SEEDS]
    found = np.reshape(sweep(averaged, items), (len(names), len(SIZES), len(SEEDS), D, D))
    mean = {name: [exact.error(w.mean(axis=0)) for w in found[i]] for i, name in enumerate(names)}
    at = SIZES.index(32)
    scale = np.trace(found[names.index("ZCA"), at].mean(axis=0)) / D - 1
    cholesky = np.sqrt(np.mean((np.diag(found[names.index("CD"), at].mean(axis=0)) - 1) ** 2))
    numbers = [
        Number("m = 32, d = 16: error of the root of the average covariance", mean["covariance"][at], None, high=0.1),
        Number("error of the average matrix, PCA", mean["PCA"][at], None, 0.25,
               note="the sign convention of refnorm's PCA leaves a mean; without one it is 1"),
        Number("error of the average matrix, ZCA", mean["ZCA"][at], None, 0.25),
        Number("error of the average matrix, CD", mean["CD"][at], None, 0.25),
        Number("CD, on the diagonal, over the closed form", cholesky / exact.cholesky_error(D, 32), None, 0.98, 1.02,
               note=f"E[L^-1] by Bartlett: {exact.cholesky_error(D, 32):.4f}"),
        Number("ZCA, on the diagonal, over the law with its first correction", scale / exact.zca_error(D, 32), None, 0.98, 1.02,
               note=f"Marchenko-Pastur, Bai-Silverstein: {exact.zca_error(D, 32):.4f}"),
    ]  # fmt: skip
    rows = [(m, *(mean[n][i] for n in names), exact.cholesky_error(D, m), exact.zca_error(D, m), exact.covariance_error(m))
            for i, m in enumerate(SIZES)]  # fmt: skip
    return Result(
        numbers,
        "holds",
        f"After {BATCHES * len(SEEDS)} batches the average matrix is still wrong by a quarter and more; averaging longer does "
        "not help, since an average of inverse roots is not the inverse root of an average. The covariance's error is 1/(2m) "
        "and what is left of the noise.",
        {"error": (("m", *names, "CD exact", "ZCA law", "covariance exact"), rows)},
        {"mean": mean, "matrices": {n: found[i, at].mean(axis=0) for i, n in enumerate(names)}},
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9.5, 4.2)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    for axes, (name, w) in zip(left.subplots(2, 2).ravel(), result.data["matrices"].items(), strict=True):
        image = axes.imshow(w, cmap="RdBu_r", vmin=-1.6, vmax=1.6)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name if name == "covariance" else f"{name}: average matrix", color=COLOUR[name])
        axes.spines[:].set(visible=True, color=FAINT)
    axes.set_title("average covariance: its root", color=BLUE, fontsize=9.5)
    left.colorbar(image, ax=left.axes, shrink=0.6, ticks=(-1, 0, 1)).outline.set_visible(False)
    axes = right.subplots()
    fine = np.arange(SIZES[0], SIZES[-1] + 1)
    for formula in (lambda m: exact.cholesky_error(D, m), lambda m: exact.zca_error(D, m), exact.covariance_error):
        axes.loglog(fine, [formula(int(m)) for m in fine], color=GREY, lw=1)
    for name, values in result.data["mean"].items():
        axes.loglog(SIZES, values, "o", color=COLOUR[name])
        place = (8, {"ZCA": 1, "CD": -9}.get(name, -3))
        axes.annotate(name, (SIZES[-1], values[-1]), place, textcoords="offset points", color=COLOUR[name])
    axes.set_xticks(SIZES, SIZES)
    axes.set_xticks([], minor=True)
    ticks = (0.002, 0.01, 0.05, 0.2, 1)
    axes.set_yticks(ticks, ticks)
    axes.set_yticks([], minor=True)
    axes.set(xlabel="batch size m", ylabel="distance from the right matrix", xlim=(22, 480))
    axes.set_title("Measured (dots) and derived (lines)")


CLAIMS = (
    Claim(
        "averaged-whitening",
        2,
        "for inference average covariances, not whitening matrices",
        CITE,
        "An average of whitening matrices stays wrong however many batches are averaged; the whitening matrix of the average "
        "covariance is right to 1/(2m).",
        SEEDS,
        measure,
        figure,
        origin="refnorm",
    ),
)
