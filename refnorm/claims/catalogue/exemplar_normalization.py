"""Exemplar normalization: R. Zhang et al., CVPR 2020, arXiv 2003.08761 (abstract seen, formulas recalled).

Each sample mixes the *outputs* of instance, layer and batch norm by ratios of its own.  Switchable normalization mixes their
*statistics* by ratios that all samples share.  With one normalizer chosen the two agree; the sum of outputs

    sum_k l_k (x - mu_k) / s_k        against        (x - sum_k l_k mu_k) / sqrt(sum_k l_k s_k^2)

does not for mixed ratios, whatever has been said: 1/s is no linear function of s^2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import refnorm as rn
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREEN, RED
from refnorm.claims.sweep import Sweep

SEEDS = tuple(range(10))
NORMS = (rn.instance_norm, lambda x, **o: rn.layer_norm(x, axis=1, **o), lambda x, **o: rn.batch_norm(x, **o)[0])
NAMES = ("instance", "layer", "batch")


def draw(seed: int) -> np.ndarray:
    """(6, 4, 5, 5), samples and channels of unlike means and spreads."""
    rng = np.random.default_rng(seed)
    shift, spread = rng.normal(size=(6, 4, 1, 1)), np.exp(0.7 * rng.normal(size=(6, 4, 1, 1)))
    return shift + spread * rng.normal(size=(6, 4, 5, 5))


def exemplar(x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return rn.exemplar_norm(x, logits=np.broadcast_to(logits, (len(x), 3)), eps=1e-5)[0]


def switchable(x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return rn.switchable_norm(x, mean_logits=logits, var_logits=logits, eps=1e-5)[0]


def differences(seed: int) -> dict[str, float]:
    x, rng = draw(seed), np.random.default_rng([seed, 1])
    parts = [norm(x, eps=1e-5) for norm in NORMS]
    one_hot = [np.where(np.arange(3) == k, 0.0, -1e3) for k in range(3)]
    logits = rng.normal(size=3)
    ratio = np.exp(logits) / np.exp(logits).sum()
    own = rng.normal(size=(len(x), 3))
    shares = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
    mixture = sum(s[:, None, None, None] * p for s, p in zip(shares.T, parts, strict=True))
    both = (exemplar(x, logits), switchable(x, logits))
    return {
        "sum": float(np.max(np.abs(rn.exemplar_norm.forward(x, logits=own)[1].saved[0].sum(axis=1) - 1))),
        "own": float(np.max(np.abs(exemplar(x, own) - mixture))),
        "one": max(float(np.max(np.abs(exemplar(x, k) - p))) for k, p in zip(one_hot, parts, strict=True)),
        "corner": max(float(np.max(np.abs(exemplar(x, k) - switchable(x, k)))) for k in one_hot),
        "constant": float(np.max(np.abs(both[0] - sum(r * p for r, p in zip(ratio, parts, strict=True))))),
        "mixed": float(np.linalg.norm(both[0] - both[1]) / np.linalg.norm(both[1])),
    }


def path(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From instance over batch to layer norm: the share, and the distance of the two methods."""
    x, t = draw(seed), np.linspace(0, 1, 41)
    found = []
    for a, b in ((0, 2), (2, 1), (0, 1)):
        for u in t:
            ratio = np.full(3, 1e-300)
            ratio[a] += 1 - u
            ratio[b] += u
            y, z = exemplar(x, np.log(ratio)), switchable(x, np.log(ratio))
            found.append(np.linalg.norm(y - z) / np.linalg.norm(z))
    return t, *np.reshape(found, (3, -1))


def measure(sweep: Sweep) -> Result:
    found = sweep(differences, SEEDS)
    worst = {name: max(f[name] for f in found) for name in found[0]}
    least = min(f["mixed"] for f in found)
    numbers = [
        Number("ratios sum to 1, worst", worst["sum"], 0, high=1e-12),
        Number("each sample mixes the three outputs by its own ratios, worst", worst["own"], 0, high=1e-12),
        Number("one-hot ratios give instance, layer, batch norm, worst", worst["one"], 0, high=1e-12),
        Number("one-hot ratios: exemplar less switchable, worst", worst["corner"], 0, high=1e-12),
        Number("the same ratios for all samples: relative distance to switchable, least", least, 0, low=0.01,
               note="said to be 0"),
        Number("the same, most", worst["mixed"], 0, asserted=False),
        Number("... distance to the mixture of the three outputs, worst", worst["constant"], None, high=1e-12),
    ]  # fmt: skip
    return Result(
        numbers,
        "does not hold",
        "Exemplar norm with the same ratios for every sample is not switchable norm: one mixes outputs, the other statistics, "
        f"and they differ by {100 * least:.0f}% to {100 * worst['mixed']:.0f}%. They agree where one norm is chosen. That "
        "each sample mixes by its own ratios, and that one-hot ratios give the three norms, holds.",
        {},
        {"path": path(SEEDS[0])},
    )


def figure(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    t, *edges = result.data["path"]
    labels = ("instance to batch", "batch to layer", "instance to layer")
    for edge, label, colour in zip(edges, labels, (BLUE, RED, GREEN), strict=True):
        axes.plot(t, 100 * edge, color=colour)
        top = int(np.argmax(edge))
        place = (0, -13 if label == labels[2] else 5)
        axes.annotate(label, (t[top], 100 * edge[top]), place, textcoords="offset points", color=colour, ha="center")
    axes.axhline(0, color=FAINT, lw=1)
    axes.set(xlabel="share of the second norm", ylabel="distance in %", ylim=(-1, 1.15 * 100 * max(e.max() for e in edges)))
    axes.set_title("Mixing outputs (exemplar) against mixing statistics (switchable), the same ratios")


CLAIMS = (
    Claim(
        "exemplar-normalization",
        14,
        "exemplar normalization with constant ratios is no switchable normalization",
        rn.exemplar_norm.declaration.cite,
        "Exemplar normalization chooses ratios per sample; with ratios that are the same for all samples it is switchable "
        "normalization.",
        SEEDS,
        measure,
        figure,
        conditions="The network that predicts the ratios is unconfirmed and left out; ratios are given.",
    ),
)
