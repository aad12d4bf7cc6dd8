"""What a network does to activations and gradients, layer by layer: energy, similarity of samples, rank, size of gradients.

A measure of any network; what wide ones do at initialization is known in closed form, in mean_field.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import vjp
from refnorm.nets import Network, Signals


class Propagation(NamedTuple):
    """By layer, in order; of a layer's input X (N, I): mean square, mean cosine between samples, stable rank
    ||X||_F^2/||X||_2^2."""

    layers: tuple[str, ...]
    energy: np.ndarray
    cosine: np.ndarray
    gradient: np.ndarray  # of the layer's output, its squared norm
    rank: np.ndarray


def propagation(network: Network, parameters: Mapping[str, Any], x: np.ndarray, cotangent: np.ndarray) -> Propagation:
    """One forward and one backward pass of <cotangent, outputs>."""
    record: dict[str, Signals] = {}
    network.apply(parameters, x, record=record)
    layers = tuple(record)
    zeros = [np.zeros(np.shape(record[n].output)) for n in layers]
    _, pull = vjp(lambda *o: network.apply(parameters, x, offsets=dict(zip(layers, o, strict=True)))[0], *zeros)
    rows = [np.reshape(record[n].input, (len(x), -1)) for n in layers]
    return Propagation(
        layers,
        np.array([np.mean(np.square(r)) for r in rows]),
        np.array([mean_cosine(r) for r in rows]),
        np.array([np.sum(np.square(g)) for g in pull(cotangent)]),
        np.array([np.sum(np.square(r)) / np.linalg.norm(r, 2) ** 2 for r in rows]),
    )


def mean_cosine(rows: np.ndarray) -> float:
    """The mean cosine between two different rows."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n = len(rows)
    return float((np.sum(np.square(np.sum(unit, axis=0))) - n) / (n * (n - 1)))
