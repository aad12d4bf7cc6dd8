"""Group norm between two dangers, in closed form: exploding gradients in small groups, samples alike in large ones.

E. S. Lubana et al., arXiv 2106.05956, show both and bound them; the exact forms are derived in analysis/mean_field.py.
G counts the channels of a group; no positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis import mean_field
from refnorm.analysis.wide_network import cosine, passage
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import BEYOND_BATCH_NORM
from refnorm.claims.style import BLUE, COLOURS, FAINT, GREY, RED
from refnorm.claims.sweep import Sweep

SEEDS = tuple(range(8))
WIDTH, DEPTH, BATCH = 1024, 20, 8
GROUPS = (4, 8, 16, 32, 256, 1024)
CORRELATIONS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
CHANNELS = (2, 3, 4, 8, 64)


def network(item: tuple[int, int]) -> tuple[float, float]:
    """(G, seed) -> growth of the squared gradient, mean cosine of the last layer's outputs."""
    channels, seed = item
    options = {"num_groups": WIDTH // channels, "eps": 0.0}
    passed = passage(rn.group_norm, options, width=WIDTH, depth=DEPTH, batch=BATCH, rng=np.random.default_rng([seed, channels]))
    return passed.growth(skipped=2), cosine(passed.kernels[-1])


def similarity(item: tuple[int, float]) -> float:
    """(G, rho) -> the mean cosine of two samples of correlation rho after group norm, 200 000 groups."""
    channels, rho = item
    rng = np.random.default_rng([channels, int(1000 * rho)])
    groups = 200_000 if channels < 64 else 20_000
    a, noise = rng.normal(size=(2, groups, channels))
    b = rho * a + np.sqrt(1 - rho * rho) * noise
    x = np.stack([a.ravel(), b.ravel()])
    y = rn.group_norm(x, num_groups=groups, eps=0.0).reshape(2, groups, channels)
    return float(np.mean(np.sum(y[0] * y[1], axis=1)) / channels)


def measure(sweep: Sweep) -> Result:
    found = np.reshape(sweep(network, [(g, seed) for g in GROUPS for seed in SEEDS]), (len(GROUPS), len(SEEDS), 2))
    growth, alike = np.exp(np.log(found[..., 0]).mean(axis=1)), found[..., 1].mean(axis=1)
    cells = [(g, rho) for g in CHANNELS for rho in CORRELATIONS]
    mapped = dict(zip(cells, sweep(similarity, cells), strict=True))
    numbers = []
    for g, value in zip(GROUPS, growth, strict=True):
        exact = mean_field.group_norm_growth(g)
        wide, note = (0.1, "; heavy tails, 1/s^2 has no variance") if g == 4 else (0.02, "")
        numbers.append(Number(f"G = {g}: growth of the squared gradient per layer", value, None, exact * (1 - wide),
                              exact * (1 + wide), note=f"exact: {exact:.4f}{note}"))  # fmt: skip
    for g in CHANNELS:
        error = max(abs(mapped[g, rho] - float(mean_field.group_norm_similarity(g, rho))) for rho in CORRELATIONS)
        numbers.append(Number(f"G = {g}: similarity map, largest error", error, high=0.006, note="6 correlations, sampled"))
    asin = max(abs(float(mean_field.group_norm_similarity(2, rho)) - 2 / np.pi * np.arcsin(rho)) for rho in CORRELATIONS)
    numbers += [
        Number("G = 2: the closed form less (2/pi) asin(rho)", float(asin), high=1e-9),
        Number("smallest step of the last layer's cosine from G to the next G", float(np.min(np.diff(alike))), None,
               asserted=False, note="4 to 1024 channels, mean of the seeds"),
    ]  # fmt: skip
    rows = [(g, float(growth[i]), mean_field.group_norm_growth(g), float(alike[i])) for i, g in enumerate(GROUPS)]
    return Result(
        numbers,
        "holds",
        "Squared gradients grow by (G - 2)/(G - 3) a layer: twofold at 4 channels a group, 3% at 32. What large groups cost "
        f"is seen forward: after {DEPTH} layers samples have a cosine of {alike[0]:.2f} at G = 4, {alike[-1]:.2f} at {WIDTH}.",
        {"networks": (("G", "growth", "(G-2)/(G-3)", "cosine after 20 layers"), rows)},
        {"growth": found[..., 0], "mapped": mapped},
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 3.8)
    left, right = figure.subplots(1, 2)
    fine = np.geomspace(3.4, 1200, 300)
    left.semilogx(fine, [mean_field.group_norm_growth(g) for g in fine], color=GREY, lw=1)
    left.plot(np.repeat(GROUPS, len(SEEDS)), result.data["growth"].ravel(), "o", color=BLUE, alpha=0.7, mew=0)
    left.axvline(3, color=FAINT, lw=1, zorder=0)
    left.axhline(1, color=FAINT, lw=1, zorder=0)
    left.annotate("G = 3: infinite", (3, 3.2), (5, 0), textcoords="offset points", color=GREY)
    left.set_xticks(GROUPS, GROUPS)
    left.set_xticks([], minor=True)
    left.set(xlabel="channels a group, G", ylabel="growth of |dL/dh|² per layer", ylim=(0.9, 3.4))
    left.set_title("Small groups: gradients explode")
    rho = np.linspace(0, 1, 200)
    for g, colour in zip(CHANNELS, (RED, *COLOURS[2:5], BLUE), strict=True):
        right.plot(rho, mean_field.group_norm_similarity(g, rho) - rho, color=colour, lw=1.2)
        right.plot(CORRELATIONS, [result.data["mapped"][g, r] - r for r in CORRELATIONS], "o", color=colour, ms=3.5)
        least = int(np.argmin(mean_field.group_norm_similarity(g, rho) - rho))
        low = float(mean_field.group_norm_similarity(g, rho[least]) - rho[least])
        right.annotate(f"G = {g}", (rho[least], low), (0, -12), textcoords="offset points", color=colour, ha="center")
    right.set(xlabel="correlation of two samples before", ylabel="cosine after, less before", ylim=(-0.25, 0.01))
    right.set_title("but keep samples apart; large groups do not")


CLAIMS = (
    Claim(
        "group-norm-growth",
        7,
        "group norm's gradient growth and similarity map, exactly",
        BEYOND_BATCH_NORM,
        "With relu squared gradients grow by (G - 2)/(G - 3) per layer, G channels a group; two samples' cosine passes a group "
        "norm as E cos = rho (2/p) (Gamma((p+1)/2)/Gamma(p/2))^2 2F1(1/2, 1/2; p/2+1; rho^2), p = G - 1.",
        SEEDS,
        measure,
        figure,
        origin="refnorm",
        conditions="Wide dense networks at initialization, no positions.",
    ),
)
