"""Recipes: how each of the reference's row-wise operations is computed here, and what is saved of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.mask import masked
from refnorm.anatomy.method import Method
from refnorm.anatomy.norm import Call, Norm
from refnorm.anatomy.recovery import Affine, Gain, Identity, Scale
from refnorm.operations import center, deviation, rms, standardize, weight_standardize

from . import row


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
        and triple.counts is masked               # others count a part of the entries in every call
    )


def recipe_of(triple: Norm, call: Call) -> tuple[Recipe, float]:
    name, m = triple.operation.name, call.part.blocks[2]
    eps = call.options.get("eps", 0.0)
    if name == WEIGHT_STANDARDIZE:
        spread = call.options["spread"]
        return Recipe(SPREADS[spread], partial(_weight_standardized, spread, eps=eps, m=m)), eps
    recipe = RECIPES.get(name) or ON_UNIT_SPHERE[name]
    return recipe, eps / m if recipe.on_unit_sphere else eps
