"""The conditioning of a network, layer by layer: spectra of what goes in and of the gradients of what comes out.

L. Huang et al., Layer-wise Conditioning Analysis in Exploring the Learning Dynamics of DNNs, arXiv 2002.10801.  For a layer
h = W x with inputs X (N, I) and gradients G (N, O) of the mean loss at its outputs (so G carries 1/N), as the authors' code
has them,

    Sigma_x = X'X / N   (not centred)        Sigma_dh = N G'G

and the layer's block of the Fisher matrix, F = E vec(g x') vec(g x')', is about Sigma_dh (x) Sigma_x; exactly so where g and x
are independent.  The eigenvalues of a Kronecker product are the products, hence

    lambda_max(F) = lambda_max(Sigma_dh) lambda_max(Sigma_x)        kappa likewise,

the general condition number kappa_p = lambda_max / lambda_{ceil(p d)} leaving out the smallest directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import vjp
from refnorm.nets import Network, Signals, cross_entropy


class LayerSpectra(NamedTuple):
    """Eigenvalues, descending, of the covariances of a layer's inputs (I,) and of its output gradients (O,)."""

    inputs: np.ndarray
    gradients: np.ndarray


def layer_spectra(
    network: Network,
    parameters: Mapping[str, Any],
    x: np.ndarray,
    labels: np.ndarray,
    state: Mapping[str, Any] | None = None,
    training: bool = True,
    loss: Callable[[Any, Any], Any] = cross_entropy,
) -> dict[str, LayerSpectra]:
    """The spectra of each dense layer; convolutions count each position as a sample of the gradients, and of the inputs."""
    record: dict[str, Signals] = {}
    network.apply(parameters, x, state, training, record=record)
    names = list(record)

    def objective(*offsets: Any) -> Any:
        given = dict(zip(names, offsets, strict=True))
        return loss(network.apply(parameters, x, state, training, offsets=given)[0], labels)

    _, pull = vjp(objective, *(np.zeros(np.shape(record[n].output)) for n in names))
    gradients = pull(np.ones(()))
    n = len(x)
    return {
        name: LayerSpectra(spectrum(as_rows(record[name].input), 1 / n), spectrum(as_rows(g), n))
        for name, g in zip(names, gradients, strict=True)
    }


def as_rows(a: np.ndarray) -> np.ndarray:
    """(N, C, *spatial) to (N * spatial, C)."""
    return np.reshape(np.moveaxis(a, 1, -1), (-1, np.shape(a)[1]))


def spectrum(rows: np.ndarray, weight: float) -> np.ndarray:
    """Eigenvalues of weight * rows'rows, descending; those that rounding made negative are 0."""
    return np.maximum(np.linalg.eigvalsh(weight * rows.T @ rows)[::-1], 0)


def condition_number(eigenvalues: np.ndarray, p: float = 1.0) -> float:
    """kappa_p = lambda_max / lambda_{ceil(p d)}; infinite where that one is 0."""
    if not 0 < p <= 1:
        raise ValueError(f"p is {p!r}; it must lie in 0..1, 0 left out: the share of the directions that count")
    low = eigenvalues[math.ceil(p * len(eigenvalues)) - 1]
    return float(eigenvalues[0] / low) if low > 0 else math.inf


def fisher_block(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """E vec(g x') vec(g x')' over samples x (N, I) and g (N, O): (O I, O I)."""
    outer = np.reshape(g[:, :, None] * x[:, None, :], (len(x), -1))
    return outer.T @ outer / len(x)
