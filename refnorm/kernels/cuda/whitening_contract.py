"""Whitening's contract: from a method's arguments to whitening.py's kernels, and from their sums to what the method returns.

As kernels/cpu/whitening_contract.py, whose formulas these are: with the recovery R, a matrix (diag(gamma), or a coloring's
gamma), and P = sum dy zc', s = sum dy,

    forward     y  = R W (x - mu) + beta
    backward    dx = W' R' dy + 2/M Sbar (x - mu) - W' R' s/M       Sbar = dL/dS of Q = R' P in the place of g zc'
                dR = P W'                                           for gamma its diagonal

What is done to D x D matrices (roots, factors and their gradients) is done on the host, by the CPU kernels' functions: the
call waits for a covariance, and `saved` and the state are NumPy's, whosever x is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.method import NORMS, Cache, Method
from refnorm.anatomy.norm import Call, Norm
from refnorm.anatomy.precision import wide
from refnorm.anatomy.recovery import Affine, Coloring
from refnorm.kernels.cpu import whitening_factors
from refnorm.kernels.cpu.lie import Lie, lie_of

from .arrays import Host, Library, Span, adopt, c_strides, on_device
from .contract import device_of, in_order
from .device import current, launch, ready
from .launch import ceil

THREADS = 256
LENGTH = 4096
"""Samples of one part of a product."""


@dataclass(frozen=True)
class Work:
    """One call in the kernels' terms."""

    method: Method
    call: Call
    lie: Lie
    library: Library
    x: Span

    def parameter(self, name: str) -> np.ndarray | None:
        """In float64, on the host."""
        given = dict(zip(self.method.triple.recovery.parameters, self.call.parameters, strict=True))[name]
        return None if given is None else wide(np.asarray(given))

    @property
    def color(self) -> np.ndarray:
        """R (B, D, D)."""
        b, d, _ = self.call.part.blocks
        gamma = self.parameter("gamma")
        if gamma is None:
            return np.broadcast_to(np.eye(d), (b, d, d))
        return gamma if isinstance(self.method.triple.recovery, Coloring) else gamma.reshape(b, d, 1) * np.eye(d)

    def flat(self, values: Any) -> Any:
        """float64 numbers as a kernel takes them."""
        return on_device(np.ascontiguousarray(values, np.float64).reshape(-1), self.library, "").flat()

    def start(self, kernel: Any, grid: tuple[int, int], threads: tuple[int, int], *arguments: Any) -> None:
        launch(kernel, grid, threads, self.library, *arguments)


def has_kernels(method: Method) -> bool:
    """A whitening whose recovery runs along its coordinates."""
    triple = method.triple
    if not isinstance(triple, Norm) or triple.operation.name not in whitening_factors.FROM_COVARIANCE:
        return False
    return isinstance(triple.recovery, Coloring) or (triple.recovery == Affine("c") and triple.area == Coloring.area)


def work(method: Method, arguments: Mapping[str, Any], x: Any) -> Work:
    """A call, checked by the reference, and laid out.  Raises NoKernel for what there is no kernel for."""
    triple, zero = method.triple, np.zeros((), x.dtype)
    call = triple.call(**{**arguments, triple.x: np.broadcast_to(zero, x.shape)})
    if call.weighted:
        raise NoKernel(f"backend 'cuda' has no kernel for {method.name} with masked statistics; backend='numpy' has it")
    ready()
    library = x.library if isinstance(x, Span) else Host()
    span = on_device(x, library, triple.x)
    lie = lie_of(as_strided(zero, span.shape, tuple(s * zero.itemsize for s in span.strides)), call.part)
    if lie.part is not None:
        raise NoKernel(f"backend 'cuda' has no kernel for {method.name} in this order of memory; backend='numpy' has it")
    return Work(method, call, lie, library, in_order(span, lie.order))


def forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    """y, saved; and the new state where there is a population."""
    triple, x = method.triple, arguments[method.triple.x]
    with current(device_of(x)):
        w = work(method, arguments, x)
        saved = statistics(w, arguments)
        b, d, _ = w.call.part.blocks
        beta = w.parameter("beta")
        y = w.library.empty(w.lie.lengths, np.dtype(x.dtype))
        apply(w, w.x, saved.mean, w.color @ saved.matrix, np.zeros((b, d)) if beta is None else beta, y)
        out = written(w, y).given_back()
    return (out, saved, triple._updated(saved, w.call, arguments)) if triple.state is not None else (out, saved)


def statistics(w: Work, arguments: Mapping[str, Any]) -> Any:
    """What the operation saves, of the batch or of the state; every error of the reference is raised here."""
    triple = w.method.triple
    factors = whitening_factors.FROM_COVARIANCE[triple.operation.name]

    def of_batch(z: Any, **options: Any) -> tuple:
        b, d, m = w.call.part.blocks
        mean = w.library.empty((b * d,), np.dtype(np.float64))
        if w.x.size:
            from . import whitening

            w.start(whitening.means, (b * d, 1), (THREADS, 1), w.x.flat(), w.lie.numbers, mean.flat())
        found = products(w, w.x, mean.flat(), mean.flat()) / m
        return None, factors(w.library.to_host(mean).reshape(b, d, 1), found, **options)

    nothing: Callable[..., Any] = lambda z, saved: None  # noqa: E731
    operation = replace(triple.operation, forward=of_batch, apply=nothing)
    if operation.condition is not None:
        operation = replace(operation, condition=partial(whitening_factors.condition, operation.condition))
    triple = replace(triple, operation=operation)
    with np.errstate(all="ignore"):
        return (triple._operated if operation.condition is None else triple._inverted)(w.call, arguments)[1]


def products(w: Work, dy: Span, centre: Any, mean: Any) -> np.ndarray:
    """sum (dy - centre) (x - mean)', (B, D, D), on the host."""
    b, d, m = w.call.part.blocks
    total = w.library.empty((b, d, d), np.dtype(np.float64))
    if not w.x.size:
        return np.zeros((b, d, d))
    from . import whitening

    chunks, tiles, count = ceil(m, LENGTH), ceil(d, whitening.TILE), b * d * d
    parts = w.library.empty((chunks, count), np.dtype(np.float64)).flat().reshape(chunks, count)
    square = (whitening.TILE, whitening.TILE)
    given = (dy.flat(), w.x.flat(), w.lie.numbers, centre, mean, LENGTH, parts)
    w.start(whitening.products, (chunks * b, tiles * tiles), square, *given)
    w.start(whitening.add_chunks, (ceil(count, THREADS), 1), (THREADS, 1), parts, chunks, count, total.flat())
    return w.library.to_host(total)


def apply(
    w: Work, x: Span, mean: Any, matrix: Any, shift: Any, y: Span, dy: Span | None = None, direct: Any = None
) -> None:
    """y = matrix (x - mean) + shift, and + direct dy."""
    b, d, m = w.call.part.blocks
    if not y.size:
        return
    from . import whitening

    tile = whitening.TILE
    matrix = w.flat(matrix)
    first = (x.flat(), matrix, False) if dy is None else (dy.flat(), w.flat(direct), True)
    given = (*first, x.flat(), w.lie.numbers, w.flat(mean), matrix, True, w.flat(shift), y.flat())
    w.start(whitening.apply, (ceil(m, tile), b * ceil(d, tile)), (tile, tile), *given)


def written(w: Work, y: Span) -> Span:
    """In the order of the kernels, as the caller sees it; a view."""
    strides = dict(zip(w.lie.order, c_strides(w.lie.lengths), strict=True))
    shape = w.call.layout.shape
    return y.seen(shape, tuple(strides[a] for a in range(len(shape))))


def backward(method: Method, dy: Any, cache: Cache) -> tuple:
    """One gradient per array, in the arrays' dtypes; None for one that was not given."""
    x, saved = adopt(cache.arguments[method.triple.x], "x"), cache.saved
    if np.dtype(dy.dtype) != np.dtype(x.dtype):
        raise NoKernel(f"backend 'cuda' has no kernel for dy of {dy.dtype} beside x of {x.dtype}; backend='numpy' has it")
    with current(device_of(x)):
        w = work(method, cache.arguments, x)
        b, d, m = w.call.part.blocks
        given = in_order(on_device(dy, w.library, "dy"), w.lie.order)
        color, training = w.color, cache.arguments.get("training", True)
        p = products(w, given, w.flat(np.zeros((b, d))), w.flat(saved.mean))
        sums = total(w, given)
        direct = np.swapaxes(color @ saved.matrix, 1, 2)
        dx = w.library.empty(w.lie.lengths, np.dtype(x.dtype))
        if training:
            q = np.swapaxes(color, 1, 2) @ p
            with np.errstate(all="ignore"):
                gradient = whitening_factors.COVARIANCE_GRADIENT[method.triple.operation.name](q, saved, **w.call.options)
            shift = -(direct @ sums[:, :, None])[:, :, 0] / m
            apply(w, w.x, saved.mean, 2 / m * gradient, shift, dx, given, direct)
        else:
            apply(w, given, np.zeros((b, d)), direct, np.zeros((b, d)), dx)
        full = p @ np.swapaxes(saved.matrix, 1, 2)
        along = full if isinstance(method.triple.recovery, Coloring) else np.diagonal(full, axis1=1, axis2=2)
        gradients = [_given_back(w, g, a) for g, a in zip((along, sums), w.call.parameters, strict=True)]
        return written(w, dx).given_back(), *gradients


def total(w: Work, dy: Span) -> np.ndarray:
    """sum dy, (B, D), on the host."""
    b, d, m = w.call.part.blocks
    mean = w.library.empty((b, d), np.dtype(np.float64))
    if not dy.size:
        return np.zeros((b, d))
    from . import whitening

    w.start(whitening.means, (b * d, 1), (THREADS, 1), dy.flat(), w.lie.numbers, mean.flat())
    return w.library.to_host(mean) * m


def _given_back(w: Work, gradient: np.ndarray, parameter: Any) -> Any:
    """In the parameter's shape and type, in the caller's library."""
    from refnorm.anatomy.precision import narrow

    if parameter is None:
        return None
    host = narrow(gradient.reshape(parameter.shape), np.dtype(parameter.dtype))
    if isinstance(w.library, Host):
        return host
    out = w.library.empty(tuple(parameter.shape), host.dtype)
    flat = out.flat()
    flat.copy_to_device(np.ascontiguousarray(host).view(flat.dtype).reshape(-1), stream=w.library.stream())
    return out.given_back()


def methods() -> dict[str, tuple[Callable, Callable]]:
    return {name: (partial(forward, m), partial(backward, m)) for name, m in NORMS.items() if has_kernels(m)}
