"""Arrays in another order: the fallback for views with gaps, reversed or broadcast, or in an order that no kernel reads."""

from __future__ import annotations

from typing import Any

from .arrays import Library, Span, c_strides
from .launch import thread_each
from .libraries import on_device


def in_order(a: Span, order: tuple[int, ...]) -> Span:
    """The array with its axes in `order`, contiguous: where it is if it lies so, or a copy."""
    shape, strides = tuple(a.shape[i] for i in order), tuple(a.strides[i] for i in order)
    dense = all(n == 1 or s == c for n, s, c in zip(shape, strides, c_strides(shape), strict=True))
    return a.seen(shape) if dense or not a.size else gathered(a, order)


def contiguous(value: Any, library: Library, argument: str) -> Span:
    """An array on the device with its axes in their order, without gaps."""
    span = on_device(value, library, argument)
    return in_order(span, tuple(range(len(span.shape))))


def gathered(span: Span, order: tuple[int, ...]) -> Span:
    """A copy whose axes are the span's in `order`, contiguous."""
    from .device import launch
    from .small import gather

    shape, strides = tuple(span.shape[a] for a in order), tuple(span.strides[a] for a in order)
    out = span.library.empty(shape, span.dtype)
    if not span.size:
        return out
    below = sum(min(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True))
    above = sum(max(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True))
    source = span.library.view(span.pointer + below * span.dtype.itemsize, above - below + 1, span.dtype, span.owner)
    lengths, steps = (shape, strides) if shape else ((1,), (1,))
    launch(gather, thread_each(span.size), span.library, source, -below, lengths, steps, span.size, out.flat())
    return out
