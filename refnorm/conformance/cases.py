"""Case: one call of a norm, with every array and option that the contract gives it, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnorm.anatomy.precision import narrow

from .conventions import Convention, convention_of, method_named, reference_arguments
from .tolerance_arithmetic import Arithmetic


@dataclass(frozen=True, eq=False)
class Case:
    """Arguments under the contract's names, arrays in the types of `arithmetic`'s roles; dy in the type of y.

    layout names how the arrays lie in memory when the candidate gets them (`memory.LAYOUTS`).
    """

    norm: str
    stratum: str
    label: str
    arguments: Mapping[str, Any]
    dy: np.ndarray
    arithmetic: Arithmetic
    channel_axis: int = 1
    normalized_ndim: int = 1
    layout: str = "contiguous"
    kappa: float | None = None
    quick: bool = False
    prologue: str | None = None
    epilogue: str | None = None

    @property
    def convention(self) -> Convention:
        return convention_of(method_named(self.norm))

    @property
    def x(self) -> np.ndarray:
        return self.arguments[self.convention.arrays[0]]

    @property
    def training(self) -> bool:
        return bool(self.arguments.get("training", True))

    @property
    def dtype(self) -> str:
        return self.arithmetic.x.name

    def replaced(self, dy: np.ndarray | None = None, **arguments: Any) -> Case:
        """The same case with some arguments changed."""
        return replace(self, arguments={**self.arguments, **arguments}, dy=self.dy if dy is None else dy)

    def reference(self, wide: np.dtype | None = None) -> dict[str, Any]:
        """The arguments of refnorm's own method, arrays widened where `wide` is given."""
        given = reference_arguments(
            method_named(self.norm), self.arguments, channel_axis=self.channel_axis, normalized_ndim=self.normalized_ndim
        )
        if wide is None:
            return given
        return {k: v.astype(wide) if isinstance(v, np.ndarray) and v.dtype != bool else v for k, v in given.items()}

    def derived(self) -> dict[str, Any]:
        """Options that follow from the case, for candidates that ask for them by name."""
        k = self.normalized_ndim
        shape = self.x.shape[-k:]
        return {
            "norm": self.norm, "channel_axis": self.channel_axis, "axis": -k, "normalized_ndim": k, "normalized_shape": shape,
            "num_shards": 1,
        }  # fmt: skip

    @property
    def words(self) -> str:
        shape = " x ".join(map(str, self.x.shape))
        options = ", ".join(f"{k}={v!r}" for k, v in self.arguments.items() if not isinstance(v, np.ndarray) and v is not None)
        return f"{self.dtype} {shape}" + (f", {options}" if options else "")


def stored(values: Any, dtype: np.dtype) -> np.ndarray:
    """float64 values rounded once to a storage type, contiguous."""
    with np.errstate(all="ignore"):
        return np.array(narrow(np.asarray(values, np.float64), dtype), order="C")


def role_of(convention: Convention, name: str) -> str:
    """Which of Arithmetic's roles an array argument, an output or a gradient plays."""
    if name in ("y", "h"):
        return "out"
    if name == "dresidual":
        return "dx"
    if name in convention.state or name in ("running_mean", "running_var"):
        return "state"
    if name in ("mean", "var", "rstd"):
        return "saved"
    if name == convention.arrays[0]:
        return "x"
    if name == "d" + convention.arrays[0]:
        return "dx"
    return "grads" if name.startswith("d") and name[1:] in convention.gradients else "params"
