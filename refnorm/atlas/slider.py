"""The numbers behind a page's slider: a small layer, h = norm(W x) or norm(W) x, whole, for the browser to compute with.

The browser has two operations, on rows given by their labels, in the same formulas as refnorm.operations:

    standardize    zhat = r (z - mean(z)), r = var(z)^(-1/2)      dz = r (g - mean(g) - zhat mean(g zhat))
    rms            zhat = r z, r = mean(z^2)^(-1/2)               dz = r (g - zhat mean(g zhat))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method
from refnorm.proofs.facts import Layer, settings

KINDS = {"standardize": "standardize", "rms": "rms", "standardize / sqrt(M)": "standardize", "rms / sqrt(M)": "rms"}


@dataclass(frozen=True)
class Playground:
    """A layer whose weight the slider scales; `data` is all that the browser needs."""

    layer: Layer
    data: dict[str, Any]

    def scaled(self, a: float, neuron: bool) -> np.ndarray:
        """The weight, or its first neuron's vector alone, times a."""
        factor = np.ones((len(self.layer.weight), 1))
        factor[: 1 if neuron else None] = a
        return self.layer.weight * factor

    def answer(self, a: float, neuron: bool) -> dict[str, float]:
        """What the page must show at a: refnorm's own numbers, through its explicit backward."""
        weight = self.scaled(a, neuron)
        moved = 0 if neuron else slice(None)
        before = self.layer.gradients(self.layer.weight, self.layer.data)[0][moved]
        gradient = self.layer.gradients(weight, self.layer.data)[0][moved]
        h, base = self.layer(weight, self.layer.data), self.layer(self.layer.weight, self.layer.data)
        return {
            "moved": float(np.max(np.abs(h - base)) / np.max(np.abs(base))),
            "ratio": float(np.linalg.norm(gradient) / np.linalg.norm(before)),
            "along": float(np.sum(weight[moved] * gradient) / np.linalg.norm(weight[moved]) / np.linalg.norm(gradient)),
        }


def playground(method: Method) -> Playground | None:
    """None for a method that the browser's two operations do not make."""
    if method.operation is None or method.operation.name not in KINDS:
        return None
    example = dict(settings(method)).get("dense")
    if example is None:
        return None
    layer = Layer(method, example, np.random.default_rng(7))
    normalized = layer.weight if method.acts_on == "weights" else layer.linear(layer.weight, layer.data)
    if normalized.ndim != 2:
        return None
    arguments, _ = method.resolve(normalized, **layer.parameters, **layer.options)
    if method.triple.call(**arguments).weighted:
        return None
    labels = method.triple.layout_of(**arguments).write(method.triple.partition(**arguments).labels())
    gain, shift = _affine(method, normalized, layer)
    data = {
        "acts": method.acts_on,
        "kind": KINDS[method.operation.name],
        "labels": labels.ravel().tolist(),
        **{k: np.asarray(v).tolist() for k, v in {"W": layer.weight, "X": layer.data, "dy": layer.dy}.items()},
        "gain": gain.ravel().tolist(),
        "shift": shift.ravel().tolist(),
    }
    return Playground(layer, data)


def _affine(method: Method, z: np.ndarray, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """y = gain zhat + shift entry by entry, zhat with rows of length sqrt(M): the recovery, run on ones and on zeros."""
    call = method.triple.call(**method.resolve(z, **layer.parameters, **layer.options)[0])

    def recovered(xhat: np.ndarray) -> np.ndarray:
        y = method.recovery.forward(xhat, *call.parameters, layout=call.layout, **call.recovery_options)
        return call.layout.write(y)

    shift = recovered(np.zeros(call.layout.shape))
    radius = np.sqrt(call.part.blocks[2]) if "sqrt(M)" in method.operation.name else 1.0
    return (recovered(np.ones(call.layout.shape)) - shift) / radius, shift
