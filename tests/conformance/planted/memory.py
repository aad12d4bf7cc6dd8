"""Strides misread."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import backwards, plant, wrapped


def _raw(x: Any) -> Any:
    """What a kernel sees that takes the base address and assumes C order."""
    base = x if x.base is None else x.base
    if x.flags.c_contiguous or not isinstance(base, np.ndarray):
        return x
    flat = (
        np.lib.stride_tricks.as_strided(x, (x.size,), (x.itemsize,))
        if all(s > 0 for s in x.strides)
        else base.ravel()[: x.size]
    )
    return np.nan_to_num(np.array(flat)).reshape(x.shape)


LY = ("layout.y", "layout.gradients", "layout.state")
for norm in ("layer_norm", "batch_norm", "instance_norm"):
    plant(
        "layout", norm, "x assumed contiguous", lambda norm=norm: wrapped(norm, lambda f, x, *a, **k: f(_raw(x), *a, **k)), *LY
    )
    plant(
        "layout",
        norm,
        "dy assumed contiguous",
        lambda norm=norm: backwards(norm, lambda f, dy, *a, **k: f(_raw(dy), *a, **k)),
        *LY,
    )
    plant("layout", norm, "gamma assumed contiguous", lambda norm=norm: wrapped(
        norm, lambda f, x, gamma=None, *a, **k: f(x, gamma if gamma is None else _raw(gamma), *a, **k)), *LY)  # fmt: skip
    plant("layout", norm, "refuses what is not contiguous", lambda norm=norm: wrapped(norm, _refuses_strides), "forward.runs")


def _raw_dy(f, dy, *args, **kwargs):
    return f(_raw(dy), *args, **kwargs)


def _refuses_strides(f, x, *args, **kwargs):
    assert x.flags.c_contiguous, "x must be contiguous"
    return f(x, *args, **kwargs)
