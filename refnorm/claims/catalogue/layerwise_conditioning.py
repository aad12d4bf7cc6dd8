"""L. Huang, J. Qin, L. Liu, F. Zhu, L. Shao, Layer-wise Conditioning Analysis, arXiv 2002.10801.

Definitions in refnorm/analysis/conditioning.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.conditioning import condition_number, fisher_block, layer_spectra, spectrum
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import CONDITIONING
from refnorm.claims.style import BLUE, GREEN, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, ResidualMLP

SEEDS = (0, 1, 2, 3, 4)
DEPTHS = (5, 20, 80)


def conditions(item: tuple[str | None, int]) -> list[tuple[float, float]]:
    """kappa_50 of each layer's inputs and of its output gradients, at initialization."""
    norm, seed = item
    digits, net = load_digits(), MLP((64, *(64,) * 6, 10), norm=norm)
    found = layer_spectra(net, net.parameters(seed), digits.rows, digits.labels)
    return [(condition_number(s.inputs, 0.5), condition_number(s.gradients, 0.5)) for s in found.values()]


def measure_layers(sweep: Sweep) -> Result:
    items = [(norm, s) for norm in (None, "batch_norm") for s in SEEDS]
    found = dict(zip(items, sweep(conditions, items), strict=True))
    plain, normed = (np.array([found[norm, s] for s in SEEDS])[:, :, 0] for norm in (None, "batch_norm"))
    ratio, seen = normed / plain, {2: 0.11, 3: 0.065, 7: 0.03}
    numbers = [
        Number(
            f"kappa_50 of the inputs of layer {k}, batch norm / plain: largest of 5 seeds",
            ratio[:, k - 1].max(),
            seen.get(k),
            high=0.1 if k > 2 else None,
            asserted=k > 2,
            note=f"median {np.median(ratio[:, k - 1]):.3f}",
        )
        for k in range(2, 8)
    ]
    rows = [(k, np.median(plain[:, k - 1]), np.median(normed[:, k - 1])) for k in range(1, 8)]
    return Result(
        numbers,
        "holds",
        "Batch norm lowers the condition number of a layer's inputs by more than ten from the third layer on, already at "
        "initialization.",
        {"kappa_50 of the inputs, medians over seeds": (("layer", "plain", "batch norm"), rows)},
        {"plain": plain, "batch norm": normed},
    )


def figure_layers(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    for name, colour in (("plain", RED), ("batch norm", BLUE)):
        values = np.asarray(result.data[name])
        axes.plot(range(1, 8), values.T, color=colour, lw=0.6, alpha=0.5)
        axes.plot(range(1, 8), np.median(values, axis=0), "o-", color=colour, label=name)
    axes.set(
        title="Condition number of what goes into each layer, at initialization",
        xlabel="layer",
        yscale="log",
        ylabel="$\\kappa_{50\\%}$ of $\\Sigma_x$",
    )
    axes.legend()


def last_layer(item: tuple[int, bool, int]) -> float:
    """lambda_max of the last layer's inputs in a residual network."""
    depth, last, seed = item
    digits, net = load_digits(), ResidualMLP(depth=depth, norm="batch_norm", last_norm=last)
    record: dict[str, Any] = {}
    net.apply(net.parameters(seed), digits.rows, record=record)
    return float(spectrum(record["output"].input, 1 / len(digits.rows))[0])


def measure_last(sweep: Sweep) -> Result:
    items = [(depth, last, s) for depth in DEPTHS for last in (False, True) for s in SEEDS]
    found = dict(zip(items, sweep(last_layer, items), strict=True))
    numbers, rows, seen = [], [], {False: (118, 412, 1701), True: (10.9, 9.3, 9.7)}
    for last, words in ((False, "without"), (True, "with")):
        ratios = [found[80, last, s] / found[5, last, s] for s in SEEDS]
        numbers.append(
            Number(
                f"lambda_max of the last inputs, depth 80 / depth 5, {words} a last norm: "
                f"{'largest' if last else 'least'} of 5 seeds",
                max(ratios) if last else min(ratios),
                seen[last][2] / seen[last][0],
                low=None if last else 10,
                high=1.5 if last else None,
            )
        )
        medians = [float(np.median([found[d, last, s] for s in SEEDS])) for d in DEPTHS]
        rows.append((words, *medians))
    return Result(
        numbers,
        "holds",
        "In a residual network the inputs of the last layer grow with depth, and its conditioning with them; one norm before "
        "it takes that away.",
        {"lambda_max, medians over seeds": (("last norm", *(f"depth {d}" for d in DEPTHS)), rows)},
        {"found": {str(last): [[found[d, last, s] for s in SEEDS] for d in DEPTHS] for last in (False, True)}},
    )


def figure_last(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    for last, words, colour in (("False", "without a last norm", RED), ("True", "one batch norm before the last layer", BLUE)):
        values = np.asarray(result.data["found"][last])
        axes.plot(DEPTHS, values, "o", color=colour, alpha=0.4, mec="none")
        axes.plot(DEPTHS, np.median(values, axis=1), "-", color=colour, label=words)
    axes.set(
        title="Largest eigenvalue of the last layer's inputs, residual MLP",
        xlabel="depth in blocks",
        xscale="log",
        yscale="log",
        ylabel="$\\lambda_{max}(\\Sigma_x)$",
    )
    axes.set_xticks(DEPTHS, DEPTHS)
    axes.set_xticks([], minor=True)
    axes.legend()


# the Kronecker factors


def kronecker(seed: int) -> dict[str, Any]:
    """Independent x and g with spread-out spectra: the sampled Fisher block against the product of the factors."""
    rng, n = np.random.default_rng(seed), 400_000
    x, g = (rng.normal(size=(n, d)) @ (rng.normal(size=(d, d)) / np.sqrt(d)) for d in (5, 4))
    F = np.linalg.eigvalsh(fisher_block(x, g))[::-1]
    factors = np.sort(np.outer(spectrum(g, 1 / n), spectrum(x, 1 / n)), axis=None)[::-1]
    return {"sampled": F, "factors": factors}


def measure_kronecker(sweep: Sweep) -> Result:
    found = sweep(kronecker, SEEDS)
    largest = [f["sampled"][0] / f["factors"][0] - 1 for f in found]
    kappa = [condition_number(f["sampled"]) / condition_number(f["factors"]) - 1 for f in found]
    numbers = [
        Number(
            "lambda_max of F against the factors': largest relative error of 5 seeds",
            float(np.max(np.abs(largest))),
            4e-5,
            high=0.01,
        ),
        Number(
            "kappa of F against the factors': largest relative error of 5 seeds", float(np.max(np.abs(kappa))), 7e-3, high=0.02
        ),
    ]
    return Result(
        numbers,
        "holds",
        "Where inputs and output gradients are independent, the Fisher block's spectrum is the products "
        "of the factors' eigenvalues.",
        {},
        found[0],
    )


def figure_kronecker(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    axes.plot(range(1, 21), result.data["sampled"], "o", color=BLUE, label="eigenvalues of F, 400,000 samples")
    axes.plot(range(1, 21), result.data["factors"], "-", color=GREEN, lw=1, label="products of the factors' eigenvalues")
    axes.set(title="A Fisher block and its Kronecker factors", yscale="log", xlabel="number", xticks=(1, 5, 10, 15, 20))
    axes.legend()


CLAIMS = (
    Claim(
        "layer-conditioning",
        5,
        "batch norm improves the conditioning of each layer",
        CONDITIONING,
        "Batch norm improves the layer-wise conditioning of the optimization problem.",
        SEEDS,
        measure_layers,
        figure_layers,
        conditions="digits, MLP of 6 hidden layers of 64, He initialization, not trained",
    ),
    Claim(
        "last-layer-conditioning",
        5,
        "one norm before the last layer of a residual network",
        CONDITIONING,
        "The last linear layer of a very deep residual network is ill-conditioned; one batch norm before it cures that.",
        SEEDS,
        measure_last,
        figure_last,
        conditions="digits, pre-activation blocks with batch norm, width 64, not trained",
    ),
    Claim(
        "kronecker-factors",
        5,
        "the Fisher block of a layer and its two factors",
        CONDITIONING,
        "The eigenvalues of a layer's Fisher block are the products of those of its inputs' and output gradients' covariances.",
        SEEDS,
        measure_kronecker,
        figure_kronecker,
        conditions="inputs and output gradients independent of each other",
    ),
)
