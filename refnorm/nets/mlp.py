"""Dense networks: a chain, and a residual one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .layers import flatten
from .network import Network, Pass


@dataclass(frozen=True)
class MLP(Network):
    """sizes (inputs, hidden ..., outputs); each hidden layer is dense, norm, activation (place="post": norm last)."""

    sizes: tuple[int, ...] = (64, 64, 64, 10)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.sizes[0],)

    def body(self, run: Pass, x: Any) -> Any:
        for k, units in enumerate(self.sizes[1:-1], 1):
            x = run.activated(f"norm{k}", run.layer(f"layer{k}", x, units))
        if self.last_norm:
            x = run.normalize("last_norm", x)
        return run.layer("output", x, self.sizes[-1], hidden=False)


@dataclass(frozen=True)
class ResidualMLP(Network):
    """A dense stem, `depth` blocks x + f(x), and a dense output; pre-activation: f is norm, activation, dense, repeated.

    skip_init : each f is multiplied by a learned number that starts at 0
    """

    residual: ClassVar[bool] = True
    inputs: int = 64
    width: int = 64
    depth: int = 4
    outputs: int = 10
    layers_a_block: int = 1
    skip_init: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.inputs,)

    def body(self, run: Pass, x: Any) -> Any:
        x, k = run.layer("stem", x, self.width), 0
        for block in range(1, self.depth + 1):
            branch = x
            for _ in range(self.layers_a_block):
                k += 1
                branch = run.layer(f"layer{k}", run.activated(f"norm{k}", branch), self.width)
            x = x + (run.scale(f"block{block}.skip", branch) if self.skip_init else branch)
        if self.last_norm:
            x = run.normalize("last_norm", x)
        return run.layer("output", flatten(x), self.outputs, hidden=False)
