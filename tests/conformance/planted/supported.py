"""Bugs behind a `supports` that refuses most shapes, and in kernels that know arrays of one rank alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.conformance import Candidate

from ..kernels import Parts, candidate, having, plain_mean
from .base import plant


def _one_pass(x: Any) -> Any:
    mean = plain_mean(x)
    return mean, np.maximum(plain_mean(np.square(x)) - np.square(mean), 0)


def rows_of_64(case: Any) -> Any:
    return True if case.x.shape[-1] >= 64 and case.x.shape[-1] % 8 == 0 else "H % 8 or H < 64"


def rows_of_128(case: Any) -> Any:
    return case.x.shape[-1] % 128 == 0 or "H % 128"


def four_axes(case: Any) -> Any:
    return case.x.ndim == 4 or "(N, C, H, W) alone"


def channels_of_8(case: Any) -> Any:
    return case.x.shape[1] % 8 == 0 or "C % 8"


SUPPORTS = {
    "layer_norm": (rows_of_64, rows_of_128),
    "rms_norm": (rows_of_64, rows_of_128),
    "batch_norm": (four_axes, channels_of_8),
    "group_norm": (channels_of_8, four_axes),
    "instance_norm": (four_axes,),
}
BUGS = {
    "eps left out": having(rstd=lambda v, e: 1 / np.sqrt(v + v.dtype.type(1e-30))),
    "eps is always 1e-6": having(rstd=lambda v, e: 1 / np.sqrt(v + v.dtype.type(1e-6))),
    "one pass": having(statistics=_one_pass),
}
for norm, declared in SUPPORTS.items():
    for supports in declared:
        for name, parts in BUGS.items():
            if (norm, name) != ("rms_norm", "one pass"):  # a mean square is one pass by nature
                check = "numerics.scale" if name == "one pass" else "numerics.y"
                plant("numerics", norm, f"{name}, {supports.__name__}", parts, check, supports=supports)


def _of_four_axes(parts: Parts) -> Candidate:
    """(N, C, H, W) unpacked, and nothing said of it."""
    base = candidate("instance_norm", parts)

    def forward(x, gamma, beta, *, eps):
        n, c, h, w = x.shape
        return base.forward(x, gamma, beta, eps=eps).reshape(n, c, h, w)

    return Candidate(forward, dtypes=("float32",))


for name, parts in BUGS.items():
    plant("numerics", "instance_norm", f"{name}, x unpacked into four", lambda parts=parts: _of_four_axes(parts), "numerics.y")
