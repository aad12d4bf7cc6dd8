"""One whitening in the kernels' terms: where its entries and its parameters lie, and the launches of whitening.py's kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.method import Method
from refnorm.anatomy.norm import Call, Norm
from refnorm.anatomy.recovery import Coloring
from refnorm.kernels.cpu.lie import Lie, lie_of

from .arrays import Host, Library, Span, c_strides
from .device import launch, ready
from .gather import contiguous, gathered, in_order
from .launch import WARP, Grid, block_each, ceil, thread_each
from .libraries import on_device
from .whitening_factors import FLOAT64, Matrices, tiles

THREADS = 1024
"""Of a block that adds up a coordinate's samples."""
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
    where: tuple[int, int, int, int]              # of parameters, as in whitening.py
    gamma: Span | None
    beta: Span | None
    on: Matrices

    @property
    def coloring(self) -> bool:
        return isinstance(self.method.triple.recovery, Coloring)

    @property
    def slope(self) -> tuple[Any, bool]:
        """gamma as samples are scaled by it, and is it given."""
        return self._flat(None if self.coloring else self.gamma)

    @property
    def shift(self) -> tuple[Any, bool]:
        return self._flat(self.beta)

    def _flat(self, parameter: Span | None) -> tuple[Any, bool]:
        return (self.x if parameter is None else parameter).flat(), parameter is not None

    def colored(self, matrix: Span, turned: bool = False) -> Span:
        """R matrix of a coloring, R' matrix where turned; others scale samples, and their matrices are as they are."""
        if not self.coloring or self.gamma is None:
            return matrix
        return self.on.multiply(self.cast(self.gamma, self.on.empty()), matrix, (turned, False))

    def read(self, a: Span) -> Span:
        """Another array of x's shape in the order of the kernels."""
        return in_order(a, self.lie.order)

    def write(self, y: Span) -> Span:
        """In the order of the kernels, as the caller sees it; a view."""
        strides = dict(zip(self.lie.order, c_strides(self.lie.lengths), strict=True))
        shape = self.call.layout.shape
        return y.seen(shape, tuple(strides[a] for a in range(len(shape))))

    def empty(self, *shape: int) -> Span:
        return self.library.empty(shape, FLOAT64)

    def start(self, kernel: Any, grid: Grid, *arguments: Any) -> None:
        launch(kernel, grid, self.library, *arguments)

    def cast(self, span: Span, out: Span) -> Span:
        """The same numbers in the type of `out`."""
        from .small import cast

        launch(cast, thread_each(span.size), self.library, span.flat(), span.size, out.flat())
        return out

    def means(self, mean: Span) -> None:
        """mean (B, D) of x."""
        from . import whitening

        b, d, m = self.call.part.blocks
        self.start(whitening.means, block_each(b * d, adding(m)), self.x.flat(), self.lie.numbers, mean.flat())

    def totals(self, dy: Span) -> Any:
        """Sums (R, B D) of dy over each part of the samples."""
        from . import whitening

        (b, d, m), parts = self.call.part.blocks, self.where[3]
        sums = self.empty(parts, b * d).flat().reshape(parts, b * d)
        grid = block_each(parts * b * d, adding(m // parts))
        self.start(whitening.totals, grid, dy.flat(), self.lie.numbers, self.where, sums)
        return sums

    def products(self, dy: Span, centred: bool, where: tuple[int, int, int, int], mean: Span) -> tuple[Any, int]:
        """Sums (chunks R, B D D) of dy (x - mu)' over each part, and how many chunks."""
        from . import whitening

        (b, d, m), parts = self.call.part.blocks, where[3]
        chunks, across = ceil(m // parts, LENGTH), ceil(d, whitening.TILE)
        sums = self.empty(chunks * parts, b * d * d).flat().reshape(chunks * parts, b * d * d)
        given = (dy.flat(), centred, self.x.flat(), self.lie.numbers, where, mean.flat(), LENGTH, sums)
        self.start(whitening.products, tiles(chunks * parts * b * across * across), *given)
        return sums, chunks

    def added(self, sums: Any, chunks: int, where: Any, slope: Any, factor: float, out: Span) -> Span:
        """out (B, D, D) or (B, D): the parts, each scaled by its slope, added."""
        from . import whitening

        d = self.call.part.blocks[1]
        across = out.shape[2] if len(out.shape) == 3 else 1
        given = (sums, chunks, where, d, across, *slope, factor, out.flat())
        self.start(whitening.add_parts, thread_each(out.size), *given)
        return out

    def by_tiles(self, kernel: Any, *arguments: Any) -> None:
        """A block for each tile of coordinates and samples."""
        from . import whitening

        b, d, m = self.call.part.blocks
        self.start(kernel, tiles(b * ceil(d, whitening.TILE) * ceil(m, whitening.TILE)), *arguments)


    def each_row(self, kernel: Any, *arguments: Any) -> None:
        """A thread a coordinate."""
        b, d, _ = self.call.part.blocks
        self.start(kernel, thread_each(b * d), *arguments)

    def each_parameter(self, kernel: Any, *arguments: Any) -> None:
        """A warp a channel."""
        self.start(kernel, block_each(self.call.layout.lengths("c")[0]), *arguments)

    def population(self, arguments: Mapping[str, Any]) -> Any:
        """The state, or what a fresh one is."""
        return self.method.triple._fresh(arguments) if arguments["state"] is None else arguments["state"]


def adding(samples: int) -> int:
    """Threads that add up so many samples: a power of two of warps."""
    return WARP << (min(THREADS, max(samples, WARP)) // WARP).bit_length() - 1


def work(method: Method, arguments: Mapping[str, Any], x: Any) -> Work:
    """A call, checked by the reference, and laid out.  Raises NoKernel for what there is no kernel for."""
    triple, zero = method.triple, np.zeros((), x.dtype)
    call = triple.call(**{**arguments, triple.x: np.broadcast_to(zero, x.shape)})
    if call.weighted:
        raise NoKernel(f"backend 'cuda' has no kernel for {method.name} with masked statistics; backend='numpy' has it")
    ready()
    library = x.library if isinstance(x, Span) else Host()
    span = on_device(x, library, triple.x)
    lie = _lie(span, zero, call)
    if lie.part is not None:                         # not in the order of its memory: in that of its axes
        span = gathered(span, tuple(range(len(span.shape))))
        lie = _lie(span, zero, call)
    given = dict(zip(triple.recovery.parameters, call.parameters, strict=True))
    gamma, beta = (None if given[k] is None else contiguous(given[k], library, k) for k in ("gamma", "beta"))
    on = Matrices(library, *call.part.blocks[:2])
    return Work(method, call, lie, library, in_order(span, lie.order), _where(triple, call, lie), gamma, beta, on)


def _lie(span: Span, zero: Any, call: Call) -> Lie:
    """Strides as they are and nothing behind them: lie_of reads no entry."""
    return lie_of(as_strided(zero, span.shape, tuple(s * zero.itemsize for s in span.strides)), call.part)


def _where(triple: Norm, call: Call, lie: Lie) -> tuple[int, int, int, int]:
    """(sb, sd, q, R) of whitening.py, q the positions that lie within a channel."""
    _, d, _ = call.part.blocks
    if triple.area == Coloring.area:
        return d, 1, 1, 1
    (channel,), spatial = call.layout.axes_of("c"), call.layout.axes_of("s")
    inner = lie.order[lie.order.index(channel) + 1 :]
    members = call.layout.shape[channel] // d
    return 0, members, math.prod(call.layout.shape[a] for a in inner if a in spatial), members
