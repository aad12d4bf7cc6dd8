"""Facts: what holds of a method and what does not, declared here, proven in both directions in refnorm.proofs.

The invariances are those of a layer: h = norm(W x) for methods that act on activations, h = norm(W) x for those that act on
weights, with x of shape (N, I, *spatial), W of shape (C, I); J. L. Ba et al., arXiv 1607.06450, table 1, extended.
Each transformation T is linear or a shift in one argument.  Where h(T v) = h(v), the chain rule gives the gradient's answer,
T' dL/dv (T v) = dL/dv (v): under W -> a W it shrinks by 1/a (exponent -1), under a shift it stays (exponent 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Cell = Literal["yes", "forward", "dense", "no"]
"""Holds; holds of the output alone, the gradient taking what it stops as constants; holds only without spatial axes; does not
hold, and there is a witness."""


@dataclass(frozen=True)
class Transformation:
    """v -> T(v) for v = W or x, its action on cotangents, and its generator dT(v)/dt at the identity."""

    of: Literal["weight", "data"]
    words: str
    exponent: int                                             # of the gradient: -1 for scales, 0 for shifts
    draw: Callable[[np.random.Generator, tuple[int, ...]], Any]
    apply: Callable[[Any, Any], Any]
    adjoint: Callable[[Any, Any], Any]
    generator: Callable[[Any, Any], Any]


def _scale(of: Literal["weight", "data"], words: str, shape: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Transformation:
    return Transformation(
        of,
        words,
        -1,
        lambda rng, v: np.exp(rng.uniform(-1, 1, shape(v)) + np.log(2)),
        lambda v, a: a * v,
        lambda g, a: a * g,
        lambda v, a: v * np.log(a),
    )


def _shift(of: Literal["weight", "data"], words: str, shape: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Transformation:
    return Transformation(
        of,
        words,
        0,
        lambda rng, v: rng.normal(size=shape(v)) + 1,
        lambda v, a: v + a,
        lambda g, a: g,
        lambda v, a: np.broadcast_to(a, v.shape),
    )


TRANSFORMATIONS: Mapping[str, Transformation] = {
    "weight_matrix_scale": _scale("weight", "W -> a W", lambda v: ()),
    "weight_vector_scale": _scale("weight", "w_c -> a_c w_c", lambda v: (v[0], *(1 for _ in v[1:]))),
    "weight_recentering": _shift("weight", "W -> W + 1 g'", lambda v: (1, *v[1:])),
    "weight_row_shift": _shift("weight", "w_c -> w_c + b_c 1", lambda v: (v[0], *(1 for _ in v[1:]))),
    "weight_group_scale": replace(
        _scale("weight", "W's halves scaled", lambda v: ()),
        draw=lambda rng, v: np.repeat(np.exp(rng.uniform(-1, 1, 2) + np.log(2)), (v[0] - v[0] // 2, v[0] // 2)).reshape(
            v[0], *(1 for _ in v[1:])
        ),
    ),
    "data_scale": _scale("data", "x -> a x", lambda v: ()),
    "data_shift": _shift("data", "x_n -> x_n + d", lambda v: (1, v[1], *(1 for _ in v[2:]))),
    "case_scale": _scale("data", "x_n -> a_n x_n", lambda v: (v[0], *(1 for _ in v[1:]))),
}


@dataclass(frozen=True)
class Facts:
    """What a method declares of itself; every cell is proven."""

    invariances: Mapping[str, Cell]

    def __post_init__(self) -> None:
        if set(self.invariances) != set(TRANSFORMATIONS):
            raise ValueError(f"facts must decide each of {', '.join(TRANSFORMATIONS)}; got {', '.join(self.invariances)}")


def invariances(row: str) -> Facts:
    """Facts from a row of cells in the order of TRANSFORMATIONS: "yes yes no no yes yes yes no"."""
    cells: Any = row.split()
    return Facts(dict(zip(TRANSFORMATIONS, cells, strict=True)))
