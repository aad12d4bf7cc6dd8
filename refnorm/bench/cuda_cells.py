"""One cell's inputs on the GPU, and each implementation as calls on the k-th set of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS

from .cuda import Cell, Prepared, said

DEVICE = "cuda"
Pair = tuple[Callable[[int], Any], Callable[[int], Any]]
"""Forward and backward."""


def tensors(cell: Cell, sets: int) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """x and dy, `sets` of each, and the parameters: random, never zeros, on which a copy can be faster."""
    import torch

    made: Any = {"device": DEVICE, "dtype": getattr(torch, cell.dtype)}
    torch.manual_seed(0)
    x, dy = ([torch.randn(cell.shape, **made) for _ in range(sets)] for _ in range(2))
    method = NORMS[cell.method]
    shapes = method.shapes(**method.resolve(np.broadcast_to(np.float32(0), cell.shape), **cell.options)[0])
    return x, dy, {name: torch.randn(shape, **made) for name, shape in shapes.items()}


def copy_of(cell: Cell, sets: int) -> Callable[[int], Any]:
    import torch

    x = [torch.randn(cell.shape, device=DEVICE, dtype=getattr(torch, cell.dtype)) for _ in range(sets)]
    y = torch.empty_like(x[0])
    return lambda k: y.copy_(x[k])


def prepared(cell: Cell, sets: int, compiled: bool) -> Prepared:
    """Ours and the peers' calls; a peer that cannot be made is not there, and says why."""
    x, dy, parameters = tensors(cell, sets)
    ready = ours(cell, x, dy, parameters)
    for who, make in peers(cell, x, dy, parameters, compiled).items():
        try:
            forward, backward = make()
            forward(0), backward(0)
        except Exception as error:                   # not ours: of a compiler, of a version, of memory
            ready.failed[who] = said(error)
            continue
        ready.calls["forward"][who], ready.calls["backward"][who] = forward, backward
    return ready


def ours(cell: Cell, x: list[Any], dy: list[Any], parameters: dict[str, Any]) -> Prepared:
    from refnorm.kernels.cuda import adopt, contract, families, traffic

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
    size, form = works[0].x.dtype.itemsize, works[0].form
    calls: Any = {
        "forward": {
            "ours": lambda k: families.forward(works[k], statistics[k], y),
            "call": lambda k: method.forward(x[k], **parameters, **cell.options, backend="cuda"),
        },
        "backward": {
            "ours": lambda k: families.backward(works[k], made[k][0], statistics[k], y, *made[k][1]),
            "call": lambda k: method.backward(dy[k], caches[k], backend="cuda"),
        },
    }
    moved = {direction: traffic.traffic(form, 16 // size, direction == "backward").moved for direction in calls}
    return Prepared(calls, moved, {})


def peers(
    cell: Cell, x: list[Any], dy: list[Any], parameters: dict[str, Any], compiled: bool
) -> dict[str, Callable[[], Pair]]:
    """PyTorch eager and compiled, and Liger's kernels where installed; channels last as PyTorch has it, seen as (N, C, ...)."""
    if cell.options.get("channel_axis") == -1:
        x, dy = ([a.movedim(-1, 1) for a in list_] for list_ in (x, dy))
    function, liger = functional(cell, tuple(x[0].shape)), ligers(cell)
    found = {"torch": lambda: differentiated(function, x, dy, parameters)}
    if compiled:
        found["compiled"] = lambda: differentiated(compile_afresh(function), x, dy, parameters)
    if liger is not None:                            # which writes dx over dy
        found["liger"] = lambda: differentiated(liger, x, [a.clone() for a in dy], parameters)
    return found


def compile_afresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """By torch.compile, which after eight shapes of one text would run it eagerly."""
    import torch

    dynamo: Any = torch._dynamo
    dynamo.reset()
    return torch.compile(function, dynamic=False)


def functional(cell: Cell, shape: tuple[int, ...]) -> Callable[..., Any]:
    """PyTorch's own function of (x, gamma, beta), of x (N, C, *spatial) or (rows, n)."""
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


def on_host(cell: Cell, shape: tuple[int, ...]) -> Callable[..., Any]:
    """PyTorch eager on NumPy's arrays, for accuracy."""
    import torch

    last = cell.options.get("channel_axis") == -1

    def forward(*arrays: Any) -> Any:
        given: list[Any] = [torch.from_numpy(a).to(DEVICE) for a in arrays]
        x, g, b = (*given, None)[:3]
        x = x.movedim(-1, 1) if last else x
        y = functional(cell, tuple(x.shape))(x, g, b)
        return (y.movedim(1, -1) if last else y).cpu().numpy()

    return forward


def differentiated(function: Callable[..., Any], x: list[Any], dy: list[Any], parameters: dict[str, Any]) -> Pair:
    """Forward, and autograd's backward, on the k-th inputs."""
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


def ligers(cell: Cell) -> Callable[..., Any] | None:
    """Liger's function of (x, gamma, beta), where it is installed and has one."""
    try:
        from liger_kernel.transformers import functional as liger  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    offered: dict[str, Callable[..., Any]] = {
        "layer_norm": lambda a, g, b: liger.liger_layer_norm(a, g, b, 1e-5),
        "rms_norm": lambda a, g, b: liger.liger_rms_norm(a, g, 1e-6),
    }
    return offered.get(cell.method)
