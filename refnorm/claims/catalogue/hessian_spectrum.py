"""The Hessian's spectrum with and without batch norm; B. Ghorbani, S. Krishnan, Y. Xiao, arXiv 1901.10159.

Lanczos and the quadrature are derived in refnorm/analysis/curvature.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.curvature import hessian_product, largest_eigenvalue, matrix_of, outliers, spectral_density
from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, ConvNet, Network, Step, loss_and_gradients, to_vector, train

CITE = Citation(
    "B. Ghorbani, S. Krishnan, Y. Xiao",
    "An Investigation into Neural Net Optimization via Hessian Eigenvalue Density",
    "ICML",
    2019,
    "1901.10159",
)
NORMS = {"plain": None, "batch norm": "batch_norm"}
SEEDS, SAMPLES, LOSS = (0, 1, 2, 3, 4), 200, 0.2


def network(kind: str, norm: str) -> Network:
    if kind == "MLP":
        return MLP((64, 8, 8, 10), norm=NORMS[norm])
    return ConvNet(channels=(4, 4), norm=NORMS[norm])


def at_matched_loss(kind: str, norm: str, seed: int) -> tuple[Network, Any, np.ndarray, np.ndarray, float]:
    """A network trained until the loss of a fixed batch, in training mode, is below 0.2; that batch."""
    digits, net = load_digits(), network(kind, norm)
    images = digits.rows if kind == "MLP" else digits.images
    x, labels = images[:SAMPLES], digits.labels[:SAMPLES]
    reached: dict[str, Any] = {}

    def hear(s: Step) -> bool:
        if s.step % 10 == 0:
            reached.update(parameters=s.parameters, loss=loss_and_gradients(net, s.parameters, x, labels).loss)
        return bool(reached["loss"] > LOSS)

    train(net, images, digits.labels, steps=800, batch_size=64, optimizer=SGD(0.05, 0.9), seed=seed, progress=hear)
    return net, reached["parameters"], x, labels, reached["loss"]


def exact(item: tuple[str, str]) -> dict[str, Any]:
    """All eigenvalues, and what the quadrature makes of the same matrix."""
    net, parameters, x, labels, loss = at_matched_loss(*item, 0)
    size = to_vector(parameters).size
    H = matrix_of(hessian_product(net, parameters, x, labels), size)
    eigenvalues = np.linalg.eigvalsh(H)
    density = spectral_density(lambda v: H @ v, size, probes=50, steps=25, rng=0, deflation=120)
    errors = [density.moment(k) / float(np.sum(eigenvalues**k)) - 1 for k in range(1, 5)]
    return {
        "eigenvalues": eigenvalues,
        "errors": errors,
        "top": float(density.values.max() / eigenvalues[-1] - 1),
        "loss": loss,
    }


def top(item: tuple[str, str, int]) -> tuple[float, float]:
    """lambda_max from products alone, and the training loss."""
    net, parameters, x, labels, loss = at_matched_loss(*item)
    return largest_eigenvalue(hessian_product(net, parameters, x, labels), to_vector(parameters).size, 0), loss


def measure(sweep: Sweep) -> Result:
    pairs = [(kind, norm) for kind in ("MLP", "convolutional") for norm in NORMS]
    spectra = dict(zip(pairs, sweep(exact, pairs), strict=True))
    items = [(*pair, s) for pair in pairs for s in SEEDS]
    tops = dict(zip(items, sweep(top, items), strict=True))
    numbers, rows = [], []
    for pair in pairs:
        found = spectra[pair]
        worst = float(np.max(np.abs(found["errors"])))
        words = f"{pair[0]}, {pair[1]}"
        numbers.append(Number(f"{words}: quadrature, largest relative error of the first four moments", worst, high=0.02))
        numbers.append(Number(f"{words}: quadrature, relative error of lambda_max", abs(found["top"]), high=0.01))
        values = [tops[*pair, s][0] for s in SEEDS]
        ev = found["eigenvalues"]
        rows.append((*pair, len(ev), found["loss"], float(ev[-1]), float(ev[0]), outliers(ev), float(np.median(values))))
    for kind in ("MLP", "convolutional"):
        ratios = [tops[kind, "batch norm", s][0] / tops[kind, "plain", s][0] for s in SEEDS]
        always = kind == "MLP"
        numbers.append(
            Number(
                f"{kind}: lambda_max with batch norm / without, largest of 5 seeds",
                max(ratios),
                high=0.6 if always else None,
                asserted=always,
                note=f"seeds: {', '.join(f'{r:.2f}' for r in ratios)}",
            )
        )
    return Result(
        numbers,
        "holds under conditions",
        conclusion(tops),
        {
            "at a training loss of 0.2": (
                (
                    "network",
                    "norm",
                    "parameters",
                    "loss",
                    "lambda_max",
                    "lambda_min",
                    "outliers",
                    "lambda_max, median of seeds",
                ),
                rows,
            )
        },
        {"spectra": {", ".join(pair): spectra[pair]["eigenvalues"] for pair in pairs}},
    )


def conclusion(tops: dict[Any, tuple[float, float]]) -> str:
    lower = {k: sum(tops[k, "batch norm", s][0] < tops[k, "plain", s][0] for s in SEEDS) for k in ("MLP", "convolutional")}
    return (
        f"At equal training loss batch norm lowers lambda_max in {lower['MLP']} of {len(SEEDS)} seeds of the MLP and in "
        f"{lower['convolutional']} of {len(SEEDS)} of the convolutional network. The quadrature agrees with the exact spectrum."
    )


def figure(result: Result, figure: Any) -> None:
    panels = figure.subplots(1, 2)
    for axes, kind in zip(panels, ("MLP", "convolutional"), strict=True):
        for norm, colour in (("plain", RED), ("batch norm", BLUE)):
            values = np.sort(np.asarray(result.data["spectra"][f"{kind}, {norm}"]))[::-1]
            axes.plot(np.arange(1, len(values) + 1), values, color=colour, label=norm)
        axes.set(title=f"{kind}: all eigenvalues of the Hessian", xlabel="rank", xscale="log", yscale="symlog")
        axes.set_yscale("symlog", linthresh=1e-2)
    panels[0].legend()


CLAIMS = (
    Claim(
        "hessian-spectrum",
        16,
        "the Hessian with and without batch norm, batch coupling included",
        CITE,
        "Without batch norm large isolated eigenvalues appear in the Hessian's spectrum; batch norm suppresses them.",
        SEEDS,
        measure,
        figure,
        conditions="digits; a fixed batch of 200, training mode, both networks at a training loss of 0.2",
    ),
)
