"""Normalizations of weights: how near orthogonal T steps of ONI come, how near to the norm power iteration; and all backwards.

L. Huang et al., Controllable Orthogonalization (CVPR 2020, arXiv 2004.00887); T. Miyato et al., Spectral Normalization (ICLR
2018, arXiv 1802.05957).  ONI divides by the Frobenius norm, under which every singular value is at most 1, and its steps raise
each towards 1 and never past it: s^2 -> s^2 (3 - s^2)^2 / 4, the map of analysis/newton_spectrum.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import refnorm as rn
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREEN, GREY, RED
from refnorm.claims.sweep import Sweep

SEEDS = tuple(range(20))
STEPS = (1, 2, 3, 4, 5, 6, 7, 9)


def singular_values(seed: int) -> np.ndarray:
    """Of ONI's weight, 16 x 64, for each T: (steps, 16)."""
    v = np.random.default_rng(seed).normal(size=(16, 64))
    return np.stack([np.linalg.svd(rn.orthogonal_newton_iteration(v, T=T), compute_uv=False) for T in STEPS])


def power_errors(seed: int) -> np.ndarray:
    """The relative error of spectral norm's estimate after 1 to 200 iterations, 32 x 64."""
    w = np.random.default_rng(seed).normal(size=(32, 64))
    top = np.linalg.norm(w, 2)
    u, v = rn.spectral_norm.state(w, seed, n_power_iterations=1)
    errors = []
    for _ in range(200):
        y, (u, v) = rn.spectral_norm(w, u, v)
        errors.append(1 - float(w[0, 0] / y[0, 0]) / top)
    return np.array(errors)


def measure(sweep: Sweep) -> Result:
    values = np.stack(sweep(singular_values, SEEDS))                              # (seeds, steps, 16)
    low, high = values.min(axis=2), values.max(axis=2)
    power = np.stack(sweep(power_errors, SEEDS))
    at = STEPS.index
    numbers = [
        Number("ONI: largest singular value of 20 draws, any T", high.max(), 1, high=1 + 1e-12),
        Number("ONI: least rise of the smallest singular value, a step more", np.diff(low, axis=1).min(), low=0.0),
        Number("T = 7: smallest singular value of 20 draws", low[:, at(7)].min(), low=0.99),
        Number("T = 3: smallest, least of 20 draws", low[:, at(3)].min(), asserted=False),
        Number("T = 3: smallest, most", low[:, at(3)].max(), asserted=False),
        Number("T = 5: smallest, least", low[:, at(5)].min(), asserted=False),
        Number("power iteration, 10 steps: relative error, worst of 20", power[:, 9].max(), asserted=False),
        Number("power iteration, 200 steps: median", float(np.median(np.abs(power[:, 199]))), high=1e-6),
        Number("200 steps, worst", float(np.abs(power[:, 199]).max()), asserted=False, note="the gap to the second decides"),
        Number("the estimate never exceeds the norm: largest excess", float(-power.min()), high=1e-14),
    ]
    rows = [(T, *(float(f(a[:, i])) for a in (low, high) for f in (np.min, np.max))) for i, T in enumerate(STEPS)]
    return Result(
        numbers,
        "holds",
        "ONI raises singular values towards 1 and never past it; T controls how far: at T = 7 all are above .99, at T = 3 the "
        "smallest is anywhere between .6 and .8. Power iteration underestimates the norm, more so the closer the second is.",
        {"ONI": (("T", "smallest, least", "smallest, most", "largest, least", "largest, most"), rows)},
        {"values": values[0], "power": power},
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 3.6)
    left, right = figure.subplots(1, 2)
    for T, values in zip(STEPS, result.data["values"], strict=True):
        shade = (0.23, 0.47, 0.69, 0.25 + 0.75 * T / max(STEPS))
        left.plot(range(1, 17), values, "o-", ms=3, lw=1.1, color=shade)
        if T <= 5:
            left.annotate(f"T = {T}", (16, values[-1]), (5, -3), textcoords="offset points", color=BLUE, fontsize=8)
    left.axhline(1, color=FAINT, lw=1, zorder=0)
    left.set(xlabel="index", ylabel="singular value", ylim=(0, 1.05), xlim=(0.5, 18.5))
    left.set_title("ONI, 16 x 64: towards 1, not past it")
    for error in result.data["power"]:
        right.loglog(range(1, 201), np.maximum(error, 1e-17), color=GREEN, lw=0.8, alpha=0.7)
    right.axvline(10, color=FAINT, lw=1, zorder=0)
    right.set(xlabel="power iterations", ylabel="underestimate of the norm", ylim=(1e-16, 1))
    right.set_title("Spectral norm, 20 matrices 32 x 64")


FORMS: dict[str, tuple[Any, tuple[tuple[int, ...], ...], dict[str, Any]]] = {
    "weight norm": (rn.weight_norm, ((4, 6), (4,)), {}),
    "centred weight norm": (rn.centered_weight_norm, ((4, 6), (4,)), {}),
    "weight standardization": (rn.weight_standardization, ((4, 6),), {}),
    "scaled weight standardization": (rn.scaled_weight_standardization, ((4, 6), (4,)), {}),
    "orthogonal weight norm": (rn.orthogonal_weight_norm, ((4, 6), (4,)), {}),
    "ONI, T = 5": (rn.orthogonal_newton_iteration, ((4, 6), (4,)), {"T": 5}),
    "Bjorck": (rn.bjorck, ((4, 6), (4,)), {"T": 6}),
    "RMS norm": (rn.rms_norm, ((5, 6), (6,)), {}),
    "FRN": (rn.filter_response_norm, ((3, 4, 5), (4,), (4,)), {}),
    "EvoNorm-B0": (rn.evo_norm_b0, ((5, 4, 3), (4,), (4,), (4,)), {}),
    "EvoNorm-S0": (rn.evo_norm_s0, ((5, 4, 3), (4,), (4,), (4,)), {"num_groups": 2}),
    "PowerNorm": (rn.power_norm, ((5, 4, 3), (4,), (4,)), {"num_groups": 2, "warmup": 10}),
}


def backward_error(name: str) -> float:
    """The relative distance of the explicit backward, all arrays together, to central differences."""
    norm, shapes, options = FORMS[name]
    rng = np.random.default_rng(len(name))
    arrays = [rng.normal(size=s) + 0.3 * (len(s) > 1) for s in shapes]
    y, cache, *_ = norm.forward(*arrays, **options)
    c, h = rng.normal(size=y.shape), 1e-5
    analytic = norm.backward(c, cache)[: len(arrays)]
    numeric = []
    for k, a in enumerate(arrays):
        slope = np.empty(a.shape)
        for i in np.ndindex(*a.shape):
            ends = []
            for sign in (1, -1):
                moved = a.copy()
                moved[i] += sign * h
                ends.append(np.sum(c * norm.forward(*arrays[:k], moved, *arrays[k + 1 :], **options)[0]))
            slope[i] = (ends[0] - ends[1]) / (2 * h)
        numeric.append(slope)
    flat = [np.concatenate([g.ravel() for g in side]) for side in (analytic, numeric)]
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


def unclipped_renorm() -> float:
    """Batch renorm without clips less (x - mean) / deviation of its state."""
    rng = np.random.default_rng(2)
    x, mean, deviation = rng.normal(size=(8, 4)), rng.normal(size=4), np.exp(rng.normal(size=4))
    state = rn.batch_renorm.state(mean, deviation, mean, deviation)
    y, _ = rn.batch_renorm(x, state=state, r_min=0.0, r_max=np.inf, d_max=np.inf)
    return float(np.max(np.abs(y - (x - mean) / deviation)))


def tangent(seed: int) -> tuple[float, float]:
    """Weight norm: |<dv, v>| relative, and the distance of dv to (g/|v|)(I - vv'/|v|^2) dw."""
    rng = np.random.default_rng(seed)
    v, g, dw = rng.normal(size=(4, 6)), rng.normal(size=4), rng.normal(size=(4, 6))
    _, cache = rn.weight_norm.forward(v, g)
    dv = rn.weight_norm.backward(dw, cache)[0]
    length = np.linalg.norm(v, axis=1, keepdims=True)
    paper = g[:, None] / length * (dw - v * np.sum(v * dw, axis=1, keepdims=True) / length**2)
    along = np.abs(np.sum(dv * v, axis=1)) / (np.linalg.norm(dv, axis=1) * length[:, 0])
    return float(along.max()), float(np.max(np.abs(dv - paper)))


def measure_backwards(sweep: Sweep) -> Result:
    errors = dict(zip(FORMS, sweep(backward_error, FORMS), strict=True))
    along, formula = np.array([tangent(s) for s in SEEDS]).T
    numbers = [
        Number(f"{name}: backward against differences", error, high=1e-6)
        for name, error in errors.items() if name != "PowerNorm"
    ]  # fmt: skip
    numbers += [
        Number("PowerNorm: backward against differences", errors["PowerNorm"], low=1e-3, note="deliberately not the gradient"),
        Number("weight norm: <dL/dv, v>, relative, worst of 20", along.max(), 0, high=1e-13),
        Number("weight norm: dL/dv less the paper's formula", formula.max(), 0, high=1e-12),
        Number("batch renorm, unclipped: y less (x - mean) / deviation", unclipped_renorm(), 0, high=1e-14),
    ]
    return Result(
        numbers,
        "holds",
        "Every explicit backward is the derivative of its forward, except PowerNorm's, which its authors replaced by a rule "
        f"with a memory: it is {errors['PowerNorm']:.2g} away.",
        {"error": (("method", "relative error"), list(errors.items()))},
        {"errors": errors},
    )


def figure_backwards(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    names = sorted(result.data["errors"], key=lambda n: result.data["errors"][n])
    for i, name in enumerate(names):
        error = result.data["errors"][name]
        colour = RED if name == "PowerNorm" else BLUE
        axes.plot([1e-12, error], [i, i], color=FAINT, lw=1.2)
        axes.plot(error, i, "o", color=colour)
    axes.axvline(1e-6, color=GREY, lw=0.8, ls=":")
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", xlabel="relative distance of the backward to central differences", xlim=(1e-12, 3))
    axes.set_title("Backwards against differences")


CLAIMS = (
    Claim(
        "controllable-orthogonality",
        15,
        "ONI's singular values, spectral norm's estimate",
        rn.orthogonal_newton_iteration.declaration.cite,
        "ONI controls orthogonality by T, raising singular values towards 1; one power iteration a step estimates the "
        "spectral norm.",
        SEEDS,
        measure,
        figure,
        conditions="ONI: fewer rows than the fan-in.",
    ),
    Claim(
        "backward-forms",
        15,
        "the papers' backward passes against differences",
        rn.weight_norm.declaration.cite,
        "Each method's backward as its paper derives it; weight norm: dL/dv = (g/|v|)(I - vv'/|v|^2) dL/dw, orthogonal to v.",
        SEEDS,
        measure_backwards,
        figure_backwards,
        conditions="PowerNorm's is an approximation by design.",
    ),
)
