"""Loss and gradients of a network in its parameters, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import vjp

from .losses import cross_entropy
from .network import Network, Parameters, States


class Evaluation(NamedTuple):
    """A loss, its gradients by the names of the parameters, and the network's state after the pass."""

    loss: float
    gradients: Parameters
    state: States


def loss_and_gradients(
    network: Network,
    parameters: Mapping[str, Any],
    x: Any,
    labels: Any,
    state: Mapping[str, Any] | None = None,
    training: bool = True,
    loss: Callable[[Any, Any], Any] = cross_entropy,
) -> Evaluation:
    """One forward and one backward pass; in training the gradient goes through the batch's statistics."""
    new: States = {}

    def objective(*values: Any) -> Any:
        outputs, after = network.apply(dict(zip(parameters, values, strict=True)), x, state, training)
        new["state"] = after
        return loss(outputs, labels)

    value, pull = vjp(objective, *parameters.values())
    gradients = dict(zip(parameters, pull(np.ones(())), strict=True))
    return Evaluation(float(value), gradients, new["state"])


def to_vector(parameters: Mapping[str, Any]) -> np.ndarray:
    """All parameters, one after another: (P,)."""
    return np.concatenate([np.ravel(p) for p in parameters.values()])


def from_vector(vector: Any, like: Mapping[str, Any]) -> Parameters:
    """The inverse of to_vector, names and shapes as in `like`; a traced vector gives traced parameters."""
    ends = np.cumsum([np.size(p) for p in like.values()])
    if np.shape(vector) != (int(ends[-1]),):
        raise ValueError(f"vector has shape {np.shape(vector)}; the parameters have {int(ends[-1])} entries")
    parts = (vector[end - np.size(p) : end] for end, p in zip(ends.tolist(), like.values(), strict=True))
    return {name: np.reshape(part, np.shape(p)) for part, (name, p) in zip(parts, like.items(), strict=True)}
