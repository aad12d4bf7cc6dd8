"""Whitening's contract: from a method's arguments to whitening.py's and matrices.py's kernels, and back to what the method
returns.

As kernels/cpu/whitening_contract.py, whose formulas these are: with the recovery R, a matrix (diag(gamma), or a coloring's
gamma), and P = sum dy zc', s = sum dy,

    forward     y  = R W (x - mu) + beta
    backward    dx = W' R' dy + 2/M Sbar (x - mu) - W' R' s/M       Sbar = dL/dS of Q = R' P in the place of g zc'
                dR = P W'                                           for gamma its diagonal

A group whitening's gamma is one a channel, several to a coordinate: R is then another one in each part of the samples
(whitening.py), Q is the sum over the parts of R' P, and dR is each part's own.

`saved` and the state are NumPy's for NumPy's arrays, and in the caller's library, on the device, for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS, Cache, Method
from refnorm.anatomy.norm import Call, Norm
from refnorm.anatomy.population import JOINT
from refnorm.anatomy.precision import narrow
from refnorm.kernels.cpu.whitening_contract import has_kernels

from . import statistics_of, whitening_factors
from .arrays import Host, Span
from .contract import alike, device_of, zero
from .device import current
from .gather import contiguous
from .libraries import adopt, on_device
from .whitening_work import Work, work


def forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    """y, saved; and the new state where there is a population."""
    with current(device_of(arguments[method.triple.x])):
        return _forward(method, arguments)


def backward(method: Method, dy: Any, cache: Cache) -> tuple:
    """One gradient per array, in the arrays' dtypes; None for one that was not given."""
    with current(device_of(cache.arguments[method.triple.x])):
        return _backward(method, dy, cache)


def _forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    triple, x = method.triple, arguments[method.triple.x]
    w = work(method, arguments, x)
    saved = statistics(w, arguments)
    y = w.library.empty(w.lie.lengths, np.dtype(x.dtype))
    if x.size:
        from . import whitening

        matrix = w.colored(saved.matrix)
        given = (w.x.flat(), w.lie.numbers, saved.mean.flat(), matrix.flat(), w.where, *w.slope, *w.shift, y.flat())
        w.by_tiles(whitening.apply, *given)
    out, kept = w.write(y).given_back(), saved._make(None if v is None else v.given_back() for v in saved)
    if triple.state is None:
        return out, kept
    if isinstance(w.library, Host) or not arguments["training"]:
        return out, kept, triple._updated(kept, w.call, arguments)
    (channels,) = w.call.layout.lengths("c")
    kind = next(name for name in JOINT if name in w.population(arguments)._fields)
    batch = {"mean": saved.mean.seen((channels,)), kind: getattr(saved, kind)}
    return out, kept, statistics_of.updated(w.library, triple, arguments, int(np.max(w.call.counted)), batch)


@dataclass(frozen=True)
class Judged(Norm):
    """A triple whose statistics were found elsewhere: the reference's checks of them, in its words."""

    find: Callable[[], Any] = lambda: None

    def _operated(self, call: Call, arguments: Mapping[str, Any]) -> tuple:
        return None, self.find()


def statistics(w: Work, arguments: Mapping[str, Any]) -> Any:
    """What the operation saves, on the device, of the batch or of the state; every error of the reference is raised here."""
    triple = w.method.triple
    exact, judge = triple.operation.condition, None
    if exact is not None:
        judge = partial(whitening_factors.condition, w.on, exact)
    own = {f.name: getattr(triple, f.name) for f in fields(triple)} | {"operation": replace(triple.operation, condition=judge)}
    judged = Judged(**own, find=partial(found, w, arguments))
    return (judged._operated if judge is None else judged._inverted)(w.call, arguments)[1]


def found(w: Work, arguments: Mapping[str, Any]) -> Any:
    """The statistics themselves."""
    operation, options = w.method.triple.operation, w.call.options
    factors = partial(whitening_factors.FROM_COVARIANCE[operation.name], w.on, **options)
    b, d, m = w.call.part.blocks
    if not arguments.get("training", True):
        state, (channels,) = arguments["state"], w.call.layout.lengths("c")
        mean = statistics_of.whole(state, "mean", (channels,), w.library).seen((b, d, 1))
        kind = next(name for name in JOINT if name in state._fields)
        matrices = statistics_of.whole(state, kind, (b, d, d), w.library)
        return factors(mean, matrices) if kind == "covariance" else operation.from_population(mean, matrix=matrices, **options)
    mean, covariance = w.empty(b, d, 1), w.empty(b, d, d)
    if w.x.size:
        w.means(mean)
        plain = (d, 1, 1, 1)
        sums, chunks = w.products(w.x, True, plain, mean)
        w.added(sums, chunks, plain, (w.x.flat(), False), 1 / m, covariance)
    return factors(mean, covariance)


def _backward(method: Method, dy: Any, cache: Cache) -> tuple:
    given = adopt(cache.arguments["x"], "x")
    x, dy = alike(given, dy, "x")
    w = work(method, {**cache.arguments, "x": x}, x)
    saved = cache.saved._make(None if v is None else contiguous(v, w.library, "saved") for v in cache.saved)
    dx = w.library.empty(w.lie.lengths, np.dtype(x.dtype))
    made = [None if p is None else w.library.empty(p.shape, p.dtype) for p in (w.gamma, w.beta)]
    if x.size:
        pull_back(w, w.read(on_device(dy, w.library, "dy")), saved, cache.arguments.get("training", True), dx, *made)
    else:
        for span in made:
            zero(w.library, span)
    out = w.write(dx).given_back()
    parameters = (None if span is None else span.given_back() for span in made)
    return (narrow(out, given.dtype) if isinstance(out, np.ndarray) else out), *parameters


def pull_back(w: Work, dy: Span, saved: Any, training: bool, dx: Span, dgamma: Span | None, dbeta: Span | None) -> None:
    """dx and the gradients of the parameters are written."""
    from . import whitening

    (b, d, m), name = w.call.part.blocks, w.method.triple.operation.name
    matrix, slope = w.colored(saved.matrix), w.slope
    sums, chunks = w.products(dy, False, w.where, saved.mean)
    along = w.totals(dy)
    p, shift, gradient = w.added(sums, chunks, w.where, slope, 1.0, w.on.empty()), w.empty(b, d), saved.matrix
    if training:
        s = w.added(along, 1, w.where, slope, 1.0, w.empty(b, d))
        gradient = whitening_factors.COVARIANCE_GRADIENT[name](w.on, w.colored(p, turned=True), saved, **w.call.options)
        w.each_row(whitening.shifts, matrix.flat(), s.flat(), d, -1 / m, shift.flat())
    given = (w.x.flat(), w.lie.numbers, saved.mean.flat(), gradient.flat(), training, 2 / m, shift.flat(), dx.flat())
    w.by_tiles(whitening.pull_back, dy.flat(), matrix.flat(), w.where, *slope, *given)
    wanted = [x for span in (None if w.coloring else dgamma, dbeta) for x in (span is not None, (span or dx).flat())]
    w.each_parameter(whitening.parameter_sums, sums, chunks, along, w.where, b, d, saved.matrix.flat(), *wanted)
    if w.coloring and dgamma is not None:
        w.cast(w.on.multiply(p, saved.matrix, (False, True)), dgamma)


def methods() -> dict[str, tuple[Callable, Callable]]:
    return {name: (partial(forward, m), partial(backward, m)) for name, m in NORMS.items() if has_kernels(m)}
