"""Federated averaging: clients train on data of their own, a server averages what they send.

B. McMahan et al., arXiv 1602.05629: w <- sum_k (n_k / n) w_k.  Populations are averaged as parameters are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .network import Network, Parameters, States
from .training import Optimizer, Trained, train

Client = tuple[np.ndarray, np.ndarray]


def averaged(models: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> Parameters:
    """sum_k weights_k models_k, the weights divided by their sum."""
    share = np.asarray(weights, float) / np.sum(weights)
    return {name: sum(s * m[name] for s, m in zip(share, models, strict=True)) for name in models[0]}


def averaged_states(states: Sequence[States], weights: Sequence[float]) -> States:
    """Running statistics averaged field by field; the count of batches stays one client's."""
    def mean(name: str) -> Any:
        first = states[0][name]
        fields = averaged([s[name]._asdict() for s in states], weights)
        return type(first)(**{**fields, **({"count": first.count} if "count" in fields else {})})

    return {name: mean(name) for name in states[0]}


def federated_average(
    network: Network,
    clients: Sequence[Client],
    *,
    rounds: int,
    local_steps: int,
    optimizer: Optimizer,
    batch_size: int = 32,
    seed: int = 0,
    progress: Callable[[int, Sequence[Trained]], None] | None = None,
) -> Trained:
    """`rounds` times: each client takes `local_steps` steps from the server's parameters, memory fresh; the server averages,
    weighed by the clients' numbers of samples.

    progress(round, the clients' local results) is called before the averaging.
    """
    rng = np.random.default_rng(seed)
    parameters = network.parameters(rng)
    state: States = {}
    draws = rng.spawn(len(clients))
    weights = [len(x) for x, _ in clients]
    losses = []
    for turn in range(rounds):
        local = [
            train(network, x, labels, steps=local_steps, optimizer=optimizer, batch_size=min(batch_size, len(x)), seed=draw,
                  parameters=parameters, state=state)
            for (x, labels), draw in zip(clients, draws, strict=True)
        ]
        if progress is not None:
            progress(turn, local)
        parameters = averaged([c.parameters for c in local], weights)
        state = averaged_states([c.state for c in local], weights)
        losses.append(np.average([c.losses[-1] for c in local], weights=weights))
        if any(c.diverged for c in local):
            return Trained(network, parameters, state, np.array(losses), diverged=True)
    return Trained(network, parameters, state, np.array(losses), diverged=False)
