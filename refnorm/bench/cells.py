"""What is measured: operations and shapes, and each as calls without arguments, ours and PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS

from . import whitening

Calls = dict[str, Callable[[], Any]]
ROWS = ((4, 16), (64, 768), (4096, 768), (8192, 4096), (100_000, 64))
WHITENED = ((1024, 64), (1024, 256), (16384, 64), (16384, 256))
WHITENINGS = {
    "whitening, Cholesky": "batch_whitening_cholesky", "whitening, Newton": "iterative_norm",
    "whitening, ZCA": "batch_whitening_zca",
}  # fmt: skip
IMAGES = ((128, 64, 32, 32), (32, 256, 14, 14))


@dataclass(frozen=True)
class Cell:
    """One operation on one shape, float32."""

    op: str
    method: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def cells() -> Iterator[Cell]:
    yield from (Cell("layer norm", "layer_norm", shape) for shape in ROWS)
    yield from (Cell("rms norm", "rms_norm", shape) for shape in ROWS)
    yield from (Cell("batch norm", "batch_norm", shape) for shape in IMAGES)
    yield from (Cell("batch norm NHWC", "batch_norm", (n, h, w, c), {"channel_axis": -1}) for n, c, h, w in IMAGES)
    yield Cell("batch norm (N, C)", "batch_norm", (8192, 512))
    yield from (Cell("group norm 32", "group_norm", shape, {"num_groups": 32}) for shape in IMAGES)
    yield from (Cell("instance norm", "instance_norm", shape) for shape in IMAGES)
    yield from (Cell(op, method, shape) for op, method in WHITENINGS.items() for shape in WHITENED)


@dataclass(frozen=True)
class Arrays:
    """The inputs of one cell, drawn once, shared by all that run."""

    x: np.ndarray
    dy: np.ndarray
    parameters: Mapping[str, np.ndarray]


def arrays(cell: Cell) -> Arrays:
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(cell.shape, np.float32) for _ in range(2))
    method = NORMS[cell.method]
    shapes = method.shapes(**method.resolve(x, **cell.options)[0])
    return Arrays(x, dy, {name: rng.standard_normal(s, np.float32) for name, s in shapes.items()})


def ours(cell: Cell, a: Arrays) -> dict[str, Calls]:
    """Of the numba backend: the kernel into arrays that are there, into fresh ones, and the public call."""
    if cell.method in WHITENINGS.values():
        return whitening.ours(cell.method, a.x, a.dy, a.parameters)
    from refnorm.kernels.cpu import contract
    from refnorm.kernels.cpu.jit import run
    from refnorm.kernels.cpu.storage import as_stored

    from .copying import copy

    method = NORMS[cell.method]
    arguments, _ = method.resolve(a.x, **a.parameters, **cell.options)
    w = contract.work(method, arguments, a.x)
    x, dy = w.form.read(a.x), w.form.read(a.dy)
    y, dx = w.form.empty(a.x.dtype), w.form.empty(a.x.dtype)
    b, d, _ = w.plan.call.part.blocks
    given, sums = np.empty((3, b * d)), (np.empty(contract.sums_shape(w)), np.empty(contract.sums_shape(w)))
    contract.fill_forward(w, as_stored(x), y, given)
    _, cache, *_ = method.forward(a.x, **a.parameters, **cell.options, backend="numba")
    return {
        "forward": {
            "preallocated": lambda: contract.fill_forward(w, x, y, given),
            "fresh": lambda: contract.fill_forward(w, x, w.form.empty(a.x.dtype), given),
            "call": lambda: method.forward(a.x, **a.parameters, **cell.options, backend="numba"),
            "copy": lambda: run(copy, 2 * x.nbytes, x.reshape(-1), y.reshape(-1)),
        },
        "backward": {
            "preallocated": lambda: contract.fill_backward(w, dy, x, given, dx, *sums),
            "fresh": lambda: contract.fill_backward(w, dy, x, given, w.form.empty(a.x.dtype), *sums),
            "call": lambda: method.backward(a.dy, cache, backend="numba"),
        },
    }


def torchs(cell: Cell, a: Arrays) -> dict[str, Callable[[], Any]]:
    """PyTorch's functional forward, and the aten operator that its autograd calls for the backward."""
    if cell.method in WHITENINGS.values():
        return whitening.torchs(cell.method, a.x, a.dy, a.parameters)
    import torch

    aten: Any = torch.ops.aten
    last = cell.options.get("channel_axis") == -1
    x, dy = (torch.from_numpy(np.moveaxis(v, -1, 1) if last else v) for v in (a.x, a.dy))
    g: Any = torch.from_numpy(a.parameters["gamma"])
    b: Any = torch.from_numpy(a.parameters["beta"]) if "beta" in a.parameters else None
    n, c = x.shape[:2]
    all_three = [True, True, True]
    if cell.method == "layer_norm":
        size = list(x.shape[1:])
        _, mean, rstd = aten.native_layer_norm(x, size, g, b, 1e-5)
        return {
            "forward": lambda: torch.nn.functional.layer_norm(x, size, g, b),
            "backward": lambda: aten.native_layer_norm_backward(dy, x, size, mean, rstd, g, b, all_three),
        }
    if cell.method == "rms_norm":
        size = list(x.shape[1:])
        leaves = x.clone().requires_grad_(), g.clone().requires_grad_()
        y = torch.nn.functional.rms_norm(leaves[0], size, leaves[1])
        return {
            "forward": lambda: torch.nn.functional.rms_norm(x, size, g),
            "backward": lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True),
        }
    if cell.method == "batch_norm":
        mean, var = torch.zeros(c), torch.ones(c)
        _, m, r = aten.native_batch_norm(x, g, b, mean, var, True, 0.1, 1e-5)
        return {
            "forward": lambda: torch.nn.functional.batch_norm(x, mean, var, g, b, True),
            "backward": lambda: aten.native_batch_norm_backward(dy, x, g, mean, var, m, r, True, 1e-5, all_three),
        }
    area, groups = x.shape[2:].numel(), cell.options.get("num_groups", c)
    if cell.method == "group_norm":
        _, m, r = aten.native_group_norm(x, g, b, n, c, area, groups, 1e-5)
        return {
            "forward": lambda: torch.nn.functional.group_norm(x, groups, g, b),
            "backward": lambda: aten.native_group_norm_backward(dy, x, m, r, g, n, c, area, groups, all_three),
        }
    one, dy_one, g_one = x.reshape(1, n * c, *x.shape[2:]), dy.reshape(1, n * c, *x.shape[2:]), g.repeat(n)
    _, m, r = aten.native_batch_norm(one, g_one, b.repeat(n), None, None, True, 0.1, 1e-5)
    return {
        "forward": lambda: torch.nn.functional.instance_norm(x, weight=g, bias=b),
        "backward": lambda: aten.native_batch_norm_backward(
            dy_one, one, g_one, None, None, m, r, True, 1e-5, all_three
        ),
    }
