"""The contract: from a method's arguments to a kernel, and from a kernel's numbers to what the method returns.

forward(arguments) -> y, saved [, state] and backward(dy, cache) -> gradients, as anatomy/backends.py asks.  What a call may be
and how it is refused is the reference's own business (Norm.call); `saved` has the reference's names, shapes and float64, so
that a forward on one backend and a backward on another agree.

Entries are computed in float32, in float64 where x is float64; parameters are rounded to that type.  dx has the type of x, and
the gradients of parameters those of the parameters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.kinds import KEPT, kinds, stand_ins
from refnorm.anatomy.method import NORMS, Cache, Method
from refnorm.anatomy.norm import Call, running_statistics
from refnorm.anatomy.precision import narrow, wide

from . import columns, columns_backward, planes, positions, rows, rows_lanes
from .form import Form, form_of, memory_order
from .jit import run
from .recipes import Recipe, has_kernels, recipe_of
from .storage import arithmetic, as_stored


class Plan(NamedTuple):
    """What a call's shapes and options decide, in the kernels' terms."""

    call: Call
    form: Form
    recipe: Recipe
    eps: float
    training: bool
    unit: float                                   # scale = unit (offset + parameter), and without a parameter unit
    offset: float
    places: tuple[Any, ...]                       # of scale, of shift: for each of the kernel's entries that of the parameter
    fixed: tuple[np.ndarray, np.ndarray]          # scale and shift where there is no parameter


class Work(NamedTuple):
    """One call in the kernels' terms."""

    plan: Plan
    form: Form
    scale: np.ndarray
    shift: np.ndarray
    number: Any                                   # the arithmetic's type


def work(method: Method, arguments: Mapping[str, Any], x: np.ndarray) -> Work:
    """A call, checked by the reference, and laid out.  Raises NoKernel for what there is no kernel for."""
    kind = kinds(arguments, method.arrays)
    plan = planned(method, arguments, x) if kind is None else _planned_once(method, kind, memory_order(x))
    number, given = arithmetic(x.dtype), method.triple.recovery.parameters
    scale, shift = (*(arguments[name] for name in given), None, None)[:2]
    return Work(plan, plan.form, _parameter(plan, 0, scale, number), _parameter(plan, 1, shift, number), number)


def _parameter(plan: Plan, which: int, values: Any, number: Any) -> np.ndarray:
    """Scale (0) or shift (1) as the kernel reads it, always a new array: the caller's may be read-only."""
    fixed = plan.fixed[which]
    if values is None:
        return fixed.astype(number)
    if which == 0 and (plan.offset, plan.unit) != (0, 1):
        values = plan.unit * (plan.offset + wide(values))
    values, places = np.asarray(values, number).reshape(-1), plan.places[which]
    return (values.copy() if places is None else values[places]).reshape(fixed.shape)


@functools.lru_cache(KEPT)
def _planned_once(method: Method, kind: tuple, order: tuple[int, ...]) -> Plan:
    """Of a call of this kind, whose x lies in memory in this order of its axes; half of what a small call took."""
    arguments = stand_ins(kind)
    x = arguments[method.triple.x]
    lying = np.empty([x.shape[a] for a in order], x.dtype)
    return planned(method, arguments, np.transpose(lying, np.argsort(order)))


def planned(method: Method, arguments: Mapping[str, Any], x: np.ndarray) -> Plan:
    triple = method.triple
    # Of x the reference's checks read shape and dtype alone: a zero-strided stand-in, whose reshapes cost nothing.
    call = triple.call(**{**arguments, triple.x: np.broadcast_to(np.zeros((), x.dtype), x.shape)})
    if call.weighted:
        raise NoKernel(_absent(method, "weighted or masked statistics"))
    laid = call.layout.read(x)
    recipe, eps = recipe_of(triple, call)
    radius = 1 / math.sqrt(call.part.blocks[2]) if recipe.on_unit_sphere else 1.0
    name = getattr(triple.recovery, "name", "")
    numbered = [None if v is None else _numbered(np.shape(v)) for v in call.parameters]
    along = [None if v is None else call.layout.along(v, name) for v in numbered]
    lengths = np.broadcast_shapes((1,) * laid.ndim, *(np.shape(a) for a in along if a is not None))
    training = arguments.get("training", True)
    form = form_of(laid, call.part, lengths, training)
    if form is None:
        raise NoKernel(_absent(method, f"{triple.x} of shape {x.shape}, parameters along {lengths}, in this order of memory"))
    recover: Any = triple.recovery.forward
    none = (None,) * len(call.parameters)
    unit = float(recover(np.ones(()), *none, layout=call.layout, **call.recovery_options)) * radius
    scale = form.parameter(np.full((1,) * laid.ndim, unit), np.float64)
    places = [None if a is None else _out_of_order(form.parameter(a, np.intp)) for a in along]
    return Plan(
        replace(call, parameters=none), form, recipe, eps, training, unit,
        call.recovery_options.get("offset", 0.0), (*places, None, None)[:2], (scale, np.zeros_like(scale)),
    )  # fmt: skip


def _numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


def _out_of_order(places: np.ndarray) -> np.ndarray | None:
    """Places that are not simply one after another."""
    return None if np.array_equal(places.ravel(), np.arange(places.size)) else places.ravel()


def _absent(method: Method, what: str) -> str:
    return f"backend 'numba' has no kernel for {method.name} with {what}; backend='numpy' has it"


def forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    """y, saved; and the new state where there is a population."""
    triple = method.triple
    x = arguments[triple.x]
    w = work(method, arguments, x)
    call, form = w.plan.call, w.form
    b, d, _ = shape = call.part.blocks
    statistics, saved = np.empty((3, b * d)), None
    if not w.plan.training:
        saved = triple.operation.from_population(**running_statistics(arguments["state"], call), **call.options)
        statistics = _given(w, saved)
    y = form.empty(x.dtype)
    if x.size:
        fill_forward(w, as_stored(form.read(call.layout.read(x))), as_stored(y), statistics)
    if saved is None:
        saved = w.plan.recipe.saved(*form.to_reference(statistics, shape))
    y = call.layout.write(form.write(y))
    return (y, saved, triple._updated(saved, call, arguments)) if triple.state is not None else (y, saved)


def backward(method: Method, dy: np.ndarray, cache: Cache) -> tuple:
    """One gradient per array, in the arrays' dtypes; None for one that was not given."""
    triple, given = method.triple, cache.arguments
    x = given[triple.x]
    wider = np.result_type(x, dy) if x.dtype != dy.dtype else x.dtype
    w = work(method, given, x.astype(wider, copy=False))
    form, layout, dx = w.form, w.plan.call.layout, w.form.empty(wider)
    kernel_x, kernel_dy = (as_stored(form.read(layout.read(a.astype(wider, copy=False)))) for a in (x, dy))
    sums = np.zeros(sums_shape(w)), np.zeros(sums_shape(w))
    if x.size:
        fill_backward(w, kernel_dy, kernel_x, _given(w, cache.saved), as_stored(dx), *sums)
    gradients: list[Any] = []
    for name, total in zip(triple.recovery.parameters, sums, strict=False):
        parameter = given[name]
        if parameter is None:
            gradients.append(None)
            continue
        gradient = form.gradient(total)
        if name != "beta" and w.plan.unit != 1:
            gradient = gradient * w.plan.unit
        gradients.append(narrow(gradient.reshape(parameter.shape), parameter.dtype))
    return narrow(layout.write(form.write(dx)), x.dtype), *gradients


def _given(w: Work, saved: Any) -> np.ndarray:
    """Statistics (3, B) in memory order from what a forward, on any backend, has saved."""
    found = np.zeros((3, *w.plan.call.part.blocks[:2], 1))
    found[0] = getattr(saved, "mean", 0.0)
    found[1] = getattr(saved, "var", getattr(saved, "square", 0.0))
    found[2] = getattr(saved, "rstd", 1.0)
    return w.form.from_reference(found)


def fill_forward(w: Work, x: np.ndarray, y: np.ndarray, statistics: np.ndarray) -> None:
    """y is written, and in training the statistics (3, B)."""
    code, training, eps, family = w.plan.recipe.code, w.plan.training, w.plan.eps, w.form.family
    given: tuple = (x, w.scale, w.shift, eps, y, statistics)
    if family == "rows":
        fast = rows_lanes if rows_lanes.pays_forward(x, w.scale) else rows
        run(fast.forward, 2 * x.nbytes, code, *given)
    elif family == "positions":
        run(positions.forward, 2 * x.nbytes, code, x, w.scale[0], w.shift[0], eps, y, statistics)
    elif family == "columns":
        run(columns.forward, 2 * x.nbytes, code, training, w.form.groups, *given)
    else:
        run(planes.forward, 2 * x.nbytes, code, training, *given)


def sums_shape(w: Work) -> tuple[int, ...]:
    """Of dscale and dshift in the kernel: one number for each block and what is in it that may have its own parameter."""
    shape = w.form.shape
    return {"rows": w.form.parameters, "positions": shape[:2], "columns": shape[::2], "planes": shape[:3]}[w.form.family]


def fill_backward(
    w: Work, dy: np.ndarray, x: np.ndarray, statistics: np.ndarray, dx: np.ndarray, dscale: np.ndarray, dshift: np.ndarray
) -> None:
    """dx, dscale and dshift are written."""
    code, training, family = w.plan.recipe.code, w.plan.training, w.form.family
    given: tuple = (dy, x, statistics, w.scale, w.plan.eps, dx, dscale, dshift)
    if family == "rows":
        fast = rows_lanes if rows_lanes.pays_backward(x, w.scale) else rows
        run(fast.backward, 3 * x.nbytes, code, *given)
    elif family == "positions":
        run(positions.backward, 3 * x.nbytes, code, dy, x, statistics, w.scale[0], w.plan.eps, dx, dscale, dshift)
    elif family == "columns":
        run(columns_backward.backward, 3 * x.nbytes, code, training, w.form.groups, *given)
    else:
        run(planes.backward, 3 * x.nbytes, code, training, *given)


def methods() -> dict[str, tuple[Callable, Callable]]:
    """Every declared method that is an operation and a recovery with kernels."""
    return {name: (partial(forward, m), partial(backward, m)) for name, m in NORMS.items() if has_kernels(m)}
