"""SGD on the sphere against SGD for scale-invariant weights: J. Sun et al., arXiv 2006.09104; M. Cho and J. Lee, 1709.09603."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.landscape import landscape
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import NEW_INTERPRETATIONS
from refnorm.claims.style import BLUE, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, SphereSGD, Step, loss_and_gradients, train

KINDS = {"SGD": SGD, "SGD on the sphere": SphereSGD}
SEEDS, STEPS, EVERY, RATES = (0, 1, 2, 3, 4), 200, 10, (0.3, 3.0)
WEIGHT = "layer2.weight"


def run(item: tuple[str, float, int]) -> dict[str, Any]:
    """Norm of a weight, its effective learning rate lr / ||w||^2 (rows' mean), the loss range along the gradient; over time."""
    kind, lr, seed = item
    digits, net = load_digits(), MLP((64, 48, 48, 48, 10), norm="batch_norm")
    path: list[tuple[float, float, float]] = []

    def hear(s: Step) -> None:
        if s.step % EVERY == 0:
            squared = np.sum(np.square(s.parameters[WEIGHT]), axis=1)
            seen = landscape(lambda p: loss_and_gradients(net, p, s.x, s.labels), s.parameters, s.gradients, (0.1, 0.4, 1.0))
            path.append((float(np.sqrt(squared.sum())), float(lr * np.mean(1 / squared)), seen.loss_range))

    done = train(
        net, digits.rows, digits.labels, steps=STEPS, batch_size=32, optimizer=KINDS[kind](lr), seed=seed, progress=hear
    )
    accuracy = done.accuracy(digits.test_rows, digits.test_labels)
    return {"path": np.array(path), "loss": float(done.losses[-30:].mean()), "accuracy": accuracy}


def measure(sweep: Sweep) -> Result:
    items = [(k, lr, s) for k in KINDS for lr in RATES for s in SEEDS]
    found = dict(zip(items, sweep(run, items), strict=True))
    numbers, rows = [], []
    for k in KINDS:
        for lr in RATES:
            drift = [found[k, lr, s]["path"][-1, 0] / found[k, lr, s]["path"][0, 0] - 1 for s in SEEDS]
            words = f"{k}, lr {lr:g}"
            if k == "SGD":
                numbers.append(
                    Number(f"{words}: growth of the norm, least of 5 seeds", min(drift), low=0.0, note=f"to {max(drift):.3f}")
                )
            else:
                numbers.append(Number(f"{words}: largest change of the norm", float(np.max(np.abs(drift))), 0.0, high=1e-12))
            row = [np.median([found[k, lr, s][what] for s in SEEDS]) for what in ("loss", "accuracy")]
            rates = [found[k, lr, s]["path"][-1, 1] / found[k, lr, s]["path"][0, 1] for s in SEEDS]
            ranges = [float(np.mean(found[k, lr, s]["path"][:, 2])) for s in SEEDS]
            rows.append((k, lr, float(np.median(drift)), float(np.median(rates)), float(np.median(ranges)), *map(float, row)))
    for lr in RATES:
        ratio = [
            float(np.mean(found["SGD on the sphere", lr, s]["path"][:, 2]) / np.mean(found["SGD", lr, s]["path"][:, 2]))
            for s in SEEDS
        ]
        numbers.append(
            Number(
                f"loss range along the gradient, sphere / SGD, lr {lr:g}: median of 5 seeds",
                float(np.median(ratio)),
                asserted=False,
                note=f"from {min(ratio):.2f} to {max(ratio):.2f}",
            )
        )
    return Result(
        numbers,
        "holds under conditions",
        "On the sphere norms, and with them effective learning rates, stay what they were. That by itself does not calm "
        "training: plain SGD lowers its own effective rate, and at a learning rate of 3 its loss ranges less in every seed.",
        {
            "medians over seeds": (
                ("optimizer", "lr", "growth of the norm", "effective rate, end / start", "loss range", "loss", "test accuracy"),
                rows,
            )
        },
        {
            "paths": {
                f"{k}, lr {lr:g}": np.median([found[k, lr, s]["path"] for s in SEEDS], axis=0) for k in KINDS for lr in RATES
            }
        },
    )


def figure(result: Result, figure: Any) -> None:
    panels = figure.subplots(1, 3)
    steps = EVERY * np.arange(STEPS // EVERY)
    for axes, j, title in zip(
        panels, range(3), ("norm of a weight", "effective learning rate", "range of the loss"), strict=True
    ):
        for k, colour in (("SGD", RED), ("SGD on the sphere", BLUE)):
            for lr, line in zip(RATES, ("-", "--"), strict=True):
                axes.plot(
                    steps,
                    np.asarray(result.data["paths"][f"{k}, lr {lr:g}"])[:, j],
                    line,
                    color=colour,
                    label=f"{k}, lr {lr:g}",
                )
        axes.set(title=title, xlabel="step", yscale="log" if j else "linear")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


CLAIMS = (
    Claim(
        "sphere-optimization",
        16,
        "scale-invariant weights kept on their spheres",
        NEW_INTERPRETATIONS,
        "Optimization on the sphere keeps the norms of weights and stabilizes training.",
        SEEDS,
        measure,
        figure,
        conditions="digits, MLP of four layers with batch norm, 200 steps",
    ),
)
