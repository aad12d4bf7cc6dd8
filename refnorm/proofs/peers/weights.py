"""PyTorch's operations on weights, called as refnorm's are: (F, *tensors, **options) -> y or (y, state arrays)."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def rows_of(w: Any, dim: Any) -> tuple[int, ...]:
    """The axes that a row runs along."""
    return tuple(a for a in range(w.dim()) if dim is None or a != dim % w.dim())


def along(g: Any, w: Any, dim: Any) -> Any:
    """One number a row, viewed so that it broadcasts against w."""
    return g if dim is None else g.reshape([-1 if a == dim % w.dim() else 1 for a in range(w.dim())])


def weight_norm(F: Any, v: Any, g: Any, *, dim: Any, eps: float, **_: Any) -> Any:
    import torch

    if eps == 0:                                  # PyTorch's -1 is its None
        return torch._weight_norm(v, along(g, v, dim), -1 if dim is None else dim % v.dim())
    return v * along(g, v, dim) * torch.rsqrt(v.square().sum(rows_of(v, dim), keepdim=True) + eps)


def centered_weight_norm(F: Any, v: Any, g: Any, *, dim: Any, eps: float, **_: Any) -> Any:
    return weight_norm(F, v - v.mean(rows_of(v, dim), keepdim=True), g, dim=dim, eps=eps)


def weight_standardization(F: Any, w: Any, *, dim: Any, eps: float, dialect: Any, **_: Any) -> Any:
    axes = rows_of(w, dim)
    if dialect.conventions["spread"] == "outside":
        centred = w - w.mean(axes, keepdim=True)
        return centred / (w.std(axes, keepdim=True) + eps)
    rows = w.movedim(dim, 0)
    y = F.batch_norm(rows.reshape(1, len(rows), -1), None, None, training=True, eps=eps)        # as timm has it
    return y.reshape(rows.shape).movedim(0, dim)


def scaled_weight_standardization(
    F: Any, w: Any, g: Any, *, gain: Any, dim: Any, eps: float, dialect: Any, **_: Any
) -> Any:
    import torch

    gain = dialect.conventions["gains"](gain) if isinstance(gain, str) else gain
    axes, n = rows_of(w, dim), w.numel() // len(g)
    if eps > 0 and dialect.conventions["spread"] == "inside":                                   # as timm has it
        rows = w.movedim(dim, 0)
        y = F.batch_norm(rows.reshape(1, len(rows), -1), None, None, gain * g * n**-0.5, training=True, eps=eps)
        return y.reshape(rows.shape).movedim(0, dim)
    var = w.var(axes, unbiased=False, keepdim=True)
    scale = torch.rsqrt(torch.clamp(var * n, min=eps)) * gain * along(g, w, dim)                # as NFNet has it
    return w * scale - w.mean(axes, keepdim=True) * scale


def sphere_retraction(F: Any, w: Any, t: Any, *, step: float, dim: Any, **_: Any) -> Any:
    p = w - step * t
    rows = w.reshape(1, -1) if dim is None else w.movedim(dim, 0).flatten(1)
    moved = p.reshape(1, -1) if dim is None else p.movedim(dim, 0).flatten(1)
    y = F.normalize(moved, dim=1) * rows.norm(dim=1, keepdim=True)
    return y.reshape(w.shape) if dim is None else y.reshape(p.movedim(dim, 0).shape).movedim(0, dim)


def tangent_projection(F: Any, g: Any, w: Any, *, dim: Any, **_: Any) -> Any:
    n = F.normalize(w.flatten(), dim=0).reshape(w.shape) if dim is None else w / w.norm(dim=rows_of(w, dim), keepdim=True)
    return g - n * (n * g).sum(rows_of(w, dim), keepdim=True)


def spectral_norm(
    F: Any, w: Any, *, u: Any, v: Any, n_power_iterations: int, eps: float, training: bool, dim: int, dialect: Any, **_: Any
) -> tuple:
    import torch
    from torch.nn.utils import parametrizations
    from torch.nn.utils.spectral_norm import SpectralNorm

    left, right = torch.tensor(u), torch.tensor(v)
    if dialect.conventions["first"] == "v":
        module: Any = SimpleNamespace(weight_orig=w, weight_u=left, weight_v=right)
        y = SpectralNorm("weight", n_power_iterations, dim, eps).compute_weight(module, training)
        return y, (left.numpy(), right.numpy())
    norm = parametrizations._SpectralNorm(w.detach(), n_power_iterations, dim, eps).train(training)
    norm._u, norm._v = left, right
    return norm(w), (norm._u.numpy(), norm._v.numpy())


def conv_spectral_norm(F: Any, w: Any, *, spatial: tuple[int, ...], **_: Any) -> Any:
    import torch

    axes = tuple(range(2, w.dim()))
    transfer = torch.fft.fftn(w, spatial, axes) if axes else w
    return w / torch.linalg.svdvals(transfer.movedim((0, 1), (-2, -1))).max()


def conv_norm(
    F: Any,
    x: Any,
    w: Any,
    *,
    state: Any,
    training: bool,
    momentum: Any,
    eps: float,
    padding: int,
    stride: int,
    dialect: Any,
    **_: Any,
) -> tuple:
    """As the authors have it: PyTorch's convolution with zeros around it, here also with the grid wrapped around it."""
    import torch

    axes, kernel = tuple(range(2, x.dim())), w.shape[2:]
    if dialect.conventions["circular"]:
        around, size = [n for k in reversed(kernel) for n in (0, k - 1)], x.shape[2:]
        full = (F.conv1d, F.conv2d)[len(kernel) - 1](F.pad(x, around, mode="circular"), w)
    else:
        full = (F.conv1d, F.conv2d)[len(kernel) - 1](x, w, padding=tuple(k - 1 for k in kernel))
        size = full.shape[2:]
    batch = torch.fft.rfftn(w.detach(), size, axes).abs().square().sum(1).add(eps).rsqrt()
    count, old = (0, torch.zeros(())) if state is None else (state.count, torch.tensor(state.preconditioner))
    new = max((math.cos(math.pi * min(count + 1, 40000) / 40000) + 1) / 2, 0.01) if momentum is None else momentum
    running = new * batch + (1 - new) * old if training else old
    y = torch.fft.irfftn(torch.fft.rfftn(full, dim=axes) * (batch if training else running), size, axes)
    for axis, k in zip(axes, kernel, strict=True):
        cut = 0 if dialect.conventions["circular"] else k - 1 - padding
        y = y.narrow(axis, cut, y.shape[axis] - 2 * cut)
        y = y.index_select(axis, torch.arange(0, y.shape[axis], stride))
    return y, (running.numpy(),)


def cayley(F: Any, v: Any, g: Any, *, num_groups: int, gain: float, dialect: Any, **_: Any) -> Any:
    import torch
    from torch.nn.utils import parametrizations

    def blocks(x: Any) -> Any:                                                                  # as the authors have it
        if len(x) < x.shape[1]:
            return blocks(x.T).T
        k = x.shape[1]
        eye = torch.eye(k, dtype=x.dtype)
        a = x[:k] - x[:k].T + x[k:].T @ x[k:]
        return torch.cat([torch.linalg.solve(eye + a, eye - a), -2 * x[k:] @ torch.linalg.inv(eye + a)])

    def triangle(x: Any) -> Any:
        return parametrizations._Orthogonal(x, parametrizations._OrthMaps.cayley, use_trivialization=False)(x)

    of_matrix = triangle if dialect.conventions["form"] == "triangle" else blocks
    found = torch.cat([of_matrix(x.flatten(1)) for x in v.chunk(num_groups)])
    return found.reshape(v.shape) * gain * along(g, v, 0)


TORCH: dict[str, Callable[..., Any]] = {
    "conv_norm": conv_norm,
    "conv_spectral_norm": conv_spectral_norm,
    "cayley": cayley,
    "spectral_norm": spectral_norm,
    "gradient_centralization": lambda F, g, *, dim, **_: g - g.mean(rows_of(g, dim), keepdim=True),
    "tangent_projection": tangent_projection,
    "sphere_retraction": sphere_retraction,
    "weight_norm": weight_norm,
    "centered_weight_norm": centered_weight_norm,
    "weight_standardization": weight_standardization,
    "scaled_weight_standardization": scaled_weight_standardization,
}
