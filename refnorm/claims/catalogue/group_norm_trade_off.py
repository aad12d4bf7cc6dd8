"""Speed against stability in group norm: E. S. Lubana et al., Beyond BatchNorm, arXiv 2106.05956."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.convergence import steps_to
from refnorm.analysis.landscape import norm as length
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import BEYOND_BATCH_NORM
from refnorm.claims.style import BLUE
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import SGD, ConvNet, Step, train

SEEDS = (0, 1, 2, 3, 4)
GROUPS, CHANNELS, STEPS, TARGET = (1, 2, 4, 8, 16), 16, 120, 1.0


def group_run(item: tuple[int, int]) -> tuple[float, float, float]:
    """Steps to the target (120 where it is not reached); largest gradient norm of the first ten steps; median of the others."""
    groups, seed = item
    digits, sizes = load_digits(), []

    def hear(s: Step) -> None:
        sizes.append(length(s.gradients.values()))

    net = ConvNet(channels=(CHANNELS, CHANNELS), norm="group_norm", norm_options={"num_groups": groups})
    done = train(net, digits.images, digits.labels, steps=STEPS, batch_size=32, optimizer=SGD(0.1), seed=seed, progress=hear)
    return min(steps_to(done.losses, TARGET), STEPS), max(sizes[:10]), float(np.median(sizes[10:]))


def measure_groups(sweep: Sweep) -> Result:
    items = [(g, s) for g in GROUPS for s in SEEDS]
    found = dict(zip(items, sweep(group_run, items), strict=True))
    values = np.array([[found[g, s] for s in SEEDS] for g in GROUPS])
    rows = [(g, CHANNELS // g, *np.median(v, axis=0)) for g, v in zip(GROUPS, values, strict=True)]
    speed, early = values[0, :, 0] / values[-1, :, 0], values[-1, :, 1] / values[0, :, 1]
    numbers = [
        Number(
            f"steps to a loss of {TARGET:g}, layer norm / instance norm: median of 5 seeds",
            float(np.median(speed)),
            asserted=False,
            note=f"from {speed.min():.2f} to {speed.max():.2f}",
        ),
        Number(
            "largest early gradient, instance norm / layer norm: median of 5 seeds",
            float(np.median(early)),
            asserted=False,
            note=f"from {early.min():.2f} to {early.max():.2f}",
        ),
    ]
    slower = "slower" if np.median(speed) > 1 else "faster"
    larger = "larger" if np.median(early) > 1 else "smaller"
    return Result(
        numbers,
        "reported",
        f"On this small network layer norm is {slower} than instance norm, whose early gradients are {larger} than layer "
        f"norm's.",
        {
            "medians over seeds": (
                ("groups", "channels a group", f"steps to {TARGET:g}", "largest of 10 early gradients", "median later"),
                rows,
            )
        },
        {"values": values},
    )


def figure_groups(result: Result, figure: Any) -> None:
    panels = figure.subplots(1, 2)
    values = np.asarray(result.data["values"])
    for axes, j, title in zip(
        panels, (0, 1), (f"steps to a training loss of {TARGET:g}", "largest gradient norm of the first ten steps"), strict=True
    ):
        axes.plot(GROUPS, values[:, :, j], "o", color=BLUE, alpha=0.4, mec="none")
        axes.plot(GROUPS, np.median(values[:, :, j], axis=1), "-", color=BLUE)
        axes.set(title=title, xlabel="groups (1: layer norm, 16: instance norm)", xscale="log", ylim=(0, None))
        axes.set_xticks(GROUPS, GROUPS)
        axes.set_xticks([], minor=True)


CLAIMS = (
    Claim(
        "group-norm-trade-off",
        16,
        "speed against stability in group norm",
        BEYOND_BATCH_NORM,
        "Layer norm trains slowly, instance norm is unstable; the group size trades the one for the other.",
        SEEDS,
        measure_groups,
        figure_groups,
        conditions="digits, a convolutional network of two layers, SGD 0.1, 120 steps",
    ),
)
