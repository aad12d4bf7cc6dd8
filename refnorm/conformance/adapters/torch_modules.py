"""nn.Modules as functions of the contract's arguments.

A module is copied for every call; its parameters, buffers and attributes (eps, momentum, num_groups ...) are set by the
contract's names; where an option is left out, the module's own value holds.  Running statistics that the norm has not
(instance norm's) are fresh in every call.  A module whose weight has PyTorch's parametrization for weight or spectral norm is
that parametrization.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm

from ..candidate import Unusable
from ..signature import ALIASES

STATE = ("running_mean", "running_var")
Call = Callable[[Mapping[str, Any]], Any]
Function = tuple[Call, inspect.Signature, dict[str, Any]]


def as_function(module: torch.nn.Module) -> Function:
    """What to call, its signature, and fields of a Candidate that follow from the module.  Raises Unusable."""
    if any(torch.nn.parameter.is_lazy(p) for p in (*module.parameters(), *module.buffers())):
        raise Unusable(f"{type(module).__name__} has no parameters yet: call it once on an input, then hand it over")
    if isinstance(module, torch._dynamo.OptimizedModule):
        raise Unusable("a compiled module cannot be given other parameters; compile a function of (x, weight, bias)")
    for part in module.parametrizations.modules() if parametrize.is_parametrized(module) else ():  # type: ignore[union-attr]
        if isinstance(part, _WeightNorm):
            return _weight_norm(part)
        if isinstance(part, _SpectralNorm):
            return _spectral_norm(part)
    return _layer(module)


def _layer(module: torch.nn.Module) -> Function:
    """Set what the contract names, by whatever name the module has it, then call.  Its own eps, momentum are the defaults.

    A module that wraps one norm is taken for that norm: a name that one of its parts has, and no other, is that part's.
    """
    held = _places(module, "_parameters", ("gamma", "beta"))
    buffers = _places(module, "_buffers", STATE)
    own = _places(module, "", ("eps", "momentum", "num_groups", "normalized_shape"))
    sizes = _places(module, "", ("num_features", "num_channels"))
    defaults = {n: getattr(module.get_submodule(path), o) for n, (path, o) in own.items()}
    tracks = not any(part._buffers.get(name, part) is None for part in module.modules() for name in STATE)
    defaults |= {"training": True} if tracks else {}  # without statistics, evaluation is training

    def call(given: Mapping[str, Any]) -> Any:
        mine: Any = copy.deepcopy(module)
        for name, (path, attribute) in own.items():
            if name in given:
                setattr(mine.get_submodule(path), attribute, given[name])
        for path, attribute in sizes.values():
            if given.get("gamma") is not None:
                setattr(mine.get_submodule(path), attribute, given["gamma"].shape[0])
        for name, (path, attribute) in held.items():
            if name in given:
                _put(mine.get_submodule(path), attribute, given[name])
        for name, (path, attribute) in buffers.items():
            fresh = torch.full(given["x"].shape[1:2], float(name == "running_var"), dtype=torch.float32)
            _put(mine.get_submodule(path), attribute, given.get(name, fresh))
        mine.train(bool(given.get("training", True)))
        y = mine(given["x"])
        kept = tuple(getattr(mine.get_submodule(path), o) for n, (path, o) in buffers.items() if n in given)
        return (y, *kept) if kept and not isinstance(y, tuple) else y

    fields: dict[str, Any] = {"normalized_ndim": _normalized_ndim(module)}
    if isinstance(module, _InstanceNorm):
        fields["supports"] = _batched(module._get_no_batch_dim() + 1)
    return call, _signature(("x", *held, *buffers), defaults), fields


def _put(part: torch.nn.Module, name: str, value: Any) -> None:
    part._parameters.pop(name, None)
    part._buffers.pop(name, None)
    object.__setattr__(part, name, value)


def _signature(arrays: tuple[str, ...], options: Mapping[str, Any]) -> inspect.Signature:
    kinds = inspect.Parameter
    return inspect.Signature(
        [kinds(name, kinds.POSITIONAL_OR_KEYWORD) for name in arrays]
        + [kinds(name, kinds.KEYWORD_ONLY, default=value) for name, value in options.items()]
    )


def _batched(rank: int) -> Callable[[Any], Any]:
    """nn.InstanceNorm2d takes (N, C, H, W), and three axes for one sample without N."""
    return lambda case: case.x.ndim == rank or f"the module takes {rank} axes; fewer are one sample's"


def _places(module: torch.nn.Module, kind: str, names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """By the contract's name: the one part of the module that has it, as its path and its own name for it."""
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        called = (name, *ALIASES.get(name, ()))
        places = [(path, o) for path, part in module.named_modules() for o in called if _has(part, kind, o)]
        if len(places) == 1:
            found[name] = places[0]
    return found


def _has(part: torch.nn.Module, kind: str, name: str) -> bool:
    """A parameter (one that is None, too), a buffer that is there, or any attribute."""
    if kind == "_buffers":
        return part._buffers.get(name) is not None
    return name in part._parameters if kind else hasattr(part, name)


def _normalized_ndim(module: torch.nn.Module) -> int | None:
    """How many trailing axes a layer norm normalizes that was written for one shape: as many as its weight has."""
    held = _places(module, "_parameters", ("gamma",))
    if not held or _places(module, "", ("normalized_shape",)):
        return None
    path, attribute = held["gamma"]
    weight = module.get_submodule(path)._parameters[attribute]
    return None if weight is None else weight.ndim


def laid(g: torch.Tensor, v: torch.Tensor, dim: int | None) -> torch.Tensor:
    """One number a row, in PyTorch of the rank of v."""
    return g if dim is None else g.reshape([-1 if axis == dim % v.ndim else 1 for axis in range(v.ndim)])


def _weight_norm(parametrization: Any) -> Function:
    """(v, g, *, dim) -> g v / |v|; PyTorch writes -1 for all axes."""
    own = None if parametrization.dim == -1 else parametrization.dim

    def call(given: Mapping[str, Any]) -> Any:
        mine, v, dim = copy.deepcopy(parametrization), given["v"], given.get("dim", own)
        mine.dim = -1 if dim is None else dim % v.ndim
        return mine(laid(given["g"], v, dim), v)

    return call, _signature(("v", "g"), {"dim": own}), {}


def _spectral_norm(parametrization: Any) -> Function:
    """(w, u, v, *, n_power_iterations, eps, training, dim) -> (w / sigma, u, v), each step of the iteration from u and v."""

    def call(given: Mapping[str, Any]) -> Any:
        mine, w = copy.deepcopy(parametrization), given["w"]
        for option in ("n_power_iterations", "eps"):
            setattr(mine, option, given.get(option, getattr(mine, option)))
        mine.dim = given.get("dim", mine.dim) % w.ndim
        mine._u, mine._v = given["u"].clone(), given["v"].clone()
        return mine.train(bool(given.get("training", True)))(w), mine._u, mine._v

    p = parametrization
    options = {"n_power_iterations": p.n_power_iterations, "eps": p.eps, "training": True, "dim": p.dim}
    return call, _signature(("w", "u", "v"), options), {}
