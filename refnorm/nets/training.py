"""Training: batches drawn by a seed, steps of an optimizer, a hook that hears of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from .gradients import Evaluation, loss_and_gradients
from .losses import accuracy, cross_entropy
from .network import Network, Parameters, States


class Optimizer(Protocol):
    """What SGD, SphereSGD and SAM have in common."""

    def start(self, parameters: Parameters) -> Parameters: ...

    def evaluated(self, parameters: Parameters, evaluate: Callable[[Parameters], Evaluation]) -> Evaluation: ...

    def update(
        self, parameters: Parameters, gradients: Parameters, memory: Parameters, step: int = 0
    ) -> tuple[Parameters, Parameters]: ...


class Step(NamedTuple):
    """What the hook hears: the state of affairs before step number `step` is taken, and what it will change."""

    step: int
    parameters: Parameters
    state: States
    x: np.ndarray
    labels: np.ndarray
    loss: float
    gradients: Parameters
    updated: Parameters


@dataclass(frozen=True)
class Trained:
    """losses (steps,): of each batch before its step; shorter than asked for where training ended early."""

    network: Network
    parameters: Parameters
    state: States
    losses: np.ndarray
    diverged: bool

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """In evaluation: populations in the place of batch statistics."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):      # parameters of a run that diverged
            return self.network.apply(self.parameters, x, self.state, training=False)[0]

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        return accuracy(self.outputs(x), labels)


def batches(n: int, batch_size: int, seed: int | np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of batches without end: a permutation of n at a time, what is left over at its end dropped."""
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size is {batch_size}; it must lie in 1..{n}, the number of samples")
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n)
        yield from (order[i : i + batch_size] for i in range(0, n - batch_size + 1, batch_size))


def train(
    network: Network,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int,
    optimizer: Optimizer,
    batch_size: int = 64,
    seed: int | np.random.Generator = 0,
    parameters: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    loss: Callable[[Any, Any], Any] = cross_entropy,
    progress: Callable[[Step], bool | None] | None = None,
) -> Trained:
    """`steps` steps from `parameters` (None: drawn by the seed).

    progress(step) is called before each step is taken; answering False ends the training there.  It also ends, `diverged`, at
    the first loss that is no finite number.
    """
    rng = np.random.default_rng(seed)
    current = network.parameters(rng) if parameters is None else dict(parameters)
    held: States = dict(state or {})
    memory, losses = optimizer.start(current), []
    for step, chosen in zip(range(steps), batches(len(x), batch_size, rng), strict=False):
        batch, targets = x[chosen], labels[chosen]

        def evaluate(at: Parameters, batch: Any = batch, targets: Any = targets, held: States = held) -> Evaluation:
            return loss_and_gradients(network, at, batch, targets, held, loss=loss)

        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, gradients, after = optimizer.evaluated(current, evaluate)
            losses.append(value)
            if not np.isfinite(value):
                return Trained(network, current, held, np.array(losses), diverged=True)
            updated, memory = optimizer.update(current, gradients, memory, step)
        if progress is not None and progress(Step(step, current, held, batch, targets, value, gradients, updated)) is False:
            break
        current, held = updated, after
    return Trained(network, current, held, np.array(losses), diverged=False)
