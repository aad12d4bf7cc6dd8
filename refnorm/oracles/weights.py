"""Loops for the norms of the rows of weights and of their gradients: each row a list of scalars, as the papers write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import weight_matrices, weight_spectra
from .activations import gathered, root


def row_of(w: Any, dim: Any) -> Callable[[tuple[int, ...]], Any]:
    return lambda i: () if dim is None else i[dim % w.ndim]


def by_row(w: Any, dim: Any, of_row: Callable[[list], Callable[[Any], Any]], g: Any = None) -> Any:
    """Each entry through the function that its row makes; times g of its row."""
    row = row_of(w, dim)
    functions = {name: of_row(members) for name, members in gathered(w, row).items()}
    out = np.empty(w.shape, object)
    for i in np.ndindex(w.shape):
        out[i] = functions[row(i)](w[i]) * (1 if g is None else g[row(i)])
    return out


def average(row: list) -> Any:
    return sum(row) / len(row)


def squares(row: list) -> Any:
    """Sum of squares about the mean."""
    mean = average(row)
    return sum((v - mean) ** 2 for v in row)


def gradient_centralization(g, *, dim, **_):
    def of_row(row):
        mean = average(row)
        return lambda x: x - mean

    return by_row(g, dim, of_row)


def inner(a: Any, b: Any, dim: Any) -> dict:
    """<a, b> of each row."""
    row = row_of(a, dim)
    found: dict = {}
    for i in np.ndindex(a.shape):
        found[row(i)] = found.get(row(i), 0) + a[i] * b[i]
    return found


def tangent_projection(g, w, *, dim, **_):
    row, along, squared = row_of(w, dim), inner(w, g, dim), inner(w, w, dim)
    out = np.empty(w.shape, object)
    for i in np.ndindex(w.shape):
        out[i] = g[i] - w[i] * along[row(i)] / squared[row(i)]
    return out


def sphere_retraction(w, t, *, step, dim, **_):
    p = w - step * t
    row, before, after = row_of(w, dim), inner(w, w, dim), inner(p, p, dim)
    out = np.empty(w.shape, object)
    for i in np.ndindex(w.shape):
        out[i] = p[i] * root(before[row(i)] / after[row(i)])
    return out


def weight_norm(v, g, *, dim, eps, **_):
    def of_row(row):
        length = root(sum(x * x for x in row) + eps)
        return lambda x: x / length

    return by_row(v, dim, of_row, g)


def centered_weight_norm(v, g, *, dim, eps, **_):
    def of_row(row):
        mean, length = average(row), root(squares(row) + eps)
        return lambda x: (x - mean) / length

    return by_row(v, dim, of_row, g)


def weight_standardization(w, *, dim, eps, dialect, **_):
    def of_row(row):
        mean, n = average(row), len(row)
        if dialect.conventions["spread"] == "outside":
            spread = root(squares(row) / max(n - 1, 1)) + eps
        else:
            spread = root(squares(row) / n + eps)
        return lambda x: (x - mean) / spread

    return by_row(w, dim, of_row)


def scaled_weight_standardization(w, g, *, gain, dim, eps, dialect, **_):
    if isinstance(gain, str):
        gain = dialect.conventions["gains"](gain)

    def of_row(row):
        mean, n = average(row), len(row)
        if dialect.conventions["spread"] == "floor":
            spread = root(max(squares(row), eps))
        else:
            spread = root(n * (squares(row) / n + eps))
        return lambda x: gain * (x - mean) / spread

    return by_row(w, dim, of_row, g)


LOOPS: dict[str, Any] = {
    "gradient_centralization": gradient_centralization,
    "tangent_projection": tangent_projection,
    "sphere_retraction": sphere_retraction,
    "weight_norm": weight_norm,
    "centered_weight_norm": centered_weight_norm,
    "weight_standardization": weight_standardization,
    "scaled_weight_standardization": scaled_weight_standardization,
    **weight_matrices.LOOPS,
    **weight_spectra.LOOPS,
}
