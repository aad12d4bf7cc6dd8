"""The contract's table: how a norm is called, and what it hands back.

forward(<arrays>, *, <options>) -> outputs          backward(dy, x, <the same arguments>) -> gradients
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from refnorm.anatomy.method import NORMS, Method
from refnorm.anatomy.population import fresh

from .candidate import Unusable

KIT_ONLY = ("backend", "dialect", "state", "mask", "channel_axis")
TRAILING = ("layer_norm", "rms_norm")
"""Norms over trailing axes, as many as gamma has."""
DERIVED = ("norm", "channel_axis", "axis", "normalized_shape", "normalized_ndim", "mask", "num_shards", "dialect")
"""Options that follow from the case, passed to candidates that ask for them by name."""


@dataclass(frozen=True)
class Convention:
    norm: str
    arrays: tuple[str, ...]
    options: tuple[str, ...]
    outputs: tuple[str, ...] = ("y",)
    gradients: tuple[str, ...] = ()
    state: tuple[str, ...] = ()  # arrays that are running statistics

    @property
    def parameters(self) -> tuple[str, ...]:
        """Arrays that are neither the first nor a running statistic."""
        return tuple(a for a in self.arrays[1:] if a not in self.state)


_AFFINE = ("x", "gamma", "beta")
_RUNNING = ("running_mean", "running_var")
_TABLE = (
    Convention("batch_norm", (*_AFFINE, *_RUNNING), ("momentum", "eps", "training"), ("y", *_RUNNING), _AFFINE, _RUNNING),
    Convention("layer_norm", _AFFINE, ("eps",), gradients=_AFFINE),
    Convention("rms_norm", _AFFINE[:2], ("eps", "offset"), gradients=_AFFINE[:2]),
    Convention("group_norm", _AFFINE, ("num_groups", "eps"), gradients=_AFFINE),
    Convention("instance_norm", _AFFINE, ("eps",), gradients=_AFFINE),
    *(
        Convention(f"batch_whitening_{kind}", _AFFINE, ("eps", "num_groups"), gradients=_AFFINE)
        for kind in ("zca", "pca", "cholesky")
    ),
    Convention("iterative_norm", _AFFINE, ("eps", "num_groups", "T"), gradients=_AFFINE),
    Convention("weight_norm", ("v", "g"), ("dim",), gradients=("v", "g")),
    Convention(
        "spectral_norm", ("w", "u", "v"), ("n_power_iterations", "eps", "training", "dim"), ("y", "u", "v"), ("w",), ("u", "v")
    ),
    Convention("weight_standardization", ("w",), ("eps",), gradients=("w",)),
)
CONVENTIONS = {convention.norm: convention for convention in _TABLE}


def constants(names: Collection[str]) -> frozenset[str]:
    """Those of these arrays that have no gradient: running statistics, the vectors of a power iteration."""
    return frozenset(n for n in names if n in ("running_mean", "running_var", "u") or (n == "v" and "u" in names))


def method_named(norm: str) -> Method:
    """Raises Unusable that lists what exists."""
    if norm not in NORMS:
        raise Unusable(f"norm {norm!r} is unknown; it must be one of {', '.join(NORMS)}")
    return NORMS[norm]


def convention_of(method: Method) -> Convention:
    """The table's row, or for other methods the declaration: its arguments, in its order.

    Where a state is a running mean and variance, they are arrays as in batch_norm's row; a state of another kind is left
    at its fresh one, and only training is asked for.
    """
    if method.name in CONVENTIONS:
        return CONVENTIONS[method.name]
    options = tuple(n for n in method.signature.parameters if n not in method.arrays and n not in KIT_ONLY)
    if method.state is None:
        return Convention(method.name, method.arrays, options, gradients=method.arrays)
    if method.state is fresh:
        return Convention(method.name, (*method.arrays, *_RUNNING), options, ("y", *_RUNNING), method.arrays, _RUNNING)
    options = tuple(n for n in options if n not in ("training", "momentum"))
    return Convention(method.name, method.arrays, options, gradients=method.arrays)


def reference_arguments(
    method: Method, arguments: Mapping[str, Any], *, channel_axis: int, normalized_ndim: int
) -> dict[str, Any]:
    """The contract's arguments as those of refnorm's own method."""
    known = method.signature.parameters
    given = {name: value for name, value in arguments.items() if name in known}
    if method.state is fresh and "state" in known:
        given["state"] = fresh(arguments.get("running_mean"), arguments.get("running_var"))
    if "axis" in known and "axis" not in given and method.name in CONVENTIONS:
        given["axis"] = -normalized_ndim
    if "channel_axis" in known:
        given["channel_axis"] = channel_axis
    return given
