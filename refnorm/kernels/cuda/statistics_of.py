"""Statistics that stay on the device: what a forward has saved, running statistics, and their next state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.population import JOINT

from .arrays import Host, Library, Span
from .device import launch
from .gather import contiguous, in_order
from .launch import thread_each
from .libraries import adopt, on_device

if TYPE_CHECKING:
    from .contract import Work

def table(statistics: Span, count: int) -> Any:
    """(3, B) as kernels take it."""
    return statistics.flat().reshape(3, max(count, 1))


def kept(w: Work, statistics: Span) -> list[Any]:
    """mean, var, rstd as the reference has them, (B, D, 1), in the caller's library."""
    b, d, _ = w.call.part.blocks
    if isinstance(w.library, Host):
        host = statistics.given_back() if w.statistics else np.empty((3, 0))
        return list(w.form.to_reference(host, (b, d, 1)))
    rows = [statistics.seen(w.form.blocks, offset=k * w.statistics) for k in range(3)]
    return [in_order(s, w.form.reference).seen((b, d, 1)).given_back() for s in rows]


def given(w: Work, saved: Any) -> Span:
    """Statistics (3, B) in memory order from what a forward, on any backend, has saved."""
    found = [getattr(saved, "mean", None), getattr(saved, "var", getattr(saved, "square", None)), getattr(saved, "rstd", None)]
    shape = (*w.call.part.blocks[:2], 1)
    if all(k is None or isinstance(k, np.ndarray) for k in found):
        neutral = (0.0, 0.0, 1.0)
        rows = [np.broadcast_to(v if k is None else k, shape) for k, v in zip(found, neutral, strict=True)]
        return on_device(w.form.from_reference(np.stack(rows)), w.library, "saved")
    return stacked(w, [adopt(k, "saved") for k in found])


def stacked(w: Work, found: list[Any]) -> Span:
    """Statistics (3, B) in memory order from (B, D, 1) each."""
    from .small import stack

    statistics = w.empty((3, max(w.statistics, 1)))
    for row, (one, neutral) in enumerate(zip(found, (0.0, 0.0, 1.0), strict=True)):
        source = statistics
        if one is not None:
            span = on_device(one, w.library, "saved").seen(tuple(w.form.blocks[a] for a in w.form.reference))
            back = tuple(int(a) for a in np.argsort(w.form.reference))
            source = in_order(span, back)
        arguments = (source.flat(), row, neutral, one is not None, w.statistics, table(statistics, w.statistics))
        launch(stack, thread_each(w.statistics), w.library, *arguments)
    return statistics


def running(w: Work, state: Any, statistics: Span) -> Any:
    """Statistics of a state, one a channel, into `statistics`; and what is saved of them."""
    from .small import spread_running

    one_a_channel(w)
    mean, var = (array_of(state, name, w.library) for name in ("mean", "var"))
    arguments = (mean.flat(), max(mean.size, 1), var.flat(), max(var.size, 1))
    rest = (w.statistics, w.call.part.blocks[2], w.eps, table(statistics, w.statistics))
    launch(spread_running, thread_each(w.statistics), w.library, w.recipe.code, *arguments, *rest)
    return w.recipe.saved(*kept(w, statistics))


def one_a_channel(w: Work) -> int:
    """How many channels: one block of statistics each.  ValueError where a state on the device would need more."""
    (c,) = w.call.layout.lengths("c")
    if w.statistics != c:
        found = f"{w.statistics} statistics of {c} channels"
        raise NoKernel(f"{found}: on the device a state takes one a channel; NumPy arrays may have more")
    return c


def whole(state: Any, name: str, shape: tuple[int, ...], library: Library) -> Span:
    """A running statistic in float64 and in full: a number stands for all channels, or for that multiple of the identity."""
    from .small import widen

    old, out = array_of(state, name, library), library.empty(shape, np.dtype(np.float64))
    launch(widen, thread_each(out.size), library, old.flat(), old.size, shape[-1] if name in JOINT else 0, out.flat())
    return out


def updated(library: Library, triple: Any, arguments: Mapping[str, Any], samples: int, batch: Mapping[str, Span]) -> Any:
    """The state after a batch with these statistics, by name, in the shapes of the state; what ran before is not waited for.

    As Population.update: new = (1 - weight) old + weight factor batch.
    """
    from .small import update

    state = triple._fresh(arguments) if arguments["state"] is None else arguments["state"]
    population, momentum = arguments["dialect"].population, arguments["momentum"]
    if momentum is None and population.weighs == "old":
        raise ValueError("momentum is None (the mean of all batches); where it weighs the old value, it must be a number")
    weight = 1 / (state.count + 1) if momentum is None else momentum if population.weighs == "new" else 1 - momentum
    moved = {}
    for name, value in batch.items():
        old = array_of(state, name, library)
        out = library.empty(value.shape, old.dtype)
        unbiased = population.variance == "unbiased" and name in ("var", *JOINT)
        factor = samples / max(samples - 1, 1) if unbiased else 1.0
        d = value.shape[-1] if name in JOINT else 0
        numbers = (old.size, d, value.flat(), value.size, float(weight), float(factor))
        launch(update, thread_each(value.size), library, old.flat(), *numbers, out.flat())
        moved[name] = out.given_back()
    return state._replace(**moved, count=state.count + 1)


def array_of(state: Any, name: str, library: Library) -> Span:
    """A running statistic as it is kept, a number in one entry."""
    argument = f"state.{name}"
    value = adopt(getattr(state, name), argument)
    return contiguous(value if isinstance(value, (Span, np.ndarray)) else np.asarray(value, np.float64), library, argument)


def channels_of(w: Work, statistics: Span) -> dict[str, Span]:
    """mean and var of a batch, (C,), of the statistics (3, C)."""
    c = one_a_channel(w)
    return {name: statistics.seen((c,), offset=row * c) for row, name in enumerate(("mean", "var"))}
