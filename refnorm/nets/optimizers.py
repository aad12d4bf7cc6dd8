"""Steps of gradient descent, as pure functions of parameters, gradients and memory.

    SGD          v <- a v + g + lambda w        w <- w - eta v                       (PyTorch's conventions)
    SphereSGD    for the weights that it names, each row or each matrix on the sphere that it started on:
                 t = P (a v + g), v <- t        w <- ||w|| (w - eta t) / ||w - eta t||
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.methods.gradient import sphere_retraction, tangent_projection

from .gradients import Evaluation
from .network import Parameters

Evaluate = Callable[[Parameters], Evaluation]


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent; `schedule(step)`, where given, multiplies the learning rate."""

    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Callable[[int], float] | None = None

    def __post_init__(self) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not np.isfinite(value) or value < 0 or (name == "momentum" and value >= 1):
                below = ", below 1" * (name == "momentum")
                raise ValueError(f"{name} is {value!r}; it must be a finite number, 0 or more{below}")

    def rate(self, step: int) -> float:
        return self.lr * (1.0 if self.schedule is None else self.schedule(step))

    def evaluated(self, parameters: Parameters, evaluate: Evaluate) -> Evaluation:
        """Where this optimizer takes its gradient: at the parameters themselves."""
        return evaluate(parameters)

    def start(self, parameters: Mapping[str, Any]) -> Parameters:
        """The memory before the first step: velocities of zero."""
        return {name: np.zeros_like(p) for name, p in parameters.items()}

    def update(
        self, parameters: Parameters, gradients: Parameters, memory: Parameters, step: int = 0
    ) -> tuple[Parameters, Parameters]:
        """New parameters and new memory."""
        rate = self.rate(step)
        moved, velocities = {}, {}
        for name, w in parameters.items():
            v = gradients[name] + self.weight_decay * w if self.weight_decay else gradients[name]
            v = self.momentum * memory[name] + v if self.momentum else v
            velocities[name], moved[name] = v, w - rate * v
        return moved, velocities


@dataclass(frozen=True)
class SphereSGD(SGD):
    """SGD in which weights stay on spheres (M. Cho, J. Lee, arXiv 1709.09603; J. Sun et al., arXiv 2006.09104).

    on : the names of those weights; None: every "layer<k>.weight", whose scale a norm behind it removes
    dim : 0: each row (out) on its own sphere, as behind batch norm; None: the whole matrix, as behind layer norm
    """

    on: tuple[str, ...] | None = None
    dim: int | None = 0

    def update(
        self, parameters: Parameters, gradients: Parameters, memory: Parameters, step: int = 0
    ) -> tuple[Parameters, Parameters]:
        moved, velocities = super().update(parameters, gradients, memory, step)
        for name in self.names(parameters):
            w = parameters[name]
            direction = gradients[name] + self.momentum * memory[name]       # decay is radial: the projection removes it
            velocities[name] = tangent_projection(direction, w, dim=self.dim)
            moved[name] = sphere_retraction(w, velocities[name], step=self.rate(step), dim=self.dim)
        return moved, velocities

    def names(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        if self.on is not None:
            return self.on
        return tuple(n for n in parameters if n.startswith("layer") and n.endswith(".weight"))
