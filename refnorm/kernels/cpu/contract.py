"""The contract: from a method's arguments to a kernel, and from a kernel's numbers to what the method returns.

forward(arguments) -> y, saved [, state] and backward(dy, cache) -> gradients, as anatomy/backends.py asks.  What a call may be
and how it is refused is the reference's own business (Norm.call); `saved` has the reference's names, shapes and float64, so
that a forward on one backend and a backward on another agree.

Entries are computed in float32, in float64 where x is float64; parameters are rounded to that type.  dx has the type of x, and
the gradients of parameters those of the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.method import NORMS, Cache, Method
from refnorm.anatomy.norm import Call, Norm, running_statistics
from refnorm.anatomy.precision import narrow, wide

from . import columns, columns_backward, planes, positions, rows, rows_lanes
from .form import Form, form_of
from .recipes import Recipe, has_kernels, recipe_of
from .storage import arithmetic, as_stored


class Plan(NamedTuple):
    """What a call's shapes and options decide, in the kernels' terms."""

    call: Call
    form: Form
    recipe: Recipe
    eps: float
    dialect: Any
    lying: tuple[int, ...]                        # axes of x, broadcasts against it
    radius: float                                 # of the sphere that rows are put onto, over sqrt(M)
    unit: Any                                     # what scale is at a parameter of 1: dy/dparameter = unit xhat


class Work(NamedTuple):
    """One call in the kernels' terms."""

    call: Call
    form: Form
    recipe: Recipe
    eps: float
    training: bool
    scale: np.ndarray
    shift: np.ndarray
    unit: Any
    number: Any                                   # the arithmetic's type


PLANS: dict[tuple, Plan] = {}
"""Plans by shapes and options: half of what a small call takes is making one.  PLANS_KEPT of them, then it starts anew."""

PLANS_KEPT = 256


def work(method: Method, arguments: Mapping[str, Any], x: np.ndarray) -> Work:
    """A call, checked by the reference, and laid out.  Raises NoKernel for what there is no kernel for."""
    triple, key = method.triple, _key(method, arguments, x)
    plan = PLANS.get(key) if key is not None else None
    if plan is None:
        plan = planned(method, arguments, x)
        if key is not None:
            if len(PLANS) >= PLANS_KEPT:
                PLANS.clear()
            PLANS[key] = plan
    parameters = tuple(arguments[name] for name in triple.recovery.parameters)
    call, number = replace(plan.call, parameters=parameters), arithmetic(x.dtype)
    given = dict(zip(triple.recovery.parameters, parameters, strict=True))
    scale, beta = _scale(triple, call, plan.lying, plan.radius, given), given.get("beta")
    shift = np.zeros(plan.lying) if beta is None else call.layout.along(wide(beta), triple.recovery.name)
    scale, shift = plan.form.parameter(scale, number), plan.form.parameter(shift, number)
    return Work(call, plan.form, plan.recipe, plan.eps, arguments.get("training", True), scale, shift, plan.unit, number)


def _key(method: Method, arguments: Mapping[str, Any], x: np.ndarray) -> tuple | None:
    """All that a plan depends on; None for a call with a state or a mask, whose arrays are checked each time."""
    if arguments.get("state") is not None or arguments.get("mask") is not None or not arguments.get("training", True):
        return None
    options = tuple((k, type(v), id(v) if k == "dialect" else v) for k, v in arguments.items() if k not in method.arrays)
    shapes = tuple(None if arguments[name] is None else np.shape(arguments[name]) for name in method.arrays[1:])
    key = (method.name, x.shape, x.strides, x.dtype, shapes, options)
    try:
        hash(key)
    except TypeError:                               # a list of axes
        return None
    return key


def planned(method: Method, arguments: Mapping[str, Any], x: np.ndarray) -> Plan:
    triple = method.triple
    # Of x the reference's checks read shape and dtype alone: a zero-strided stand-in, whose reshapes cost nothing.
    call = triple.call(**{**arguments, triple.x: np.broadcast_to(np.zeros((), x.dtype), x.shape)})
    if call.weighted:
        raise NoKernel(_absent(method, "weighted or masked statistics"))
    laid = call.layout.read(x)
    recipe, eps = recipe_of(triple, call)
    lying = (1,) * laid.ndim
    radius = 1 / math.sqrt(call.part.blocks[2]) if recipe.on_unit_sphere else 1.0
    given = dict(zip(triple.recovery.parameters, call.parameters, strict=True))
    unit = _scale(triple, call, lying, radius, dict.fromkeys(given))
    shift = np.zeros(lying) if given.get("beta") is None else call.layout.along(given["beta"], triple.recovery.name)
    run = np.broadcast_shapes(_scale(triple, call, lying, radius, given).shape, shift.shape)
    form = form_of(laid, call.part, run)
    if form is None:
        raise NoKernel(_absent(method, f"{triple.x} of shape {x.shape}, parameters along {run}, in this order of memory"))
    return Plan(replace(call, parameters=()), form, recipe, eps, arguments.get("dialect"), lying, radius, unit)


def _scale(triple: Norm, call: Call, lying: tuple[int, ...], radius: float, given: Mapping[str, Any]) -> Any:
    """What xhat is multiplied by: the recovery of 1 without its beta."""
    factors = [None if v is None or k == "beta" else wide(v) for k, v in given.items()]
    recover: Any = triple.recovery.forward
    return recover(np.ones(lying), *factors, layout=call.layout, **call.recovery_options) * radius


def _absent(method: Method, what: str) -> str:
    return f"backend 'numba' has no kernel for {method.name} with {what}; backend='numpy' has it"


def forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    """y, saved; and the new state where there is a population."""
    triple = method.triple
    x = arguments[triple.x]
    w = work(method, arguments, x)
    b, d, _ = shape = w.call.part.blocks
    statistics, saved = np.empty((3, b * d)), None
    if not w.training:
        saved = triple.operation.from_population(**running_statistics(arguments["state"], w.call), **w.call.options)
        statistics = _given(w, saved)
    y = w.form.empty(x.dtype)
    if x.size:
        fill_forward(w, as_stored(w.form.read(w.call.layout.read(x))), as_stored(y), statistics)
    if saved is None:
        saved = w.recipe.saved(*(w.form.to_reference(s, shape) for s in statistics))
    y = w.call.layout.write(w.form.write(y))
    return (y, saved, triple._updated(saved, w.call, arguments)) if triple.state is not None else (y, saved)


def backward(method: Method, dy: np.ndarray, cache: Cache) -> tuple:
    """One gradient per array, in the arrays' dtypes; None for one that was not given."""
    triple = method.triple
    x = cache.arguments[triple.x]
    wider = np.result_type(x, dy) if x.dtype != dy.dtype else x.dtype
    w = work(method, cache.arguments, x.astype(wider, copy=False))
    dx = w.form.empty(wider)
    kernel_x, kernel_dy = (as_stored(w.form.read(w.call.layout.read(a.astype(wider, copy=False)))) for a in (x, dy))
    sums = np.zeros(sums_shape(w)), np.zeros(sums_shape(w))
    if x.size:
        fill_backward(w, kernel_dy, kernel_x, _given(w, cache.saved), as_stored(dx), *sums)
    gradients: list[Any] = []
    for name, parameter, total in zip(triple.recovery.parameters, w.call.parameters, sums, strict=False):
        if parameter is None:
            gradients.append(None)
            continue
        gradient = w.form.gradient(total)
        if name != "beta":
            gradient = gradient * w.unit
        gradients.append(narrow(gradient.reshape(parameter.shape), parameter.dtype))
    return narrow(w.call.layout.write(w.form.write(dx)), x.dtype), *gradients


def _given(w: Work, saved: Any) -> np.ndarray:
    """Statistics (3, B) in memory order from what a forward, on any backend, has saved."""
    rstd = getattr(saved, "rstd", np.ones(()))
    var = getattr(saved, "var", getattr(saved, "square", np.zeros(())))
    mean = getattr(saved, "mean", np.zeros(()))
    shape = (*w.call.part.blocks[:2], 1)
    return np.stack([w.form.from_reference(np.broadcast_to(s, shape)) for s in (mean, var, rstd)])


def fill_forward(w: Work, x: np.ndarray, y: np.ndarray, statistics: np.ndarray) -> None:
    """y is written, and in training the statistics (3, B)."""
    code = w.recipe.code
    if w.form.family == "rows":
        fast = rows_lanes.forward if rows_lanes.pays_forward(x, w.scale) else rows.forward
        fast(code, x, w.scale, w.shift, w.eps, y, statistics)
    elif w.form.family == "positions":
        positions.forward(code, x, w.scale[0], w.shift[0], w.eps, y, statistics)
    elif w.form.family == "columns":
        columns.forward(code, w.training, w.form.groups, x, w.scale, w.shift, w.eps, y, statistics)
    else:
        planes.forward(code, w.training, x, w.scale, w.shift, w.eps, y, statistics)


def sums_shape(w: Work) -> tuple[int, ...]:
    """Of dscale and dshift in the kernel: one number for each block and what is in it that may have its own parameter."""
    shape = w.form.shape
    return {"rows": w.form.parameters, "positions": shape[:2], "columns": shape[::2], "planes": shape[:3]}[w.form.family]


def fill_backward(
    w: Work, dy: np.ndarray, x: np.ndarray, statistics: np.ndarray, dx: np.ndarray, dscale: np.ndarray, dshift: np.ndarray
) -> None:
    """dx, dscale and dshift are written."""
    code, given = w.recipe.code, (dy, x, statistics)
    if w.form.family == "rows":
        fast = rows_lanes.backward if rows_lanes.pays_backward(x, w.scale) else rows.backward
        fast(code, *given, w.scale, w.eps, dx, dscale, dshift)
    elif w.form.family == "positions":
        positions.backward(code, *given, w.scale[0], w.eps, dx, dscale, dshift)
    elif w.form.family == "columns":
        columns_backward.backward(code, w.training, w.form.groups, *given, w.scale, w.eps, dx, dscale, dshift)
    else:
        planes.backward(code, w.training, *given, w.scale, w.eps, dx, dscale, dshift)


def methods() -> dict[str, tuple[Callable, Callable]]:
    """Every declared method that is an operation and a recovery with kernels."""
    return {name: (partial(forward, m), partial(backward, m)) for name, m in NORMS.items() if has_kernels(m)}
