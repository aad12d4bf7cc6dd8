"""Spectra of each layer over training: L. Huang et al., arXiv 2002.10801; measures in refnorm/analysis/conditioning.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.conditioning import condition_number, layer_spectra
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import CONDITIONING
from refnorm.claims.style import BLUE, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, Step, train

NORMS = {"plain": None, "batch norm": "batch_norm"}
SEEDS, STEPS, EVERY, LAYERS = (0, 1, 2, 3, 4), 200, 20, 6
PANELS = ("inputs, kappa_50", "inputs, kappa_80", "output gradients, kappa_50", "output gradients, kappa_80")


def path(item: tuple[str, int]) -> np.ndarray:
    """(times, 4): the geometric mean over layers 2 to 5 of each panel's condition number, on 512 samples in training mode."""
    norm, seed = item
    digits, net = load_digits(), MLP((64, *(48,) * (LAYERS - 1), 10), norm=NORMS[norm])
    found: list[np.ndarray] = []

    def hear(s: Step) -> None:
        if s.step % EVERY == 0:
            spectra = layer_spectra(net, s.parameters, digits.rows[:512], digits.labels[:512])
            chosen = [spectra[f"layer{k}"] for k in range(2, LAYERS)]
            values = [[condition_number(e, p) for e in (c.inputs, c.gradients) for p in (0.5, 0.8)] for c in chosen]
            found.append(np.exp(np.mean(np.log(values), axis=0)))

    train(net, digits.rows, digits.labels, steps=STEPS, batch_size=64, optimizer=SGD(0.1), seed=seed, progress=hear)
    return np.array(found)


def measure(sweep: Sweep) -> Result:
    items = [(norm, s) for norm in NORMS for s in SEEDS]
    found = dict(zip(items, sweep(path, items), strict=True))
    numbers, rows = [], []
    for j, panel in enumerate(PANELS):
        ratios = np.array([found["batch norm", s][:, j] / found["plain", s][:, j] for s in SEEDS])
        worst = np.max(ratios, axis=1)
        always = bool(j < 2)
        numbers.append(
            Number(
                f"{panel}, batch norm / plain: the largest of all times and seeds",
                float(worst.max()),
                high=0.5 if always else None,
                asserted=always,
                note=f"median {np.median(ratios):.2g}",
            )
        )
        rows.append((panel, *(float(np.median([found[n, s][t, j] for s in SEEDS])) for n in NORMS for t in (0, -1))))
    return Result(
        numbers,
        "holds under conditions",
        "What goes into a layer is better conditioned with batch norm at every time and in every seed; of the gradients that "
        "come back the table tells.",
        {"medians": (("spectrum", "plain, start", "plain, end", "batch norm, start", "batch norm, end"), rows)},
        {"paths": {n: np.array([found[n, s] for s in SEEDS]) for n in NORMS}},
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(8, 5.5)
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for axes, j, title in zip(panels, range(4), PANELS, strict=True):
        for name, colour in (("plain", RED), ("batch norm", BLUE)):
            paths = np.asarray(result.data["paths"][name])[:, :, j]
            steps = EVERY * np.arange(paths.shape[1])
            axes.plot(steps, paths.T, color=colour, lw=0.5, alpha=0.5)
            axes.plot(steps, np.median(paths, axis=0), color=colour, label=name)
        axes.set(title=title.replace("kappa_50", "$\\kappa_{50\\%}$").replace("kappa_80", "$\\kappa_{80\\%}$"), yscale="log")
    for axes in panels[2:]:
        axes.set_xlabel("step")
    panels[0].legend()


CLAIMS = (
    Claim(
        "layer-spectra",
        16,
        "the conditioning of each layer over training",
        CONDITIONING,
        "Batch norm improves and stabilizes the conditioning of each layer over training.",
        SEEDS,
        measure,
        figure,
        conditions="digits, MLP of six layers of 48, SGD 0.1, 200 steps; geometric mean over the hidden layers",
    ),
)
