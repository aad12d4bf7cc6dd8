"""Recovery: what representation is given back after an operation, xhat -> y.

Each recovery has parameters laid along named axes of a Layout, an explicit forward and an explicit backward.
A parameter that is None is not applied, and its gradient is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .area import Area, Layout
from .arguments import finite_number


@dataclass(frozen=True)
class Identity:
    """y = xhat."""

    parameters: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    formula: ClassVar[str] = "y = xhat"

    def shapes(self, layout: Layout) -> tuple[tuple[int, ...], ...]:
        return ()

    def forward(self, xhat: Any, layout: Layout) -> Any:
        return xhat

    def backward(self, dy: Any, xhat: Any, layout: Layout) -> tuple[Any, tuple]:
        return dy, ()


@dataclass(frozen=True)
class Affine:
    """y = (offset + gamma) * xhat + beta, parameters along the named axes.

    "c": one gamma a channel (batch norm and its kin).  "n c": one a sample and channel, predicted from a condition.
    "n c s": one an entry (SPADE).  Offset 1 keeps a predicted gamma of zero at the identity.
    """

    name: str
    parameters: ClassVar[tuple[str, ...]] = ("gamma", "beta")
    options: ClassVar[tuple[str, ...]] = ("offset",)
    formula: ClassVar[str] = "y = gamma * xhat + beta"

    def shapes(self, layout: Layout, offset: float = 0.0) -> tuple[tuple[int, ...], ...]:
        return (layout.lengths(self.name),) * 2

    def forward(self, xhat: Any, gamma: Any, beta: Any, layout: Layout, offset: float = 0.0) -> Any:
        y = Scale(self.name).forward(xhat, gamma, layout, offset)
        return y if beta is None else y + layout.along(beta, self.name)

    def backward(self, dy: Any, xhat: Any, gamma: Any, beta: Any, layout: Layout, offset: float = 0.0) -> tuple[Any, tuple]:
        dxhat, (dgamma,) = Scale(self.name).backward(dy, xhat, gamma, layout, offset)
        return dxhat, (dgamma, None if beta is None else layout.sum_to(dy, self.name))


@dataclass(frozen=True)
class Scale:
    """y = (offset + gamma) * xhat; offset 1 keeps a zero-initialized gamma at the identity (Gemma's RMSNorm).

    Along no axes at all, Scale(""), gamma is one number (scale norm).
    """

    name: str
    parameters: tuple[str, ...] = ("gamma",)
    options: ClassVar[tuple[str, ...]] = ("offset",)
    formula: ClassVar[str] = "y = (offset + gamma) * xhat"

    def shapes(self, layout: Layout, offset: float = 0.0) -> tuple[tuple[int, ...], ...]:
        return (layout.lengths(self.name),)

    def forward(self, xhat: Any, gamma: Any, layout: Layout, offset: float = 0.0) -> Any:
        return xhat if gamma is None else xhat * (offset + layout.along(gamma, self.name))

    def backward(self, dy: Any, xhat: Any, gamma: Any, layout: Layout, offset: float = 0.0) -> tuple[Any, tuple]:
        if gamma is None:
            return dy, (None,)
        return dy * (offset + layout.along(gamma, self.name)), (layout.sum_to(dy * xhat, self.name),)


@dataclass(frozen=True)
class Coloring:
    """y = Gamma xhat + beta: a full matrix over the channels of each group, what whitening took away given back.

    gamma : (G, C/G, C/G), beta : (C,).  A. Siarohin, E. Sangineto, N. Sebe, arXiv 1806.00420.
    """

    area: ClassVar[Area] = Area("n (g k) s -> g | k | n s")
    parameters: ClassVar[tuple[str, ...]] = ("gamma", "beta")
    options: ClassVar[tuple[str, ...]] = ("num_groups",)
    formula: ClassVar[str] = "y = Gamma xhat + beta, Gamma a full matrix a group"

    def shapes(self, layout: Layout, num_groups: int = 1) -> tuple[tuple[int, ...], ...]:
        g, k, _ = self.area.partition(layout, num_groups).blocks
        return (g, k, k), layout.lengths("c")

    def forward(self, xhat: Any, gamma: Any, beta: Any, layout: Layout, num_groups: int = 1) -> Any:
        part = self.area.partition(layout, num_groups)
        y = xhat if gamma is None else part.merge(gamma @ part.split(xhat))
        return y if beta is None else y + layout.along(beta, "c")

    def backward(self, dy: Any, xhat: Any, gamma: Any, beta: Any, layout: Layout, num_groups: int = 1) -> tuple[Any, tuple]:
        dbeta = None if beta is None else layout.sum_to(dy, "c")
        if gamma is None:
            return dy, (None, dbeta)
        part = self.area.partition(layout, num_groups)
        g, zhat = part.split(dy), part.split(xhat)
        return part.merge(np.swapaxes(gamma, 1, 2) @ g), (g @ np.swapaxes(zhat, 1, 2), dbeta)


@dataclass(frozen=True)
class Gain:
    """w = gain * g * what: g one number a row of a weight, its length where what has rows of length 1.

    `gain` is a number for all rows, or the name of the activation that follows, looked up where the dialect says.
    `over` names the axes of the fan-in where what has rows of length sqrt(fan-in), which this divides by.
    """

    name: str
    over: str = ""
    parameters: ClassVar[tuple[str, ...]] = ("g",)
    options: ClassVar[tuple[str, ...]] = ("gain", "dialect")
    formula: ClassVar[str] = "w = gain * g * what"

    def shapes(self, layout: Layout, **_: Any) -> tuple[tuple[int, ...], ...]:
        return (layout.lengths(self.name),)

    def forward(self, xhat: Any, g: Any, layout: Layout, gain: Any = 1.0, dialect: Any = None) -> Any:
        return xhat * self._factor(g, layout, gain, dialect)

    def backward(self, dy: Any, xhat: Any, g: Any, layout: Layout, gain: Any = 1.0, dialect: Any = None) -> tuple[Any, tuple]:
        dg = None if g is None else layout.sum_to(dy * xhat * self._factor(None, layout, gain, dialect), self.name)
        return dy * self._factor(g, layout, gain, dialect), (dg,)

    def _factor(self, g: Any, layout: Layout, gain: Any, dialect: Any) -> Any:
        if isinstance(gain, str):
            gain = dialect.conventions["gains"](gain)
        factor = finite_number("gain", gain, "or the name of an activation") / math.sqrt(math.prod(layout.lengths(self.over)))
        return factor if g is None else factor * layout.along(g, self.name)


Recovery = Identity | Affine | Scale | Coloring | Gain
