"""The numbers and figures of the pages for students, all measured here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.autodiff import jacobian, vjp
from refnorm.operations import standardize

from .plots import drawing, heatmap, inline

ROW = np.array([2.0, -1.0, 0.5, 3.0, -2.5, 1.0])            # a row to look at
COTANGENT = np.array([1.0, 0.4, -0.6, 0.2, 0.7, -0.3])


RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def standardized(row: np.ndarray, eps: float = 0.0) -> tuple[np.ndarray, float]:
    """zhat and r of one row."""
    zhat, saved = standardize.forward(row[None, None], eps=eps)
    return zhat[0, 0], float(saved.rstd[0, 0, 0])


def projector(zhat: np.ndarray) -> np.ndarray:
    """P = I - 11'/m - zhat zhat'/m."""
    m = len(zhat)
    return np.eye(m) - np.ones((m, m)) / m - np.outer(zhat, zhat) / m


def projector_page() -> dict[str, Any]:
    """P on one row; the same P in batch norm, weight norm and theorem 4.1 of S. Santurkar et al. (arXiv 1805.11604)."""
    zhat, r = standardized(ROW)
    p, g, m = projector(zhat), COTANGENT, len(ROW)
    taped = vjp(lambda x: rn.batch_norm.forward(x[:, None], eps=0.0)[0][:, 0], ROW)[1](g)[0]
    v, dw = ROW, COTANGENT
    _, cache = rn.weight_norm.forward(v[None], np.array([1.5]))
    dv = rn.weight_norm.backward(dw[None], cache)[0][0]
    on_sphere = (np.eye(m) - np.outer(v, v) / (v @ v)) @ dw * 1.5 / np.linalg.norm(v)
    gamma = 1.3
    downstream = gamma * r * (p @ g)                        # dL/dy of y -> z = gamma zhat + beta, g = dL/dz
    theorem = gamma**2 * r**2 * (g @ g - np.sum(g) ** 2 / m - (g @ zhat) ** 2 / m)
    parts = {"g": g, "mean(g) 1": np.mean(g) * np.ones(m), "mean(g x̂) x̂": np.mean(g * zhat) * zhat, "P g": p @ g}
    return {
        "heat": heatmap(p, "The matrix P for a row of six entries"),
        "eigenvalues": ", ".join(f"{abs(v):.0f}" for v in np.round(np.linalg.eigvalsh(p), 12)),
        "idempotent": f"{np.max(np.abs(p @ p - p)):.0e}",
        "parts": _parts(parts),
        "norm": f"{np.max(np.abs(r * (p @ g) - taped)):.0e}",
        "weight": f"{np.max(np.abs(on_sphere - dv)):.0e}",
        "left": f"{downstream @ downstream:.12f}",
        "right": f"{theorem:.12f}",
        "shortest": f"{g @ g * gamma**2 * r**2:.4f}",
    }


def _parts(parts: dict[str, np.ndarray]) -> str:
    with drawing(7.2, 2.0, columns=len(parts)) as (figure, panels):
        for k, (axes, (name, values)) in enumerate(zip(panels, parts.items(), strict=True)):
            axes.bar(range(len(values)), values, color=f"#02030{(5, 1, 2, 3)[k]}")
            axes.set(title=name, ylim=(-1.2, 1.2), xticks=[], yticks=[])
            axes.axhline(0, lw=0.7, color="#010204")
            axes.spines[:].set_visible(False)
        return inline(figure, "A gradient g, its part along 1, its part along x-hat, and what is left: P g", "parts")


def radial_page() -> dict[str, Any]:
    """<dx, zhat> = <g, zhat> eps r^3: the measured share of the scale that is seen, against s2 / eps."""
    rng, eps = np.random.default_rng(0), 1e-5
    ratios = 10.0 ** np.arange(-3, 5)
    measured = []
    for ratio in ratios:
        z = rng.normal(size=64)
        z = (z - z.mean()) / z.std() * np.sqrt(ratio * eps)
        g = rng.normal(size=64)
        zhat, saved = standardize.forward(z[None, None], eps=eps)
        dz = standardize.backward(g[None, None], z[None, None], saved, eps=eps)
        measured.append(float(np.sum(dz * zhat) / np.sum(g * zhat) / saved.rstd[0, 0, 0]))
    exact = 1 / (ratios + 1)                                # eps r^2
    with drawing(6.4, 3.0) as (figure, axes):
        fine = 10.0 ** np.linspace(-3, 4, 100)
        axes.loglog(fine, 1 / (fine + 1), lw=1.2, label="ε / (s² + ε)")
        axes.loglog(ratios, measured, "o", ms=5, label="measured")
        axes.set(xlabel="variance / ε", ylabel="share of the scale that is seen")
        axes.legend()
        title = "The share of a change of scale that the gradient sees, against the variance over epsilon"
        svg = inline(figure, title, "radial")
    return {"plot": svg, "worst": f"{np.max(np.abs(measured / exact - 1)):.0e}"}


WRONG: dict[str, Callable[..., Any]] = {
    "right": lambda g, z, r: r * (g - np.mean(g) - z * np.mean(g * z)),
    "the mean term is dropped": lambda g, z, r: r * (g - z * np.mean(g * z)),
    "the variance counts as a constant": lambda g, z, r: r * (g - np.mean(g)),
    "sums in the place of means": lambda g, z, r: r * (g - np.sum(g) - z * np.sum(g * z)),
    "the unbiased variance, m - 1": lambda g, z, r: r * np.sqrt((len(g) - 1) / len(g)) * (g - np.mean(g) - z * np.mean(g * z)),
    "r squared": lambda g, z, r: r**2 * (g - np.mean(g) - z * np.mean(g * z)),
    "the sign of the last term": lambda g, z, r: r * (g - np.mean(g) + z * np.mean(g * z)),
}
"""Backwards of standardize, g and zhat of one row: the right one, and what one finds in the wild."""

READS = {
    "right": "nothing to read: rounding",
    "the mean term is dropped": "all of the error lies along 1",
    "the variance counts as a constant": "all of it lies along x̂",
    "sums in the place of means": "along 1 and x̂, nothing elsewhere; larger for longer rows",
    "the unbiased variance, m - 1": "all of it lies along the right answer: a factor",
    "r squared": "a factor again, and not that of m - 1",
    "the sign of the last term": "along x̂, and twice as large as with the term dropped",
}


def diagnose(name: str) -> dict[str, float]:
    """The error of a backward, split: its size, and its shares along 1, along zhat, along the right answer, and elsewhere."""
    zhat, r = standardized(ROW)
    right = WRONG["right"](COTANGENT, zhat, r)
    error = WRONG[name](COTANGENT, zhat, r) - right
    size = float(np.linalg.norm(error) / np.linalg.norm(right))
    if size < 1e-12:
        return {"size": size, "one": 0.0, "xhat": 0.0, "answer": 0.0, "rest": 0.0}

    def share(direction: np.ndarray) -> float:
        return float((error @ direction) ** 2 / (direction @ direction) / (error @ error))

    shares = {"one": share(np.ones_like(zhat)), "xhat": share(zhat), "answer": share(right)}
    return {"size": size, **shares, "rest": max(0.0, 1 - sum(shares.values()))}


def differences(dtype: Any, central: bool) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the relative error of finite differences of a batch norm at each."""
    rng = np.random.default_rng(0)
    x, dy, v = (a.astype(dtype) for a in rng.normal(size=(3, 8, 3)))
    exact = tuple(a.astype(np.float64) for a in (x, dy, v))
    _, cache, _ = rn.batch_norm.forward(exact[0], eps=1e-5)
    right = float(np.sum(rn.batch_norm.backward(exact[1], cache)[0] * exact[2]))
    steps = 2.0 ** -np.arange(1, 24 if dtype == np.float32 else 48)

    def loss(at: np.ndarray) -> Any:
        return np.sum(dy * rn.batch_norm.forward(at, eps=1e-5)[0], dtype=dtype)

    found = []
    for h in steps.astype(dtype):
        ahead, behind = loss(x + h * v), loss(x - h * v) if central else loss(x)
        found.append(abs(float(ahead - behind) / float(2 * h if central else h) - right) / abs(right))
    return steps, np.array(found)


def gradient_check_page() -> dict[str, Any]:
    curves = {
        "central, float64": differences(np.float64, True),
        "one-sided, float64": differences(np.float64, False),
        "central, float32": differences(np.float32, True),
    }
    with drawing(6.6, 3.4) as (figure, axes):
        for label, (steps, errors) in curves.items():
            axes.loglog(steps, np.maximum(errors, 1e-16), "o-", ms=2.5, lw=1.1, label=label, base=2)
        axes.set_yscale("log", base=10)
        axes.set(xlabel="step h", ylabel="relative error", ylim=(1e-13, 30))
        axes.legend(loc="lower right")
        svg = inline(figure, "The error of finite differences against the step, for three ways: each a V", "steps")
    exponents = {label: -np.log2(steps[int(np.argmin(errors))]) for label, (steps, errors) in curves.items()}
    best = [
        {"way": label, "h": "2⁻" + f"{exponents[label]:.0f}".translate(RAISED), "error": f"{np.min(errors):.0e}"}
        for label, (_, errors) in curves.items()
    ]
    rows = [{"name": name, **diagnose(name), "reads": READS[name]} for name in WRONG]
    return {"plot": svg, "best": best, "rows": rows}


def evaluation_page() -> dict[str, Any]:
    """The Jacobian of batch norm on one channel, in training and in evaluation, the batch's own statistics the state, eps 0."""
    x = ROW[:, None]
    state = rn.batch_norm.state(mean=np.mean(x, axis=0), var=np.var(x, axis=0))

    def train(a: Any) -> Any:
        return rn.batch_norm.forward(np.reshape(a, (-1, 1)), eps=0.0)[0][:, 0]

    def evaluate(a: Any) -> Any:
        return rn.batch_norm.forward(np.reshape(a, (-1, 1)), state=state, training=False, eps=0.0)[0][:, 0]

    in_training, in_evaluation = jacobian(train)(ROW), jacobian(evaluate)(ROW)
    dtrain, deval = COTANGENT @ in_training, COTANGENT @ in_evaluation
    return {
        "same": f"{np.max(np.abs(train(ROW) - evaluate(ROW))):.0e}",
        "training": heatmap(in_training, "The Jacobian of batch norm in training: dense"),
        "evaluation": heatmap(in_evaluation, "The Jacobian of batch norm in evaluation: diagonal"),
        "ranks": (int(np.linalg.matrix_rank(in_training)), int(np.linalg.matrix_rank(in_evaluation))),
        "dtrain": " ".join(f"{v:+.3f}" for v in dtrain),
        "deval": " ".join(f"{v:+.3f}" for v in deval),
        "apart": f"{np.linalg.norm(dtrain - deval) / np.linalg.norm(dtrain):.0%}",
    }
