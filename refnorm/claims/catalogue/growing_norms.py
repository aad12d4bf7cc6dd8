"""Growing norms of weights, and what they do to attacks: J. Sun et al., New Interpretations of Normalization Methods in Deep
Learning, arXiv 2006.09104.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.adversarial import accuracy_under_attack
from refnorm.analysis.landscape import norm
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import NEW_INTERPRETATIONS
from refnorm.claims.style import BLUE, GREEN, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, Step, train

KINDS = {"plain": None, "batch norm": "batch_norm", "layer norm": "layer_norm"}
SEEDS, EPSILONS, STEPS = (0, 1, 2, 3, 4), (0.0, 0.05, 0.1), 400
WEIGHTS = ("layer1.weight", "layer2.weight")


def growth_error(eps: float) -> float:
    """The largest relative error of ||w - eta g||^2 = ||w||^2 + eta^2 ||g||^2 over a training run without weight decay."""
    digits, worst = load_digits(), 0.0

    def hear(s: Step) -> None:
        nonlocal worst
        for name in WEIGHTS:
            old, g, new = (float(np.sum(np.square(a[name]))) for a in (s.parameters, s.gradients, s.updated))
            worst = max(worst, abs(new / (old + 0.1**2 * g) - 1))

    net = MLP((64, 32, 32, 10), norm="batch_norm", norm_options={"eps": eps})
    train(net, digits.rows, digits.labels, steps=200, batch_size=64, optimizer=SGD(0.1), progress=hear)
    return worst


def attacked(item: tuple[str, int]) -> dict[str, Any]:
    """Norms and accuracies under attack along a run; and after a rescaling of the weights that the function does not see."""
    kind, seed = item
    digits = load_digits()
    options = {"eps": 0.0} if KINDS[kind] else {}
    net = MLP((64, 32, 32, 10), norm=KINDS[kind], norm_options=options, bias=False)
    path: list[tuple[int, float, float]] = []

    def accuracies(parameters: Any, state: Any, training: bool) -> list[float]:
        return [
            accuracy_under_attack(net, parameters, digits.test_rows, digits.test_labels, e, state, training) for e in EPSILONS
        ]

    def hear(s: Step) -> None:
        if s.step % 40 == 0:
            under = accuracy_under_attack(net, s.parameters, digits.test_rows, digits.test_labels, 0.1, training=True)
            path.append((s.step, norm(s.parameters[n] for n in WEIGHTS), under))

    run = train(net, digits.rows, digits.labels, steps=STEPS, batch_size=64, optimizer=SGD(0.1), seed=seed, progress=hear)
    scaled = {
        **run.parameters,
        "layer1.weight": 7 * run.parameters["layer1.weight"],
        "layer2.weight": 0.2 * run.parameters["layer2.weight"],
    }
    return {
        "re-estimated": [accuracies(p, run.state, True) for p in (run.parameters, scaled)],
        "frozen": [accuracies(p, run.state, False) for p in (run.parameters, scaled)],
        "path": path,
    }


def measure(sweep: Sweep) -> Result:
    items = [(kind, s) for kind in KINDS for s in SEEDS]
    found = dict(zip(items, sweep(attacked, items), strict=True))
    exact, usual = sweep(growth_error, (0.0, 1e-5))
    numbers = [
        Number("||w+||^2 = ||w||^2 + lr^2 ||g||^2, eps 0: largest relative error over 200 steps", exact, high=1e-12),
        Number("the same at eps 1e-5", usual, 2e-7, high=1e-6),
    ]
    for kind in ("batch norm", "layer norm"):
        gaps = [abs(a - b) for s in SEEDS for a, b in zip(*found[kind, s]["re-estimated"], strict=True)]
        numbers.append(
            Number(f"{kind}, W_1 x 7 and W_2 x 0.2: largest change of an accuracy under attack", max(gaps), 0.0, high=0.0)
        )
    drops = [found["batch norm", s]["frozen"][1][0] - found["batch norm", s]["frozen"][0][0] for s in SEEDS]
    numbers.append(
        Number("the same with frozen statistics: change of the clean accuracy, mean", float(np.mean(drops)), asserted=False)
    )
    rows = []
    for kind in KINDS:
        for i, e in enumerate(EPSILONS):
            values = [found[kind, s]["re-estimated"][0][i] for s in SEEDS]
            rows.append((kind, e, float(np.mean(values)), min(values), max(values)))
        paths = np.array([found[kind, s]["path"] for s in SEEDS])
        correlation = [float(np.corrcoef(p[2:, 1], p[2:, 2])[0, 1]) for p in paths]
        numbers.append(
            Number(
                f"{kind}: correlation of norm and accuracy at eps 0.1 along training, mean",
                float(np.mean(correlation)),
                asserted=False,
                note=f"from {min(correlation):.2f} to {max(correlation):.2f}",
            )
        )
    return Result(
        numbers,
        "holds under conditions",
        "Norms of scale-invariant weights grow with every step, exactly as Pythagoras says. That they amplify attacks does "
        "not follow: rescaled weights are attacked with exactly the same success, unless statistics are frozen, and along "
        "training the accuracy under attack rises with the norm.",
        {"accuracy under FGSM": (("network", "eps", "mean", "least", "most"), rows)},
        {"paths": {kind: [found[kind, s]["path"] for s in SEEDS] for kind in KINDS}},
    )


def figure(result: Result, figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for (kind, paths), colour in zip(result.data["paths"].items(), (RED, BLUE, GREEN), strict=True):
        paths = np.asarray(paths)
        middle = np.median(paths, axis=0)
        left.plot(middle[:, 0], middle[:, 1] / middle[0, 1], color=colour, label=kind)
        right.plot(paths[:, 1:, 1].T, paths[:, 1:, 2].T, color=colour, lw=0.6, alpha=0.5)
        right.plot(middle[1:, 1], middle[1:, 2], "o-", color=colour, label=kind)
    left.set(title="norm of the hidden weights, over its start", xlabel="step")
    right.set(title="accuracy under FGSM, eps 0.1, along training", xlabel="norm of the hidden weights")
    left.legend()


CLAIMS = (
    Claim(
        "growing-norms",
        10,
        "norms of weights grow; do attacks?",
        NEW_INTERPRETATIONS,
        "Without weight decay the norms of scale-invariant weights grow in training, and growing norms amplify adversarial "
        "attacks.",
        SEEDS,
        measure,
        figure,
        conditions="the norm is not causal where statistics are re-estimated; the paper's own measure of attacks was not found",
    ),
)
