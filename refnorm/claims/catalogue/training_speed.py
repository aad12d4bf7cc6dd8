"""Batch norm accelerates, stabilizes, generalizes: L. Huang et al., Normalization Techniques in Training DNNs, 2009.12836."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.convergence import steps_to
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import SURVEY
from refnorm.claims.style import BLUE, FAINT, GREY, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, train

SEEDS = (0, 1, 2, 3, 4)
RATES, STEPS, TARGET = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), 200, 0.2
NORMS = {"plain": None, "batch norm": "batch_norm"}


def run(item: tuple[str, float, int]) -> tuple[float, float, float]:
    """Steps to the target, loss at the end, test accuracy."""
    norm, lr, seed = item
    digits = load_digits()
    net = MLP((64, *(64,) * 4, 10), norm=NORMS[norm])
    done = train(net, digits.rows, digits.labels, steps=STEPS, batch_size=64, optimizer=SGD(lr), seed=seed)
    return steps_to(done.losses, TARGET), float(done.losses[-10:].mean()), done.accuracy(digits.test_rows, digits.test_labels)


def measure_speed(sweep: Sweep) -> Result:
    items = [(norm, lr, s) for norm in NORMS for lr in RATES for s in SEEDS]
    found = dict(zip(items, sweep(run, items), strict=True))

    def per_seed(norm: str, what: Any) -> list[float]:
        return [what([found[norm, lr, s] for lr in RATES]) for s in SEEDS]

    fastest = {n: per_seed(n, lambda runs: min(r[0] for r in runs)) for n in NORMS}
    stable = {n: per_seed(n, lambda runs: max(lr for lr, r in zip(RATES, runs, strict=True) if r[1] < 1)) for n in NORMS}
    tested = {n: per_seed(n, lambda runs: max(r[2] for r in runs)) for n in NORMS}
    speed = [p / b for p, b in zip(fastest["plain"], fastest["batch norm"], strict=True)]
    ratio = [b / p for p, b in zip(stable["plain"], stable["batch norm"], strict=True)]
    better = [b - p for p, b in zip(tested["plain"], tested["batch norm"], strict=True)]
    numbers = [
        Number(
            f"steps to a loss of {TARGET} at the best rate, plain / batch norm: least of 5 seeds",
            min(speed),
            low=1.2,
            note=f"to {max(speed):.2f}",
        ),
        Number(
            "largest stable learning rate, batch norm / plain: least of 5 seeds",
            min(ratio),
            low=3.0,
            note=f"to {max(ratio):.0f}",
        ),
        Number(
            "best test accuracy, batch norm - plain: mean of 5 seeds",
            float(np.mean(better)),
            asserted=False,
            note=f"from {min(better):+.3f} to {max(better):+.3f}",
        ),
    ]
    rows = [(n, lr, *np.median([found[n, lr, s] for s in SEEDS], axis=0)) for n in NORMS for lr in RATES]
    return Result(
        numbers,
        "holds under conditions",
        "Batch norm reaches a training loss in fewer steps and stands learning rates at which the plain network fails, in "
        "every seed; its best test accuracy is ahead by one to five points of a hundred.",
        {"medians over seeds": (("network", "learning rate", "steps to the loss", "loss at the end", "test accuracy"), rows)},
        {
            "end": {n: [[found[n, lr, s][1] for s in SEEDS] for lr in RATES] for n in NORMS},
            "steps": {n: [[found[n, lr, s][0] for s in SEEDS] for lr in RATES] for n in NORMS},
        },
    )


def figure_speed(result: Result, figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for n, colour in zip(NORMS, (RED, BLUE), strict=True):
        steps, end = (np.asarray(result.data[k][n], float) for k in ("steps", "end"))
        left.plot(RATES, np.minimum(steps, 1.1 * STEPS), "o", color=colour, alpha=0.4, mec="none")
        left.plot(RATES, np.minimum(np.median(steps, axis=1), 1.1 * STEPS), "-", color=colour, label=n)
        capped = np.where(np.isfinite(end), np.minimum(end, 5), 5)
        right.plot(RATES, capped, "o", color=colour, alpha=0.4, mec="none")
        right.plot(RATES, np.median(capped, axis=1), "-", color=colour, label=n)
    left.axhline(STEPS, color=FAINT, lw=0.8)
    left.set(title=f"steps to a training loss of {TARGET} (top: not in {STEPS})", xscale="log", xlabel="learning rate")
    right.axhline(np.log(10), color=GREY, lw=0.8, ls=":")
    right.set(title=f"training loss after {STEPS} steps", xscale="log", yscale="log", xlabel="learning rate")
    left.legend()


CLAIMS = (
    Claim(
        "training-speed",
        16,
        "batch norm accelerates, stabilizes, generalizes",
        SURVEY,
        "Batch norm accelerates training, stabilizes it at larger learning rates, and improves generalization.",
        SEEDS,
        measure_speed,
        figure_speed,
        conditions="digits, MLP of five layers, 200 steps, a grid of six learning rates",
    ),
)
