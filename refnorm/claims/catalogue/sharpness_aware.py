"""M. Mueller, T. Vlaar, D. Rolnick, M. Hein, Normalization Layers Are All That Sharpness-Aware Minimization Needs,
2306.04226."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.landscape import norm
from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, GREEN, GREY, RED
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import ASAM, MLP, SAM, SGD, ConvNet, loss_and_gradients, train
from refnorm.nets.sharpness import is_norm

CITE = Citation(
    "M. Mueller, T. Vlaar, D. Rolnick, M. Hein",
    "Normalization Layers Are All That Sharpness-Aware Minimization Needs",
    "NeurIPS",
    2023,
    "2306.04226",
)
SEEDS = (0, 1, 2, 3, 4)


# what the perturbations are


def lengths(seed: int) -> dict[str, float]:
    """Errors of ||eps|| = rho and ||T^-1 eps|| = rho; how many parameters that are no norm's move in SAM-ON's ascent."""
    digits, net = load_digits(), MLP((64, 32, 32, 10), norm="batch_norm")
    p = net.parameters(seed)
    g = loss_and_gradients(net, p, digits.rows[:64], digits.labels[:64]).gradients
    errors = {}
    for name, sam in (("SAM", SAM(0.3)), ("SAM-ON", SAM(0.3, only="norm")), ("SAM, no norm", SAM(0.3, only="no_norm"))):
        errors[name] = abs(norm(sam.perturbation(p, g).values()) - 0.3)
    for adaptive in ("elementwise", "layerwise"):
        sam = ASAM(0.3, adaptive=adaptive)
        errors[f"ASAM {adaptive}"] = abs(norm(e / sam.scaling(n, p[n]) for n, e in sam.perturbation(p, g).items()) - 0.3)
    moved = SAM(0.3, only="norm").ascended(p, g)
    errors["moved"] = sum(int(np.sum(moved[n] != p[n])) for n in p if not is_norm(n))
    return errors


def rescaled(rho: float) -> dict[str, tuple[float, float]]:
    """The perturbed loss before and after w1 -> 3 w1, w2 -> w2 / 3, which relu does not see: ASAM with eta 0, and SAM."""
    digits, net = load_digits(), MLP((64, 32, 10), bias=False)
    x, labels, p = digits.rows[:64], digits.labels[:64], net.parameters(0)
    p = {**p, "output.bias": np.zeros(10)}
    q = {**p, "layer1.weight": 3 * p["layer1.weight"], "output.weight": p["output.weight"] / 3}

    def perturbed(sam: SAM, at: Any) -> float:
        g = loss_and_gradients(net, at, x, labels).gradients
        return loss_and_gradients(net, sam.ascended(at, g), x, labels).loss

    sams = {"ASAM": ASAM(rho, eta=0.0), "SAM": SAM(rho)}
    return {name: (perturbed(sam, p), perturbed(sam, q)) for name, sam in sams.items()}


RADII = tuple(np.round(np.geomspace(0.05, 2, 12), 4).tolist())


def measure_identities(sweep: Sweep) -> Result:
    found = sweep(lengths, SEEDS)
    numbers = [
        Number(f"{name}: largest error of the length rho = 0.3", max(f[name] for f in found), high=1e-12)
        for name in found[0]
        if name != "moved"
    ]
    numbers.append(
        Number("SAM-ON's ascent: entries of other parameters that change", max(f["moved"] for f in found), 0, high=0)
    )
    pairs = sweep(rescaled, RADII)
    gap = {name: [abs(a / b - 1) for f in pairs for a, b in (f[name],)] for name in ("ASAM", "SAM")}
    numbers.append(
        Number(
            "ASAM, eta 0: largest relative change of the perturbed loss under w1 -> 3 w1, w2 -> w2 / 3",
            max(gap["ASAM"]),
            0.0,
            high=1e-12,
        )
    )
    numbers.append(Number("SAM: the same, a witness that it does see the rescaling", max(gap["SAM"]), "4.85 -> 9.53", low=0.1))
    return Result(
        numbers,
        "holds",
        "Perturbations have the length that the definitions give them, in their own metric; ASAM does not see a rescaling "
        "that the network does not see, SAM does; SAM-ON moves parameters of norms and nothing else.",
        {},
        {"pairs": pairs},
    )


def figure_identities(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    for name, colour in (("SAM", RED), ("ASAM", BLUE)):
        values = np.array([f[name] for f in result.data["pairs"]])
        axes.plot(RADII, values[:, 0], "-", color=colour, label=f"{name}, at w")
        axes.plot(RADII, values[:, 1], "o", color=colour, label=f"{name}, at the rescaled w, the same function")
    axes.set(title="Loss at the perturbed point", xscale="log", yscale="log", xlabel="radius ρ")
    axes.legend()


# training with it


KINDS: dict[str, Any] = {
    "SGD": lambda base: base,
    "SAM": lambda base: SAM(0.05, base),
    "SAM-ON": lambda base: SAM(0.05, base, only="norm"),
    "SAM, no norm": lambda base: SAM(0.05, base, only="no_norm"),
}


def trained(item: tuple[str, int]) -> tuple[float, float, float]:
    """Test accuracy; sharpness: the rise of the training loss at SAM's perturbation of radius 0.1; share of norm parameters."""
    kind, seed = item
    digits, net = load_digits(), ConvNet(channels=(8, 16), norm="batch_norm")
    run = train(
        net, digits.images, digits.labels, steps=250, batch_size=64, seed=seed, optimizer=KINDS[kind](SGD(0.05, 0.9, 5e-4))
    )
    x, labels = digits.images[:512], digits.labels[:512]
    here = loss_and_gradients(net, run.parameters, x, labels, run.state)
    there = loss_and_gradients(net, SAM(0.1).ascended(run.parameters, here.gradients), x, labels, run.state)
    sizes = {n: p.size for n, p in run.parameters.items()}
    share = sum(s for n, s in sizes.items() if is_norm(n)) / sum(sizes.values())
    return run.accuracy(digits.test_images, digits.test_labels), there.loss - here.loss, share


def measure_training(sweep: Sweep) -> Result:
    items = [(k, s) for k in KINDS for s in SEEDS]
    found = dict(zip(items, sweep(trained, items), strict=True))
    numbers = [Number("share of parameters that are a norm's", found["SGD", 0][2], "under 0.1%", asserted=False)]
    rows = []
    for k in KINDS:
        accuracy, sharpness = (np.array([found[k, s][i] for s in SEEDS]) for i in (0, 1))
        for what, values in (("test accuracy", accuracy), ("sharpness", sharpness)):
            numbers.append(
                Number(
                    f"{what}, {k}: mean of 5 seeds",
                    float(values.mean()),
                    asserted=False,
                    note=f"from {values.min():.4f} to {values.max():.4f}",
                )
            )
        rows.append(
            (k, float(accuracy.mean()), float(accuracy.std(ddof=1)), float(sharpness.mean()), float(sharpness.std(ddof=1)))
        )
    return Result(
        numbers,
        "reported",
        "On digits test accuracies lie within each other's spread, so nothing can be said of generalization; the flatness is "
        "there to be compared. The paper's numbers are of CIFAR and ImageNet.",
        {"five seeds": (("optimizer", "accuracy", "its deviation", "sharpness", "its deviation"), rows)},
        {"found": {k: [found[k, s][:2] for s in SEEDS] for k in KINDS}},
    )


def figure_training(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    for (k, values), colour in zip(result.data["found"].items(), (GREY, RED, BLUE, GREEN), strict=True):
        values = np.asarray(values)
        axes.plot(values[:, 1], values[:, 0], "o", color=colour, alpha=0.45, mec="none")
        axes.plot(*values.mean(axis=0)[::-1], "D", color=colour, ms=8, label=k)
    axes.set(
        title="Five seeds each, and their mean",
        xlabel="sharpness: rise of the training loss at radius 0.1",
        xscale="log",
        ylabel="test accuracy",
    )
    axes.legend()


CLAIMS = (
    Claim(
        "sharpness-perturbations",
        11,
        "what SAM, ASAM and SAM-ON perturb",
        CITE,
        "ASAM's perturbation is invariant to rescalings that leave the function alone; SAM-ON perturbs the parameters of norms "
        "only.",
        SEEDS,
        measure_identities,
        figure_identities,
    ),
    Claim(
        "sam-on",
        16,
        "perturbing norms alone",
        CITE,
        "Perturbing only the affine parameters of norms, under 0.1% of all, generalizes better than perturbing all.",
        SEEDS,
        measure_training,
        figure_training,
        conditions="digits, a convolutional network of two layers, 250 steps; no target",
    ),
)
