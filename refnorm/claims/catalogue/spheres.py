"""Normalizations as maps onto spheres: J. Sun et al., New Interpretations of Normalization Methods in Deep Learning, AAAI 2020.

The geometry is in analysis/sphere_geometry.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis.sphere_geometry import growth, projector_defect, radii
from refnorm.autodiff import grad
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import NEW_INTERPRETATIONS
from refnorm.claims.style import BLUE, FAINT, GREEN, GREY, RED
from refnorm.claims.sweep import Sweep

SEEDS, STEPS = tuple(range(10)), 100
ROWS = {
    "BN": (lambda x: rn.batch_norm(x, eps=0.0)[0], lambda y: np.moveaxis(y, 1, 0).reshape(6, -1)),
    "LN": (lambda x: rn.layer_norm(x, axis=1, eps=0.0), lambda y: y.reshape(5, -1)),
    "GN": (lambda x: rn.group_norm(x, num_groups=3, eps=0.0), lambda y: y.reshape(15, -1)),
    "IN": (lambda x: rn.instance_norm(x, eps=0.0), lambda y: y.reshape(30, -1)),
}
"""Each norm, and its output's rows: what shares statistics."""


def on_spheres(seed: int) -> dict[str, float]:
    x, found = np.random.default_rng(seed).normal(1, 3, size=(5, 6, 4, 2)), {}
    for name, (normalize, rows) in ROWS.items():
        y = rows(normalize(x))
        found[name] = float(np.max(np.abs(radii(y) - 1)))
        found[name + " centred"] = float(np.max(np.abs(y.mean(axis=1))))
    v = np.random.default_rng(seed).normal(size=(4, 9))
    found["WN"] = float(np.max(np.abs(np.linalg.norm(rn.weight_norm(v), axis=1) - 1)))
    z = x[0].ravel()
    found["Jacobian, centred"] = projector_defect(lambda u: rn.layer_norm(u, axis=0, eps=0.0), z, np.sqrt(len(z)), True)
    found["Jacobian, weights"] = projector_defect(
        lambda u: np.reshape(rn.weight_norm(np.reshape(u, (1, -1))), (-1,)), v.ravel(), 1.0, False
    )
    return found


def loss(x: np.ndarray, c: np.ndarray, w: Any) -> Any:
    """Of a batch-normalized unit's weights: invariant to their length."""
    y = rn.batch_norm(x @ np.reshape(w, (-1, 1)), eps=0.0)[0]
    return np.mean(np.square(np.reshape(np.tanh(y), (-1,)) - c))


def descent(item: tuple[str, int]) -> tuple[np.ndarray, float]:
    """("plane" or "sphere", seed) -> |w| along 100 steps, and the worst error of the growth identity or of the length."""
    where, seed = item
    rng = np.random.default_rng(seed)
    x, c, w = rng.normal(size=(32, 8)), rng.choice([-1.0, 1.0], 32), rng.normal(size=(1, 8))
    w /= np.linalg.norm(w)
    slope, lengths, errors = grad(partial(loss, x, c)), [1.0], []
    for _ in range(STEPS):
        g = slope(w)
        if where == "plane":
            errors.append(abs(growth(w, g, 0.3) - 1))
            w = w - 0.3 * g
        else:
            w = rn.sphere_retraction(w, rn.tangent_projection(g, w), step=0.3)
            errors.append(abs(float(np.linalg.norm(w)) - 1))
        lengths.append(float(np.linalg.norm(w)))
    return np.array(lengths), max(errors)


def measure(sweep: Sweep) -> Result:
    found = sweep(on_spheres, SEEDS)
    worst = {name: max(f[name] for f in found) for name in found[0]}
    paths = {w: sweep(descent, [(w, seed) for seed in SEEDS]) for w in ("plane", "sphere")}
    numbers = [Number(f"{n}: |row| / sqrt(n) - 1, worst", worst[n], 0, high=1e-10) for n in ROWS]
    numbers += [Number(f"{n}: mean of a row, worst", worst[f"{n} centred"], 0, high=1e-10) for n in ROWS]
    numbers += [
        Number("WN: |w| - 1, worst", worst["WN"], 0, high=1e-10),
        Number("Jacobian of layer norm less sqrt(n) P / |z - mean|", worst["Jacobian, centred"], 0, high=1e-10),
        Number("Jacobian of weight norm less P / |v|", worst["Jacobian, weights"], 0, high=1e-10),
        Number("|w - eta g|^2 over |w|^2 + eta^2 |g|^2, less 1, worst of 1000 steps", max(p[1] for p in paths["plane"]), 0,
               high=1e-10),
        Number("on the sphere: |w| - 1, worst of 1000 steps", max(p[1] for p in paths["sphere"]), 0, high=1e-10),
        Number("|w| after 100 free steps, mean", float(np.mean([p[0][-1] for p in paths["plane"]])), asserted=False),
    ]  # fmt: skip
    return Result(
        numbers,
        "holds",
        "Norms put rows on spheres to rounding, and gradients through them are tangent; so a free step lengthens a weight "
        "every time and a step along the sphere does not. What this means for attacks is another claim.",
        {},
        {w: [p[0] for p in ps] for w, ps in paths.items()},
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 4)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    rng = np.random.default_rng(3)
    x = rng.normal((1.2, 0.4, 0.3), (1.0, 0.7, 0.5), size=(60, 3))
    y = rn.layer_norm(x, eps=0.0)
    basis = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    flat, round_ = (x - x.mean(axis=1, keepdims=True)) @ basis.T, y @ basis.T
    angle = np.linspace(0, 2 * np.pi, 200)
    left.plot(np.sqrt(3) * np.cos(angle), np.sqrt(3) * np.sin(angle), color=FAINT, lw=1)
    for a, b in zip(flat, round_, strict=True):
        left.plot(*np.transpose([a, b]), color=FAINT, lw=0.6, zorder=0)
    left.plot(*flat.T, "o", color=GREY, ms=3)
    left.plot(*round_.T, "o", color=BLUE)
    left.set(aspect="equal", xticks=[], yticks=[])
    left.spines[:].set_visible(False)
    left.set_title("Layer norm of 3 neurons: centred (grey),\nthen onto the circle of radius √3 (blue)")
    for where, colour, label in (("plane", RED, "free steps"), ("sphere", GREEN, "along the sphere")):
        for lengths in result.data[where]:
            right.plot(lengths, color=colour, lw=1, alpha=0.7)
        right.annotate(label, (STEPS, result.data[where][0][-1]), (6, -3), textcoords="offset points", color=colour)
    right.set(xlabel="step", ylabel="length of the weight", xlim=(0, 131))
    right.set_title("A scale-invariant weight can only grow")


CLAIMS = (
    Claim(
        "spheres",
        10,
        "normalizations put activations and weights onto spheres",
        NEW_INTERPRETATIONS,
        "Most normalizations put pre-activations or weights onto a sphere; norms of weights grow, which optimization on the "
        "sphere avoids.",
        SEEDS,
        measure,
        figure,
        conditions="eps = 0.",
    ),
)
