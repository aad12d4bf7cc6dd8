"""Newton-Schulz iterations and their derivative, in float64: products of symmetric matrices, of which half is enough.

    root(N, T)        P_T of Y_0 = N, P_0 = I:    K = (3 I - P Y) / 2      Y <- Y K      P <- K P

All of these are polynomials of N and commute, so that every product is symmetric: tiles on and under the diagonal are computed,
and mirrored.  The gradient needs no adjoint.  W is a polynomial f of N, whose derivative in the direction E is

    L(E) = sum_k c_k sum_j N^j E N^(k-1-j),        <G, L(E)> = <L(G), E>        for symmetric N:

L is its own adjoint, and dL/dN is L(G) for G = dL/dP_T, made symmetric, as all that N may move by is.  Going forward, from
dY = G, dP = 0, it has nothing to keep:

    tangent(N, G, T)  dK = -(dP Y + P dY) / 2      dY <- dY K + Y dK      dP <- dK P + K dP

Each sum is symmetric, being a derivative of something symmetric, though neither of its terms is.  The first step has P = I and
dP = 0, and the last needs no Y, no P and no dY: 3 sums and 3 products a step, less 3 sums and 4 products.  At T = 5, halves
counted as such, that is the work of 17.5 products, where newton.covariance_gradient has 50: 43 ms became 13 at D = 256.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel
from .panels import rows_apart
from .whitening_products import laid, product, sum_of_products, taken


@kernel
def root_plainly(n: Any, steps: Any) -> Any:
    """The one to read first."""
    identity = np.eye(len(n))
    y, p = n.copy(), np.eye(len(n))
    for _ in range(steps):
        k = (3 * identity - p @ y) / 2
        y, p = y @ k, k @ p
    return p


@kernel
def tangent_plainly(n: Any, g: Any, steps: Any) -> Any:
    """The one to read first."""
    identity = np.eye(len(n))
    y, p, dy, dp = n.copy(), np.eye(len(n)), (g + g.T) / 2, np.zeros(n.shape)
    for _ in range(steps):
        k, dk = (3 * identity - p @ y) / 2, -(dp @ y + p @ dy) / 2
        y, dy = y @ k, dy @ k + y @ dk
        p, dp = k @ p, dk @ p + k @ dp
    return dp


@kernel
def step_from(product: Any, n: Any, ld: Any, diagonal: Any) -> None:
    """-product / 2 + diagonal I, in its place: K from P Y with 3 / 2, dK with 0."""
    for i in range(n):
        for j in range(n):
            product[i * ld + j] *= -0.5
        product[i * ld + i] += diagonal


@kernel
def root(n: Any, steps: Any) -> Any:
    """root_plainly, symmetric to the bit; half its work."""
    d = len(n)
    ld = rows_apart(d, 8)
    y, k, p, spare = laid(n, ld), laid(n, ld), laid(np.eye(d), ld), laid(n, ld)
    for t in range(steps):
        if t > 0:
            product(d, ld, p, y, k)
        step_from(k, d, ld, 1.5)
        if t == 0:
            p[:] = k
        else:
            product(d, ld, k, p, spare)
            p, spare = spare, p
        if t + 1 < steps:
            product(d, ld, y, k, spare)
            y, spare = spare, y
    return taken(p, d, ld)


@kernel
def tangent(n: Any, g: Any, steps: Any) -> Any:
    """tangent_plainly, symmetric to the bit; half its work."""
    d = len(n)
    ld, even = rows_apart(d, 8), (g + g.T) / 2
    y, k, p, spare = laid(n, ld), laid(n, ld), laid(np.eye(d), ld), laid(n, ld)
    dy, dk, dp = laid(even, ld), laid(even, ld), laid(np.zeros((d, d)), ld)
    for t in range(steps):
        last = t + 1 == steps
        if t > 0:
            product(d, ld, p, y, k)
            sum_of_products(d, ld, dp, y, p, dy, dk)
        step_from(k, d, ld, 1.5)
        step_from(dk, d, ld, 0.0)
        if t == 0:
            p[:], dp[:] = k, dk
        else:
            sum_of_products(d, ld, dk, p, k, dp, spare)
            dp, spare = spare, dp
            if not last:
                product(d, ld, k, p, spare)
                p, spare = spare, p
        if not last:
            sum_of_products(d, ld, dy, k, y, dk, spare)
            dy, spare = spare, dy
            product(d, ld, y, k, spare)
            y, spare = spare, y
    return taken(dp, d, ld)
