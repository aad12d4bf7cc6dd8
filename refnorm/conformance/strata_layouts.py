"""The stratum of memory layouts: all arrays alike, one of them alone, x and dy in two ways, and a cotangent without strides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import values
from .cases import Case
from .plan import Plan


def layouts(plan: Plan) -> Iterator[Case]:
    names = (
        "Fortran-ordered", "reversed", "every second entry", "rows apart", "offset by one", "channels last",
        "channels last, offset by one",
    )  # fmt: skip
    for name in names:
        for rows, n, spatial in ((4, 12, 2), (3, 70, 1)):  # kernels with one stride a row take two axes alone
            label, quick = f"{name}, rows of {n}", n == 12 or name == "rows apart"
            yield plan.rows("layouts", label, values.ordinary, rows, n, spatial=spatial, layout=name, quick=quick)
        if "training" in plan.convention.options:
            label, quick = f"{name}, evaluation", name == "every second entry"
            yield plan.rows("layouts", label, values.ordinary, 4, 12, spatial=2, layout=name, quick=quick, training=False)
    equal = plan.rows("layouts", "broadcast", values.ordinary, 4, 12, layout="broadcast")
    yield equal.replaced(**{plan.convention.arrays[0]: np.repeat(equal.x[:1], equal.x.shape[0], axis=0)})
    for dy in ("ones", "alike"):  # y.sum().backward(), a bias added to y
        for rows, n in ((4, 12), (3, 70)):
            label, layout = f"dy {dy}, rows of {n}", "dy is broadcast"
            yield plan.rows("layouts", label, values.ordinary, rows, n, dy=dy, layout=layout, quick=n == 12)
    for k, name in enumerate(names):
        for who in (plan.convention.arrays[0], "dy", "a parameter", *(("residual",) if plan.prologue else ())):
            quick = (who, name) in (("dy", "channels last"), ("dy", "Fortran-ordered"), ("a parameter", "every second entry"))
            layout, spatial = f"{who} is {name}", 1 if who == "a parameter" else 2
            yield plan.rows("layouts", layout, values.ordinary, 4, 12, spatial=spatial, layout=layout, quick=quick)
        layout = f"{plan.convention.arrays[0]} is {name} and dy is {names[k - 1]}"
        yield plan.rows("layouts", layout, values.ordinary, 4, 12, spatial=2, layout=layout, quick=k == 0)
