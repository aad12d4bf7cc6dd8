"""What a candidate is handed: a case's arguments, laid out in memory; and whether it has written to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import fused
from .cases import Case
from .memory import laid


def laid_out(case: Case) -> dict[str, Any]:
    """Arguments by name, every array as its layout says, and the options that follow from the case."""
    arguments = dict(case.arguments)
    if case.prologue is not None:
        first = case.convention.arrays[0]
        arguments[first], arguments["residual"] = fused.parts(case.x)
    given = {k: laid(case.layout, k, v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    return {**case.derived(), **given}


def same_bits(a: np.ndarray, b: Any) -> bool:
    """Equal in value and in the sign of zeros; NaN equals NaN."""
    if not isinstance(b, np.ndarray) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
