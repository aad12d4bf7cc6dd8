"""PyTorch: functions, modules and autograd.Functions as candidates; gradients by torch.autograd.

Arrays become tensors over the same memory (bfloat16 through its bits), so that strides are kept and writes are seen.
Running statistics are handed over as copies and read back, since PyTorch updates them in place.  What torch.compile made is
compiled before the call whose time is taken.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import torch

from ..candidate import Candidate, origin_of
from ..conventions import CONVENTIONS, DERIVED, constants
from ..signature import read
from .torch_modules import STATE, Call, as_function

ARRAYS = (*dict.fromkeys(name for c in CONVENTIONS.values() for name in c.arrays), "residual")
BF16 = np.dtype(ml_dtypes.bfloat16)
KINDS = 1024
"""How often torch.compile may compile one function: more often than there are kinds of input."""


def candidate(target: Any, *, device: str | None = None, **fields: Any) -> Candidate:
    """A Candidate from a function of tensors, an nn.Module or a torch.autograd.Function.

    saved_as names what is returned after the outputs: (y, mean, rstd) with saved_as=("mean", "rstd").
    """
    compiles = hasattr(target, "_torchdynamo_orig_callable")
    calling: Any = _compiled if compiles else contextlib.nullcontext
    named = len(fields.get("saved_as", ()))
    if isinstance(target, torch.nn.Module):
        call, shown, own = as_function(target)
        fields = {"name": type(target).__name__, "origin": origin_of(type(target)), **own, **fields}
    elif inspect.isclass(target) and issubclass(target, torch.autograd.Function):
        call, shown = _function_class(target)
        fields = {"name": target.__name__, "origin": origin_of(target), **fields}
    else:
        call, shown = _function(target)
        fields = {"name": getattr(target, "__name__", None), "origin": origin_of(target), **fields}

    def forward(**arguments: Any) -> tuple[Any, Any]:
        arrays = {name: a for name, a in arguments.items() if isinstance(a, np.ndarray)}
        leaves = {name: _leaf(a, name in constants(arrays), device) for name, a in arrays.items()}
        given = {name: leaves.get(name, a) for name, a in arguments.items()}
        with torch.enable_grad(), calling(), _threads(next(a.size for a in arrays.values())):
            returned = call(given)
        outputs = returned if isinstance(returned, tuple) else (returned,)
        if len(outputs) == 1 and all(name in leaves for name in STATE):
            outputs = (*outputs, *(given[name] for name in STATE))
        found = tuple(to_numpy(o) if isinstance(o, torch.Tensor) else o for o in outputs)
        found, kept = found[: len(found) - named], found[len(found) - named :]
        return (found if len(found) > 1 else found[0]), (*kept, outputs[0], leaves)

    def backward(dy: np.ndarray, saved: Any) -> tuple[np.ndarray, ...]:
        y, leaves = saved[-2:]
        asked = tuple(name.removeprefix("d") if name not in leaves else name for name in fields.get("needs_grad") or leaves)
        wanted = {name: leaf for name, leaf in leaves.items() if name in asked and leaf.requires_grad}
        up = to_torch(dy, device).to(y.dtype)
        with calling(), _threads(dy.size):
            found = torch.autograd.grad(y, list(wanted.values()), up, retain_graph=True, allow_unused=True)
        return tuple(
            to_numpy(torch.zeros_like(leaf) if g is None else g) for leaf, g in zip(wanted.values(), found, strict=True)
        )

    def prepare(**arguments: Any) -> None:
        _, saved = forward(**arguments)
        backward(to_numpy(saved[-2]), saved)

    if "parameters" not in fields:
        forward.__signature__ = shown  # type: ignore[attr-defined]
    made = Candidate(forward, backward, **fields)
    return replace(made, saves=True, convert="torch", by_name=True, prepare=prepare if compiles else None)


@contextlib.contextmanager
def _compiled() -> Iterator[None]:
    """torch.compile: each kind of input compiled, none left to the interpreter after the eighth; backwards that run twice."""
    with torch._dynamo.config.patch(recompile_limit=KINDS), torch._functorch.config.patch(donated_buffer=False):
        yield


@contextlib.contextmanager
def _threads(entries: int) -> Iterator[None]:
    """One thread for small arrays, where a pool on busy cores costs a hundred times the work; the caller's number else."""
    before = torch.get_num_threads()
    if entries >= 2**15 or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _leaf(array: np.ndarray, constant: bool, device: str | None) -> torch.Tensor:
    tensor = to_torch(array, device)
    return tensor.clone() if constant else tensor.requires_grad_(array.dtype.kind in "fV")


def to_torch(array: np.ndarray, device: str | None = None) -> torch.Tensor:
    """Over the same memory, strides and all; a copy where a stride is negative, which PyTorch does not have."""
    if any(s < 0 for s in array.strides):
        array = array.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # read-only arrays: the kit sees writes by itself
        tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if array.dtype == BF16 else torch.from_numpy(array)
    return tensor if device is None else tensor.to(device)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(BF16)
    return tensor.numpy()


def _arrays(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Tensors, and what may be one and is None, in the order in which they come; a beta that is a number is an option."""
    return tuple(n for n, a in given.items() if isinstance(a, torch.Tensor) or (a is None and n in ARRAYS))


def _function(target: Callable[..., Any]) -> tuple[Call, inspect.Signature]:
    signature = _signature(target)
    bindings: dict[tuple[str, ...], Any] = {}

    def call(given: Mapping[str, Any]) -> Any:
        key = tuple(given)
        if key not in bindings:
            arrays = _arrays(given)
            bindings[key] = read(target, 0, arrays, tuple(n for n in given if n not in arrays), None, DERIVED)
        return bindings[key].call(target, (), given)

    return call, signature


def _function_class(target: Any) -> tuple[Call, inspect.Signature]:
    """autograd.Function: `apply` takes the arguments of its forward, without ctx, by position."""
    parameters = list(inspect.signature(target.forward).parameters.values())
    if target.setup_context is torch.autograd.function._SingleLevelFunction.setup_context:
        parameters = parameters[1:]
    signature = inspect.Signature(parameters)

    def like(*args: Any, **kwargs: Any) -> Any: ...

    like.__signature__ = signature  # type: ignore[attr-defined]

    def call(given: Mapping[str, Any]) -> Any:
        arrays = _arrays(given)
        binding = read(like, 0, arrays, tuple(n for n in given if n not in arrays), None, DERIVED)
        own = {p: n for n, p in binding.keywords.items()}
        names, positional = [], list(binding.positional)
        for p in parameters:
            names.append(own[p.name] if p.name in own else positional.pop(0) if positional else None)
        return target.apply(*(given[n] if n else p.default for n, p in zip(names, parameters, strict=True)))

    return call, signature


def _signature(target: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        raise TypeError(f"{target!r} has no signature; name what it accepts: from_torch(..., parameters=(...))") from None
