"""What a proof found, and by how much it could have failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

UNIT = 2.0**-53


@dataclass(frozen=True)
class Finding:
    """One proof of one method: green where every measured error is within its bound."""

    method: str
    proof: str
    ok: bool
    error: float                     # the worst of its measurements ...
    bound: float                     # ... and what it may be
    words: str = ""                  # where, or the witness
    skipped: str = ""                # why it was not run

    def __str__(self) -> str:
        mark = "skip" if self.skipped else "ok" if self.ok else "FAIL"
        return f"{mark:4} {self.method} {self.proof}: {self.skipped or self.words} ({self.error:.1e}, bound {self.bound:.1e})"


def rounding(entries: int, condition: float = 1.0) -> float:
    """What two right float64 evaluations of one formula may differ by, relative to their scale.

    A sum of n terms in any order is off by at most n u times the sum of magnitudes (N. Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd ed., section 4.2); a normalization and its gradient nest three such sums (mean, variance, the
    products with zhat), each sum met once on either side of a comparison, and a dozen elementwise roundings.
    `condition` is the growth of the map's inner factors, 1 for well-conditioned draws.
    """
    return 2 * (3 * entries + 12) * UNIT * condition


def relative(a: Any, b: Any) -> float:
    """The largest difference, in units of the largest entry of either; NaN equals nothing."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return np.inf
    if a.size == 0:
        return 0.0
    scale = max(float(np.max(np.abs(a))), float(np.max(np.abs(b))))
    error = float(np.max(np.abs(a - b)))
    return np.inf if np.isnan(error) else error / scale if scale > 0 else 0.0
