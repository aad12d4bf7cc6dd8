"""Statistics that stay on the device: what a forward has saved, running statistics, and their next state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from refnorm.anatomy.backends import NoKernel

from .arrays import Span, adopt, on_device
from .device import launch
from .launch import ceil

if TYPE_CHECKING:
    from .contract import Work

THREADS = 128


def table(statistics: Span, count: int) -> Any:
    """(3, B) as kernels take it."""
    return statistics.flat().reshape(3, max(count, 1))


def stacked(w: Work, kept: list[Any]) -> Span:
    """Statistics (3, B) in memory order from (B, D, 1) each."""
    from .contract import in_order
    from .small import stack

    statistics = w.empty((3, max(w.statistics, 1)))
    for row, (one, neutral) in enumerate(zip(kept, (0.0, 0.0, 1.0), strict=True)):
        source = statistics
        if one is not None:
            span = on_device(one, w.library, "saved").seen(tuple(w.form.blocks[a] for a in w.form.reference))
            back = tuple(int(a) for a in np.argsort(w.form.reference))
            source = in_order(span, back)
        grid, threads = (ceil(w.statistics, THREADS), 1), (THREADS, 1)
        given = (source.flat(), row, neutral, one is not None, w.statistics, table(statistics, w.statistics))
        launch(stack, grid, threads, w.library, *given)
    return statistics


def running(w: Work, state: Any, statistics: Span) -> Any:
    """Statistics of a state, one a channel, into `statistics`; and what is saved of them."""
    from .contract import _kept
    from .small import spread_running

    channels(w)
    mean, var = (on_device(_as_array(getattr(state, name)), w.library, f"state.{name}") for name in ("mean", "var"))
    given = (mean.flat(), max(mean.size, 1), var.flat(), max(var.size, 1))
    grid, threads = (ceil(w.statistics, THREADS), 1), (THREADS, 1)
    rest = (w.statistics, w.call.part.blocks[2], w.eps, table(statistics, w.statistics))
    launch(spread_running, grid, threads, w.library, w.recipe.code, *given, *rest)
    return w.recipe.saved(*_kept(w, statistics))


def updated(w: Work, triple: Any, arguments: Mapping[str, Any], statistics: Span) -> Any:
    """The state after this batch, on the device: the running statistics are neither read nor waited for."""
    from .small import update

    state = triple._fresh(arguments) if arguments["state"] is None else arguments["state"]
    if not w.training:
        return state
    c, population, momentum = channels(w), arguments["dialect"].population, arguments["momentum"]
    if momentum is None and population.weighs == "old":
        raise ValueError("momentum is None (the mean of all batches); where it weighs the old value, it must be a number")
    new = 1 / (state.count + 1) if momentum is None else momentum if population.weighs == "new" else 1 - momentum
    m = int(np.max(w.call.counted))
    moved = {}
    for row, name in enumerate(("mean", "var")):
        old = on_device(_as_array(getattr(state, name)), w.library, f"state.{name}")
        out = w.empty((c,), old.dtype)
        bessel = m / max(m - 1, 1) if name == "var" and population.variance == "unbiased" else 1.0
        given = (old.flat(), max(old.size, 1), table(statistics, w.statistics), row, c, float(new), float(bessel))
        launch(update, (ceil(c, THREADS), 1), (THREADS, 1), w.library, *given, out.flat())
        moved[name] = out.given_back()
    return state._replace(**moved, count=state.count + 1)


def channels(w: Work) -> int:
    """How many channels: one block of statistics each.  ValueError where a state on the device would need more."""
    (c,) = w.call.layout.lengths("c")
    if w.statistics != c:
        found = f"{w.statistics} statistics of {c} channels"
        raise NoKernel(f"{found}: on the device a state takes one a channel; NumPy arrays may have more")
    return c


def _as_array(value: Any) -> Any:
    value = adopt(value, "state")
    return value if isinstance(value, (Span, np.ndarray)) else np.asarray(value, np.float64)
