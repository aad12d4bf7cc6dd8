"""Which population batch norm should average: sigma or sigma^2.  L. Huang et al., arXiv 2009.12836; frameworks.

For normal samples of deviation sigma, a batch of m has (m s^2 / sigma^2) ~ chi2 with m - 1 degrees of freedom, s^2 biased:

    E s / sigma = sqrt(2/m) Gamma(m/2) / Gamma((m-1)/2)      E s^2 / sigma^2 = (m - 1)/m      unbiased: 1

so after many batches the running average of s tends to the first, of s^2 (through the root) to sqrt((m-1)/m), of the unbiased
variance to 1.  By Jensen's inequality the first is the smallest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import SURVEY
from refnorm.claims.style import BLUE, FAINT, GREEN, RED
from refnorm.claims.sweep import Sweep
from refnorm.methods import batch_norm

SEEDS, BATCHES, DRAWS, CHANNELS = (0, 1, 2, 3, 4), (2, 4, 8, 16, 64, 256), 400, 64
WAYS = ("sigma", "sigma^2, biased", "sigma^2, unbiased")


def exact(way: str, m: int) -> float:
    """What the deviation taken from the population tends to, over the true one."""
    if way == "sigma":
        return math.sqrt(2 / m) * math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2))
    return math.sqrt((m - 1) / m) if way == "sigma^2, biased" else 1.0


def averaged(item: tuple[int, int]) -> dict[str, float]:
    """Each way's mean over 400 batches and 64 channels, by refnorm's own running statistics (momentum None: the mean of
    all)."""
    m, seed = item
    rng, sigma = np.random.default_rng((seed, m)), 0.0
    state: Any = None
    for _ in range(DRAWS):
        x = 3 * rng.normal(size=(m, CHANNELS)) + 1
        state = batch_norm(x, state=state, momentum=None)[1]
        sigma += float(np.mean(x.std(axis=0))) / DRAWS
    variance = float(np.mean(state.var))  # the torch dialect keeps the unbiased one
    return {
        "sigma": sigma / 3,
        "sigma^2, biased": math.sqrt(variance * (m - 1) / m) / 3,
        "sigma^2, unbiased": math.sqrt(variance) / 3,
    }


def measure(sweep: Sweep) -> Result:
    items = [(m, s) for m in BATCHES for s in SEEDS]
    found = dict(zip(items, sweep(averaged, items), strict=True))
    numbers, rows = [], []
    for m in BATCHES:
        row: list[Any] = [m]
        for way in WAYS:
            values = [found[m, s][way] for s in SEEDS]
            worst = max(abs(v / exact(way, m) - 1) for v in values)
            numbers.append(
                Number(
                    f"m = {m}, running average of {way}: largest relative error of the formula over 5 seeds",
                    worst,
                    high=0.02,
                    note=f"tends to {exact(way, m):.4f} of the true deviation",
                )
            )
            row += [exact(way, m), float(np.mean(values))]
        rows.append(tuple(row))
    columns = ("m", *(c for way in WAYS for c in (f"{way}, exact", "measured")))
    return Result(
        numbers,
        "holds",
        f"Averaging sigma underestimates the most, by {100 * (1 - exact('sigma', 4)):.0f}% at m = 4 and "
        f"{100 * (1 - exact('sigma', 64)):.1f}% at 64; averaging the unbiased sigma^2 not at all.",
        {"deviation from the population, over the true one": (columns, rows)},
        {"measured": {way: [[found[m, s][way] for s in SEEDS] for m in BATCHES] for way in WAYS}},
    )


def figure(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    axes.axhline(1, color=FAINT, lw=0.8)
    fine = range(2, 257)
    for way, colour in zip(WAYS, (RED, BLUE, GREEN), strict=True):
        axes.plot(fine, [exact(way, m) for m in fine], color=colour, label=f"average of {way}")
        axes.plot(BATCHES, np.mean(result.data["measured"][way], axis=1), "o", color=colour)
    axes.set(title="The deviation that evaluation uses, over the true one", xscale="log", xlabel="batch size m")
    axes.set_xticks(BATCHES, BATCHES)
    axes.set_xticks([], minor=True)
    axes.legend()


CLAIMS = (
    Claim(
        "running-deviation",
        16,
        "a population of sigma, or of sigma squared",
        SURVEY,
        "The tutorial averages sigma over batches; frameworks average sigma^2.",
        SEEDS,
        measure,
        figure,
        origin="refnorm",
        conditions="normal activations",
    ),
)
