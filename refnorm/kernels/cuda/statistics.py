"""From sums to statistics, all of it float64.

An entry is |x - mean| <= sqrt(n) std away from the mean, so the one-pass variance of sums shifted by an entry loses a factor of
1 + n at most, harmless in float64; a chip with fast float64 has these sums for free while it waits for memory.

The CPU kernels have the same functions (kernels/cpu/row.py), which NumPy's square root keeps from this compiler; a test holds
them together.
"""

from __future__ import annotations

import math
from typing import Any

from refnorm.kernels.cpu import row

from .jit import cuda, float64

RMS, CENTER, DEVIATION, SAMPLE_DEVIATION, FLOOR = row.RMS, row.CENTER, row.DEVIATION, row.SAMPLE_DEVIATION, row.FLOOR


@cuda.jit(device=True)
def moments(operation: Any, pivot: Any, total: Any, squares: Any, count: Any) -> Any:
    """mean, var of `count` entries from sum(x - pivot), sum((x - pivot)^2); for RMS, with pivot 0, mean 0 and the mean
    square."""
    if operation == RMS:
        return float64(0), squares / count
    drift = total / count
    var = squares / count - drift * drift
    return pivot + drift, (float64(0) if var < 0 else var)          # a NaN stays one


@cuda.jit(device=True)
def spread(operation: Any, var: Any, count: Any, eps: Any) -> Any:
    """r, with zhat = r (z - mean): operations/standardize.py, rms.py, center.py, deviation.py, weight_standardize.py."""
    if operation == CENTER:
        return float64(1)
    if operation == DEVIATION:
        return 1 / float64(math.sqrt(var) + eps)
    if operation == SAMPLE_DEVIATION:
        return 1 / float64(math.sqrt(var * (count / max(count - 1, 1))) + eps)
    if operation == FLOOR:
        return 1 / float64(math.sqrt(max(var, eps / count)))
    return 1 / float64(math.sqrt(var + eps))


@cuda.jit(device=True)
def response(operation: Any, var: Any, rstd: Any, count: Any, eps: Any) -> Any:
    """-2 r' / r^3, with r' = dr/dvar: how the spread answers.  dL/dz = r (g - mean(g) - zhat mean(g zhat) response)."""
    if operation == CENTER or (operation == FLOOR and not var > eps / count):
        return float64(0)
    if operation == DEVIATION or operation == SAMPLE_DEVIATION:
        bessel = count / max(count - 1, 1) if operation == SAMPLE_DEVIATION else 1.0
        deviation = math.sqrt(var * bessel)
        return bessel / (deviation * rstd) if deviation > 0 else float64(0)
    return float64(1)


@cuda.jit(device=True)
def within_float32(rstd: Any) -> Any:
    """Can rows of this spread be computed in float32, rstd squared too?  Others go through float64; NaN as well."""
    return 1e-15 < rstd < 1e15
