"""The strata: named families of inputs, each a deterministic generator of cases, those of `--quick` marked.

Every case carries a forward, a backward and, where a norm has them, running statistics; the checks read what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from . import strata_layouts, strata_shapes, strata_state, values
from .cases import Case, stored
from .conventions import TRAILING
from .plan import Plan
from .shapes import Shape, Spread, shaped
from .tolerance_arithmetic import FORMATS

Stratum = Callable[[Plan], Iterator[Case]]
SHAPES: tuple[tuple[int, int, Spread], ...] = (
    (3, 12, "even"),
    (4, 5, "first"),
    (2, 8, "last"),
    (5, 6, "even"),
    (3, 40, "even"),
)


def ordinary(plan: Plan) -> Iterator[Case]:
    for k, (rows, n, spread) in enumerate(SHAPES):
        eps = (1e-5, 1e-3, 0.1, 1e-6, 1e-4)[k]
        yield plan.rows("ordinary", f"{rows} rows of {n}", values.ordinary, rows, n, spread=spread, eps=eps, quick=k < 3)
    yield plan.rows("ordinary", "the dialect's eps", values.ordinary, 3, 9, quick=True)
    yield plan.rows("ordinary", "whole numbers", values.integers, 3, 8, gamma="ones")
    if "training" in plan.convention.options:
        yield plan.rows("ordinary", "evaluation", values.ordinary, 3, 8, training=False, eps=1e-3, quick=True)
        yield plan.rows("ordinary", "evaluation, flat", values.ordinary, 5, 4, spread="first", training=False, quick=True)


def offset(plan: Plan) -> Iterator[Case]:
    """|mean|/std from 1 to 1/sqrt(u) on rows of 7 to 129: where the variance's algorithm shows."""
    most = min(1 / np.sqrt(plan.unit), 0.25 / plan.storage_unit if plan.storage_unit > plan.unit else np.inf)
    ladder = [k for k in (1, 4, 10, 30, 100, 300, 1e3, 3e3, 1e4, 1e5, 1e6, 1e7, 9e7) if k <= most]
    for n in (7, 33, 129):
        for kappa in ladder:
            label = f"|mean|/std = {kappa:g}, rows of {n}"
            quick = (n == 33 and kappa in (1, 10, 30, 100, 300, 1e3)) or (n == 7 and kappa == 10) or (n == 129 and kappa == 300)
            yield plan.rows("offset rows", label, values.offset(kappa), 4, n, kappa=kappa, quick=quick, gamma="signs")
    for n, kappa in ((1024, 10.0), (4099, 10.0), (4096, 100.0), (16385, 1000.0)):
        if kappa <= most:
            label, quick = f"|mean|/std = {kappa:g}, rows of {n}", n == 16385
            yield plan.rows("offset rows", label, values.offset(kappa), 2, n, kappa=kappa, quick=quick)
    spreads: tuple[tuple[int, Spread], ...] = ((0, "first"), (2, "even"), (3, "even"))
    for spatial, spread in spreads if most >= 1000 else ():  # each number of axes may have a kernel of its own
        label, draw = f"|mean|/std = 1000, rows of 36, {spatial} further axes", values.offset(1000)
        yield plan.rows("offset rows", label, draw, 8, 36, spread=spread, spatial=spatial, kappa=1000, quick=True)


def magnitudes(plan: Plan) -> Iterator[Case]:
    form, kept = FORMATS[plan.arithmetic.x], FORMATS[plan.arithmetic.compute]
    square = np.sqrt(kept.largest)
    for exponent in (-3, -6, -9, -12, -15):
        scale = 10.0**exponent
        if scale > 32 * form.normal:
            yield plan.rows("magnitudes", f"values of 1e{exponent}", values.scaled(scale), 3, 11, quick=exponent == -6)
            yield plan.rows("magnitudes", f"values of 1e{exponent}, eps 1e-12", values.scaled(scale), 3, 11, eps=1e-12)
    for scale in (300.0, 6000.0, 1e4, 1e8, 1e12, 1e15, square / 1e3):
        if 6 * scale < form.largest and scale < square / 100:
            quick = scale in (300.0, 1e8, 1e15)
            yield plan.rows("magnitudes", f"values of {scale:.0e}", values.scaled(scale), 3, 11, quick=quick)
            yield plan.rows("magnitudes", f"values of {scale:.0e}, long rows", values.scaled(scale), 2, 1030)
    if 6e4 < form.largest < 1e5:
        yield plan.rows("magnitudes", "sums beyond float16", values.scaled(100.0, 3.0), 2, 2048, quick=True)
        yield plan.rows("magnitudes", "squares beyond float16", values.scaled(1000.0), 3, 64, quick=True)
    yield plan.rows("magnitudes", "subnormal values", values.scaled(form.normal / 8), 3, 9)
    yield plan.rows("magnitudes", "large cotangents", values.ordinary, 3, 16, dy="huge")
    yield plan.rows("magnitudes", "small cotangents", values.ordinary, 3, 16, dy="tiny")


def constants(plan: Plan) -> Iterator[Case]:
    unit = plan.storage_unit
    for n in (5, 16, 129):
        yield plan.rows("constant rows", f"0, rows of {n}", values.constant(0.0), 3, n, eps=1e-5, quick=n == 5)
        yield plan.rows("constant rows", f"3, rows of {n}", values.constant(3.0), 3, n, eps=1e-5, quick=n == 16)
        yield plan.rows("constant rows", f"0.1, rows of {n}", values.constant(0.1), 3, n, eps=1e-3)
    top = 1000.0
    yield plan.rows("constant rows", "1000.1", values.constant(top + 0.1), 3, 100, eps=1e-5, quick=True)
    yield plan.rows("constant rows", "one ulp beside 1", values.nearly_constant(1.0, 2 * unit), 3, 17, eps=1e-5)
    yield plan.rows("constant rows", "nearly constant", values.nearly_constant(1.0, 64 * unit), 3, 33, eps=1e-6)
    yield plan.rows("constant rows", "one large entry", values.spike(100.0), 3, 24, quick=True)
    yield plan.rows("constant rows", "one large entry, long rows", values.spike(1000.0), 2, 513)
    yield plan.rows("constant rows", "large entry last", values.last_spike(50.0), 3, 37)


def epsilons(plan: Plan) -> Iterator[Case]:
    for eps in (1e-3, 1e-5, 1e-8):
        for factor in (0.3, 1.0, 3.0):
            deviation, label = factor * np.sqrt(eps), f"deviation {factor:g} sqrt(eps), eps {eps:g}"
            if deviation > 64 * FORMATS[plan.arithmetic.x].normal:
                yield plan.rows("eps", label, values.scaled(deviation), 3, 10, eps=eps, quick=eps == 1e-5)
    yield plan.rows("eps", "eps 0", values.ordinary, 3, 10, eps=0.0, quick=True)
    for eps in (10.0, 1.0, 0.25):
        yield plan.rows("eps", f"eps {eps:g}", values.ordinary, 3, 10, eps=eps, quick=eps == 10.0)
    yield plan.rows("eps", "deviations around sqrt(eps)", values.ragged(np.sqrt(1e-4)), 6, 12, eps=1e-4)
    if "training" in plan.convention.options:
        yield plan.rows("eps", "evaluation, eps 10", values.ordinary, 3, 10, eps=10.0, training=False)


def parameters(plan: Plan) -> Iterator[Case]:
    if len(plan.method.arrays) == 1:
        return
    plain: dict[str, Any] = {"offset": 0} if "offset" in plan.convention.options else {}  # a weight of 0 is one of gamma alone
    for k, (gamma, beta) in enumerate((("some zeros", "some zeros"), ("signs", "drawn"), ("drawn", "zeros"))):
        label = f"gamma {gamma}, beta {beta}"
        yield plan.rows("parameters", label, values.ordinary, 4, 10, gamma=gamma, beta=beta, quick=k == 0, **plain)
    kinds = [("none", "none")] if len(plan.method.arrays) == 2 else [("none", "none"), ("drawn", "none"), ("none", "drawn")]
    for gamma, beta in kinds:
        label = f"gamma {'None' if gamma == 'none' else 'given'}, beta {'None' if beta == 'none' else 'given'}"
        yield plan.rows("parameters", label, values.ordinary, 4, 10, gamma=gamma, beta=beta, quick=True)
        if "training" in plan.convention.options:
            yield plan.rows(
                "parameters", f"{label}, evaluation", values.ordinary, 4, 10, gamma=gamma, beta=beta, training=False
            )
    if "offset" in plan.convention.options:
        for shift in (0, 1):
            yield plan.rows("parameters", f"offset {shift}", values.ordinary, 3, 8, offset=shift, quick=True)


def cotangents(plan: Plan) -> Iterator[Case]:
    for dy in ("centred", "aligned", "spike", "zeros"):
        for rows, n in ((3, 10), (2, 130)):
            yield plan.rows(
                "cotangents", f"dy {dy}, rows of {n}", values.ordinary, rows, n, dy=dy, quick=dy == "spike" and n == 10
            )


def odd_rows(plan: Plan) -> Iterator[Case]:
    for name, draw in (("sorted", values.sorted_up), ("alternating", values.alternating), ("Cauchy", values.cauchy)):
        for n in (33, 600):
            yield plan.rows("odd rows", f"{name}, rows of {n}", draw, 3, n)


def real(plan: Plan) -> Iterator[Case]:
    """Activations of a small network trained on scikit-learn's digits, recorded before each norm."""
    for key, x in recorded(plan.method.name).items():
        if plan.normalized_ndim not in (None, x.ndim - 1) and plan.method.name in TRAILING:
            continue
        yield _recorded_case(plan, key, x[:32])


def _recorded_case(plan: Plan, key: str, x: np.ndarray) -> Case:
    shape = shaped(plan.method, 1, 1)
    options = dict(shape.options)
    if "num_groups" in options:
        options["num_groups"] = next(g for g in (4, 2, 1) if x.shape[1] % g == 0)
    if "axes" in options:
        options["axes"] = (0, *range(2, x.ndim))
    ndim = x.ndim - 1 if plan.method.name in TRAILING and x.ndim > 2 else 1
    case = plan.case("real activations", key, values.ordinary, Shape(x.shape, options, ndim), quick=False)
    placed = np.moveaxis(x, 1, -1) if case.channel_axis == -1 else x
    return case.replaced(**{plan.convention.arrays[0]: stored(placed, plan.arithmetic.x)})


def recorded(norm: str) -> dict[str, np.ndarray]:
    """Every recorded activation (float32, (N, C) or (N, C, H, W)), those of this norm first; {} where the file is absent."""
    from importlib.resources import files

    path = files("refnorm") / "data" / "digits_activations.npz"
    if not path.is_file():
        return {}
    with path.open("rb") as file, np.load(file) as stored_arrays:
        keys = [k for k in stored_arrays.files if stored_arrays[k].ndim >= 2]
        own = [k for k in keys if k.startswith(norm + "/")]
        return {k: stored_arrays[k] for k in (own or keys[:2])}


STRATA: dict[str, Stratum] = {
    "ordinary": ordinary,
    "parameters": parameters,
    "momentum": strata_state.momentum,
    "eps": epsilons,
    "shapes": strata_shapes.shapes,
    "edges": strata_shapes.edges,
    "constant rows": constants,
    "cotangents": cotangents,
    "offset rows": offset,
    "magnitudes": magnitudes,
    "evaluation": strata_state.evaluation,
    "odd rows": odd_rows,
    "mask": strata_state.mask,
    "shards": strata_state.shards,
    "layouts": strata_layouts.layouts,
    "lengths": strata_shapes.lengths,
    "many rows": strata_shapes.many_rows,
    "real activations": real,
}
"""In the order in which they are tried: what is cheap and telling first."""


def cases(plan: Plan, quick: bool = False, tried: Mapping[str, Stratum] = STRATA) -> Iterator[Case]:
    for stratum in tried.values():
        for case in stratum(plan):
            if case.quick or not quick:
                yield case
