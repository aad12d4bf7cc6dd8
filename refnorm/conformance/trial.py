"""What one call of a candidate returned, and every way in which it misbehaved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from .adapters.dlpack import on_host
from .cases import Case, role_of


@dataclass(frozen=True)
class Fault:
    """kind: raises, hangs, type, shape, dtype, writes.  stage: forward or backward."""

    kind: str
    stage: str
    message: str
    error: BaseException | None = None


@dataclass
class Trial:
    """values by name: y, running_mean, running_var, dx, dgamma ..., and saved ones; copies, the candidate keeps its own."""

    case: Case
    values: dict[str, np.ndarray] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seconds: float = 0.0
    saved: Any = None
    kept: dict[str, Any] = field(default_factory=dict)  # the candidate's own arrays, to see whether it writes to them later

    def fault(self, *kinds: str) -> Fault | None:
        return next((f for f in self.faults if f.kind in kinds), None)

    @property
    def ran(self) -> bool:
        return self.fault("raises", "hangs", "type") is None

    def blame(self, kind: str, stage: str, message: str, error: BaseException | None = None) -> None:
        self.faults.append(Fault(kind, stage, message, error))

    def take(self, stage: str, name: str, value: Any, shape: tuple[int, ...]) -> None:
        """Enter one returned array, with a fault for a wrong type, shape or dtype."""
        if not isinstance(value := on_host(value), np.ndarray | np.generic):
            self.blame("type", stage, f"{name} is {kind_of(value)}; it must be a NumPy array")
            return
        array = np.asarray(value)
        if not np.issubdtype(array.dtype, np.number) and array.dtype not in (bool, bfloat16):
            self.blame("type", stage, f"{name} is an array of {array.dtype}; it must be one of numbers")
            return
        if array.shape != shape:
            self.blame("shape", stage, f"{name} has shape {array.shape}; it must be {shape}")
            return
        right = getattr(self.case.arithmetic, role_of(self.case.convention, name))
        if array.dtype != right:
            self.blame("dtype", stage, f"{name} has dtype {array.dtype}; it must be {right}")
            if array.dtype.kind not in "fV" or array.dtype.kind == "c":
                return
        self.values[name] = array.copy()
        self.kept[name] = array


def kind_of(value: Any) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__
