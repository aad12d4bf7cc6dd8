"""Whitening: blocks of coordinates and the bounds derived for them (`tolerance.Block`), laid back into results."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from refnorm.anatomy.method import Method
from refnorm.anatomy.recovery import Affine, Coloring

from . import tolerance
from .rows import Expected
from .tolerance_arithmetic import growth

if TYPE_CHECKING:
    from .expected import Expectation

SOLVERS = ("zca", "pca", "cholesky", "newton")


def is_whitening(method: Method) -> bool:
    """Does it whiten groups of channels and give them back by an affine map?"""
    triple = method.triple
    return (
        triple is not None and triple.operation.name in SOLVERS and isinstance(triple.recovery, Affine)
        and method.acts_on == "activations"
    )  # fmt: skip


def colored(e: Expectation) -> np.ndarray | None:
    """What y = Gamma (W (x - mu)) + beta may lose beside its statistics; None where nothing is colored.

    |Gamma| (|W| E_c + D u |W| |x - mu|) + (D + 3) u |Gamma| |xhat|, u of the arithmetic, E_c what x - mu loses: the mean's
    error moves entries that are 0 as well, and two products of D terms each are rounded.  Noise on the inputs shows none
    of these where inputs hold zeros; the error of W it does show, and it is not counted here again.
    """
    triple, gamma = e.method.triple, e.arguments.get("gamma")
    if triple is None or not isinstance(triple.recovery, Coloring) or not e.case.training or gamma is None or not e.case.x.size:
        return None
    whitened, size, d, u = Whitened(e), np.abs(gamma.astype(float)), gamma.shape[-1], e.case.arithmetic.u
    applied = np.stack([k.moved + d * u * (np.abs(k.matrix) @ np.abs(k.c)) for k in whitened.blocks])
    given_back = (d + 3) * u * np.stack([np.abs(k.xhat) for k in whitened.blocks])
    return whitened.part.merge(size @ (applied + given_back))


class Whitened:
    """The (blocks, coordinates, samples) view of a case."""

    def __init__(self, expectation: Expectation) -> None:
        self.e, triple, arguments = expectation, expectation.method.triple, expectation.arguments
        self.part, self.layout, self.recovery = triple.partition(**arguments), triple.layout_of(**arguments), triple.recovery
        z, saved = self.part.split(arguments[triple.x].astype(float)), expectation.computed[1]
        steps = arguments["T"] if triple.operation.name == "newton" else None
        self.blocks = [
            tolerance.Block(
                z[b], saved.matrix[b], float(arguments["eps"]), expectation.case.arithmetic, triple.operation.name, T=steps
            )
            for b in range(len(z))
        ]

    def _laid(self, name: str, absent: float) -> np.ndarray:
        given = self.e.arguments.get(name)
        if given is None:
            return np.full(self.part.blocks, absent)
        full = np.broadcast_to(self.layout.along(given.astype(float), self.recovery.name), self.layout.shape)
        return self.part.split(full)

    @cached_property
    def gamma(self) -> np.ndarray:
        return self._laid("gamma", 1.0)

    def y(self, value: np.ndarray) -> Expected:
        beta = self._laid("beta", 0.0)
        bound = np.stack([tolerance.forward(k, g, b) for k, g, b in zip(self.blocks, self.gamma, beta, strict=True)])
        return Expected(value, self.part.merge(bound), self.part.merge(np.abs(self.gamma)))

    def state(self) -> dict[str, Expected]:
        """Not judged: what is averaged, the covariance or the matrix, is no array of the contract."""
        return {}

    def gradients(self, values: dict[str, np.ndarray]) -> dict[str, Expected]:
        dy, dx = self.part.split(self.e.case.dy.astype(float)), self.part.split(np.asarray(values["x"], float))
        bound = np.stack([k.backward(d, g, v) for k, d, g, v in zip(self.blocks, dy, self.gamma, dx, strict=True)])
        size = max(float(np.sqrt(np.mean(np.square(dx)))) if dx.size else 0.0, 1e-300)
        expected = {"dx": Expected(np.asarray(values["x"], float), self.part.merge(bound), size)}
        for name in ("gamma", "beta"):
            if name in values:
                expected["d" + name] = self._parameter(np.asarray(values[name], float), dy, name)
        return expected

    def _parameter(self, value: np.ndarray, dy: np.ndarray, name: str) -> Expected:
        """sum |dy| E_Z and the sum's own rounding; as `tolerance.parameter_gradients`, over any blocks."""
        a = self.e.case.arithmetic
        form = a.storage("grads")
        xhat = np.stack([k.xhat for k in self.blocks])
        error = np.stack([np.broadcast_to(k.error, k.xhat.shape) for k in self.blocks])
        parts = [dy] if name == "beta" else [dy * xhat, *(dy * np.stack([np.broadcast_to(k.scaled()[i], k.xhat.shape)
                                                                        for k in self.blocks]) for i in (0, 1))]  # fmt: skip
        with np.errstate(all="ignore"):
            bound = sum(a.u * growth(self._terms(p), a.unit)[:, 0] for p in parts)
            if name == "gamma":
                bound = (
                    bound + self._terms(np.abs(dy) * error).sum(axis=1) + 2 * a.u * self._terms(np.abs(dy * xhat)).sum(axis=1)
                )
            flat = value.ravel()
            bound = bound * (1 + form.unit) + form.unit * np.abs(flat) + form.least
            bound = np.where(np.abs(flat) + bound <= form.largest, bound, np.nan)
        size = np.sqrt(np.square(self._terms(dy)).sum(axis=1))
        return Expected(value, bound.reshape(value.shape), np.maximum(size, 1e-300).reshape(value.shape))

    def _terms(self, blocks: np.ndarray) -> np.ndarray:
        mine = self.layout.axes_of(self.recovery.name)
        others = tuple(a for a in range(len(self.layout.shape)) if a not in mine)
        full = self.part.merge(blocks)
        return np.transpose(full, (*mine, *others)).reshape(int(np.prod([full.shape[a] for a in mine])), -1)
