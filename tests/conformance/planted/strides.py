"""Strides misread: one array alone, two that differ, a cotangent that has none; and what is not finite, hidden or spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import backwards, plant, wrapped
from .memory import _raw


def _first_alone(a: Any) -> Any:
    """Reads a broadcast array as though its entries lay one after the other: all but the first are whatever follows."""
    if 0 not in a.strides or a.size < 2:
        return a
    room = np.zeros(a.size, a.dtype)
    room[0] = a.flat[0]
    return room.reshape(a.shape)


def _by_strides_of(a: Any, b: Any) -> Any:
    """The entries of a in memory, read with the strides of b."""
    if a.shape != b.shape or a.strides == b.strides or any(s <= 0 for s in (*a.strides, *b.strides)):
        return a
    end = sum((n - 1) * s for n, s in zip(b.shape, b.strides, strict=True)) // b.itemsize + 1
    flat = np.resize(np.ravel(a, order="K"), end)
    return np.lib.stride_tricks.as_strided(flat, b.shape, b.strides).copy()


def _gamma(f, x, gamma=None, *args, **kwargs):
    return f(x, None if gamma is None else _raw(gamma), *args, **kwargs)


def _dx(change):
    return lambda f, dy, *a, **k: (lambda r: (change(r[0], dy), *r[1:]))(f(dy, *a, **k))


for norm in ("layer_norm", "batch_norm"):
    plant(
        "layout", norm, "expanded dy read as contiguous",
        lambda norm=norm: backwards(norm, lambda f, dy, *a, **k: f(_first_alone(dy), *a, **k)), "layout.gradients",
    )  # fmt: skip
for norm in ("layer_norm", "instance_norm"):
    plant(
        "layout", norm, "dy read with the strides of x",
        lambda norm=norm: backwards(norm, lambda f, dy, x, *a, **k: f(_by_strides_of(dy, x), x, *a, **k)), "layout.gradients",
    )  # fmt: skip
for norm in ("layer_norm", "rms_norm"):
    plant("layout", norm, "gamma of one axis assumed contiguous", lambda norm=norm: wrapped(norm, _gamma), "layout.y")

CONFINED = ("facts.confinement",)
plant("facts", "layer_norm", "NaN in dy spreads to all rows", lambda: backwards(
    "layer_norm", _dx(lambda dx, dy: dx + 0 * dy.sum())), *CONFINED)  # fmt: skip
plant("facts", "layer_norm", "what is not finite in dy is set to 0", lambda: backwards(
    "layer_norm", lambda f, dy, *a, **k: f(np.where(np.isfinite(dy), dy, 0).astype(dy.dtype), *a, **k)), *CONFINED)  # fmt: skip
plant("facts", "group_norm", "dx of what is not finite set to 0", lambda: backwards(
    "group_norm", _dx(lambda dx, dy: np.nan_to_num(dx))), *CONFINED)  # fmt: skip
plant("facts", "batch_norm", "dgamma of what is not finite set to 0", lambda: backwards(
    "batch_norm", lambda f, *a, **k: (lambda r: (r[0], r[1] if r[1] is None else np.nan_to_num(r[1]), r[2]))(f(*a, **k))),
    *CONFINED)  # fmt: skip


def _skips_zeros(f, x, gamma=None, beta=None, **kwargs):
    y = f(x, gamma, beta, **kwargs)
    return y if gamma is None else np.where(gamma == 0, 0 if beta is None else beta, y).astype(x.dtype)


plant("facts", "layer_norm", "gamma 0 hides a NaN", lambda: wrapped("layer_norm", _skips_zeros), *CONFINED)
