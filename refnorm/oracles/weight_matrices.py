"""Loops for the norms that make a weight orthogonal: matrices as lists of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .activations import root


def matrices(v: Any, num_groups: int, of_matrix: Callable[[list[list]], list[list]], g: Any, gain: Any, dialect: Any) -> Any:
    """The rows of each group, (out / num_groups) x fan-in, through a function of matrices; times gain and g of their row."""
    if isinstance(gain, str):
        gain = dialect.conventions["gains"](gain)
    size = v.shape[0] // num_groups
    out = np.empty(v.shape, object)
    for first in range(0, v.shape[0], size):
        found = of_matrix([list(v[o].flat) for o in range(first, first + size)])
        for o, row in enumerate(found, start=first):
            scale = gain * (1 if g is None else g[o])
            for i, index in enumerate(np.ndindex(v.shape[1:])):
                out[(o, *index)] = scale * row[i]
    return out


def product(a: list[list], b: list[list]) -> list[list]:
    return [[sum(x * b[k][j] for k, x in enumerate(row)) for j in range(len(b[0]))] for row in a]


def transposed(a: list[list]) -> list[list]:
    return [list(column) for column in zip(*a, strict=True)]


def combined(p: Any, a: list[list], q: Any, b: list[list]) -> list[list]:
    """p a + q b."""
    return [[p * x + q * y for x, y in zip(r, s, strict=True)] for r, s in zip(a, b, strict=True)]


def identity(n: int) -> list[list]:
    return [[int(i == j) for j in range(n)] for i in range(n)]


def inverse(a: list[list]) -> list[list]:
    """Gauss and Jordan, with the largest pivot."""
    n = len(a)
    rows = [list(r) + e for r, e in zip(a, identity(n), strict=True)]
    for k in range(n):
        pivot = max(range(k, n), key=lambda i: abs(rows[i][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(n):
            if i != k:
                rows[i] = [x - rows[i][k] * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [row[n:] for row in rows]


def centred(rows: list[list]) -> list[list]:
    return [[x - sum(row) / len(row) for x in row] for row in rows]


def gram(rows: list[list], eps: Any) -> list[list]:
    return combined(1, product(rows, transposed(rows)), eps, identity(len(rows)))


def frobenius(a: list[list]) -> Any:
    return root(sum(x * x for row in a for x in row))


def orthogonal_weight_norm(v, g, *, num_groups, gain, eps, dialect, **_):
    def of_matrix(rows):
        rows = centred(rows)
        k = gram(rows, eps)
        y, z = k, identity(len(k))                # E. D. Denman, A. N. Beavers: y -> k^(1/2), z -> k^(-1/2)
        for _ in range(60):
            y, z = combined(0.5, y, 0.5, inverse(z)), combined(0.5, z, 0.5, inverse(y))
        return product(z, rows)

    return matrices(v, num_groups, of_matrix, g, gain, dialect)


def orthogonal_newton_iteration(v, g, *, T, num_groups, gain, eps, dialect, **_):
    def of_matrix(rows):
        rows = centred(rows)
        k = gram(rows, eps)
        n = frobenius(k)
        s, b = [[x / n for x in row] for row in k], identity(len(k))
        for _ in range(T):
            b = combined(1.5, b, -0.5, product(b, product(b, product(b, s))))
        return [[x / root(n) for x in row] for row in product(b, rows)]

    return matrices(v, num_groups, of_matrix, g, gain, dialect)


def bjorck(v, g, *, T, beta, scaling, num_groups, gain, dialect, **_):
    def of_matrix(rows):
        scale = {"gram": root(frobenius(gram(rows, 0))), "size": root(beta * 0 + len(rows) * len(rows[0])), "none": 1}[scaling]
        w = [[x / scale for x in row] for row in rows]
        for _ in range(T):
            defect = combined(1, identity(len(w[0])), -1, product(transposed(w), w))
            w = product(w, combined(1, identity(len(w[0])), beta, defect))
        return w

    return matrices(v, num_groups, of_matrix, g, gain, dialect)


def cayley(v, g, *, num_groups, gain, dialect, **_):
    def skew_of(x, n):
        """A of the tall matrix x, (n, n)."""
        lower = [[x[i][j] if j < len(x[0]) and j <= i else 0 for j in range(n)] for i in range(n)]
        return combined(1, lower, -1, transposed(lower))

    def of_tall(x):
        n, k = len(x), len(x[0])
        if dialect.conventions["form"] == "triangle":
            a = skew_of(x, n)
            ahead, behind = combined(1, identity(n), 0.5, a), combined(1, identity(n), -0.5, a)
            return [row[:k] for row in product(inverse(behind), ahead)]
        u, below = x[:k], x[k:]
        a = combined(1, u, -1, transposed(u))
        if below:
            a = combined(1, a, 1, product(transposed(below), below))
        r = inverse(combined(1, identity(k), 1, a))
        top = product(combined(1, identity(k), -1, a), r)
        return top + ([[-2 * x for x in row] for row in product(below, r)] if below else [])

    def of_matrix(rows):
        return of_tall(rows) if len(rows) >= len(rows[0]) else transposed(of_tall(transposed(rows)))

    return matrices(v, num_groups, of_matrix, g, gain, dialect)


LOOPS: dict[str, Any] = {
    "orthogonal_weight_norm": orthogonal_weight_norm,
    "orthogonal_newton_iteration": orthogonal_newton_iteration,
    "bjorck": bjorck,
    "cayley": cayley,
}
