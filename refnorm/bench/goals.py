"""What the Numba kernels are meant to reach against PyTorch: float32, two threads, into arrays that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Goal(NamedTuple):
    """PyTorch's time over ours: the floor that every cell should pass, and what is aimed at."""

    floor: float
    aim: float


TINY = Goal(1.2, 2.0)
"""Of inputs of (4, 16): what a call costs."""

COPY = 0.75
"""Of the copy bandwidth, for forwards of tensors beyond the cache."""

GEOMETRIC_MEAN = 2.5

GOALS = {
    ("layer norm", "forward"): Goal(1.5, 2.0), ("layer norm", "backward"): Goal(1.1, 1.5),
    ("rms norm", "forward"): Goal(3.0, 4.5), ("rms norm", "backward"): Goal(5.0, 9.0),
    ("batch norm", "forward"): Goal(5.0, 8.0), ("batch norm", "backward"): Goal(1.1, 1.8),
    ("batch norm NHWC", "forward"): Goal(5.0, 8.0), ("batch norm NHWC", "backward"): Goal(1.1, 1.8),
    ("batch norm (N, C)", "forward"): Goal(1.25, 1.8), ("batch norm (N, C)", "backward"): Goal(1.05, 1.3),
    ("group norm 32", "forward"): Goal(1.0, 1.5), ("group norm 32", "backward"): Goal(1.05, 1.5),
    ("instance norm", "forward"): Goal(5.0, 8.0), ("instance norm", "backward"): Goal(1.2, 1.5),
    ("whitening, Cholesky", "forward"): Goal(1.2, 2.0), ("whitening, Cholesky", "backward"): Goal(1.2, 2.0),
    ("whitening, Newton", "forward"): Goal(1.2, 2.0), ("whitening, Newton", "backward"): Goal(1.2, 2.0),
    ("whitening, ZCA", "forward"): Goal(1.0, 1.0), ("whitening, ZCA", "backward"): Goal(1.0, 1.0),
}  # fmt: skip


def goal(row: Mapping[str, Any]) -> Goal:
    """Of one cell of the JSON."""
    return TINY if tuple(row["shape"]) == (4, 16) else GOALS[row["op"], row["pass"]]
