"""Method: one normalization, declared once; everything else reads the declaration.

`@method(...)` turns a function of user arguments into a declared method.  It adds what all methods share:
dialect defaults, argument checks, float64 arithmetic rounded once at the end, the cache, and the choice of a backend.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, cast

import numpy as np

from . import backends
from .arguments import eps_or_momentum
from .facts import Facts
from .kinds import KEPT, held, kinds, stand_ins
from .population import UNBIASED_NEW, Population
from .precision import accumulation_epsilon, dtype_of, narrow, wide

P = ParamSpec("P")


class _FromDialect:
    def __repr__(self) -> str:
        return "<by dialect>"


FROM_DIALECT: Any = _FromDialect()
"""The default of an argument whose value the dialect decides."""


@dataclass(frozen=True)
class Citation:
    authors: str
    title: str
    venue: str
    year: int
    arxiv: str = ""

    def __str__(self) -> str:
        where = f"{self.venue} {self.year}" + (f", arXiv {self.arxiv}" if self.arxiv else "")
        return f"{self.authors}: {self.title}. {where}"


@dataclass(frozen=True, eq=False)
class Dialect:
    """What one framework means by a method: defaults, and conventions that no argument expresses."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    population: Population = UNBIASED_NEW
    lone_value: Literal["error", "allowed"] = "allowed"      # statistics of a single value
    casts: int = 0                                           # extra roundings to the storage type before the recovery
    conventions: Mapping[str, Any] = field(default_factory=dict)         # of this method, by name, that are no argument
    spoken_by: str = ""


def spoken(dialect: Any) -> Dialect:
    """The dialect as the body of a method has it: the Dialect itself, in the place of the name that the caller gives."""
    return cast(Dialect, dialect)


class Cache(NamedTuple):
    """What a backward needs: the caller's arrays by reference (do not write to them in between), statistics in float64."""

    arguments: Mapping[str, Any]
    saved: Any
    shape: tuple[int, ...]                                    # of y


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A declaration: what a method is, where it comes from, what holds of it, and how it is computed."""

    name: str
    cite: Citation
    formula: str
    doc: str
    signature: inspect.Signature
    arrays: tuple[str, ...]                                   # array arguments that have a gradient, in order
    compute: Callable[..., tuple]                             # (**arguments) -> y, saved [, state]
    derive: Callable[..., tuple]                              # (dy, saved, **arguments) -> one gradient an array
    facts: Facts
    dialects: Mapping[str, Dialect]
    examples: tuple[Mapping[str, Any], ...]                   # arguments by name, "shape" for the first array
    shapes: Callable[..., dict[str, tuple[int, ...]]]         # (**arguments) -> the shape of every array but the first
    acts_on: Literal["activations", "weights", "layer"] = "activations"        # layer: x and its weight, the product included
    triple: Any = None                                        # the Norm behind it, for a method that is one
    state: Callable[..., Any] | None = None                   # makes a fresh state, for a method that has one
    stops: tuple[str, ...] = ()                               # values that count as constants in the gradient
    rule: str = ""                                            # why the backward is deliberately not the forward's gradient
    positive: tuple[str, ...] = ()                            # arrays that must be positive
    source: tuple[Callable, ...] = ()                         # forward and backward as one reads them

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """y alone; (y, state) for a method with a population in training."""
        y, cache, *state = self.forward(*args, **kwargs)
        return (y, *state) if state and cache.arguments.get("training", True) else y

    def forward(self, *args: Any, **kwargs: Any) -> tuple:
        """y, cache; and the new state for a method with a population."""
        arguments, backend = self.resolve(*args, **kwargs)
        y, saved, *state = self._on(backend)[0](arguments)
        return y, Cache(arguments, saved, tuple(np.shape(y))), *state

    def backward(self, dy: Any, cache: Cache, backend: str = "numpy") -> tuple:
        """One gradient per array argument, in order, each in its argument's dtype; None for one that was not given.

        And the new state, for a method whose backward keeps one.
        """
        dy = backends.adopted(backend, dy, "dy")
        dtype_of(dy, "dy")
        if np.shape(dy) != cache.shape:
            raise ValueError(f"dy has shape {np.shape(dy)}; it must have the shape of y, {cache.shape}")
        return self._on(backend)[1](dy, cache)

    def resolve(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], str]:
        """Arguments by name, with the dialect's defaults filled in and arrays checked; and the backend."""
        given = dict(zip(self._positional, args, strict=False), **kwargs)
        kind = kinds(given, self.arrays) if len(given) == len(args) + len(kwargs) else None
        if kind is None:
            return self._resolved(*args, **kwargs)
        arguments, backend = _resolved_once(self, kind)
        return {**arguments, **held(given)}, backend

    def _resolved(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], str]:
        """Every check of one call."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        backend = arguments.pop("backend", "numpy")
        dialect = self.dialect(arguments.pop("dialect", next(iter(self.dialects))))
        for name, value in arguments.items():
            if value is FROM_DIALECT:
                arguments[name] = dialect.defaults[name]
        for name in self.arrays:
            arguments[name] = backends.adopted(backend, arguments[name], name)
            if arguments[name] is not None:
                dtype_of(arguments[name], name)
        if "eps" in arguments and arguments["eps"] is None and dialect.defaults["eps"] is None:
            arguments["eps"] = accumulation_epsilon(arguments[self.arrays[0]].dtype)
        arguments["dialect"] = dialect
        for name in ("eps", "momentum"):
            if name in arguments:
                arguments[name] = eps_or_momentum(name, arguments[name])
        for name, right in self.shapes(**arguments).items():
            if arguments[name] is not None and np.shape(arguments[name]) != right:
                (first, *_), have = self.arrays, np.shape(arguments[name])
                shape = np.shape(arguments[first])
                raise ValueError(f"{name} has shape {have}; {first} has shape {shape}, so it must have shape {right}")
        return arguments, backend

    def dialect(self, name: str) -> Dialect:
        if name not in self.dialects:
            raise ValueError(f"dialect {name!r} is unknown to {self.name}; it must be one of {', '.join(self.dialects)}")
        return self.dialects[name]

    @functools.cached_property
    def _positional(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD)

    @property
    def area(self) -> Any:
        return self.triple and self.triple.area

    @property
    def operation(self) -> Any:
        return self.triple and self.triple.operation

    @property
    def recovery(self) -> Any:
        return self.triple and self.triple.recovery

    def _on(self, backend: str) -> tuple[Callable[[dict], tuple], Callable[[Any, Cache], tuple]]:
        return (self._numpy_forward, self._numpy_backward) if backend == "numpy" else backends.load(backend, self.name)

    def _widened(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {k: wide(v) if k in self.arrays and v is not None else v for k, v in arguments.items()}

    def _numpy_forward(self, arguments: dict[str, Any]) -> tuple:
        with np.errstate(all="ignore"):             # 0 / 0 at eps 0, overflow: NaN and infinity speak for themselves
            y, *rest = self.compute(**self._widened(arguments))
        return narrow(y, arguments[self.arrays[0]].dtype), *rest

    def _numpy_backward(self, dy: Any, cache: Cache) -> tuple:
        with np.errstate(all="ignore"):
            answer = self.derive(wide(dy), cache.saved, **self._widened(cache.arguments))
        given = [cache.arguments[name] for name in self.arrays]
        gradients, state = answer[: len(given)], answer[len(given) :]
        return *(None if a is None else narrow(g, a.dtype) for g, a in zip(gradients, given, strict=True)), *state

    def __repr__(self) -> str:
        return f"<refnorm method {self.name}>"


@functools.lru_cache(KEPT)
def _resolved_once(method: Method, kind: tuple) -> tuple[dict[str, Any], str]:
    """Of a call of this kind.  Binding and checks were half of what a small call takes: 60 us, 8 where they are remembered."""
    return method._resolved(**stand_ins(kind))


class Normalization(Generic[P]):
    """How a type checker sees a declared method; at run time it is the decorated function with these attributes."""

    declaration: Method
    state: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    def forward(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    def backward(self, dy: Any, cache: Cache, backend: str = "numpy") -> tuple[Any, ...]:
        raise NotImplementedError                   # the declared method's takes its place


NORMS: dict[str, Method] = {}
"""Every declared method, by name."""


def method(
    *, backward: Callable[..., tuple] | None = None, arrays: tuple[str, ...], **declaration: Any
) -> Callable[[Callable[P, Any]], Normalization[P]]:
    """Declare a forward, (arrays, options, dialect) -> (y, saved), with its backward, (dy, saved, ...) -> gradients.

    The signature that users see is the function's; `dialect` reaches the body as a Dialect, `backend` does not reach it.
    """

    def decorate(forward: Callable[P, Any]) -> Normalization[P]:
        declared: Any = {"compute": forward, "derive": backward, "source": (forward, backward), **declaration}
        face: Any = {"name": forward.__name__, "doc": forward.__doc__ or "", "signature": inspect.signature(forward)}
        return publish(Method(**face, arrays=arrays, **declared), forward)

    return decorate


def publish(declared: Method, function: Callable[P, Any]) -> Normalization[P]:
    """Enter a method into NORMS and give it the face of the function that declared it."""

    @functools.wraps(function)
    def face(*args: Any, **kwargs: Any) -> Any:
        return declared(*args, **kwargs)

    face.__dict__.update(declaration=declared, forward=declared.forward, backward=declared.backward)
    if declared.state is not None:
        face.__dict__["state"] = declared.state
    NORMS[declared.name] = declared
    return cast("Normalization[P]", face)
