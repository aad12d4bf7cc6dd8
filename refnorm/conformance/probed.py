"""Bounds for maps without derived ones: the exact map is probed with noise on its inputs (`tolerance.probe`).

The gradient's map has one input more, what the forward saved: a norm, a singular value.  It is rounded as well, so that the
gradient of a row of one entry, which is the difference of two equal terms, is allowed what each of them is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import tolerance
from .rows import Expected
from .tolerance_arithmetic import FORMATS
from .whitened import colored, orthogonalized

if TYPE_CHECKING:
    from .expected import Expectation


ROUNDED = ("eps", "alpha", "beta", "k")
"""Options that a kernel may hold in its own arithmetic: their rounding is an error that it may commit."""


class Probed:
    """y, state and gradients of one case, and by how much each moves when the inputs do."""

    def __init__(self, expectation: Expectation) -> None:
        self.e = expectation
        given = expectation.arguments
        self.names = [n for n, v in given.items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
        self.options = [n for n in ROUNDED if isinstance(given.get(n), float)]

    def _outputs(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """y, the state's arrays, then one gradient an array."""
        *given, dy, rounding = arrays
        e, count = self.e, len(self.names)
        rounded = {n: float(v[0]) for n, v in zip(self.options, given[count:], strict=True)}
        arguments = {**e.arguments, **dict(zip(self.names, given[:count], strict=True)), **rounded}
        y, saved, *state = e.method.compute(**arguments)
        kept = [np.asarray(v, float) for v in self._state(state)]
        gradients = e.method.derive(dy, _rounded(saved, iter(rounding)), **arguments)[: len(e.method.arrays)]
        return (np.asarray(y), *kept, *(np.asarray(g) for g in gradients if g is not None))

    def _state(self, state: list[Any]) -> list[Any]:
        """The state's arrays in the convention's order."""
        if not state or not self.e.case.convention.state:
            return []
        fields = {"running_mean": "mean", "running_var": "var"}
        return [getattr(state[0], fields.get(name, name)) for name in self.e.case.convention.state]

    @cached_property
    def _all(self) -> tuple[Sequence[np.ndarray], list[np.ndarray]]:
        """Values and bounds of every output, in order."""
        inputs = [np.asarray(self.e.arguments[n], float) for n in self.names]
        inputs += [np.array([self.e.arguments[n]]) for n in self.options] + [self.e.case.dy.astype(float)]
        n = max((max(a.shape) for a in inputs if a.ndim), default=1)
        inputs.append(np.ones(_count(self.e.computed[1])))
        with np.errstate(all="ignore"):
            return self._outputs(*inputs), tolerance.probe(self._outputs, inputs, self.e.case.arithmetic.u, n=n)

    def _expected(self, value: np.ndarray, bound: np.ndarray, role: str) -> Expected:
        """The bound after storage; the unit is the result's own root mean square."""
        form = self.e.case.arithmetic.storage(role)
        value = np.asarray(value, float)
        with np.errstate(all="ignore"):
            stored = bound * (1 + form.unit) + form.unit * np.abs(value) + form.least
            stored = np.where(np.abs(value) + stored <= form.largest, stored, np.nan)
            size = np.sqrt(np.mean(np.square(value))) if value.size else 0.0
        return Expected(value, stored, max(float(size), 1e-300))

    @cached_property
    def _derived(self) -> Any:
        """What is lost besides, and shows in no noise on the inputs: `y` and `gradients`; None where nothing is."""
        return colored(self.e) or orthogonalized(self.e) or saturated(self.e)

    def y(self, value: np.ndarray) -> Expected:
        bound, derived = self._all[1][0], self._derived
        return self._expected(value, bound if derived is None else bound + derived.y(), "out")

    def state(self) -> dict[str, Expected]:
        names = self.e.case.convention.state
        values, bounds = self._all
        return {n: self._expected(values[1 + k], bounds[1 + k], "state") for k, n in enumerate(names)}

    def gradients(self, values: dict[str, np.ndarray]) -> dict[str, Expected]:
        first, count = self.e.method.arrays[0], len(self._all[1]) - len(values)
        derived = self._derived
        more = {} if derived is None else derived.gradients(values)
        bounds = [bound + more.get(name, 0.0) for name, bound in zip(values, self._all[1][count:], strict=True)]
        return {
            "d" + name: self._expected(value, bound, "dx" if name == first else "grads")
            for (name, value), bound in zip(values.items(), bounds, strict=True)
        }


def saturated(e: Expectation) -> Saturated | None:
    """None where no sigmoid is differentiated."""
    return Saturated(e) if e.case.norm == "evo_norm_s0" and e.case.x.size else None


class Saturated:
    """Of y = gamma xhat + beta, xhat = x t / s, t = sigmoid(v x): 1 - t is off by 4 u, t by the least normal number, to which
    it may be flushed and below which exp(-v x) overflows; however little they are.  Noise on x moves them by their own size.

    t (1 - t) = dt/d(v x) is a term of dx, times g v x / s, and of dv, times g x^2 / s, g = gamma dy: they are off by |v| and by
    the sum of |x| times e = |g| (4 u |xhat| + 2 least |x| / s), exp, sum, quotient and difference; y by 2 least |gamma x| / s.
    """

    def __init__(self, e: Expectation) -> None:
        x, self.axis, a = e.case.x.astype(float), e.case.channel_axis % e.case.x.ndim, e.case.arithmetic
        along = [-1 if axis == self.axis else 1 for axis in range(x.ndim)]
        gamma, self.v = (1.0 if v is None else np.abs(np.reshape(v, along)) for v in (e.arguments["gamma"], e.arguments["v"]))
        bare = {**e.arguments, "gamma": None, "beta": None}
        with np.errstate(all="ignore"):
            xhat, half = (  # where v is 0, t is 1 / 2
                np.abs(np.asarray(e.method.compute(**{**bare, "v": v})[0], float))
                for v in (e.arguments["v"], np.zeros(x.shape[self.axis]))
            )
        self.flushed = 4 * FORMATS[a.compute].normal * gamma * half
        self.size, self.x = np.abs(e.case.dy.astype(float)) * (4 * a.u * gamma * xhat + self.flushed), np.abs(x)

    def y(self) -> np.ndarray:
        return self.flushed

    def gradients(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        others = tuple(axis for axis in range(self.x.ndim) if axis != self.axis)
        return {"x": self.v * self.size, "v": (self.size * self.x).sum(axis=others)}


def _count(saved: Any) -> int:
    """How many numbers of what was saved are rounded: those in arrays of floats, in tuples at any depth."""
    if isinstance(saved, tuple):
        return sum(map(_count, saved))
    return np.size(saved) if isinstance(saved, np.ndarray | float) and np.asarray(saved).dtype.kind == "f" else 0


def _rounded(saved: Any, factors: Iterator[float]) -> Any:
    """The same, each number times its factor."""
    if isinstance(saved, tuple):
        parts = [_rounded(part, factors) for part in saved]
        return type(saved)(*parts) if hasattr(saved, "_fields") else tuple(parts)
    if not _count(saved):
        return saved
    found = np.asarray(saved) * np.array([next(factors) for _ in range(np.size(saved))]).reshape(np.shape(saved))
    return found if isinstance(saved, np.ndarray) else float(found)
