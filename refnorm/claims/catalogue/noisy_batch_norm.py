"""Noise behind batch norm, and learning rates that only networks with batch norm stand: S. Santurkar et al., arXiv
1805.11604."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import HOW_BATCH_NORM_HELPS
from refnorm.claims.style import BLUE, FAINT, GREEN, GREY, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, train
from refnorm.nets.network import Pass

NORMS = {"plain": None, "batch norm": "batch_norm"}
SEEDS = (0, 1, 2, 3, 4)
FEW = SEEDS[:3]


@dataclass(frozen=True)
class NoisyMLP(MLP):
    """After each norm a <- s a + b: mu ~ U(-.5, .5), sd ~ U(1, 1.25) a unit and step, b ~ U(mu +- .1), s ~ N(sd, .1) a sample.

    The number of the pass is kept in the state, so that a pass stays a function of its arguments.
    """

    seed: int = 0

    def body(self, run: Pass, x: Any) -> Any:
        count = run.states.get("passes", 0)
        rng = np.random.default_rng((self.seed, count))
        for k, units in enumerate(self.sizes[1:-1], 1):
            x = run.normalize(f"norm{k}", run.layer(f"layer{k}", x, units))
            mu, sd = rng.uniform(-0.5, 0.5, units), rng.uniform(1, 1.25, units)
            shape = (np.shape(x)[0], units)
            if run.training:
                x = rng.normal(sd, 0.1, shape) * x + rng.uniform(mu - 0.1, mu + 0.1, shape)
            x = np.maximum(x, 0)
        run.states["passes"] = count + 1
        return run.layer("output", x, self.sizes[-1], hidden=False)


def noisy_run(item: tuple[str, float, int, int]) -> np.ndarray:
    """Losses of a run, smoothed over 10 steps."""
    kind, lr, steps, seed = item
    sizes = (64, *(64,) * 5, 10)
    net = NoisyMLP(sizes, norm="batch_norm", seed=seed) if kind == "noisy" else MLP(sizes, norm=NORMS[kind])
    digits = load_digits()
    losses = train(net, digits.rows, digits.labels, steps=steps, batch_size=64, optimizer=SGD(lr), seed=seed).losses
    padded = np.concatenate([losses, np.full(steps - len(losses), np.nan)])
    return padded.reshape(-1, 10).mean(axis=1)


def measure_noisy(sweep: Sweep) -> Result:
    kinds, large = ("plain", "batch norm", "noisy"), [(k, lr, 200, s) for lr in (1.0, 3.0) for k in NORMS for s in FEW]
    items = [(k, 0.1, 600, s) for k in kinds for s in SEEDS] + large
    found = dict(zip(items, sweep(noisy_run, items), strict=True))
    numbers, rows = [], []
    for at, seen in ((200, (0.144, 0.082, 0.136)), (600, (0.005, 0.016, 0.061))):
        for k, paper in zip(kinds, seen, strict=True):
            values = [found[k, 0.1, 600, s][at // 10 - 1] for s in SEEDS]
            numbers.append(
                Number(
                    f"loss at step {at}, {k}: median of {len(SEEDS)} seeds",
                    float(np.median(values)),
                    paper,
                    asserted=False,
                    note=f"from {min(values):.3f} to {max(values):.3f}",
                )
            )
    for lr in (1.0, 3.0):
        finals = {k: [found[k, lr, 200, s][-1] for s in FEW] for k in NORMS}
        rows += [(lr, k, *v) for k, v in finals.items()]
        stuck = [not v < 1.0 for v in finals["plain"]]
        numbers.append(
            Number(f"seeds in which the plain network is stuck or NaN at lr {lr:g}", sum(stuck), len(FEW), low=len(FEW))
        )
        numbers.append(
            Number(
                f"largest loss with batch norm at lr {lr:g} after 200 steps",
                max(finals["batch norm"]),
                {1.0: "0.05", 3.0: "0.13-0.20"}[lr],
                high=1.0,
            )
        )
    return Result(
        numbers,
        "holds under conditions",
        "Noise behind the norm leaves training as fast as the plain network's at first and slows it later: on digits that "
        "part of the claim is weak. That batch norm trains at learning rates at which the plain network does not is strong.",
        {"loss after 200 steps at large learning rates": (("lr", "network", *(f"seed {s}" for s in FEW)), rows)},
        {
            "curves": {k: np.median([found[k, 0.1, 600, s] for s in SEEDS], axis=0) for k in kinds},
            "large": {k: [found[k, 1.0, 200, s] for s in FEW] for k in NORMS},
        },
    )


def figure_noisy(result: Result, figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for (kind, curve), colour in zip(result.data["curves"].items(), (RED, BLUE, GREEN), strict=True):
        left.plot(
            10 * np.arange(1, len(curve) + 1), curve, color=colour, label={"noisy": "batch norm, then noise"}.get(kind, kind)
        )
    left.axvline(200, color=FAINT, lw=0.8)
    left.set(title="learning rate 0.1: noise behind the norm", yscale="log", xlabel="step", ylabel="training loss")
    left.legend()
    for curves, colour in zip(result.data["large"].values(), (RED, BLUE), strict=True):
        for curve in curves:
            right.plot(10 * np.arange(1, len(curve) + 1), curve, color=colour, lw=0.9)
    right.axhline(np.log(10), color=GREY, lw=0.8, ls=":")
    right.set(title="learning rate 1: three seeds each", yscale="log", xlabel="step", ylim=(None, 20))
    right.text(200, np.log(10), "guessing", color=GREY, ha="right", va="bottom", fontsize=8.5)


CLAIMS = (
    Claim(
        "noisy-batch-norm",
        6,
        "noise behind the norm, and large learning rates",
        HOW_BATCH_NORM_HELPS,
        "A network whose batch norms are followed by noise that changes every step trains as fast as with batch norm alone, "
        "and faster than without; batch norm trains at learning rates at which the plain network does not.",
        SEEDS,
        measure_noisy,
        figure_noisy,
        conditions="digits, MLP of six layers of width 64",
    ),
)
