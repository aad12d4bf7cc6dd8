"""Normalizing weights against normalizing activations: L. Huang et al., Normalization Techniques, arXiv 2009.12836."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import SURVEY
from refnorm.claims.style import BLUE, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, train

SEEDS = (0, 1, 2, 3, 4)
METHODS: dict[str, dict[str, Any]] = {
    "batch norm": {"norm": "batch_norm"},
    "layer norm": {"norm": "layer_norm"},
    "group norm": {"norm": "group_norm", "norm_options": {"num_groups": 4}},
    "weight norm": {"weight_norm": "weight_norm"},
    "weight standardization": {"weight_norm": "weight_standardization"},
    "scaled weight standardization": {"weight_norm": "scaled_weight_standardization"},
    "orthogonal, Newton's iteration": {"weight_norm": "orthogonal_newton_iteration"},
    "spectral norm": {"weight_norm": "spectral_norm"},
}
ACTIVATIONS, METHOD_RATES, METHOD_STEPS = tuple(METHODS)[:3], (0.1, 0.3, 1.0), 60


def method_run(item: tuple[str, float, int]) -> tuple[float, float]:
    """Training loss at the end, test accuracy."""
    name, lr, seed = item
    digits = load_digits()
    net = MLP((64, *(32,) * 3, 10), **METHODS[name])
    done = train(net, digits.rows, digits.labels, steps=METHOD_STEPS, batch_size=64, optimizer=SGD(lr), seed=seed)
    loss = float(done.losses[-10:].mean())
    return loss if np.isfinite(loss) else np.inf, done.accuracy(digits.test_rows, digits.test_labels)


def measure_methods(sweep: Sweep) -> Result:
    items = [(name, lr, s) for name in METHODS for lr in METHOD_RATES for s in SEEDS]
    found = dict(zip(items, sweep(method_run, items), strict=True))
    medians = {n: [float(np.median([found[n, lr, s][0] for s in SEEDS])) for lr in METHOD_RATES] for n in METHODS}
    best = {n: METHOD_RATES[int(np.argmin(medians[n]))] for n in METHODS}
    losses = {n: np.array([found[n, best[n], s][0] for s in SEEDS]) for n in METHODS}
    tests = {n: np.array([found[n, best[n], s][1] for s in SEEDS]) for n in METHODS}
    rows = [
        (n, best[n], float(np.median(losses[n])), float(losses[n].min()), float(losses[n].max()), float(np.median(tests[n])))
        for n in METHODS
    ]
    numbers = []
    for n in METHODS:
        numbers.append(
            Number(
                f"training loss at its best rate, {n}: median of 5 seeds",
                float(np.median(losses[n])),
                asserted=False,
                note=f"lr {best[n]:g}; from {losses[n].min():.3f} to {losses[n].max():.3f}",
            )
        )
    weights = np.min([losses[n] for n in METHODS if n not in ACTIVATIONS], axis=0)
    gap = weights / losses["batch norm"]
    numbers.append(
        Number(
            "best norm of weights / batch norm, training loss: median of 5 seeds",
            float(np.median(gap)),
            asserted=False,
            note=f"from {gap.min():.2f} to {gap.max():.2f}",
        )
    )
    weighted = [n for n in METHODS if n not in ACTIVATIONS]
    ahead, beyond = (
        [n for n in weighted if np.median(losses[n]) < np.median(losses[other])] for other in ("batch norm", "layer norm")
    )
    return Result(
        numbers,
        "reported",
        f"Faster than batch norm: {', '.join(ahead) or 'none'}. Faster than layer norm: {', '.join(beyond) or 'none'}. On a "
        "network of four layers the claim depends on which norms one compares.",
        {
            f"after {METHOD_STEPS} steps, each at its best rate": (
                ("norm", "rate", "loss, median", "least", "most", "test accuracy, median"),
                rows,
            )
        },
        {"losses": losses},
    )


def figure_methods(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    losses = {n: np.asarray(v) for n, v in result.data["losses"].items()}
    for i, (n, v) in enumerate(sorted(losses.items(), key=lambda pair: -np.median(pair[1]))):
        colour = BLUE if n in ACTIVATIONS else RED
        axes.plot(v, [i] * len(v), "o", color=colour, alpha=0.5, mec="none")
        axes.plot([np.median(v)], [i], "D", color=colour, ms=7)
    axes.set_yticks(range(len(losses)), sorted(losses, key=lambda n: -np.median(losses[n])))
    axes.set(
        title=f"Training loss after {METHOD_STEPS} steps at the best rate (red: norms of weights)",
        xscale="log",
        xlabel="loss",
    )


CLAIMS = (
    Claim(
        "weights-or-activations",
        16,
        "normalizing weights against normalizing activations",
        SURVEY,
        "Normalizing weights is still not as effective as normalizing activations.",
        SEEDS,
        measure_methods,
        figure_methods,
        conditions="digits, MLP of four layers, 60 steps, each method at its best of three learning rates",
    ),
)
