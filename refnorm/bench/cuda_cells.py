"""One cell's inputs on the GPU, and each implementation as calls on the k-th set of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS

from .cuda import Calls, Cell


def tensors(cell: Cell, sets: int) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """x and dy, `sets` of each, and the parameters: random, never zeros, on which a copy can be faster."""
    import torch

    made: Any = {"device": "cuda", "dtype": getattr(torch, cell.dtype)}
    torch.manual_seed(0)
    x, dy = ([torch.randn(cell.shape, **made) for _ in range(sets)] for _ in range(2))
    method = NORMS[cell.method]
    shapes = method.shapes(**method.resolve(np.broadcast_to(np.float32(0), cell.shape), **cell.options)[0])
    return x, dy, {name: torch.randn(shape, **made) for name, shape in shapes.items()}


def copy_of(cell: Cell, sets: int) -> Callable[[int], Any]:
    import torch

    x = [torch.randn(cell.shape, device="cuda", dtype=getattr(torch, cell.dtype)) for _ in range(sets)]
    y = torch.empty_like(x[0])
    return lambda k: y.copy_(x[k])


def calls_of(cell: Cell, sets: int) -> dict[str, Calls]:
    """By direction and by who computes."""
    x, dy, parameters = tensors(cell, sets)
    found = ours(cell, x, dy, parameters)
    for who, (forward, backward) in {**torchs(cell, x, dy, parameters), **ligers(cell, x, dy, parameters)}.items():
        found["forward"][who], found["backward"][who] = forward, backward
    return found


def ours(cell: Cell, x: list[Any], dy: list[Any], parameters: dict[str, Any]) -> dict[str, Calls]:
    from refnorm.kernels.cuda import adopt, contract, families

    method = NORMS[cell.method]
    works, made = [], []
    for a, d in zip(x, dy, strict=True):
        arguments, _ = method.resolve(a, **parameters, **cell.options, backend="cuda")
        w = contract.work(method, arguments, arguments["x"])
        works.append(w)
        gradients = [w.empty((max(1, math.prod(p.shape)),), p.dtype) if p.given else None for p in (w.gamma, w.beta)]
        made.append((w.read(adopt(d, "dy")), gradients))
    y = works[0].empty(works[0].form.shape, works[0].x.dtype)
    statistics = [w.empty((3, w.statistics)) for w in works]
    for w, s in zip(works, statistics, strict=True):
        families.forward(w, s, y)
    caches = [method.forward(a, **parameters, **cell.options, backend="cuda")[1] for a in x]
    return {
        "forward": {
            "ours": lambda k: families.forward(works[k], statistics[k], y),
            "call": lambda k: method.forward(x[k], **parameters, **cell.options, backend="cuda"),
        },
        "backward": {
            "ours": lambda k: families.backward(works[k], made[k][0], statistics[k], y, *made[k][1]),
            "call": lambda k: method.backward(dy[k], caches[k], backend="cuda"),
        },
    }


def functional(cell: Cell, shape: tuple[int, ...]) -> Callable[..., Any]:
    """PyTorch's own function of (x, gamma, beta)."""
    import torch.nn.functional as f

    size, groups = list(shape[1:]), cell.options.get("num_groups", 1)
    of_method: dict[str, Callable[..., Any]] = {
        "layer_norm": lambda x, g, b: f.layer_norm(x, size, g, b),
        "rms_norm": lambda x, g, b: f.rms_norm(x, size, g),
        "batch_norm": lambda x, g, b: f.batch_norm(x, None, None, g, b, True),
        "group_norm": lambda x, g, b: f.group_norm(x, groups, g, b),
        "instance_norm": lambda x, g, b: f.instance_norm(x, weight=g, bias=b),
    }
    return of_method[cell.method]


def torchs(cell: Cell, x: list[Any], dy: list[Any], parameters: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """eager and compiled, forward and autograd's backward; channels last as PyTorch has it, a view (N, C, H, W)."""
    import torch

    if cell.options.get("channel_axis") == -1:
        x, dy = ([a.movedim(-1, 1) for a in list_] for list_ in (x, dy))
    function = functional(cell, tuple(x[0].shape))
    return {
        "torch": differentiated(function, x, dy, parameters),
        "compiled": differentiated(torch.compile(function), x, dy, parameters),
    }


def differentiated(function: Callable[..., Any], x: list[Any], dy: list[Any], parameters: dict[str, Any]) -> tuple[Any, Any]:
    """(forward, backward) on the k-th inputs."""
    import torch

    plain = [parameters.get("gamma"), parameters.get("beta")]
    leaves = [None if p is None else p.clone().requires_grad_() for p in plain]
    inputs = [a.detach().requires_grad_() for a in x]
    outputs = [function(a, *leaves) for a in inputs]
    given = [leaf for leaf in leaves if leaf is not None]
    return (
        lambda k: function(x[k], *plain),
        lambda k: torch.autograd.grad(outputs[k], (inputs[k], *given), dy[k], retain_graph=True),
    )


def ligers(cell: Cell, x: list[Any], dy: list[Any], parameters: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Liger's Triton kernels, where installed."""
    try:
        from liger_kernel.transformers import functional as liger  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return {}
    offered: dict[str, Callable[..., Any]] = {
        "layer_norm": lambda a, g, b: liger.liger_layer_norm(a, g, b, 1e-5),
        "rms_norm": lambda a, g, b: liger.liger_rms_norm(a, g, 1e-6),
    }
    if cell.method not in offered:
        return {}
    return {"liger": differentiated(offered[cell.method], x, dy, parameters)}
