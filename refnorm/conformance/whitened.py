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
from .tolerance_whitening import drift

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


def colored(e: Expectation) -> Colored | None:
    """None where nothing is colored, and in evaluation."""
    triple = e.method.triple
    if triple is None or not isinstance(triple.recovery, Coloring) or not e.case.training or not e.case.x.size:
        return None
    return Colored(e)


class Colored:
    """What y = Gamma (W (x - mu)) + beta may lose that noise on the inputs does not show.

    y: |Gamma| (|W| E_c + D u |W| |x - mu|) + (D + 3) u |Gamma| |xhat|, u of the arithmetic, E_c what x - mu loses: the mean's
    error moves entries that are 0 as well, and two products of D terms each are rounded.  The error of W noise does show, and
    it is not counted here again.

    Gradients: W is not what noise on what was saved makes it, W's own size times u, but off by C of `tolerance.Block`, up to
    the condition of S.  So dx is bounded as whitening's is, at the cotangent |Gamma|' |dy|, whose product of D terms is one
    rounding of D u more of it; and dGamma = dy xhat' by |dy| E_xhat'.
    """

    def __init__(self, e: Expectation) -> None:
        self.whitened, blocks = Whitened(e), Whitened(e).blocks
        d, given = len(blocks[0].x), e.arguments.get("gamma")
        self.size = np.abs(np.broadcast_to(np.eye(d), (len(blocks), d, d)) if given is None else given.astype(float))
        self.u, self.dy = d * e.case.arithmetic.u, np.abs(self.whitened.part.split(e.case.dy.astype(float)))

    def y(self) -> np.ndarray:
        blocks, d = self.whitened.blocks, self.size.shape[-1]
        applied = np.stack([k.moved + self.u * (np.abs(k.matrix) @ np.abs(k.c)) for k in blocks])
        given_back = (d + 3) * self.u / d * np.stack([np.abs(k.xhat) for k in blocks])
        return self.whitened.part.merge(self.size @ (applied + given_back))

    def gradients(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        part, blocks = self.whitened.part, self.whitened.blocks
        g, dx = np.swapaxes(self.size, 1, 2) @ self.dy, part.split(np.asarray(values["x"], float))
        largest = [max(k.norm * up.max(), np.abs(v).max()) for k, up, v in zip(blocks, g, dx, strict=True)]
        more = [k.backward(up, 1.0, v) + 2 * self.u * s for k, up, v, s in zip(blocks, g, dx, largest, strict=True)]
        error = np.stack([np.broadcast_to(k.error, k.xhat.shape) for k in blocks])
        return {"x": part.merge(np.stack(more)), "gamma": self.dy @ np.swapaxes(error, 1, 2)}


def orthogonalized(e: Expectation) -> Orthogonalized | None:
    """None where no weight is orthogonalized by Newton's iteration."""
    triple = e.method.triple
    iterated = triple is not None and triple.operation.name == "newton" and e.method.acts_on == "weights"
    return Orthogonalized(e) if iterated and e.case.x.size else None


class Orthogonalized:
    """What what = B_T vc / sqrt(n) loses in its steps (`tolerance_whitening.drift`): C max|what|, C = (4 + sqrt d) u drift.

    C is inherited by each part of dv = (B' g - ..) / sqrt(n), and by dg = sum dw what.
    """

    def __init__(self, e: Expectation) -> None:
        triple, saved = e.method.triple, e.computed[1]
        assert triple is not None
        self.part, v = triple.partition(**e.arguments), e.case.x.astype(float)
        norm = np.where(np.isfinite(saved.norm) & (saved.norm > 0), saved.norm, np.inf)  # of what is 0 there is no direction
        with np.errstate(all="ignore"):
            what, d = np.abs(triple.operation.apply(self.part.split(v), saved)), saved.iterate.shape[-1]
        values = np.linalg.eigvalsh(np.nan_to_num(saved.gram / norm))
        loss = (4 + np.sqrt(d)) * e.case.arithmetic.u * np.array([drift(s, e.arguments["T"]) for s in values])
        self.loss = np.where(loss < 0.5, loss, np.inf)[:, None, None]
        self.error = self.part.merge(self.loss * what.max(axis=(1, 2), keepdims=True) + np.zeros_like(what))
        gain, rows = e.arguments["gain"], (-1,) + (1,) * (v.ndim - 1)
        self.gain = abs(e.spoken.conventions["gains"](gain) if isinstance(gain, str) else gain)
        self.scale = self.gain * (1.0 if e.arguments["g"] is None else np.abs(e.arguments["g"]).reshape(rows))
        self.dy = np.abs(e.case.dy.astype(float))
        self.norm = np.linalg.norm(np.nan_to_num(saved.iterate), 2, axis=(1, 2))[:, None, None] / np.sqrt(norm)

    def y(self) -> np.ndarray:
        return self.scale * self.error

    def gradients(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        g, dv = self.part.split(self.scale * self.dy), np.abs(self.part.split(np.asarray(values["v"], float)))
        size = np.maximum(self.norm * g.max(axis=(1, 2), keepdims=True), dv.max(axis=(1, 2), keepdims=True))
        terms = (self.gain * self.dy * self.error).reshape(len(self.dy), -1)
        return {"v": self.part.merge(2 * self.loss * size + np.zeros_like(dv)), "g": terms.sum(axis=1)}


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
