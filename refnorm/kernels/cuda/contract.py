"""The contract: from a method's arguments to kernels, and from their numbers to what the method returns.

forward(arguments) -> y, saved [, state] and backward(dy, cache) -> gradients, as anatomy/backends.py asks.  What a call may be
and how it is refused is the reference's own business (Norm.call); operations are the CPU kernels' (kernels/cpu/contract.py),
and so are the forms in which arrays are read (kernels/cpu/form.py).  `saved` has the reference's names, shapes and float64, in
NumPy for NumPy's arrays and in the caller's library for its own.

Entries are computed in float32, in float64 where x is float64; dx has the type of x, gradients of parameters those of the
parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.method import NORMS, Cache, Method
from refnorm.anatomy.norm import Call, Norm, running_statistics
from refnorm.anatomy.precision import narrow
from refnorm.kernels.cpu.form import Form, form_of
from refnorm.kernels.cpu.recipes import Recipe, has_kernels, recipe_of

from . import statistics_of
from .arrays import Host, Library, Span, c_strides
from .device import current, ready
from .gather import gathered, in_order
from .libraries import adopt, on_device


class Parameter(NamedTuple):
    """gamma, beta or g: where it is, in the order in which a kernel reads it."""

    given: bool
    span: Span                                    # x, which is not read, where it is not given
    order: tuple[int, ...]                        # of its axes, in the kernel
    shape: tuple[int, ...]                        # the caller's
    dtype: Any

    def gradient(self, flat: Span) -> Span:
        """A gradient in the kernel's order as the caller sees it."""
        inner = flat.seen(tuple(self.shape[a] for a in self.order))
        back = tuple(int(a) for a in np.argsort(self.order))
        return flat.seen(self.shape) if back == tuple(range(len(back))) else gathered(inner, back)


class Work(NamedTuple):
    """One call in the kernels' terms."""

    call: Call
    form: Form
    recipe: Recipe
    eps: float
    training: bool
    library: Library
    x: Span                                       # in the order of `form`, contiguous
    gamma: Parameter
    beta: Parameter
    offset: float                                 # scale is factor (offset + gamma)
    factor: float

    @property
    def statistics(self) -> int:
        """How many statistics there are of each kind."""
        b, d, _ = self.call.part.blocks
        return b * d

    def read(self, a: Span) -> Span:
        """Another array of x's shape in the order of `form`, contiguous: where it is, if it lies so."""
        return in_order(a.seen(self.layout_shape) if self.call.layout.of is not None else a, self.form.order)

    @property
    def layout_shape(self) -> tuple[int, ...]:
        return self.call.layout.shape

    def write(self, flat: Span, shape: tuple[int, ...]) -> Span:
        """An array in the order of `form` as the caller sees it; a view."""
        if self.call.layout.of is not None:
            return flat.seen(shape)
        strides = dict(zip(self.form.order, c_strides(self.form.lengths), strict=True))
        return flat.seen(shape, tuple(strides[a] for a in range(len(shape))))

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float64) -> Span:
        return self.library.empty(shape, np.dtype(dtype))


def work(method: Method, arguments: Mapping[str, Any], x: Any) -> Work:
    """A call, checked by the reference, and laid out.  Raises ValueError for what there is no kernel for."""
    triple = method.triple
    # Of x the reference's checks read shape and dtype alone: a zero-strided stand-in, whose reshapes cost nothing.
    zero = np.zeros((), x.dtype)
    call = triple.call(**{**arguments, triple.x: np.broadcast_to(zero, x.shape)})
    if call.weighted:
        raise NoKernel(_absent(method, "weighted or masked statistics"))
    if call.layout.missing:
        raise NoKernel(_absent(method, f"a shape of {x.shape} that is padded to {call.layout.shape}"))
    ready()
    library = x.library if isinstance(x, Span) else Host()
    span = on_device(x, library, triple.x)
    if call.layout.of is not None:
        span = (span if span.contiguous else gathered(span, tuple(range(len(span.shape))))).seen(call.layout.shape)
    given = dict(zip(triple.recovery.parameters, call.parameters, strict=True))
    lengths = call.layout.axes_of(triple.recovery.name) if given and any(v is not None for v in given.values()) else ()
    run = tuple(n if a in lengths else 1 for a, n in enumerate(call.layout.shape))
    # Strides as they are and nothing behind them: form_of reads no entry.
    training = arguments.get("training", True)
    laid = as_strided(zero, span.shape, tuple(s * zero.itemsize for s in span.strides))
    form = form_of(laid, call.part, run, training)
    if form is None:
        raise NoKernel(_absent(method, f"{triple.x} of shape {x.shape}, parameters along {run}, in this order of memory"))
    span = in_order(span, form.order)
    recipe, eps = recipe_of(triple, call)
    offset, factor = _scale(triple, call, recipe)
    first, second = (*given, None, None)[:2]
    make = partial(_parameter, library, form, lengths, span)
    gamma = make(given.get(first), first) if first != "beta" else make(None, None)
    beta = make(given.get("beta"), second)
    return Work(call, form, recipe, eps, training, library, span, gamma, beta, offset if gamma.given else 0.0, factor)


def _absent(method: Method, what: str) -> str:
    return f"backend 'cuda' has no kernel for {method.name} with {what}; backend='numpy' has it"


def _scale(triple: Norm, call: Call, recipe: Recipe) -> tuple[float, float]:
    """offset, factor: an entry's scale is factor (offset + gamma), factor alone where gamma is not given."""
    root = math.sqrt(call.part.blocks[2]) if recipe.on_unit_sphere else 1.0
    ones, absent = np.ones((1,) * len(call.layout.shape)), (None,) * len(triple.recovery.parameters)
    recover: Callable[..., Any] = triple.recovery.forward
    unit = recover(ones, *absent, layout=call.layout, **call.recovery_options)
    return float(call.recovery_options.get("offset", 0.0)), unit.item() / root


def _parameter(library: Library, form: Form, lengths: tuple[int, ...], x: Span, value: Any, name: Any) -> Parameter:
    if value is None:
        return Parameter(False, x, (), (), None)
    span = on_device(value, library, name)
    order = tuple(lengths.index(a) for a in form.order if a in lengths)
    return Parameter(True, in_order(span, order), order, tuple(value.shape), np.dtype(value.dtype))


def forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    """y, saved; and the new state where there is a population."""
    with current(device_of(arguments[method.triple.x])):
        return _forward(method, arguments)


def backward(method: Method, dy: Any, cache: Cache) -> tuple:
    """One gradient per array, in the arrays' dtypes; None for one that was not given."""
    with current(device_of(cache.arguments[method.triple.x])):
        return _backward(method, dy, cache)


def device_of(x: Any) -> int | None:
    return x.library.device if isinstance(x, Span) else None


def _forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    triple = method.triple
    x = arguments[triple.x]
    w = work(method, arguments, x)
    statistics, saved = w.empty((3, max(w.statistics, 1))), None
    state = arguments.get("state")
    host = isinstance(w.library, Host)
    if not w.training and host:
        saved = triple.operation.from_population(**running_statistics(state, w.call), **w.call.options)
        statistics = statistics_of.given(w, saved)
    elif not w.training:
        saved = statistics_of.running(w, state, statistics)
    y = w.empty(w.form.shape, x.dtype)
    if x.size:
        from . import families

        families.forward(w, statistics, y)
    if saved is None:
        saved = w.recipe.saved(*statistics_of.kept(w, statistics))
    out = w.write(y, x.shape).given_back()
    if triple.state is None:
        return out, saved
    if host or not w.training:
        return out, saved, triple._updated(saved, w.call, arguments)
    samples = int(np.max(w.call.counted))
    batch = statistics_of.channels_of(w, statistics)
    return out, saved, statistics_of.updated(w.library, triple, arguments, samples, batch)


def _backward(method: Method, dy: Any, cache: Cache) -> tuple:
    triple = method.triple
    x = adopt(cache.arguments[triple.x], triple.x)
    arguments = {**cache.arguments, triple.x: x}
    arguments[triple.x], dy = alike(x, dy, triple.x)
    w = work(method, arguments, arguments[triple.x])
    given = w.read(on_device(dy, w.library, "dy"))
    dx = w.empty(w.form.shape, arguments[triple.x].dtype)
    made = [w.empty((max(1, math.prod(p.shape)),), p.dtype) if p.given else None for p in (w.gamma, w.beta)]
    if x.size:
        from . import families

        families.backward(w, given, statistics_of.given(w, cache.saved), dx, *made)
    else:
        for span in made:
            zero(w.library, span)
    out = w.write(dx, tuple(x.shape)).given_back()
    gradients = [p.gradient(s).given_back() if s is not None else None for p, s in zip((w.gamma, w.beta), made, strict=True)]
    answer = narrow(out, x.dtype) if isinstance(out, np.ndarray) else out
    return answer, *(gradients[name == "beta"] for name in triple.recovery.parameters)


def alike(x: Any, dy: Any, name: str) -> tuple[Any, Any]:
    """x and dy in one dtype, NumPy's arrays in the wider of theirs.  TypeError for others of two dtypes."""
    if np.dtype(dy.dtype) == np.dtype(x.dtype):
        return x, dy
    if not isinstance(dy, np.ndarray) or not isinstance(x, np.ndarray):
        raise TypeError(f"dy has dtype {dy.dtype}; on the device it must have {name}'s, {x.dtype}")
    wider = np.result_type(x, dy)
    return x.astype(wider, copy=False), dy.astype(wider, copy=False)


def zero(library: Library, span: Span | None) -> None:
    if span is not None:
        flat = span.flat()
        flat.copy_to_device(np.zeros(span.size, flat.dtype), stream=library.stream())


def methods() -> dict[str, tuple[Callable, Callable]]:
    """Every declared method that is an operation and a recovery with kernels."""
    return {name: (partial(forward, m), partial(backward, m)) for name, m in NORMS.items() if has_kernels(m)}


__all__ = ["Parameter", "Work", "methods", "work"]
