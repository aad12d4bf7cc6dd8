"""A random dense network, layer by layer: h = W x, xhat = norm(h), x = phi(xhat); and a random gradient sent back through it.

For checking mean-field predictions: plain NumPy, no training.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Passage(NamedTuple):
    """gradients (depth,): mean square of dL/dh; kernels (depth, batch, batch): x x' / width of what each layer hands on."""

    gradients: np.ndarray
    kernels: np.ndarray

    def growth(self, skipped: int = 3) -> float:
        """Of the squared gradient per layer, backwards: the geometric mean, without the first and last few layers."""
        inner = np.log(self.gradients[skipped : len(self.gradients) - skipped])
        return float(np.exp(-np.polyfit(np.arange(len(inner)), inner, 1)[0]))


def passage(
    norm: Any, options: dict[str, Any], *, width: int, depth: int, batch: int, rng: np.random.Generator, relu: bool = True
) -> Passage:
    """Forward and backward once.

    norm : a declared method of activations, e.g. rn.batch_norm, with its options; weights are N(0, 2 / width)
    """
    x, layers, kernels = rng.normal(size=(batch, width)), [], []
    for _ in range(depth):
        w = rng.normal(0, np.sqrt(2 / width), (width, width))
        xhat, cache, *_ = norm.forward(x @ w.T, **options)
        x = np.maximum(xhat, 0) if relu else xhat
        layers.append((w, cache, xhat > 0 if relu else np.ones(1)))
        kernels.append(x @ x.T / width)
    g, gradients = rng.normal(size=x.shape), np.empty(depth)
    for k, (w, cache, slope) in reversed(list(enumerate(layers))):
        dh = norm.backward(g * slope, cache)[0]
        gradients[k] = np.mean(np.square(dh))
        g = dh @ w
    return Passage(gradients, np.stack(kernels))


def cosine(kernel: np.ndarray) -> float:
    """The mean cosine of different samples, from x x' of the rows of x."""
    length = np.sqrt(np.diag(kernel))
    similarity, n = kernel / np.outer(length, length), len(kernel)
    return float((similarity.sum() - np.trace(similarity)) / (n * (n - 1)))
