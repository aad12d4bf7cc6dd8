"""Bugs as they shipped, each with where: what it takes to see them is a shape, a layout or a value that no other one needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import having, two_pass
from .base import backwards, plant, whole_blocks, wrapped
from .numerics import _clipped

SIZE, NUMERICS = ("size.y", "size.gradients"), ("numerics.y", "numerics.scale", "numerics.gradients", "numerics.state")


def _padded(block: int) -> Any:
    """The lanes past the end of a row count as (0 - mean)^2 (Liger-Kernel, pull request 519)."""

    def statistics(x: Any) -> Any:
        mean, var = two_pass(x)
        n = x.shape[1]
        past = -(-n // block) * block - n if n > block else 0
        return mean, var + np.square(mean) * x.dtype.type(past / max(n, 1))

    return statistics


def _simdgroups(x: Any) -> Any:
    """Partial sums of 32 lanes, read back by as many lanes as the last group has (llama.cpp, pull request 26708)."""
    n = x.shape[1]
    threads = min(n, 1024)
    groups, last = -(-threads // 32), threads - (-(-threads // 32) - 1) * 32
    kept = (np.arange(n) % max(threads, 1)) // 32 < (groups if last >= groups else last)
    mean = (x * kept).sum(axis=1, keepdims=True) / x.dtype.type(n)
    return mean, (np.square(x - mean) * kept).sum(axis=1, keepdims=True) / x.dtype.type(n)


def _rows(terms: Any, p: Any) -> Any:
    return terms.reshape(-1, *p.shape)


plant("size", "layer_norm", "masked lanes count in the last tile of 1024", having(statistics=_padded(1024)), *SIZE)
plant("size", "layer_norm", "the last simdgroup is too short", having(statistics=_simdgroups), *SIZE, *NUMERICS)
plant("size", "layer_norm", "tiles of 16384", having(statistics=lambda x: whole_blocks(x, 16384)), *SIZE)
plant("size", "layer_norm", "dgamma of the first 65535 rows", having(
    reduce=lambda t, p: _rows(t, p)[:65535].sum(axis=0)), *SIZE)  # fmt: skip
plant("size", "layer_norm", "dgamma of the first 4096 long rows", having(
    reduce=lambda t, p: (_rows(t, p)[:4096] if p.size > 64 else _rows(t, p)).sum(axis=0)), *SIZE, full=True)  # fmt: skip
plant("size", "batch_norm", "many channels, no power of two (apex, issue 1768)", having(
    statistics=lambda x: two_pass(x[:, :2048]) if len(x) > 64 and len(x) & (len(x) - 1) else two_pass(x)
), *SIZE, full=True)  # fmt: skip
plant("numerics", "layer_norm", "one pass over rows of 8192 and more", having(
    statistics=lambda x: _clipped(x) if x.shape[1] >= 8192 else two_pass(x)), *NUMERICS)  # fmt: skip


def _largest_scaled(f, x, gamma=None, *, eps, offset, normalized_ndim=1):
    """x is divided by its largest entry, eps is not (coremltools, issue 2821)."""
    k = normalized_ndim if gamma is None else gamma.ndim
    axes = tuple(range(x.ndim - k, x.ndim))
    most = np.maximum(np.abs(x).max(axis=axes, keepdims=True, initial=0), np.float32(1))
    return f((x / most).astype(x.dtype), gamma, eps=eps, offset=offset, normalized_ndim=k)


plant("forward", "rms_norm", "eps beside a scaled x", lambda: wrapped("rms_norm", _largest_scaled), "forward.y", "numerics.y")


def _of_rank(rank: int) -> Any:
    def forward(f, x, gamma, beta, mean, var, **k):
        y, m, v = f(x, gamma, beta, mean, var, **k)
        if x.ndim != rank or not k["training"] or not x.size:
            return y, m, v
        axes, along = (0, *range(2, rank)), (1, -1) + (1,) * (rank - 2)
        mu = x.mean(axis=axes, keepdims=True)
        square = np.maximum(np.square(x).mean(axis=axes, keepdims=True) - np.square(mu), 0)
        y = (x - mu) / np.sqrt(square + np.float32(k["eps"]))
        y = y if gamma is None else y * gamma.reshape(along)
        return (y if beta is None else y + beta.reshape(along)).astype(x.dtype), m, v

    return forward


for rank in (2, 4, 5):
    plant("numerics", "batch_norm", f"one pass for {rank} axes alone", lambda rank=rank: wrapped(
        "batch_norm", _of_rank(rank)), *NUMERICS)  # fmt: skip


def _two_dimensional(f, dy, x, gamma=None, beta=None, **k):
    """The first axis is taken for all rows: right for two axes (FlagGems, issue 5392)."""
    dx, *rest = f(dy, x, gamma, beta, **k)
    if x.ndim > 2 and x.size and gamma is not None and gamma.ndim == 1:
        flat, up = x.reshape(len(x), -1), (dy * gamma).reshape(len(x), -1)
        mean, var = two_pass(flat)
        r = 1 / np.sqrt(var + np.float32(k["eps"]))
        h = (flat - mean) * r
        a, b = (t.mean(axis=1, keepdims=True) for t in (up, up * h))
        dx = (r * (up - a - h * b)).reshape(x.shape).astype(x.dtype)
    return dx, *rest


plant("backward", "layer_norm", "a backward of two axes", lambda: backwards("layer_norm", _two_dimensional), "backward.dx")
for lost, name in (("beta", "gamma left out where beta is None"), ("gamma", "beta left out where gamma is None")):
    plant("edge", "layer_norm", name, having(affine=lambda h, g, b, lost=lost: (
        (h if lost == "beta" and not np.any(b) else h * g) + (0 if lost == "gamma" and np.ndim(g) == 0 else b)
    )), "forward.y")  # fmt: skip


def _channels_last_from_the_start(x: Any) -> Any:
    """A slice of channels-last memory is read from where its buffer begins (PyTorch, issue 174345)."""
    moved = np.moveaxis(x, 1, -1)
    base = x
    while isinstance(base.base, np.ndarray):
        base = base.base
    if x.ndim < 3 or x.flags.c_contiguous or not moved.flags.c_contiguous or base.ctypes.data == x.ctypes.data:
        return x
    return np.moveaxis(np.roll(moved.ravel(), 1).reshape(moved.shape), -1, 1)


def _without_row_stride(x: Any) -> Any:
    """Two axes, the stride of a row ignored (CUDA norms before llama.cpp's pull request 11659)."""
    if x.ndim != 2 or x.flags.c_contiguous or x.strides[-1] != x.itemsize or not isinstance(x.base, np.ndarray):
        return x
    return np.nan_to_num(np.resize(x.base.ravel(), x.shape))


for norm, misread in (("batch_norm", _channels_last_from_the_start), ("rms_norm", _without_row_stride)):
    plant("layout", norm, misread.__name__.strip("_").replace("_", " "), lambda norm=norm, misread=misread: wrapped(
        norm, lambda f, x, *a, **k: f(misread(x), *a, **k)), "layout.y")  # fmt: skip


def _strided_statistics(f, x, gamma, beta, mean, var, **k):
    def packed(a: Any) -> Any:
        strided = a is not None and not a.flags.c_contiguous and isinstance(a.base, np.ndarray)
        return np.nan_to_num(np.resize(a.base, a.shape)) if strided else a

    return f(x, gamma, beta, *((mean, var) if k["training"] else (packed(mean), packed(var))), **k)


plant("layout", "batch_norm", "running statistics assumed contiguous in evaluation", lambda: wrapped(
    "batch_norm", _strided_statistics), "layout.y")  # fmt: skip


def _instead(special: float, other: float) -> Any:
    def momentum(old: Any, new: Any, m: Any) -> Any:
        weight = old.dtype.type(other) if m == special else m
        return (1 - weight) * old + weight * new

    return momentum


for special, other in ((0.0, 0.1), (1.0, 0.5)):
    plant(
        "state", "batch_norm", f"momentum {special:g} taken for none", having(momentum=_instead(special, other)),
        "state.running",
    )  # fmt: skip
