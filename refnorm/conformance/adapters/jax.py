"""JAX: functions as candidates; gradients by jax.vjp.

A function is compiled once for each shape, forward and pullback together, as it runs in training; before the call whose
time is taken, so that compiling counts neither as slow nor as hanging.  Arrays are copied in, since XLA may share memory
with NumPy.  float64 is switched on for those calls alone that bring a float64 array: 16- and 32-bit calls run under JAX's
own defaults.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..candidate import Candidate, origin_of
from ..conventions import CONVENTIONS, DERIVED, constants
from ..signature import Binding, read

ARRAYS = tuple(dict.fromkeys(name for c in CONVENTIONS.values() for name in c.arrays)) + ("residual",)
Given = Mapping[str, Any]


def candidate(target: Callable[..., Any], *, jit: bool = True, traced: Sequence[str] = (), **fields: Any) -> Candidate:
    """A Candidate from a function of JAX arrays under the contract's calling convention.

    jit: compile it; False for a function that cannot be (callbacks, NumPy inside).  traced: options that are numbers and
    may be traced ("eps", "momentum"), so that a new value compiles nothing anew; by default options are constants.
    """
    function = Function(target, frozenset(traced))
    jitted = Compiled(function) if jit else None
    run = jitted or function.pulled

    def forward(**arguments: Any) -> tuple[Any, Any]:
        function.bind(arguments)
        with _precision(arguments):
            y, pull, more = run(*_split(arguments))
            outputs = tuple(np.asarray(a) if isinstance(a, jax.Array) else a for a in (y, *more))
        return (outputs if more else outputs[0]), (arguments, y, pull)

    def backward(dy: np.ndarray, saved: Any) -> tuple[np.ndarray, ...]:
        arguments, y, pull = saved
        with _precision(arguments):
            (found,) = pull(jnp.array(dy.astype(y.dtype)))
            return tuple(np.asarray(found[name]) for name in arguments if name in found)

    def prepare(**arguments: Any) -> None:
        assert jitted is not None
        function.bind(arguments)
        with _precision(arguments):
            jitted.of(*_split(arguments))

    forward.__signature__ = function.signature  # type: ignore[attr-defined]
    fields = {"name": getattr(target, "__name__", None), "origin": origin_of(target), **fields}
    made = Candidate(forward, backward, **fields)
    return replace(made, saves=True, convert="jax", by_name=True, prepare=prepare if jit else None)


class Function:
    """A function called with the contract's names, and its pullback.  traced: options that may be tracers."""

    def __init__(self, target: Callable[..., Any], traced: frozenset[str]) -> None:
        self.target, self.signature, self.traced = target, inspect.signature(target), traced
        self.bindings: dict[frozenset[str], Binding] = {}

    def bind(self, arguments: Given) -> None:
        """How arguments of these names are passed: arrays in the order in which they come, which JAX's dicts do not keep."""
        if frozenset(arguments) in self.bindings:
            return
        found = [n for n, a in arguments.items() if isinstance(a, np.ndarray) or (a is None and n in ARRAYS)]
        arrays = tuple(n for n in found if n not in self.traced)
        options = tuple(n for n in arguments if n not in arrays)
        self.bindings[frozenset(arguments)] = read(self.target, 0, arrays, options, None, DERIVED)

    def __call__(self, given: Given) -> tuple[Any, tuple[Any, ...]]:
        """y, and what else is returned."""
        returned = self.bindings[frozenset(given)].call(self.target, (), given)
        return (returned[0], tuple(returned[1:])) if isinstance(returned, tuple | list) else (returned, ())

    def pulled(self, leaves: Given, rest: Given) -> tuple[Any, Callable[..., Any], tuple[Any, ...]]:
        """y, the pullback to the leaves, and what else is returned."""
        return jax.vjp(lambda wanted: self({**rest, **wanted}), dict(leaves), has_aux=True)


class Compiled:
    """The same, forward and pullback compiled as one; called first with a cotangent of zeros, for y alone."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, leaves: Given, rest: Given) -> tuple[Any, Callable[..., Any], tuple[Any, ...]]:
        moving, _ = self._parted(rest)
        whole, zeros = self.of(leaves, rest)
        y, more, _ = whole(dict(leaves), moving, zeros)
        return y, lambda dy: (whole(dict(leaves), moving, dy)[2],), more

    def of(self, leaves: Given, rest: Given) -> tuple[Callable[..., Any], jax.Array]:
        """What runs on arrays of these shapes and types with these constants, and its cotangent of zeros."""
        moving, constants = self._parted(rest)
        return compiled(self.function, _kinds(leaves), _kinds(moving), tuple(constants.items()))

    def _parted(self, rest: Given) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is traced, and what is compiled in."""
        moving = {n: a for n, a in rest.items() if isinstance(a, jax.Array) or (n in self.function.traced and a is not None)}
        return moving, {n: a for n, a in rest.items() if n not in moving}


Kinds = tuple[tuple[str, Any], ...]


def _kinds(given: Given) -> Kinds:
    """Shapes and types by name; of a number, its type."""
    return tuple((n, (a.shape, a.dtype) if isinstance(a, jax.Array) else type(a)) for n, a in given.items())


KEPT = 256
"""Compiled functions that are kept, and after how many JAX is told to let go of what it traced for each, some 3 MB.

A full check compiles about 700 a candidate; Linux gives a process 65,530 mappings of memory, which XLA has used up after
some 4,000 of them and ends the process.
"""


@lru_cache(maxsize=KEPT)
def compiled(function: Function, leaves: Kinds, moving: Kinds, constants: Kinds) -> tuple[Callable[..., Any], jax.Array]:
    """`function` and its pullback on arrays of these shapes and types, and a cotangent of zeros."""
    if compiled.cache_info().misses % KEPT == 0:
        jax.clear_caches()
    fixed = dict(constants)

    def whole(leaves: Given, moving: Given, dy: Any) -> Any:
        y, pull, more = function.pulled(leaves, {**fixed, **moving})
        return y, more, pull(dy)[0]

    def like(kinds: Kinds) -> dict[str, Any]:
        return {n: jax.ShapeDtypeStruct(*kind) if isinstance(kind, tuple) else kind() for n, kind in kinds}

    y = jax.eval_shape(lambda arrays: function({**fixed, **arrays})[0], {**like(leaves), **like(moving)})
    zeros = jnp.array(np.zeros(y.shape, y.dtype))
    return jax.jit(whole).lower(like(leaves), like(moving), zeros).compile(), zeros


def _precision(arguments: Given) -> contextlib.AbstractContextManager[Any]:
    wide = any(isinstance(a, np.ndarray) and a.dtype == np.float64 for a in arguments.values())
    return jax.enable_x64(True) if wide else contextlib.nullcontext()


def _split(arguments: Given) -> tuple[dict[str, Any], dict[str, Any]]:
    """Copies of what has a gradient; and the rest: running statistics, the vectors of a power iteration, masks, options."""
    given = {name: jnp.array(a) if isinstance(a, np.ndarray) else a for name, a in arguments.items()}
    kept = constants(given)
    arrays = {n: a for n, a in given.items() if isinstance(a, jax.Array) and n not in kept}
    leaves = {n: a for n, a in arrays.items() if jnp.issubdtype(a.dtype, jnp.floating)}
    return leaves, {n: a for n, a in given.items() if n not in leaves}
