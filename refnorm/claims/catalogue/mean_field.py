"""A mean field theory of batch normalization, ICLR 2019; the Fisher matrix under batch norm, arXiv 1903.02606.


The fixed points and rates are derived in analysis/mean_field.py and measured on random networks (analysis/wide_network.py).

The Fisher matrix of a scalar output under squared loss is J'J / N, J the outputs' derivatives in the weights; its largest
eigenvalue is that of the N x N matrix J J' / N.  With beta = 0, one gamma for all units and relu, gamma scales every layer's
output, which the next batch norm forgets: forward only the last hidden gamma arrives, f -> gamma f, and so do all derivatives
in the weights.  Hence F(gamma) = gamma^2 F(1).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis import mean_field
from refnorm.analysis.wide_network import passage
from refnorm.anatomy.method import Citation
from refnorm.autodiff import vjp
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREEN, GREY, RED
from refnorm.claims.sweep import Sweep

SEEDS = tuple(range(6))
WIDTH, DEPTH = 600, 30
BATCHES = (8, 16, 64, 256)
RELU_TABLE = {4: 3.0841, 8: 1.7882, 16: 1.5900, 256: 1.4732, math.inf: 1.4669}
IDENTITY_TABLE = {4: 2.0, 8: 1.2, 16: 1.0769, 256: 1.0040, math.inf: 1.0}
YANG = Citation(
    "G. Yang, J. Pennington, V. Rao, J. Sohl-Dickstein, S. S. Schoenholz",
    "A Mean Field Theory of Batch Normalization",
    "ICLR",
    2019,
    "1902.08129",
)
WEI = Citation("M. Wei, J. Stokes, D. J. Schwab", "Mean-field Analysis of Batch Normalization", "arXiv", 2019, "1903.02606")


def batch_norm_passage(item: tuple[int, bool, int]) -> tuple[float, float, float]:
    """(batch, relu, seed) -> growth of the squared gradient, mean diagonal and off-diagonal of the kernel handed on."""
    batch, relu, seed = item
    rng = np.random.default_rng([seed, batch, relu])
    passed = passage(rn.batch_norm, {"eps": 0.0}, width=WIDTH, depth=DEPTH, batch=batch, rng=rng, relu=relu)
    kernel = passed.kernels[10:].mean(axis=0)                      # the fixed point is reached long before
    trace = float(np.trace(kernel))
    return passed.growth(), trace / batch, (float(kernel.sum()) - trace) / (batch * (batch - 1))


def measure(sweep: Sweep) -> Result:
    items = [(b, relu, seed) for relu in (True, False) for b in BATCHES for seed in SEEDS]
    found = np.reshape(sweep(batch_norm_passage, items), (2, len(BATCHES), len(SEEDS), 3))
    growth = np.exp(np.log(found[..., 0]).mean(axis=2))
    numbers = []
    for activation, table in (("relu", RELU_TABLE), ("identity", IDENTITY_TABLE)):
        for b, paper in table.items():
            exact = mean_field.batch_norm_growth(b, activation)
            numbers.append(Number(f"{activation}, B = {b}: closed form", exact, paper, paper - 1e-4, paper + 1e-4))
    for i, activation in enumerate(("relu", "identity")):
        for j, b in enumerate(BATCHES):
            exact = mean_field.batch_norm_growth(b, activation)
            what = f"{activation}, B = {b}: {len(SEEDS)} networks {WIDTH} wide, {DEPTH} deep"
            numbers.append(Number(what, growth[i, j], round(exact, 4), exact * 0.985, exact * 1.015))
    diagonal, beside = mean_field.batch_norm_kernel(64)
    kernel = found[0, BATCHES.index(64), :, 1:].mean(axis=0)
    numbers += [
        Number("relu, B = 64: kernel, diagonal", kernel[0], diagonal, diagonal - 0.005, diagonal + 0.005),
        Number("relu, B = 64: kernel, off the diagonal", kernel[1], round(beside, 4), beside - 0.005, beside + 0.005),
    ]
    closed = {b: [mean_field.batch_norm_growth(b, a) for a in ("relu", "identity")] for b in BATCHES}
    rows = [(b, float(growth[0, j]), closed[b][0], float(growth[1, j]), closed[b][1]) for j, b in enumerate(BATCHES)]
    return Result(
        numbers,
        "holds",
        "Batch norm makes gradients of deep random networks explode, whatever the weights' scale, at a rate that the batch "
        "size and the activation alone decide: pi/(pi - 1) for relu and large batches. That is of the squared norm; the norm "
        f"itself grows {math.sqrt(math.pi / (math.pi - 1)):.4f}-fold a layer.",
        {"growth": (("B", "relu", "closed form", "identity", "closed form"), rows)},
        {"growth": growth, "each": found[..., 0]},
    )


def figure(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    fine = np.geomspace(4, 512, 200)
    for i, (activation, colour) in enumerate((("relu", BLUE), ("identity", GREEN))):
        axes.plot(fine, [mean_field.batch_norm_growth(b, activation) for b in fine], color=colour, lw=1.2)
        each = result.data["each"][i]
        axes.plot(np.repeat(BATCHES, each.shape[1]), each.ravel(), "o", color=colour, alpha=0.35, ms=4, mew=0)
        axes.plot(BATCHES, result.data["growth"][i], "o", color=colour, ms=6)
        limit = mean_field.batch_norm_growth(math.inf, activation)
        axes.axhline(limit, color=FAINT, lw=1, zorder=0)
        axes.annotate(activation, (512, limit), (6, 4), textcoords="offset points", color=colour)
    axes.annotate("π/(π − 1)", (900, math.pi / (math.pi - 1)), (-50, -14), textcoords="offset points", color=GREY)
    axes.set_xscale("log", base=2)
    axes.set_xticks((4, 8, 16, 64, 256), (4, 8, 16, 64, 256))
    axes.set(xlabel="batch size B", ylabel="growth of |dL/dh|² per layer", ylim=(0.9, 3.2), xlim=(3.8, 900))
    axes.set_title("Gradients explode under batch norm: networks (dots) and closed forms (lines)")


def fisher(item: tuple[int, bool, float, int]) -> float:
    """(width, batch norm, gamma, seed) -> the largest eigenvalue of J J' / N; three hidden layers, N = 40, one output."""
    width, normalized, gamma, seed = item
    rng = np.random.default_rng([seed, width])
    x = rng.normal(size=(40, 10))
    shapes = [(width, 10), (width, width), (width, width), (1, width)]
    weights = [rng.normal(0, math.sqrt((2 if i < 3 else 1) / n), (m, n)) for i, (m, n) in enumerate(shapes)]

    def network(*w: Any) -> Any:
        a = x
        for layer in w[:-1]:
            h = a @ np.transpose(layer)
            if normalized:
                centred = h - np.mean(h, axis=0)
                h = gamma * centred / np.sqrt(np.mean(np.square(centred), axis=0))
            a = np.maximum(h, 0.0)
        return (a @ np.transpose(w[-1]))[:, 0]

    _, pull = vjp(network, *weights)
    jac = np.stack([np.concatenate([g.ravel() for g in pull(unit)]) for unit in np.eye(40)])
    return float(np.linalg.eigvalsh(jac @ jac.T / 40)[-1])


def measure_fisher(sweep: Sweep) -> Result:
    widths = (64, 128, 256)
    items = [(m, normalized, 1.0, s) for m in widths for normalized in (False, True) for s in SEEDS]
    gammas = (0.25, 0.5, 2.0)
    found = sweep(fisher, [*items, *((64, True, gamma, 0) for gamma in gammas)])
    plain, normalized = np.moveaxis(np.reshape(found[: len(items)], (len(widths), 2, len(SEEDS))), 1, 0)
    one = normalized[0, 0]
    numbers = [
        Number(f"gamma = {gamma}: largest eigenvalue over gamma^2 times that of gamma = 1", value / (gamma**2 * one), 1,
               1 - 1e-8, 1 + 1e-8)
        for gamma, value in zip(gammas, found[len(items) :], strict=True)
    ]  # fmt: skip
    for i, m in enumerate(widths):
        ratio = float(np.mean(normalized[i]) / np.mean(plain[i]))
        what = f"width {m}: with batch norm over without, mean of {len(SEEDS)} seeds"
        numbers.append(Number(what, ratio, "< 1/3", high=1 / 3))
    for name, values in (("plain", plain), ("batch norm", normalized)):
        slope = float(np.polyfit(np.log(widths), np.log(values.mean(axis=1)), 1)[0])
        numbers.append(Number(f"{name}: exponent of the width", slope, 1, asserted=False))
    rows = [(m, *(f(a[i]) for a in (plain, normalized) for f in (np.mean, np.min, np.max))) for i, m in enumerate(widths)]
    columns = ("width", "plain", "least", "most", "batch norm", "least", "most")
    return Result(
        numbers,
        "holds",
        "Batch norm lowers the largest eigenvalue of the Fisher matrix more than threefold, and with it raises the largest "
        "stable learning rate; smaller gamma lowers it by exactly gamma^2. Both grow with the width: batch norm in hidden "
        "layers does not remove the outlier.",
        {"largest eigenvalue": (columns, rows)},
        {"widths": widths, "plain": plain, "batch norm": normalized},
    )


def figure_fisher(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    widths = np.array(result.data["widths"])
    for name, colour in (("plain", RED), ("batch norm", BLUE)):
        values = result.data[name]
        axes.loglog(widths, values.mean(axis=1), "o-", color=colour)
        axes.plot(np.repeat(widths, values.shape[1]), values.ravel(), "o", color=colour, alpha=0.35, mew=0)
        axes.annotate(name, (widths[-1], values[-1].mean()), (9, -3), textcoords="offset points", color=colour)
    axes.set_xticks(widths, widths)
    axes.set_xticks([], minor=True)
    axes.set_yticks((10, 30, 100, 300), (10, 30, 100, 300))
    axes.set_yticks([], minor=True)
    axes.set(xlabel="width", ylabel="largest eigenvalue of the Fisher matrix", xlim=(58, 400))
    axes.set_title("Batch norm flattens the Fisher matrix; both grow with the width")


CLAIMS = (
    Claim(
        "gradient-explosion",
        8,
        "batch norm makes gradients of deep random networks explode",
        YANG,
        "Batch norm's kernel has a fixed point that the batch size decides, and there squared gradients grow by (B-2)/(B-3) a "
        "layer (identity), by a closed form that tends to pi/(pi-1) (relu).",
        SEEDS,
        measure,
        figure,
        conditions="At initialization; B >= 4.",
    ),
    Claim(
        "fisher-information",
        8,
        "batch norm lowers the largest eigenvalue of the Fisher matrix",
        WEI,
        "Batch norm lowers the largest eigenvalue of the Fisher matrix and so raises the largest learning rate; smaller gamma "
        "is better.",
        SEEDS,
        measure_fisher,
        figure_fisher,
        conditions="Three hidden layers, N = 40, a scalar output, at initialization.",
    ),
)
