"""Strata of methods that are no rows: from the examples of the declaration, at other shapes, values and options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .cases import Case
from .memory import LAYOUTS
from .plan import Plan
from .tolerance_arithmetic import FORMATS

LENGTHS = (1, 2, 7, 8, 17, 33, 64, 129, 257, 1025)


def examples(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Those that name no other dialect than the plan's, of its channel axis, without masks."""
    own = plan.method.signature.parameters
    default = own["channel_axis"].default if "channel_axis" in own else plan.channel_axis
    plain = [e for e in plan.method.examples if "mask" not in e and e.get("channel_axis", default) == plan.channel_axis]
    plain = plain or [e for e in plan.method.examples if "mask" not in e]
    dialect = plan.dialect or next(iter(plan.method.dialects))
    yield from [e for e in plain if e.get("dialect", dialect) == dialect] or plain


def ordinary(plan: Plan) -> Iterator[Case | None]:
    for k, example in enumerate(examples(plan)):
        for eps in (None, 0.1, 1e-3) if "eps" in plan.convention.options else (None,):
            options: Any = {} if eps is None or example.get("eps") is not None else {"eps": eps}
            yield plan.example("ordinary", f"example {k}, eps {eps}", example, quick=eps is None or k == 0, **options)
        for turn in range(4):
            yield plan.example("ordinary", f"example {k}, draw {turn}", example, quick=turn == 0)
        square = (max(4, *example["shape"]),) * len(example["shape"])  # a kernel that finds its axis by its length is wrong
        if np.prod(square) <= 2000:
            yield plan.example("ordinary", f"example {k}, axes of one length", example, shape=square, quick=k == 0)
        if "training" in plan.convention.options and example.get("training", True):
            for turn in range(2):
                yield plan.example("ordinary", f"example {k}, evaluation {turn}", example, quick=turn == 0, training=False)


def parameters(plan: Plan) -> Iterator[Case | None]:
    """Each parameter left out, then all of them."""
    for k, example in enumerate(examples(plan)):
        for name in (*plan.method.arrays[1:], "all"):
            without = plan.method.arrays[1:] if name == "all" else (name,)
            yield plan.example("parameters", f"example {k} without {name}", example, without=without, quick=k == 0)


def options(plan: Plan) -> Iterator[Case | None]:
    """Each option at values that no example has, where the method takes them."""
    for k, example in enumerate(examples(plan)):
        for name, value in _other_options(plan, example):
            quick, along = k == 0, name in ("dim", "axis")
            yield plan.example("options", f"example {k}, {name} {value}", example, quick=quick, **{name: value})
            if along:  # where all axes are alike, one that is taken for another raises nothing
                alike = (4,) * len(example["shape"])
                label = f"example {k}, {name} {value}, axes of 4"
                yield plan.example("options", label, example, shape=alike, quick=quick, **{name: value})


def _other_options(plan: Plan, example: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """training and eps have strata of their own; a negative axis is None in PyTorch's weight norm: none is asked for."""
    asked = {name: example[name] for name in plan.convention.options if name in example}
    for name, value in plan.options_of(asked).items():
        if name in ("training", "eps") or name in plan.fixed:
            continue
        if name in ("dim", "axis"):
            others: tuple[Any, ...] = (*range(len(example["shape"])), None)
        elif isinstance(value, bool):
            others = (not value,)
        elif isinstance(value, int):
            others = (1, 2, value + 1, value + 2)
        else:
            others = (value / 2, 3 * value) if isinstance(value, float) else ()
        yield from ((name, other) for other in dict.fromkeys(others) if other != value)


def sizes(plan: Plan) -> Iterator[Case | None]:
    """One axis after the other at lengths around block sizes, where the method takes them."""
    for k, example in enumerate(examples(plan)):
        for axis in range(len(example["shape"])):
            for n in LENGTHS if k == 0 else (3, 17):
                shape = tuple(n if a == axis else s for a, s in enumerate(example["shape"]))
                if np.prod(shape) <= (20000 if plan.heavy else 2000):
                    yield plan.example(
                        "lengths", f"example {k}, axis {axis} of length {n}", example, shape=shape, quick=n == 33
                    )


def magnitudes(plan: Plan) -> Iterator[Case | None]:
    form = FORMATS[plan.arithmetic.x]
    for k, example in enumerate(examples(plan)):
        for scale in (1e-2, 1e-4, 30.0, 1e3):
            if 10 * scale < form.largest:
                draw = _scaled(scale)
                quick = scale == 30.0 or k == 0
                yield plan.example("magnitudes", f"example {k}, values of {scale:g}", example, draw=draw, quick=quick)
        yield plan.example("magnitudes", f"example {k}, zeros", example, draw=_scaled(0.0), quick=k == 0)
        if "eps" in plan.convention.options and form.normal < 1e-20:  # what is floored beside eps shows where both are small
            label = f"example {k}, values of 0.001, eps 1e-09"
            yield plan.example("magnitudes", label, example, draw=_scaled(1e-3), quick=k == 0, eps=1e-9)
        if plan.method.acts_on == "weights" and form.normal < 1e-20:  # a length of a weight has no least one
            yield plan.example("magnitudes", f"example {k}, values of 1e-06", example, draw=_scaled(1e-6), quick=k == 0)
        centred = plan.method.acts_on == "activations" or plan.method.facts.invariances["weight_row_shift"] == "yes"
        for kappa in (3.0, 10.0, 100.0) if centred else ():
            yield plan.example(
                "offset rows", f"example {k}, mean of {kappa:g}", example, draw=_shifted(kappa), quick=kappa == 10.0
            )


def cotangents(plan: Plan) -> Iterator[Case | None]:
    for k, example in enumerate(examples(plan)):
        for dy in ("spike", "zeros", "huge"):
            yield plan.example("cotangents", f"example {k}, dy {dy}", example, dy=dy, quick=dy == "spike" and k == 0)


def layouts(plan: Plan) -> Iterator[Case | None]:
    for k, example in enumerate(examples(plan)):
        for name in LAYOUTS:
            if name not in ("contiguous", "broadcast"):
                yield plan.example("layouts", f"example {k}, {name}", example, layout=name, quick=k == 0)


def spectra(plan: Plan) -> Iterator[Case | None]:
    """Whitening: repeated, near-repeated and zero eigenvalues, m = d + 1, condition 1e8."""
    triple = plan.method.triple
    if triple is None or triple.area.pattern.split("|")[1].strip() == "" or plan.method.acts_on != "activations":
        return
    for k, example in enumerate(examples(plan)):
        for name, shape_of in SPECTRA.items():
            yield plan.example(
                "spectra", f"example {k}, {name}", example, draw=_spectrum(shape_of, plan),
                quick=name == "equal" or (k == 0 and name == "condition 1e8"),
            )
        yield plan.example("spectra", f"example {k}, equal to the last bit", example, draw=_disjoint(plan), quick=True)


SPECTRA: dict[str, Callable[[int], np.ndarray]] = {
    "equal": lambda d: np.ones(d),
    "nearly equal": lambda d: 1 + 1e-6 * np.arange(d),
    "two and two": lambda d: np.where(np.arange(d) % 2, 1.0, 4.0),
    "one of them zero": lambda d: np.where(np.arange(d) == 0, 0.0, 1 + np.arange(d)),
    "condition 1e8": lambda d: np.geomspace(1, 1e-8, d),
}


def _spectrum(of: Callable[[int], np.ndarray], plan: Plan) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """x whose channels have this covariance spectrum over everything else, up to the last of them that m allows."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        axis = plan.channel_axis % len(shape)
        c = shape[axis]
        z = rng.normal(size=(c, int(np.prod(shape)) // max(c, 1)))
        z -= z.mean(axis=1, keepdims=True)
        u, _, v = np.linalg.svd(z, full_matrices=False)
        rank = min(c, v.shape[0])
        z = (u[:, :rank] * np.sqrt(of(rank) * z.shape[1])) @ v[:rank]
        moved = z.reshape(c, *(n for a, n in enumerate(shape) if a != axis))
        return np.moveaxis(moved, 0, axis)

    return draw


def _disjoint(plan: Plan) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """x whose channel i is 1, -1 at two samples of its own and 0 elsewhere: a covariance 2/m I without any rounding.

    A drawn spectrum is equal up to rounding alone, and 1 / (l_i - l_j) survives that.
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        axis = plan.channel_axis % len(shape)
        c, rest = shape[axis], tuple(n for a, n in enumerate(shape) if a != axis)
        z = np.zeros((c, math.prod(rest)))
        m = z.shape[1]
        if m < 2 * c:
            return rng.normal(size=shape)
        places = rng.permutation(m)[: 2 * c]
        z[np.arange(c), places[:c]], z[np.arange(c), places[c:]] = 1, -1
        return np.moveaxis(z.reshape(c, *rest), 0, axis)

    return draw


def _scaled(scale: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    return lambda rng, shape: scale * (0.5 + rng.normal(size=shape))


def _shifted(kappa: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    return lambda rng, shape: kappa + rng.normal(size=shape)


def _given(stratum: Callable[[Plan], Iterator[Case | None]]) -> Callable[[Plan], Iterator[Case]]:
    """Without the cases that the method refuses."""
    return lambda plan: (case for case in stratum(plan) if case is not None)


STRATA: dict[str, Callable[[Plan], Iterator[Case]]] = {
    "ordinary": _given(ordinary),
    "parameters": _given(parameters),
    "options": _given(options),
    "spectra": _given(spectra),
    "cotangents": _given(cotangents),
    "magnitudes": _given(magnitudes),
    "layouts": _given(layouts),
    "lengths": _given(sizes),
}
