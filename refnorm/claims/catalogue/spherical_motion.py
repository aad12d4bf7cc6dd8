"""Scale invariance and what follows from it in training.

L. Huang et al., Normalization Techniques in Training DNNs, arXiv 2009.12836, section 4; R. Wan, Z. Zhu, X. Zhang, J. Sun,
Spherical Motion Dynamics, arXiv 2006.08419.  Derivations in refnorm/analysis/scale.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.scale import Motion, equilibrium, predicted_factors, radial, scaled_flows
from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import SURVEY
from refnorm.claims.style import BLUE, COLOURS, FAINT, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, cross_entropy, loss_and_gradients, train

MOTION = Citation(
    "R. Wan, Z. Zhu, X. Zhang, J. Sun",
    "Spherical Motion Dynamics: Learning Dynamics of Normalized Neural Network",
    "NeurIPS",
    2021,
    "2006.08419",
)
SCALES = (0.5, 2.0, 3.0, 0.7)
NORMS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, ""),
    "batch_norm": ({"norm": "batch_norm", "norm_options": {"eps": 0.0}}, "neuron"),
    "layer_norm": ({"norm": "layer_norm", "norm_options": {"eps": 0.0}, "bias": False}, "matrix"),
    "rms_norm": ({"norm": "rms_norm", "norm_options": {"eps": 0.0}, "bias": False}, "matrix"),
    "weight_norm": ({"weight_norm": "weight_norm"}, "neuron"),
}


# W_k -> a_k W_k


def flow(name: str) -> dict[str, Any]:
    """Factors and their deviations for one norm; and <w, g> of its layers, where its scale does not matter."""
    options, per = NORMS[name]
    digits = load_digits(centred=True)
    x, labels = digits.rows[:64], digits.labels[:64]
    network = MLP((64, 32, 32, 32, 32, 10), **options)
    parameters = network.parameters(0)
    layers = [f"layer{k}" for k in range(1, 5)]
    cotangent = np.random.default_rng(1).normal(size=(64, 10))
    found = scaled_flows(network, parameters, x, cotangent, dict(zip(layers, SCALES, strict=True)))
    gradients = loss_and_gradients(network, parameters, x, labels).gradients
    return {
        "factors": [{k: t for k, (t, _) in found[n].items()} for n in layers],
        "off": max(off for n in layers for _, off in found[n].values()),
        "radial": max(radial(parameters[f"{n}.weight"], gradients[f"{n}.weight"], per) for n in layers) if per else None,
    }


def measure_scales(sweep: Sweep) -> Result:
    found = dict(zip(NORMS, sweep(flow, NORMS), strict=True))
    numbers, rows = [], []
    for name, per in ((name, per) for name, (_, per) in NORMS.items() if name != "weight_norm"):
        right = predicted_factors(SCALES, normalized=bool(per))
        worst = max(abs(f[k] / r[k] - 1) for f, r in zip(found[name]["factors"], right, strict=True) for k in r)
        numbers.append(Number(f"{name}: largest relative error of a factor", max(worst, found[name]["off"]), high=1e-10))
        rows += [(name, k + 1, f["x"], f["dh"], f["dw"]) for k, f in enumerate(found[name]["factors"])]
    for name, (_, per) in NORMS.items():
        if per:
            numbers.append(Number(f"{name}: largest |<w, dL/dw>| per {per}", found[name]["radial"], high=1e-13))
    return Result(
        numbers,
        "holds",
        "With a norm each layer forgets its own scale: activations stay, gradients shrink by 1 / a_k and nothing "
        "multiplies up.",
        {"factors": (("norm", "layer k", "x_k", "dL/dh_k", "dL/dW_k"), rows)},
        {"factors": {name: found[name]["factors"] for name in ("none", "batch_norm")}},
    )


def figure_scales(result: Result, figure: Any) -> None:
    panels = figure.subplots(1, 3, sharey=True)
    for axes, key, title in zip(
        panels, ("x", "dh", "dw"), ("activation $x_k$", "gradient of $h_k$", "gradient of $W_k$"), strict=True
    ):
        axes.axhline(1, color=FAINT, lw=0.8)
        for name, colour, words in (("none", RED, "un-normalized"), ("batch_norm", BLUE, "batch norm")):
            factors = [f[key] for f in result.data["factors"][name]]
            axes.plot(range(1, 5), factors, "o-", color=colour, label=words)
        axes.plot(range(1, 5), SCALES, "_", ms=14, color="#8d949d", label="$\\alpha_k$")
        axes.set(title=title, yscale="log", xticks=range(1, 5), xlabel="layer k")
    panels[0].set_ylabel("factor, when $W_k \\to \\alpha_k W_k$")
    panels[0].set_yticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
    panels[0].set_yticks([], minor=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


# weight decay


SETTINGS = ((0.1, 0.01, 0.0), (0.2, 0.005, 0.0), (0.05, 0.01, 0.9))
"""Learning rate, weight decay, momentum: the first two share their product."""
STEPS, MIDDLE = 8000, "layer2.weight"


def motion(item: tuple[float, float, float, int]) -> dict[str, Any]:
    lr, decay, momentum, seed = item
    digits, rng = load_digits(), np.random.default_rng(seed)
    draws, heard = np.random.default_rng((seed, 1)), Motion(MIDDLE)

    def noisy(logits: Any, labels: np.ndarray) -> Any:
        """Each time anew: labels that stay wrong would be learned in the end, and the noise with them."""
        wrong = draws.random(len(labels)) < 0.2
        return cross_entropy(logits, np.where(wrong, draws.integers(0, 10, len(labels)), labels))

    train(
        MLP((64, 32, 32, 10), norm="batch_norm"),
        digits.rows,
        digits.labels,
        steps=STEPS,
        batch_size=32,
        seed=rng,
        loss=noisy,
        optimizer=SGD(lr, momentum, decay),
        progress=heard,
    )
    rest = heard.at_rest()
    return {
        **rest,
        "theory": equilibrium(lr, decay, momentum, rest["L"]),
        "norms": heard.norm[::20],
        "angles": heard.angle[::20],
    }


def measure_equilibrium(sweep: Sweep) -> Result:
    items = [(*setting, 0) for setting in SETTINGS]
    found = dict(zip(items, sweep(motion, items), strict=True))
    numbers, rows = [], []
    for (lr, decay, a, _), f in found.items():
        words = f"lr {lr}, decay {decay}" + f", momentum {a}" * bool(a)
        slack = 0.01 if a == 0 else 0.03
        for what in ("angle", "norm"):
            numbers.append(
                Number(
                    f"{what} at rest / theory: {words}",
                    f[what] / f["theory"][what],
                    1.0,
                    1 - slack,
                    1 + slack,
                    asserted=a == 0,
                    note=f"{f[what]:.5f} against {f['theory'][what]:.5f}",
                )
            )
        rows.append((lr, decay, a, f["angle"], f["theory"]["angle"], f["norm"], f["theory"]["norm"]))
    pair = [found[*s, 0]["angle"] for s in SETTINGS[:2]]
    numbers.append(Number("angle at (0.1, 0.01) / angle at (0.2, 0.005): equal lr * decay", pair[0] / pair[1], 1.0, 0.99, 1.01))
    return Result(
        numbers,
        "holds",
        "The angle by which a scale-invariant weight turns each step is sqrt(2 lr decay), whatever the loss.",
        {"at rest": (("lr", "decay", "momentum", "angle", "theory", "norm", "theory of the norm"), rows)},
        {"runs": [(lr, decay, a, f["norms"], f["angles"], f["theory"]) for (lr, decay, a, _), f in found.items()]},
    )


def figure_equilibrium(result: Result, figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for (lr, decay, a, norms, angles, theory), colour in zip(result.data["runs"], COLOURS, strict=False):
        steps = 20 * np.arange(len(norms))
        words = f"η {lr}, λ {decay}" + f", momentum {a}" * bool(a)
        left.plot(steps, norms, color=colour, lw=1.2, label=words)
        left.axhline(theory["norm"], color=colour, lw=0.8, ls=":")
        smooth = np.sqrt(np.convolve(np.square(angles), np.ones(15) / 15, "valid"))
        right.plot(steps[7 : 7 + len(smooth)], smooth, color=colour, lw=1.2, label=words)
        right.axhline(theory["angle"], color=colour, lw=0.8, ls=":")
    left.set(title="norm of the middle layer's weight", xlabel="step", ylim=(0, None))
    right.set(title="angle it turns by in a step, radians (RMS of 300)", xlabel="step", yscale="log")
    right.set_yticks([0.005, 0.01, 0.02, 0.04], ["0.005", "0.01", "0.02", "0.04"])
    right.set_yticks([], minor=True)
    left.legend(title="dotted: theory")


CLAIMS = (
    Claim(
        "scale-dynamics",
        1,
        "scaled weights: what reaches each layer, forward and backward",
        SURVEY,
        "In a normalized network activations do not change with the scales of weights, and each layer's gradient is divided by "
        "its own scale alone; a scale-invariant weight is orthogonal to its gradient.",
        (0, 1),
        measure_scales,
        figure_scales,
        conditions="eps = 0, a_k > 0, no biases",
    ),
    Claim(
        "weight-decay-equilibrium",
        1,
        "where weight decay brings a scale-invariant weight to rest",
        MOTION,
        "Under SGD with weight decay the norm of a scale-invariant weight comes to rest, and it turns by sqrt(2 lr "
        "decay) a step.",
        (0,),
        measure_equilibrium,
        figure_equilibrium,
        conditions="a noise of gradients that does not vanish (20% of the labels are random, drawn anew each step); over "
                   "the second half of 8000 steps",
    ),
)
