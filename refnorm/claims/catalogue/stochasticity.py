"""Stochasticity of batch whitening: L. Huang, L. Zhao, Y. Zhou, F. Zhu, L. Liu, L. Shao, CVPR 2020, arXiv 2003.12327.

What a sample becomes depends on the batch it is in (analysis/stochasticity.py).  Whitening looks at d (d + 3) / 2 statistics
where batch norm looks at 2 d, and PCA may turn all of them at once.  Samples are Gaussian, isotropic or with standard
deviations spread over a decade along random axes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis import batch_noise
from refnorm.analysis.stochasticity import disturbance, outputs
from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREEN, GREY, RED, YELLOW
from refnorm.claims.sweep import Sweep

SEEDS = (0, 1, 2)
POINTS, BATCHES = 6, 60
SIZES = (32, 64, 256, 1024)
ABOVE_ONE = 1 + 1e-9
TRANSFORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "PCA": (rn.batch_whitening_pca, {"eps": 1e-3}),
    "CD": (rn.batch_whitening_cholesky, {"eps": 1e-3}),
    "ZCA": (rn.batch_whitening_zca, {"eps": 1e-3}),
    "ItN5": (rn.iterative_norm, {"T": 5, "eps": 1e-5}),
    "BN": (rn.batch_norm, {"eps": 1e-5}),
}
FAMILIES: dict[str, dict[Any, tuple[Any, dict[str, Any]]]] = {
    "transforms": TRANSFORMS,
    "channels together": {k: (rn.batch_whitening_zca, {"eps": 1e-3, "num_groups": 32 // k}) for k in (2, 4, 8, 16, 32)},
    "steps": {T: (rn.iterative_norm, {"T": T, "eps": 1e-5}) for T in (1, 3, 5, 7, 9)},
}
COLOUR = dict(zip(TRANSFORMS, (RED, YELLOW, GREEN, BLUE, GREY), strict=True))


def draw(rng: np.random.Generator, d: int, m: int, spread: bool) -> np.ndarray:
    """(m, d), Gaussian; the axes of a spread covariance are drawn from a seed of their own, the same for all batches."""
    z = rng.normal(size=(m, d))
    if not spread:
        return z
    axes = np.linalg.qr(np.random.default_rng(99).normal(size=(d, d)))[0]
    return z * np.logspace(-0.5, 0.5, d) @ axes.T


def in_each_batch(norm: Any, options: dict[str, Any], batches: np.ndarray) -> np.ndarray:
    """What becomes of sample 0 of each batch: batches (s, m, d), answer (s, d).

    A stack of batches is a stack of blocks, so that the norm's operation takes all of them at once.
    """
    options, groups = dict(options), options.get("num_groups", 1)
    options.pop("num_groups", None)
    s, m, d = batches.shape
    z = np.reshape(np.swapaxes(batches, 1, 2), (s * groups, d // groups, m))
    return np.reshape(norm.declaration.operation.forward(z, **options)[0][:, :, 0], (s, d))


def disturbances(setting: tuple[str, int, int, bool, int]) -> list[float]:
    """(family, d, m, spread, seed) -> SND of each of the family, averaged over points, all in the same batches."""
    family, d, m, spread, seed = setting
    points = draw(np.random.default_rng([seed, d, spread]), d, POINTS, spread)         # the same for every m
    rng, found = np.random.default_rng([seed, d, m, spread]), []
    for x in points:
        batches = np.reshape(draw(rng, d, BATCHES * m, spread), (BATCHES, m, d))
        batches[:, 0] = x
        found.append([disturbance(in_each_batch(*norm, batches)) for norm in FAMILIES[family].values()])
    return [float(a) for a in np.mean(found, axis=0)]


def batch_scales(seed: int) -> np.ndarray:
    """sigma / sigma_m and (mu_m - mu) / sigma of many batches of 16, a channel of batch norm each; (2, channels)."""
    x = np.random.default_rng(seed).normal(size=(16, 100_000))
    saved = rn.batch_norm.forward(x, eps=0.0)[1].saved
    return np.stack([saved.rstd.ravel(), saved.mean.ravel()])


def pictures(seed: int) -> dict[str, np.ndarray]:
    """Where one sample goes in 300 batches of 32, the last two of 16 coordinates, for each transform."""
    clouds = {}
    for name, (norm, options) in TRANSFORMS.items():
        rng = np.random.default_rng(seed)
        others = (draw(rng, 16, 31, False) for _ in range(300))
        clouds[name] = outputs(partial(_alone, norm, options), np.ones(16), others)[:, -2:]
    return clouds


def _alone(norm: Any, options: dict[str, Any], batch: np.ndarray) -> np.ndarray:
    return norm(batch, **options)[0]


def measure(sweep: Sweep) -> Result:
    grid = [("transforms", d, m, spread) for d in (4, 16) for spread in (False, True) for m in SIZES]
    groups, steps = ("channels together", 32, 64, False), ("steps", 16, 64, False)
    widths = [("transforms", d, 64, False) for d in (4, 8, 16, 32)]
    settings = list(dict.fromkeys([*grid, groups, steps, *widths]))
    found = sweep(disturbances, [(*s, seed) for s in settings for seed in SEEDS])
    at = {s: np.array(found[i * len(SEEDS) : (i + 1) * len(SEEDS)]) for i, s in enumerate(settings)}        # (seeds, family)
    scale, shift = np.concatenate(sweep(batch_scales, SEEDS), axis=1)

    names = list(TRANSFORMS)
    mean = {s: values.mean(axis=0) for s, values in at.items()}
    of = {name: [at["transforms", 16, m, False][:, i] for m in SIZES] for i, name in enumerate(names)}
    order = {d: min(_least_ratio(at[s][:, ::-1]) for s in grid if s[1] == d) for d in (4, 16)}
    wide = np.stack([at[s] for s in widths])                                            # (widths, seeds, transforms)
    falls, flat = (np.mean(of[n][SIZES.index(64)] / of[n][SIZES.index(1024)]) for n in ("ZCA", "PCA"))
    numbers = [
        Number("d = 16: smallest ratio of neighbours in PCA > CD > ZCA > ItN > BN", order[16], None, ABOVE_ONE,
               note=f"8 settings, {len(SEEDS)} seeds each"),
        Number("d = 4: the same", order[4], None, asserted=False),
        Number("ZCA: SND at m = 64 over m = 1024", falls, None, 3.8, 5.0, note="sqrt(16) = 4, and more at small m"),
        Number("PCA: SND at m = 64 over m = 1024", flat, None, 0.9, 1.1, note="flat"),
        Number("ZCA: smallest ratio of SND, group size doubled", _least_ratio(at[groups]), None, ABOVE_ONE,
               note="sizes 2 to 32, d = 32, m = 64"),
        Number("ZCA: smallest ratio of SND, dimension doubled", _least_ratio(wide[..., names.index("ZCA")].T), None, ABOVE_ONE,
               note="d = 4 to 32, m = 64"),
        Number("BN: the same", _least_ratio(wide[..., names.index("BN")].T), None, ABOVE_ONE),
        Number("ItN: smallest ratio of SND, two more steps", _least_ratio(at[steps]), None, asserted=False,
               note="T = 1 to 9, towards ZCA"),
    ]  # fmt: skip
    for what, measured, exact in (
        ("E[sigma / sigma_m], m = 16", scale.mean(), batch_noise.mean_scale(16)),
        ("E[(sigma / sigma_m)^2], m = 16", np.mean(scale**2), batch_noise.mean_square_scale(16)),
        ("m E[((mu - mu_m) / sigma)^2], m = 16", 16 * np.mean(shift**2), 1.0),
    ):
        numbers.append(Number(what, float(measured), None, exact * 0.99, exact * 1.01, note=f"exact: {exact:.5f}"))
    rows = [(d, m, "spread" if spread else "isotropic", *mean["transforms", d, m, spread]) for _, d, m, spread in grid]
    return Result(
        numbers,
        "holds",
        "Whitening disturbs a sample more than standardization, PCA most and at every batch size: its axes turn with each "
        "batch. All others calm down as 1/sqrt(m); smaller groups and fewer Newton steps are the two handles on it.",
        {"SND": (("d", "m", "covariance", *names), rows)},
        {
            "snd": {n: np.mean(of[n], axis=1) for n in names},
            "groups": (list(FAMILIES["channels together"]), mean[groups]),
            "clouds": pictures(SEEDS[0]),
        },
    )


def _least_ratio(a: np.ndarray) -> float:
    """The smallest ratio of an entry to the one before it, along the last axis."""
    return float(np.min(a[..., 1:] / a[..., :-1]))


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9.5, 5.8)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.7), hspace=0.04)
    for axes, (name, cloud) in zip(above.subplots(1, 5), result.data["clouds"].items(), strict=True):
        axes.scatter(*cloud.T, s=4, color=COLOUR[name], alpha=0.6, lw=0)
        axes.plot(1, 1, "+", color="black", ms=7, mew=1)
        axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
        axes.set_title(name, color=COLOUR[name])
        axes.spines[:].set(visible=True, color=FAINT)
    above.suptitle("One sample (+) in 300 batches of 32: each dot is what it becomes", x=0.01, ha="left", fontsize=10.5)
    left, right = below.subplots(1, 2, width_ratios=(1.6, 1))
    for name, values in result.data["snd"].items():
        left.loglog(SIZES, values, "o-", color=COLOUR[name])
        place = (8, {"ZCA": 1, "ItN5": -8}.get(name, -3))
        left.annotate(name, (SIZES[-1], values[-1]), place, textcoords="offset points", color=COLOUR[name])
    left.set_xticks(SIZES, SIZES)
    ticks = (0.2, 0.5, 1, 2, 4)
    left.set_yticks(ticks, ticks)
    left.set_yticks([], minor=True)
    left.set(xlabel="batch size m", ylabel="disturbance, d = 16", xlim=(28, 1900))
    left.set_title("All but PCA fall as 1/sqrt(m)")
    sizes, values = result.data["groups"]
    right.plot(range(len(sizes)), values, "o-", color=GREEN)
    right.set_xticks(range(len(sizes)), sizes)
    right.set(xlabel="channels whitened together, of 32", ylim=(0, None))
    right.set_title("ZCA: the group size controls it")


CITE = Citation(
    "L. Huang, L. Zhao, Y. Zhou, F. Zhu, L. Liu, L. Shao",
    "An Investigation into the Stochasticity of Batch Whitening",
    "CVPR",
    2020,
    "2003.12327",
)
CLAIMS = (
    Claim(
        "stochasticity",
        2,
        "how much a sample's output depends on whom it shares a batch with",
        CITE,
        "The stochastic normalization disturbance of whitening exceeds that of standardization and ranks PCA > Cholesky > ZCA; "
        "it falls with the batch size, except PCA's, and is controlled by the group size and by the number of Newton steps.",
        SEEDS,
        measure,
        figure,
        conditions="Strict order at d = 16; at d = 4 Cholesky, ZCA and Newton are near ties.",
    ),
)
