"""Whitening: D coordinates of a block decorrelated together over its M samples, in four loops.

    means        mu_i = mean(x_i)
    products     P_ij = sum dy_i (x_j - mu_j)               with x - mu in the place of dy: M times the covariance
    apply        y = W (x - mu) + shift
    pull_back    dx = U dy + V (x - mu) + shift

What is between them, factorizations of a D x D matrix, is whitening_contract.py's.  A block is read in place: sample (o, s) of
coordinate d of block b is the entry o so + b sb + d sd + s of the flat array, `lie` = (O, B, D, S, so, sb, sd),

    (N, C), (N, *spatial, C)    O samples of D adjacent coordinates, S = 1, sd = 1
    (N, C, *spatial)            O images of S adjacent samples, sd = S

Statistics are float64 (B, D), matrices (B, D, D).  These loops are the ones to read, and to run for fewer than 16 coordinates;
whitening_panels.py has what is run for more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from .jit import kernel, parallel
from .storage import read, write


@kernel
def at(lie: Any, o: Any, b: Any, d: Any, s: Any) -> Any:
    return o * lie[4] + b * lie[5] + d * lie[6] + s


@kernel
def means_of_block(b: Any, x: Any, lie: Any, mean: Any) -> None:
    """Two passes: the second adds what rounding took from the first."""
    outer, _, coordinates, inner, _, _, _ = lie
    for d in range(coordinates):
        total, lost = 0.0, 0.0
        for o in range(outer):
            for s in range(inner):
                total += read(x, at(lie, o, b, d, s))
        total /= outer * inner
        for o in range(outer):
            for s in range(inner):
                lost += read(x, at(lie, o, b, d, s)) - total
        mean[b, d] = total + lost / (outer * inner)


@kernel
def products_of_block(b: Any, dy: Any, x: Any, lie: Any, centre: Any, mean: Any, products: Any) -> None:
    """products_ij = sum (dy_i - centre_i) (x_j - mean_j)."""
    outer, _, coordinates, inner, _, _, _ = lie
    for i in range(coordinates):
        for j in range(coordinates):
            total = 0.0
            for o in range(outer):
                for s in range(inner):
                    d = read(dy, at(lie, o, b, i, s)) - centre[b, i]
                    total += d * (read(x, at(lie, o, b, j, s)) - mean[b, j])
            products[b, i, j] = total


@kernel
def apply_to_block(b: Any, x: Any, lie: Any, mean: Any, matrix: Any, shift: Any, y: Any) -> None:
    """In float64, rounded once."""
    outer, _, coordinates, inner, _, _, _ = lie
    for o in range(outer):
        for s in range(inner):
            for i in range(coordinates):
                total = shift[b, i]
                for j in range(coordinates):
                    total += matrix[b, i, j] * (read(x, at(lie, o, b, j, s)) - mean[b, j])
                write(y, at(lie, o, b, i, s), total)


@kernel
def pull_back_block(
    b: Any, dy: Any, x: Any, lie: Any, mean: Any, direct: Any, along: Any, shift: Any, dx: Any
) -> None:
    outer, _, coordinates, inner, _, _, _ = lie
    for o in range(outer):
        for s in range(inner):
            for i in range(coordinates):
                total = shift[b, i]
                for j in range(coordinates):
                    m = at(lie, o, b, j, s)
                    total += direct[b, i, j] * read(dy, m) + along[b, i, j] * (read(x, m) - mean[b, j])
                write(dx, at(lie, o, b, i, s), total)


# Each over all blocks, which share nothing.


@parallel
def statistics(x: Any, lie: Any, mean: Any, covariance: Any) -> None:
    blocks, samples = lie[1], lie[0] * lie[3]
    for b in prange(blocks):
        means_of_block(b, x, lie, mean)
        products_of_block(b, x, x, lie, mean, mean, covariance)
        for i in range(lie[2]):
            for j in range(lie[2]):
                covariance[b, i, j] /= samples


@parallel
def products(dy: Any, x: Any, lie: Any, mean: Any, sums: Any, out: Any) -> None:
    """out = sum dy (x - mean)', sums = sum dy."""
    outer, blocks, coordinates, inner, _, _, _ = lie
    nothing = np.zeros((blocks, coordinates))
    for b in prange(blocks):
        products_of_block(b, dy, x, lie, nothing, mean, out)
        for i in range(coordinates):
            sums[b, i] = 0.0
            for o in range(outer):
                for s in range(inner):
                    sums[b, i] += read(dy, at(lie, o, b, i, s))


@parallel
def apply(x: Any, lie: Any, mean: Any, matrix: Any, shift: Any, y: Any) -> None:
    for b in prange(lie[1]):
        apply_to_block(b, x, lie, mean, matrix, shift, y)


@parallel
def pull_back(dy: Any, x: Any, lie: Any, mean: Any, direct: Any, along: Any, shift: Any, dx: Any) -> None:
    for b in prange(lie[1]):
        pull_back_block(b, dy, x, lie, mean, direct, along, shift, dx)
