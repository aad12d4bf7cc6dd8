"""Lipschitz margin training, spectral complexity, and the singular values of convolutions.

Y. Tsuzuku et al., arXiv 1802.04034; P. Bartlett et al., arXiv 1706.08498; H. Sedghi et al., arXiv 1805.10408.  The formulas are
in analysis/lipschitz.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis import lipschitz
from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREY, RED
from refnorm.claims.sweep import Sweep

SEEDS = tuple(range(20))
TSUZUKU = Citation(
    "Y. Tsuzuku, I. Sato, M. Sugiyama",
    "Lipschitz-Margin Training: Scalable Certification of Perturbation Invariance for Deep Neural Networks",
    "NeurIPS",
    2018,
    "1802.04034",
)
SEDGHI = Citation("H. Sedghi, V. Gupta, P. M. Long", "The Singular Values of Convolutional Layers", "ICLR", 2019, "1805.10408")


def linear_cases(seed: int) -> list[tuple[float, float]]:
    """Ten linear 5-class problems: (certified radius, exact distance) of the predicted class."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(10):
        w, b, x = rng.normal(size=(5, 12)), rng.normal(size=5), rng.normal(size=12)
        f = w @ x + b
        label = int(np.argmax(f))
        radius = lipschitz.certified_radius(f, label, lipschitz.dense_norm(w))
        found.append((radius, lipschitz.linear_distance(w, b, x, label)))
    return found


def rescaling(seed: int) -> float:
    """By how much spectral complexity moves when three layers are rescaled with product 1."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=s) for s in ((20, 10), (15, 20), (5, 15))]
    a, b = np.exp(rng.uniform(-2, 2, 2))
    moved = [layers[0] * a, layers[1] * b, layers[2] / (a * b)]
    return abs(lipschitz.spectral_complexity(moved) / lipschitz.spectral_complexity(layers) - 1)


def measure(sweep: Sweep) -> Result:
    cases = np.concatenate(sweep(linear_cases, SEEDS))
    ratio = cases[:, 1] / cases[:, 0]
    tight = lipschitz.certified_radius([0.7, -0.7], 0, 1.0)
    exact = lipschitz.linear_distance(np.array([[1.0, 0], [-1.0, 0]]), np.zeros(2), np.array([0.7, 0.3]), 0)
    norm = lipschitz.dense_norm([[1, 0], [-1, 0]])
    numbers = [
        Number("exact distance over certified radius, least of 200", ratio.min(), low=1.0, note="1 or more: no false promise"),
        Number("the same, median", float(np.median(ratio)), None, asserted=False),
        Number("W = (e_1; -e_1): distance over radius", exact / (tight / norm), 1, 1 - 1e-8, 1 + 1e-8, note="tight"),
        Number("spectral complexity under rescaled layers, worst relative move", max(sweep(rescaling, SEEDS)), 0, high=1e-8),
    ]
    return Result(
        numbers,
        "holds",
        "The radius never exceeds the true distance and is attained; how much it gives away on a linear classifier is a "
        f"factor of {np.median(ratio):.2f} in the median, since the norm of all outputs stands in for that of two.",
        {},
        {"radius": cases[:, 0], "distance": cases[:, 1]},
    )


def figure(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    radius, distance = result.data["radius"], result.data["distance"]
    top = float(max(distance))
    axes.fill_between([0, top], [0, top], color=RED, alpha=0.08, lw=0)
    axes.plot([0, top], [0, top], color=GREY, lw=1)
    axes.plot(radius, distance, "o", color=BLUE, alpha=0.7, mew=0)
    axes.annotate("a false certificate", (0.62 * max(radius), 0.2 * max(radius)), color=RED)
    axes.set(xlabel="certified radius", ylabel="true distance", xlim=(0, 1.05 * max(radius)), ylim=(0, 1.05 * top))
    axes.set_title("200 linear classifiers: the certificate is never broken")


def spectra(item: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray, float]:
    """(kernel's shape, grid) -> singular values through the FFT, of the matrix entry by entry, the reshaped kernel's norm."""
    shape, spatial = item
    w = np.random.default_rng([*shape, *spatial]).normal(size=shape)
    dense = np.linalg.svd(lipschitz.convolution_matrix(w, spatial), compute_uv=False)
    return lipschitz.convolution_singular_values(w, spatial), dense, lipschitz.reshaped_norm(w)


def wide_kernel(seed: int) -> tuple[float, float]:
    """A 16 x 16 x 3 x 3 kernel on 16 x 16: (operator norm, norm of the reshaped kernel)."""
    w = np.random.default_rng(seed).normal(size=(16, 16, 3, 3))
    return lipschitz.convolution_norm(w, (16, 16)), lipschitz.reshaped_norm(w)


CASES = (((3, 2, 3), (9,)), ((2, 3, 3, 3), (6, 5)), ((4, 4, 3, 3), (8, 8)), ((2, 2, 2, 2, 2), (3, 4, 3)))


def measure_spectra(sweep: Sweep) -> Result:
    found = sweep(spectra, CASES)
    numbers = [
        Number(f"kernel {' x '.join(map(str, s))} on {' x '.join(map(str, n))}: largest difference to the dense matrix",
               float(np.max(np.abs(a - b))), 0, high=1e-8)
        for (s, n), (a, b, _) in zip(CASES, found, strict=True)
    ]  # fmt: skip
    true, reshaped = np.array(sweep(wide_kernel, SEEDS)).T
    numbers += [
        Number("16 x 16 x 3 x 3: operator norm, mean of 20 draws", true.mean(), asserted=False),
        Number("norm of the reshaped kernel, mean", reshaped.mean(), asserted=False),
        Number("operator norm over reshaped, least", float(np.min(true / reshaped)), low=1.0, note="not the operator norm"),
        Number("operator norm over reshaped, most", float(np.max(true / reshaped)), high=3.0, note="sqrt(taps) = 3"),
    ]
    return Result(
        numbers,
        "holds",
        "The transfer matrices' singular values are the convolution's. Spectral norm as usually applied divides by the norm of "
        f"the reshaped kernel, which is {np.mean(true / reshaped):.2f} times too small here.",
        {},
        {"fft": found[2][0], "dense": found[2][1], "reshaped": found[2][2]},
    )


def figure_spectra(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    values = result.data["dense"]
    axes.plot(np.arange(1, len(values) + 1), values, color=FAINT, lw=7, solid_capstyle="round", label="dense matrix, 256 x 256")
    axes.plot(np.arange(1, len(values) + 1), result.data["fft"], color=BLUE, lw=1.4, label="64 matrices of 4 x 4, by FFT")
    axes.axhline(result.data["reshaped"], color=RED, lw=1.2)
    place = (len(values), result.data["reshaped"])
    axes.annotate("norm of the reshaped kernel", place, (-150, 4), textcoords="offset points", color=RED)
    axes.set(xlabel="index", ylabel="singular value", ylim=(0, None))
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.8))
    axes.set_title("Singular values of a 4 x 4 x 3 x 3 convolution on an 8 x 8 grid")


CLAIMS = (
    Claim(
        "certified-radius",
        13,
        "a Lipschitz constant and a margin certify a radius",
        TSUZUKU,
        "No perturbation shorter than margin / (sqrt(2) L) changes the answer. Spectral complexity (Bartlett et al.) "
        "is blind to how scale is shared between layers.",
        SEEDS,
        measure,
        figure,
        conditions="Exactness is known for linear classifiers; there the bound is compared.",
    ),
    Claim(
        "convolution-spectra",
        13,
        "the singular values of a convolution",
        SEDGHI,
        "The singular values of a circular convolution are those of its transfer matrices at all frequencies.",
        SEEDS,
        measure_spectra,
        figure_spectra,
        conditions="Circular padding, stride 1.",
    ),
)
