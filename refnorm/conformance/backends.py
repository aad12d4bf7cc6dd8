"""refnorm's own backends as candidates: `refnorm check --backend numba` judges kernels as it judges anyone's."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from refnorm.anatomy import backends
from refnorm.anatomy.method import FROM_DIALECT, NORMS, Method
from refnorm.anatomy.population import fresh

from .candidate import Candidate, Unusable
from .conventions import Convention, convention_of, method_named

DTYPES = ("float64", "float32", "float16", "bfloat16")
PATIENCE = 120.0
"""Seconds for one call: any of them may be the first of its kind, and compile."""
RUNNING = {"running_mean": "mean", "running_var": "var"}


def candidate(backend: str, norm: str, dialect: str | None = None, **fields: Any) -> Candidate:
    """A method on a backend under the contract's convention.  Raises Unusable for what this installation does not have."""
    method = method_named(norm)
    convention, spoken = convention_of(method), dialect or next(iter(method.dialects))
    if spoken not in method.dialects:
        raise Unusable(f"dialect {spoken!r} is unknown to {norm}; it must be one of {', '.join(method.dialects)}")
    if backend != "numpy" and norm not in methods(backend):
        raise Unusable(f"backend {backend!r} has no kernel for {norm}; it has {', '.join(methods(backend))}")

    def arguments(given: dict[str, Any]) -> dict[str, Any]:
        if convention.state == tuple(RUNNING):
            given["state"] = fresh(given.pop("running_mean"), given.pop("running_var"))
        return {k: v for k, v in given.items() if k in method.signature.parameters}

    def forward(**given: Any) -> Any:
        y, cache, *state = method.forward(**arguments(dict(given)), dialect=spoken, backend=backend)
        kept = [np.asarray(getattr(state[0], RUNNING.get(n, n))).astype(given[n].dtype) for n in convention.state]
        return (y, *kept) if kept else y, cache

    def backward(dy: np.ndarray, cache: Any) -> tuple:
        gradients = method.backward(dy, cache, backend=backend)
        return tuple(g for g in gradients[: len(method.arrays)] if g is not None)

    face: Any = forward
    face.__signature__ = _signature(method, convention, spoken)
    common: dict[str, Any] = {"name": f"{backend} {norm}", "saves": True, "by_name": True, "dtypes": DTYPES}
    return Candidate(forward, backward, **{**common, **fields})


def _signature(method: Method, convention: Convention, dialect: str) -> inspect.Signature:
    """The contract's arguments, with the method's own defaults in this dialect."""
    kind, own, defaults = inspect.Parameter, method.signature.parameters, method.dialects[dialect].defaults
    arrays = [
        kind(n, kind.POSITIONAL_OR_KEYWORD, default=own[n].default if n in own else None) for n in convention.arrays
    ]
    found = {n: own[n].default for n in (*convention.options, "axis", "channel_axis") if n in own}
    found = {n: defaults.get(n, kind.empty) if value is FROM_DIALECT else value for n, value in found.items()}
    return inspect.Signature([*arrays, *(kind(n, kind.KEYWORD_ONLY, default=value) for n, value in found.items())])


def candidates(
    backend: str, norm: str | None = None, dialect: str | None = None
) -> Iterator[tuple[str, str, Candidate]]:
    """(norm, dialect, candidate) of every method that a backend has, or of one; twice where channels may be first or last.

    Methods that have no dialect of this name are left out.  Raises Unusable.
    """
    if missing := backends.unavailable(backend):
        raise Unusable(f"backend {backend!r} cannot run here: {missing}")
    for name in methods(backend) if norm is None else (norm,):
        method = method_named(name)
        if norm is None and dialect is not None and dialect not in method.dialects:
            continue
        spoken = dialect or next(iter(method.dialects))
        yield name, spoken, candidate(backend, name, spoken)
        if "channel_axis" in method.signature.parameters:
            yield name, spoken, candidate(backend, name, spoken, channel_axis=-1, name=f"{backend} {name}, channels last")


def methods(backend: str) -> tuple[str, ...]:
    """Names of the methods that a backend has.  Raises Unusable where the backend is unknown, or cannot be loaded here."""
    if backend == "numpy":
        return tuple(NORMS)
    try:
        return tuple(backends.methods(backend))
    except (ValueError, ImportError) as error:
        raise Unusable(str(error)) from None
