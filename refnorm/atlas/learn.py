"""The pages for students: lessons in their order, and the exercises, copied beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.operations import standardize

from . import exercise, lessons, tape_graph
from .site import Site

LESSONS = (
    ("notation", "Notation", "Every letter, what it is called in the source, and its shape."),
    ("projector", "The projector", "P, once, in full; then seen in batch norm, in weight norm, and in a theorem."),
    ("radial", "Where ⟨dx, x̂⟩ comes from", "The small part of the scale that ε lets the gradient see, exactly."),
    ("tape", "The tape of a batch norm", "Automatic differentiation, drawn: every recorded call, and what it hands back."),
    ("gradient-check", "A failed gradient check, diagnosed", "How to choose h; and why to look at where the error points."),
    ("evaluation", "Backward in evaluation mode", "Same forward, other derivative: where frozen statistics bite."),
    ("exercises", "Exercises", "Seven holes to fill in; the command says right, or what is wrong."),
)
NOTATION = (
    ("x", "x", "input, in its own layout: (N, C, *spatial) for activations, (out, in, *kernel) for weights"),
    ("z", "z", "the same entries as rows, (B, D, M): B independent blocks, D coordinates treated jointly, M samples"),
    ("m", "M", "how many entries share one statistic"),
    ("mu", "mean", "the row’s mean"),
    ("sigma^2", "var", "the row’s variance, divided by m (biased) unless a dialect says otherwise"),
    ("eps", "eps", "a small number added to the variance: under the root unless a dialect says otherwise"),
    ("r", "rstd", "1 / √(σ² + ε), the reciprocal deviation"),
    ("xhat", "xhat, zhat", "the normalized input: mean 0, mean square σ² / (σ² + ε)"),
    ("gamma", "gamma", "the scale that the recovery gives back"),
    ("beta", "beta", "the shift that the recovery gives back"),
    ("y", "y", "the output, y = γ x̂ + β"),
    ("dy", "dy", "∂L/∂y, what arrives from above; a gradient is always written d and the name of its array"),
    ("g", "g", "∂L/∂x̂ = γ dy, the gradient at the normalized input"),
    ("dx", "dx", "∂L/∂x, what is handed down"),
    ("P", "none: it is never formed", "the projector I − 11′/m − x̂x̂′/m"),
    ("Sigma", "covariance", "the D × D covariance of a block, for whitening"),
    ("W", "w, weight", "a weight matrix, one row an output; its rows are w₁, w₂ …"),
    ("⟨a, b⟩", "np.sum(a * b)", "the inner product of two rows"),
    ("mean(a)", "average(a)", "the mean of a row, along M"),
)
FORGETFUL = '''\
def backward(dy, x, gamma, beta, *, eps=1e-5):
    mean = x.mean(-1, keepdims=True)
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    xhat, g = (x - mean) * r, dy * gamma
    dx = r * (g - xhat * (g * xhat).mean(-1, keepdims=True))
    return dx, (dy * xhat).sum(0), dy.sum(0)
'''


def pages(site: Site) -> None:
    listed = [{"file": f"{name}.html", "title": title, "says": says} for name, title, says in LESSONS]
    head = {"title": "Learn", "description": "From four numbers on paper to a proof of your own normalization."}
    site.page("learn/index.html", "learn/index.html", {**head, "lessons": listed})
    for k, (name, title, says) in enumerate(LESSONS):
        around = {"before": listed[k - 1] if k else None, "after": listed[k + 1] if k + 1 < len(listed) else None}
        context = {"title": title, "description": says, **around, **CONTEXTS[name]()}
        site.page(f"learn/{name}.html", f"learn/{name}.html", context)
    for name, text in exercise.files().items():
        site.write(f"exercises/{name}", text)


def _notation() -> dict[str, Any]:
    return {"rows": NOTATION}


def _tape() -> dict[str, Any]:
    z, g = np.array([[[11.0, 9.0, 17.0, 3.0]]]), np.array([[[1.0, 0.4, -0.6, 0.2]]])
    drawn = tape_graph.record(z)
    step = {node.serial: k for k, node in enumerate(drawn)}
    table = [
        {
            "step": step[n.serial],
            "call": tape_graph.WORDS.get(n.function, n.function) if n.parents else "z, the input",
            "of": ", ".join(str(step[p]) for p in n.parents),
            "value": "  ".join(f"{v:.4g}" for v in np.ravel(n.value)),
        }
        for n in drawn
    ]
    _, saved = standardize.forward(z, eps=1e-5)
    explicit = standardize.backward(g, z, saved, eps=1e-5)
    apart = np.max(np.abs(tape_graph.pulled(z, g) - explicit))
    return {"graph": tape_graph.svg(drawn), "nodes": table, "apart": f"{apart:.0e}"}


def _exercises() -> dict[str, Any]:
    asked = exercise.EXERCISES["layer_norm"]
    namespace: dict[str, Any] = {"np": np}
    exec(FORGETFUL, namespace)

    def empty(*_: Any, **__: Any) -> Any:
        raise NotImplementedError

    return {
        "exercises": list(exercise.EXERCISES.values()),
        "unsolved": exercise.verdict(asked, empty)[1],
        "wrong": FORGETFUL + "\n" + exercise.verdict(asked, namespace["backward"])[1],
    }


CONTEXTS = {
    "notation": _notation,
    "projector": lessons.projector_page,
    "radial": lessons.radial_page,
    "tape": _tape,
    "gradient-check": lessons.gradient_check_page,
    "evaluation": lessons.evaluation_page,
    "exercises": _exercises,
}
