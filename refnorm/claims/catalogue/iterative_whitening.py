"""Whitening a batch: by an eigendecomposition (DBN, CVPR 2018) and by Newton's iteration (IterNorm, CVPR 2019).

The spectrum that T steps leave and the steps that a dimension needs are derived in analysis/newton_spectrum.py, the gradients
in operations/newton.py and operations/zca.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis.newton_spectrum import asymptotic_steps, steps, unnormalized_limit, whitened_variance
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, COLOURS, FAINT, GREY, RED
from refnorm.claims.sweep import Sweep
from refnorm.methods.whitening import DECORRELATED
from refnorm.operations import newton, newton_uncoupled, zca

ITERATIVE = rn.iterative_norm.declaration.cite
TABLE = {8: (0.7673, 0.9985, 1.0, 1.0), 16: (0.5130, 0.9657, 1.0, 1.0)}
TABLE_STEPS = (3, 5, 7, 9)
DIMENSIONS = tuple(2**k for k in range(1, 13))


def white(d: int, m: int, seed: int) -> np.ndarray:
    """(1, d, m) with mean 0 and covariance I, to rounding."""
    z = np.random.default_rng(seed).normal(size=(1, d, m))
    return zca.forward(zca.forward(z, eps=0.0)[0], eps=0.0)[0]


def output_variance(item: tuple[int, int]) -> float:
    """(d, T) -> the mean variance of iterative_norm's output on white samples."""
    d, T = item
    y, _ = rn.iterative_norm(white(d, 3 * d, d)[0].T, T=T, eps=0.0)
    return float(np.mean(y.var(axis=0)))


def difference(operation: Any, backward: Any, options: dict[str, Any], seed: int = 0) -> float:
    """The relative error of a backward against central differences, d = 5, m = 12."""
    rng = np.random.default_rng(seed)
    z, g = rng.normal(size=(2, 1, 5, 12))
    z = z * np.logspace(-0.3, 0.3, 5)[:, None]
    dz = backward(g, z, operation.forward(z, **options)[1], **options)
    h, numeric = 1e-5, np.empty(z.shape)
    for i in np.ndindex(*z.shape):
        step = np.zeros(z.shape)
        step[i] = h
        ahead, behind = (np.sum(g * operation.forward(z + s, **options)[0]) for s in (step, -step))
        numeric[i] = (ahead - behind) / (2 * h)
    return float(np.linalg.norm(dz - numeric) / np.linalg.norm(numeric))


def measure(sweep: Sweep) -> Result:
    cells = [(d, T) for d in TABLE for T in TABLE_STEPS]
    variance = dict(zip(cells, sweep(output_variance, cells), strict=True))
    numbers = [
        Number(f"output variance, d = {d}, T = {T}, white input", variance[d, T], None, value - 1e-4, value + 1e-4)
        for d, row in TABLE.items() for T, value in zip(TABLE_STEPS, row, strict=True)
    ]  # fmt: skip
    for name, error in (
        ("ItN, coupled recursion", difference(newton, newton.backward, {"eps": 1e-5, "T": 5})),
        ("ItN, the paper's recursion", difference(newton_uncoupled, newton_uncoupled.backward, {"eps": 1e-5, "T": 5})),
        ("ZCA, gap-free form", difference(zca, zca.backward, {"eps": 0.0})),
        ("ZCA, the paper's form", difference(zca, zca.backward_by_gaps, {"eps": 0.0})),
    ):
        numbers.append(Number(f"backward against differences: {name}", error, high=1e-6))
    z = np.zeros((1, 3, 6))
    z[0, range(3), range(3)], z[0, range(3), range(3, 6)] = math.sqrt(3), -math.sqrt(3)         # covariance I, exactly
    g = np.random.default_rng(3).normal(size=z.shape)
    saved = zca.forward(z, eps=0.0)[1]
    with np.errstate(all="ignore"):
        gap_free, by_gaps = (f(g, z, saved, eps=0.0) for f in (zca.backward, zca.backward_by_gaps))
    numbers += [
        Number("covariance I: share of finite entries, gap-free form", float(np.isfinite(gap_free).mean()), None, 1, 1),
        Number("covariance I: share of finite entries, the paper's form", float(np.isfinite(by_gaps).mean()), None, high=0.5,
               note="K_ij = 1 / (s_i - s_j)"),
        Number("iteration without the trace, eigenvalue 2.9: p sqrt(l)", unnormalized_limit(2.9) * math.sqrt(2.9), 1,
               1 - 1e-9, 1 + 1e-9),
        Number("eigenvalue 3: p", unnormalized_limit(3.0), 0, 0, 0),
        Number("eigenvalue 3.01: p sqrt(l)", unnormalized_limit(3.01) * math.sqrt(3.01), -1, -1 - 1e-9, -1 + 1e-9,
               note="the wrong root"),
    ]  # fmt: skip
    rows = [(d, T, v, float(whitened_variance(1 / d, T))) for (d, T), v in variance.items()]
    eigenvalues = np.linspace(0.02, 3.3, 800)
    return Result(
        numbers,
        "holds under conditions",
        "The iteration converges and both backward forms are right, the paper's eigenvalue form only where no two eigenvalues "
        "are equal. T = 5 whitens 8 coordinates, 16 nearly, 64 not; see newton-steps.",
        {"output variance": (("d", "T", "measured", "formula"), rows)},
        {
            "eigenvalues": eigenvalues,
            "raw": {T: [unnormalized_limit(x, T) * math.sqrt(x) for x in eigenvalues] for T in (3, 5, 9, 40)},
            "by trace": {T: whitened_variance(np.logspace(-4, 0, 200), T) for T in (1, 3, 5, 7, 9, 11)},
        },
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 3.8)
    left, right = figure.subplots(1, 2)
    for (T, values), colour in zip(result.data["raw"].items(), COLOURS, strict=False):
        left.plot(result.data["eigenvalues"], values, color=colour, lw=1.3, label=f"T = {T}")
    left.axvline(3, color=FAINT, lw=1, zorder=0)
    left.set(xlabel="eigenvalue of the covariance", ylabel="p times its root: 1 is right", ylim=(-1.6, 1.6))
    left.set_title("Without the trace: lost from 3 on")
    left.legend(loc="lower left")
    for (T, values), shade in zip(result.data["by trace"].items(), np.linspace(0.3, 1, 6), strict=True):
        right.semilogx(np.logspace(-4, 0, 200), values, color=BLUE, alpha=shade)
        at = int(np.searchsorted(values, 0.5))
        right.annotate(f"{T}", (np.logspace(-4, 0, 200)[at], 0.5), (-9, 0), textcoords="offset points", color=BLUE)
    for d in (8, 64, 512):
        right.axvline(1 / d, color=FAINT, lw=1, zorder=0)
        right.annotate(f"d = {d}", (1 / d, 1.02), (0, 0), textcoords="offset points", color=GREY, ha="center", fontsize=8)
    right.set(xlabel="eigenvalue of covariance / trace", ylabel="variance of the output", ylim=(0, 1.08))
    right.set_title("Divided by the trace, T steps: small ones are late", pad=12)


def needs(d: int) -> tuple[int, int]:
    """Steps until white samples of dimension d have variance .99, by running iterative_norm, and the formula's."""
    z, T = white(d, 2 * d, d), 1
    while newton_variance(z, T) < 0.99:
        T += 1
    return T, steps(1 / d)


def newton_variance(z: np.ndarray, T: int) -> float:
    return float(np.mean(newton.forward(z, eps=0.0, T=T)[0] ** 2))


def spread(item: tuple[int, float]) -> tuple[float, float]:
    """(d, condition) -> the least variance of the output at T = 5 over the eigenvectors, and the formula's."""
    d, condition = item
    values = np.logspace(0, -math.log10(condition), d)
    z = white(d, 2 * d, d) * np.sqrt(values)[:, None]
    y = newton.forward(z, eps=0.0, T=5)[0]
    return float(np.min(np.mean(y**2, axis=2))), float(whitened_variance(values.min() / values.sum(), 5))


def measure_steps(sweep: Sweep) -> Result:
    found = dict(zip(DIMENSIONS[:8], sweep(needs, DIMENSIONS[:8]), strict=True))
    spreads = [(d, c) for d in (4, 16, 64) for c in (10.0, 1000.0)]
    least = dict(zip(spreads, sweep(spread, spreads), strict=True))
    five = {d: float(whitened_variance(1 / d, 5)) for d in DIMENSIONS}
    numbers = [
        Number("d = 64, T = 5: variance of the output, white input", output_variance((64, 5)), None, five[64] - 1e-9,
               five[64] + 1e-9, note="41% short of 1"),
        Number("dimensions 2 to 256 in which the formula's T is the measured one", sum(a == b for a, b in found.values()), None,
               len(found), len(found)),
        Number("spread spectra: largest error of the formula", max(abs(a - b) for a, b in least.values()), high=1e-9,
               note="condition 10 and 1000, d = 4, 16, 64"),
        Number("steps that d = 64 needs for variance .99", found[64][0], None, steps(1 / 64), steps(1 / 64)),
        Number("steps that d = 512 needs", steps(1 / 512), None, asserted=False),
        Number("largest d that T = 5 whitens to .99", max(d for d in range(2, 99) if steps(1 / d) <= 5), None, asserted=False),
        Number("steps per factor of e in d, over 1 / log(9/4)",
               (asymptotic_steps(1e-6) - asymptotic_steps(1e-3)) / math.log(1e3) * math.log(9 / 4), 1, 1 - 1e-6, 1 + 1e-6),
        Number("d 2 to 4096: largest distance of the exact T from the asymptote",
               max(steps(1 / d) - asymptotic_steps(1 / d) for d in DIMENSIONS), None, high=1.0, note="T is its ceiling"),
    ]  # fmt: skip
    rows = [(d, five[d], steps(1 / d, 0.1), steps(1 / d), steps(1 / d, 1e-4)) for d in DIMENSIONS]
    return Result(
        numbers,
        "holds",
        "While an eigenvalue is small a step multiplies it by 9/4, so d asks for log d / log(9/4) steps and a few: 5 for "
        f"d = 8, {steps(1 / 64)} for 64, {steps(1 / 512)} for 512. At T = 5 wide groups are scaled down, not whitened.",
        {"steps": (("d", "variance at T = 5", "T for .9", "T for .99", "T for .9999"), rows)},
        {"found": found, "five": five},
    )


def figure_steps(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 3.6)
    left, right = figure.subplots(1, 2)
    d = np.array(DIMENSIONS)
    left.semilogx(d, [result.data["five"][x] for x in DIMENSIONS], "o-", color=BLUE)
    left.axhline(1, color=FAINT, lw=1, zorder=0)
    left.set(xlabel="coordinates d", ylabel="variance of the output", ylim=(0, 1.05))
    left.set_title("T = 5 on white input")
    fine = np.logspace(0.31, 3.6, 400)
    for tolerance, colour in ((0.1, GREY), (0.01, BLUE), (1e-4, RED)):
        right.step(fine, [steps(1 / x, tolerance) for x in fine], color=colour, where="mid", lw=1.2)
        right.semilogx(fine, [asymptotic_steps(1 / x, tolerance) for x in fine], color=colour, lw=0.8, ls=":")
        label = f"variance {1 - tolerance:g}"
        right.annotate(label, (fine[-1], steps(1 / fine[-1], tolerance)), (6, -3), textcoords="offset points", color=colour)
    right.plot(list(result.data["found"]), [t for t, _ in result.data["found"].values()], "o", color=BLUE)
    for axes in (left, right):
        axes.set_xticks((2, 8, 32, 128, 512, 4096), (2, 8, 32, 128, 512, 4096))
        axes.set_xticks([], minor=True)
    right.set(xlabel="coordinates d", ylabel="steps T", xlim=(1.8, 40000))
    right.set_title("Steps that d needs (dots: run)")


CLAIMS = (
    Claim(
        "iterative-whitening",
        4,
        "whitening by Newton's iteration and by eigenvectors, forward and backward",
        ITERATIVE,
        "Divided by its trace a covariance always converges under Newton's iteration, T = 5 is enough, and the backward passes "
        f"are those of the papers ({DECORRELATED.venue} {DECORRELATED.year}, {ITERATIVE.venue} {ITERATIVE.year}).",
        (0, 3, 8, 16),
        measure,
        figure,
        conditions="T = 5: up to d = 11 for a variance of .99. The eigenvalue backward: no two eigenvalues equal.",
    ),
    Claim(
        "newton-steps",
        4,
        "how many Newton steps whitening needs",
        ITERATIVE,
        "Along an eigenvalue l of S / tr(S) the output's variance is v_T, v <- v (3 - v)^2 / 4 from l: T steps for d "
        "coordinates grow as log d / log(9/4).",
        DIMENSIONS[:8],
        measure_steps,
        figure_steps,
        origin="refnorm",
    ),
)
