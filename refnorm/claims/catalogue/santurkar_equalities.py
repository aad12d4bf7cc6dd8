"""The theorems of S. Santurkar et al., arXiv 1805.11604, as equalities; derived in refnorm/analysis/landscape.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.landscape import Unit, curvature, squared_gradient, worst_weight_gradient
from refnorm.autodiff import hvp, vjp
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import HOW_BATCH_NORM_HELPS
from refnorm.claims.style import BLUE, RED
from refnorm.claims.sweep import Sweep
from refnorm.methods import batch_norm


def theorem_errors(seed: int) -> dict[str, float]:
    """Relative differences between the theorems and the tape, for a batch of 16, a loss with cross terms and curvature."""
    rng, m = np.random.default_rng(seed), 16
    y, A, b = 3 * rng.normal(size=m) + 1, rng.normal(size=(m, m)), rng.normal(size=m)
    gamma, beta, X = np.array([rng.uniform(0.5, 2)]), rng.normal(size=1), rng.normal(size=(m, 5))

    def loss(z: Any) -> Any:
        return np.sum(np.log(np.cosh(A @ z + b)))

    def through(y: Any) -> Any:
        z = batch_norm.forward(np.reshape(y, (m, 1)), gamma, beta, eps=0.0)[0]
        return loss(np.reshape(z, (m,)))

    sigma = float(np.std(y))
    yhat = (y - y.mean()) / sigma
    z = gamma[0] * yhat + beta[0]
    (v,) = vjp(through, y)[1](np.ones(()))
    (g,) = vjp(loss, z)[1](np.ones(()))
    u = Unit(yhat, sigma, float(gamma[0]), g, hvp(loss, z, v))
    length = float(np.linalg.norm(X, 2))
    attained = length**2 * float(v @ v)  # X = length v u' / ||v||, u any unit vector
    return {
        "4.1": abs(squared_gradient(u) / float(v @ v) - 1),
        "4.2": abs(curvature(u, v) / float(v @ hvp(through, y, v)) - 1),
        "4.4": abs(worst_weight_gradient(u, length) / attained - 1),
        "of a random X": float(np.sum((X.T @ v) ** 2)) / attained,
        "paper's bound": float(v @ v) / ((u.gamma / u.sigma) ** 2 * float(g @ g)),
    }


def measure_theorems(sweep: Sweep) -> Result:
    found = sweep(theorem_errors, range(50))
    worst = {k: max(f[k] for f in found) for k in found[0]}
    numbers = [Number(f"theorem {k}: largest relative error over 50 draws", worst[k], high=1e-5) for k in ("4.1", "4.2", "4.4")]
    numbers.append(Number("theorem 4.4: a given X never exceeds the bound, largest share", worst["of a random X"], high=1.0))
    shares = [f["paper's bound"] for f in found]
    numbers.append(Number("||dL/dy||^2 / ((gamma^2/sigma^2) ||g||^2), median", float(np.median(shares)), asserted=False))
    return Result(
        numbers,
        "holds",
        "The paper's inequalities 4.1, 4.2 and 4.4 are equalities when g is the gradient at z: batch norm removes two "
        "directions of the gradient and divides by sigma.",
        {},
        {"shares": shares},
    )


def figure_theorems(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    shares = np.sort(result.data["shares"])
    axes.plot(shares, np.arange(1, len(shares) + 1) / len(shares), drawstyle="steps-post", color=BLUE)
    axes.axvline(14 / 16, color=RED, lw=1, ls=":")
    axes.text(14 / 16, 0.03, " (m - 2) / m = 14/16,\n a random g's mean", color=RED, va="bottom", ha="right", fontsize=8.5)
    axes.set(
        title="What the two projections leave of the squared gradient, m = 16",
        xlabel="share left",
        ylabel="share of 50 draws",
        xlim=(None, 1.02),
    )


CLAIMS = (
    Claim(
        "santurkar-equalities",
        6,
        "what batch norm leaves of a gradient, exactly",
        HOW_BATCH_NORM_HELPS,
        "Batch norm lowers the gradient's norm and the curvature along it (theorems 4.1, 4.2, 4.4, as bounds).",
        tuple(range(50)),
        measure_theorems,
        figure_theorems,
        origin="refnorm",
        conditions="eps = 0; g is the gradient at z",
    ),
)
