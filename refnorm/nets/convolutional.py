"""Convolutional networks: a chain, and a residual one.  Small: they are made for images of 8 x 8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .layers import average_pool, flatten
from .network import Network, Pass


@dataclass(frozen=True)
class ConvNet(Network):
    """For each entry of `channels`: convolution, norm, activation, mean over 2 x 2; then a dense output of all that is left."""

    image: tuple[int, int, int] = (1, 8, 8)                   # channels, height, width
    channels: tuple[int, ...] = (8, 16)
    kernel: int = 3
    outputs: int = 10
    pool: bool = True

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.image

    def body(self, run: Pass, x: Any) -> Any:
        for k, units in enumerate(self.channels, 1):
            x = run.activated(f"norm{k}", run.layer(f"layer{k}", x, units, (self.kernel, self.kernel)))
            x = average_pool(x) if self.pool else x
        if self.last_norm:
            x = run.normalize("last_norm", x)
        return run.layer("output", flatten(x), self.outputs, hidden=False)


@dataclass(frozen=True)
class ResidualConvNet(Network):
    """A convolutional stem, `depth` blocks x + f(x) at one width, the mean over positions, a dense output.

    Pre-activation: f is norm, activation, convolution, repeated.  skip_init : each f times a learned number that starts at 0
    """

    residual: ClassVar[bool] = True
    image: tuple[int, int, int] = (1, 8, 8)
    width: int = 16
    depth: int = 3
    kernel: int = 3
    outputs: int = 10
    layers_a_block: int = 1
    skip_init: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.image

    def body(self, run: Pass, x: Any) -> Any:
        window = (self.kernel, self.kernel)
        x, k = average_pool(run.layer("stem", x, self.width, window)), 0
        for block in range(1, self.depth + 1):
            branch = x
            for _ in range(self.layers_a_block):
                k += 1
                branch = run.layer(f"layer{k}", run.activated(f"norm{k}", branch), self.width, window)
            x = x + (run.scale(f"block{block}.skip", branch) if self.skip_init else branch)
        if self.last_norm:
            x = run.normalize("last_norm", x)
        return run.layer("output", np.mean(x, axis=(2, 3)), self.outputs, hidden=False)
