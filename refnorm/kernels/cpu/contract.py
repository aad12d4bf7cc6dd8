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
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.method import NORMS, Cache, Method
from refnorm.anatomy.norm import Call, Norm, running_statistics
from refnorm.anatomy.precision import narrow, wide
from refnorm.anatomy.recovery import Affine, Gain, Identity, Scale
from refnorm.operations import center, deviation, rms, standardize, weight_standardize

from . import columns, columns_backward, planes, positions, row, rows, rows_lanes
from .form import Form, form_of
from .storage import arithmetic, as_stored


class Recipe(NamedTuple):
    """How an operation is computed here, and what is saved of it."""

    code: int
    saved: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]        # (mean, var, rstd), each (B, D, 1)
    on_unit_sphere: bool = False


def _weight_standardized(spread: str, mean: Any, var: Any, rstd: Any, eps: float, m: int) -> Any:
    return weight_standardize.Saved(mean, var, rstd, weight_standardize.SPREADS[spread](var, eps, m)[1])


RECIPES = {
    "standardize": Recipe(row.STANDARDIZE, standardize.Saved),
    "rms": Recipe(row.RMS, lambda mean, square, rstd: rms.Saved(square, rstd)),
    "center": Recipe(row.CENTER, lambda mean, var, rstd: center.Saved(mean)),
    "deviation": Recipe(row.DEVIATION, deviation.Saved),
}
ON_UNIT_SPHERE = {f"{name} / sqrt(M)": recipe._replace(on_unit_sphere=True) for name, recipe in RECIPES.items()}
SPREADS = {"inside": row.STANDARDIZE, "outside": row.SAMPLE_DEVIATION, "floor": row.FLOOR}
WEIGHT_STANDARDIZE = "weight standardize"


def has_kernels(method: Method) -> bool:
    """Is a method an operation and a recovery that the kernels here know?"""
    triple = method.triple
    return (
        isinstance(triple, Norm)
        and triple.operation.name in (*RECIPES, *ON_UNIT_SPHERE, WEIGHT_STANDARDIZE)
        and isinstance(triple.recovery, (Identity, Affine, Scale, Gain))
    )


class Work(NamedTuple):
    """One call in the kernels' terms."""

    call: Call
    form: Form
    recipe: Recipe
    eps: float
    training: bool
    scale: np.ndarray
    shift: np.ndarray
    unit: Any                                     # what scale is at a parameter of 1: dy/dparameter = unit xhat
    number: Any                                   # the arithmetic's type


def work(method: Method, arguments: Mapping[str, Any], x: np.ndarray) -> Work:
    """A call, checked by the reference, and laid out.  Raises ValueError for what there is no kernel for."""
    triple = method.triple
    # Of x the reference's checks read shape and dtype alone: a zero-strided stand-in, whose reshapes cost nothing.
    stand_in = np.broadcast_to(np.zeros((), x.dtype), x.shape)
    call = triple.call(**{**arguments, triple.x: stand_in})
    if call.weighted:
        raise NoKernel(_absent(method, "weighted or masked statistics"))
    laid = call.layout.read(x)
    recipe, eps = _recipe(triple, call)
    given = dict(zip(triple.recovery.parameters, call.parameters, strict=True))
    factors = {k: None if v is None or k == "beta" else wide(v) for k, v in given.items()}
    ones = np.ones((1,) * laid.ndim)
    recovered = partial(triple.recovery.forward, layout=call.layout, **call.recovery_options)
    unit = recovered(ones, *(None for _ in given)) * (1 / math.sqrt(call.part.blocks[2]) if recipe.on_unit_sphere else 1.0)
    scale = recovered(ones, *factors.values()) * (1 / math.sqrt(call.part.blocks[2]) if recipe.on_unit_sphere else 1.0)
    beta = given.get("beta")
    shift = 0.0 * ones if beta is None else call.layout.along(wide(beta), triple.recovery.name)
    run = np.broadcast_shapes(scale.shape, shift.shape)
    form = form_of(laid, call.part, run)
    if form is None:
        raise NoKernel(_absent(method, f"{triple.x} of shape {x.shape}, parameters along {run}, in this order of memory"))
    number = arithmetic(x.dtype)
    scale, shift = form.parameter(scale, number), form.parameter(shift, number)
    return Work(call, form, recipe, eps, arguments.get("training", True), scale, shift, unit, number)


def _absent(method: Method, what: str) -> str:
    return f"backend 'numba' has no kernel for {method.name} with {what}; backend='numpy' has it"


def _recipe(triple: Norm, call: Call) -> tuple[Recipe, float]:
    name, m = triple.operation.name, call.part.blocks[2]
    eps = call.options.get("eps", 0.0)
    if name == WEIGHT_STANDARDIZE:
        spread = call.options["spread"]
        return Recipe(SPREADS[spread], partial(_weight_standardized, spread, eps=eps, m=m)), eps
    recipe = RECIPES.get(name) or ON_UNIT_SPHERE[name]
    return recipe, eps / m if recipe.on_unit_sphere else eps


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
