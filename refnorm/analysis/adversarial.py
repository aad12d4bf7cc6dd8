"""The fast gradient sign method: x + eps sign(dL/dx) (I. Goodfellow et al., arXiv 1412.6572), clipped to no range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refnorm.autodiff import vjp
from refnorm.nets import Network, accuracy, cross_entropy


def fgsm(
    network: Network,
    parameters: Mapping[str, Any],
    x: np.ndarray,
    labels: np.ndarray,
    eps: float,
    state: Mapping[str, Any] | None = None,
    training: bool = False,
) -> np.ndarray:
    """The attacked inputs.  training=True: through the statistics of the batch itself, "re-estimated" ones."""
    _, pull = vjp(lambda v: cross_entropy(network.apply(parameters, v, state, training)[0], labels), x)
    return x + eps * np.sign(pull(np.ones(()))[0])


def accuracy_under_attack(
    network: Network,
    parameters: Mapping[str, Any],
    x: np.ndarray,
    labels: np.ndarray,
    eps: float,
    state: Mapping[str, Any] | None = None,
    training: bool = False,
) -> float:
    attacked = fgsm(network, parameters, x, labels, eps, state, training)
    return accuracy(network.apply(parameters, attacked, state, training)[0], labels)
