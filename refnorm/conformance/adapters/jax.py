"""JAX: functions as candidates; gradients by jax.vjp.

A function is compiled once for each shape, forward and pullback together, as it runs in training.  Arrays are copied in,
since XLA may share memory with NumPy.  float64 is switched on for those calls alone that bring a float64 array: 16- and
32-bit calls run under JAX's own defaults.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..candidate import Candidate, origin_of
from ..conventions import CONVENTIONS, DERIVED, constants, ordered
from ..signature import Binding, read

ARRAYS = tuple(dict.fromkeys(name for c in CONVENTIONS.values() for name in c.arrays)) + ("residual",)
Given = Mapping[str, Any]


def candidate(target: Callable[..., Any], *, jit: bool = True, traced: Sequence[str] = (), **fields: Any) -> Candidate:
    """A Candidate from a function of JAX arrays under the contract's calling convention.

    jit: compile it; False for a function that cannot be (callbacks, NumPy inside).  traced: options that are numbers and
    may be traced ("eps", "momentum"), so that a new value compiles nothing anew; by default options are constants.
    """
    function = Function(target)
    run = Compiled(function, frozenset(traced)) if jit else function.pulled

    def forward(**arguments: Any) -> tuple[Any, Any]:
        with _precision(arguments):
            given = {name: jnp.array(a) if isinstance(a, np.ndarray) else a for name, a in arguments.items()}
            y, pull, more = run(*_split(given))
            outputs = tuple(np.asarray(a) if isinstance(a, jax.Array) else a for a in (y, *more))
        return (outputs if more else outputs[0]), (arguments, y, pull)

    def backward(dy: np.ndarray, saved: Any) -> tuple[np.ndarray, ...]:
        arguments, y, pull = saved
        with _precision(arguments):
            (found,) = pull(jnp.array(dy).astype(y.dtype))
            return tuple(np.asarray(found[name]) for name in ordered(found))

    forward.__signature__ = function.signature  # type: ignore[attr-defined]
    fields = {"name": getattr(target, "__name__", None), "origin": origin_of(target), **fields}
    return replace(Candidate(forward, backward, **fields), saves=True, convert="jax", by_name=True)


class Function:
    """A function called with the contract's names, and its pullback."""

    def __init__(self, target: Callable[..., Any]) -> None:
        self.target, self.signature = target, inspect.signature(target)
        self.bindings: dict[tuple[str, ...], Binding] = {}

    def __call__(self, given: Given) -> tuple[Any, tuple[Any, ...]]:
        """y, and what else is returned."""
        key = tuple(given)
        if key not in self.bindings:
            arrays = tuple(n for n, a in given.items() if isinstance(a, jax.Array) or (a is None and n in ARRAYS))
            options = tuple(n for n in given if n not in arrays)
            self.bindings[key] = read(self.target, 0, arrays, options, None, DERIVED)
        returned = self.bindings[key].call(self.target, (), given)
        return (returned[0], tuple(returned[1:])) if isinstance(returned, tuple | list) else (returned, ())

    def pulled(self, leaves: Given, rest: Given) -> tuple[Any, Callable[..., Any], tuple[Any, ...]]:
        """y, the pullback to the leaves, and what else is returned."""
        return jax.vjp(lambda wanted: self({**rest, **wanted}), dict(leaves), has_aux=True)


class Compiled:
    """The same, forward and pullback compiled as one; called first with a cotangent of zeros, for y alone."""

    def __init__(self, function: Function, traced: frozenset[str]) -> None:
        self.function, self.traced = function, traced
        self.compiled: dict[tuple, Callable[..., Any]] = {}

    def __call__(self, leaves: Given, rest: Given) -> tuple[Any, Callable[..., Any], tuple[Any, ...]]:
        moving = {n: a for n, a in rest.items() if isinstance(a, jax.Array) or (n in self.traced and a is not None)}
        constants = tuple((n, a) for n, a in rest.items() if n not in moving)
        if constants not in self.compiled:
            self.compiled[constants] = jax.jit(self._whole(dict(constants)))
        whole = self.compiled[constants]
        y, more, _ = whole(dict(leaves), moving, None)
        return y, lambda dy: (whole(dict(leaves), moving, dy)[2],), more

    def _whole(self, constants: Given) -> Callable[..., Any]:
        def whole(leaves: Given, moving: Given, dy: Any) -> Any:
            y, pull, more = self.function.pulled(leaves, {**constants, **moving})
            return y, more, pull(jnp.zeros_like(y) if dy is None else dy)[0]

        return whole


def _precision(arguments: Given) -> contextlib.AbstractContextManager[Any]:
    wide = any(isinstance(a, np.ndarray) and a.dtype == np.float64 for a in arguments.values())
    return jax.enable_x64(True) if wide else contextlib.nullcontext()


def _split(given: Given) -> tuple[dict[str, Any], dict[str, Any]]:
    """What has a gradient, and the rest: running statistics, the vectors of a power iteration, masks, options."""
    kept = constants(given)
    arrays = {n: a for n, a in given.items() if isinstance(a, jax.Array) and n not in kept}
    leaves = {n: a for n, a in arrays.items() if jnp.issubdtype(a.dtype, jnp.floating)}
    return leaves, {n: a for n, a in given.items() if n not in leaves}
