"""The (rows, n) view of a case: the derived bounds of `tolerance`, laid back into the shapes of results."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refnorm.anatomy.precision import accumulation_epsilon

from . import tolerance

if TYPE_CHECKING:
    from .expected import Expectation

KIND_OF = {"standardize": "standardize", "rms": "rms", "center": "center", "deviation": "standardize"}
"""Operations whose statistics are those of a row, as `tolerance.Statistics` names them."""


class Expected(NamedTuple):
    value: np.ndarray  # float64 or long double
    bound: np.ndarray  # same shape: finite, infinite (must be finite) or NaN (not judged)
    unit: Any  # what one unit of xhat is in terms of it


class Rows:
    """The (rows, n) view of a case, and its tolerances laid back into the shapes of results."""

    def __init__(self, expectation: Expectation) -> None:
        e, triple = expectation, expectation.method.triple
        self.e, self.arithmetic, arguments = e, e.case.arithmetic, e.arguments
        self.part, self.layout, self.recovery = triple.partition(**arguments), triple.layout_of(**arguments), triple.recovery
        self.shape = self.part.blocks[0] * self.part.blocks[1], self.part.blocks[2]
        x = self.split(arguments[triple.x])
        operation = triple.operation.name
        eps = arguments.get("eps", 0.0)
        eps = accumulation_epsilon(e.case.x.dtype) if eps is None else eps
        mask = arguments.get("mask")
        weight = None if mask is None else self.split(np.broadcast_to(mask, e.case.x.shape)).astype(x.dtype)
        self.counted = self.shape[1] if weight is None else weight.sum(axis=1)
        if e.case.training:
            if weight is not None:
                weight = weight / weight.sum(axis=1, keepdims=True)
            kind, outside = KIND_OF[operation], operation == "deviation"
            self.stats = tolerance.Statistics(x, eps, self.arithmetic, kind, weight=weight, outside=outside)
        else:
            mean, var = (np.broadcast_to(np.asarray(s, e.wide), self.shape[0]) for s in arguments["state"][:2])
            self.stats = tolerance.evaluation(x, mean, var, eps, self.arithmetic)

    def split(self, array: np.ndarray) -> np.ndarray:
        return self.part.split(array).reshape(self.shape)

    def merge(self, rows: np.ndarray) -> np.ndarray:
        return self.part.merge(np.broadcast_to(rows, self.shape).reshape(self.part.blocks))

    def parameter(self, name: str, absent: float) -> np.ndarray | float:
        """gamma or beta, laid along the rows."""
        given = self.e.arguments.get(name)
        if given is None:
            return absent
        given = given + self.e.arguments.get("offset", 0) if name == "gamma" else given
        return self.split(np.broadcast_to(self.layout.along(given, self.recovery.name), self.layout.shape))

    @cached_property
    def gamma(self) -> Any:
        return self.parameter("gamma", 1.0)

    @cached_property
    def beta(self) -> Any:
        return self.parameter("beta", 0.0)

    def y(self, value: np.ndarray) -> Expected:
        bound = tolerance.forward(self.stats, self.gamma, self.beta, self.e.casts)
        return Expected(value, self.merge(bound), self.merge(np.abs(np.asarray(self.gamma, bound.dtype))))

    def state(self) -> dict[str, Expected]:
        """Running statistics after the call, not rounded to their storage."""
        e = self.e
        old_mean, old_var = (np.asarray(e.arguments["state"][k]).astype(e.wide) for k in (0, 1))
        if not e.case.training:
            zero = np.zeros(self.shape[0], e.wide)
            return {"running_mean": Expected(old_mean, zero, 1.0), "running_var": Expected(old_var, zero, 1.0)}
        population, momentum = e.spoken.population, e.arguments["momentum"]
        weight = 1.0 if momentum is None else momentum if population.weighs == "new" else 1 - momentum
        n = np.asarray(self.counted, e.wide)
        factor = n / np.maximum(n - 1, 1) if population.variance == "unbiased" else np.ones((), e.wide)
        bounds = tolerance.running(self.stats, old_mean, old_var, weight, factor if factor.ndim == 0 else factor[:, None])
        with np.errstate(all="ignore"):
            units = weight * np.sqrt(self.stats.var[:, 0]), weight * self.stats.var[:, 0]
        new = (
            (1 - weight) * old_mean + weight * self.stats.mean[:, 0],
            (1 - weight) * old_var + weight * factor * self.stats.var[:, 0],
        )
        names = ("running_mean", "running_var")
        return {k: Expected(v, b, np.maximum(u, 1e-30)) for k, v, b, u in zip(names, new, bounds, units, strict=True)}

    def saved(self) -> dict[str, Expected]:
        """What saved_as names: mean, var, rstd, one value a row."""
        bounds = tolerance.saved(self.stats)
        values = {"mean": self.stats.mean, "var": self.stats.var, "rstd": self.stats.rstd}
        return {k: Expected(values[k][:, 0], bounds[k], 1.0) for k in bounds}

    def gradients(self, values: dict[str, np.ndarray]) -> dict[str, Expected]:
        dy, stats, casts = self.split(self.e.cotangent), self.stats, self.e.casts
        first, *parameters = self.e.method.arrays
        with np.errstate(all="ignore"):
            g = dy * self.gamma
            unit = stats.rstd * np.sqrt(np.mean(np.square(g), axis=1, keepdims=True)) if g.size else 1.0
        expected = {
            "d" + first: Expected(
                values[first], self.merge(tolerance.backward(stats, dy, self.gamma, casts)), self.merge(np.asarray(unit))
            )
        }
        if any(name in values for name in parameters):
            terms = self.reducer()
            bounds = tolerance.parameter_gradients(stats, dy, terms, casts)
            size = np.sqrt(np.square(terms(dy)).sum(axis=1))
            for name, bound in zip(("gamma", "beta"), bounds, strict=True):
                if name in values:
                    shape = values[name].shape
                    expected["d" + name] = Expected(values[name], bound.reshape(shape), size.reshape(shape))
        return expected

    def reducer(self) -> Callable[[np.ndarray], np.ndarray]:
        """(rows, n) -> (parameters, terms): what each parameter's gradient sums."""
        mine = self.layout.axes_of(self.recovery.name)
        others = tuple(a for a in range(len(self.layout.shape)) if a not in mine)
        count = math.prod(self.layout.lengths(self.recovery.name))

        def reduce(rows: np.ndarray) -> np.ndarray:
            full = self.merge(rows)
            return np.transpose(full, (*mine, *others)).reshape(count, math.prod(full.shape[a] for a in others))

        return reduce
