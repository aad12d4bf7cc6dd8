"""Rows of numbers that break kernels: each draws (rows, length) in float64; the case rounds them to its storage."""

from __future__ import annotations

import numpy as np

from .plan import Values


def ordinary(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """Rows of different means and deviations around 1, so that no two statistics can be taken for one another."""
    return rng.normal(size=(rows, n)) * rng.uniform(0.5, 2, (rows, 1)) + rng.normal(size=(rows, 1))


def offset(kappa: float) -> Values:
    """|mean| / std = kappa, signs alternating."""

    def draw(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
        z = rng.normal(size=(rows, n))
        if n > 1:
            z = (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)
        mean = kappa * rng.uniform(0.9, 1.1, (rows, 1)) * np.where(np.arange(rows)[:, None] % 2, -1, 1)
        return z + mean

    return draw


def scaled(scale: float, shift: float = 0.0) -> Values:
    return lambda rng, rows, n: scale * (shift + ordinary(rng, rows, n))


def constant(value: float) -> Values:
    return lambda rng, rows, n: np.full((rows, n), value) * (1 + np.arange(rows)[:, None])


def nearly_constant(value: float, step: float) -> Values:
    """One entry a row differs by `step`."""

    def draw(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
        z = np.full((rows, n), value)
        z[np.arange(rows), rng.integers(n, size=rows)] += step
        return z

    return draw


def spike(height: float, base: float = 0.0) -> Values:
    """Ordinary small values and one large one a row, at a place of its own."""

    def draw(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
        z = base + rng.normal(size=(rows, n))
        z[np.arange(rows), rng.integers(n, size=rows)] = height
        return z

    return draw


def last_spike(height: float) -> Values:
    """The large entry stands last, where a loop over whole blocks does not come."""

    def draw(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
        z = rng.normal(size=(rows, n))
        z[:, -1] = height
        return z

    return draw


def sorted_up(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    return np.sort(ordinary(rng, rows, n), axis=1)


def alternating(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """Neighbours cancel."""
    return np.where(np.arange(n) % 2, -1.0, 1.0) * (10 + rng.normal(size=(rows, n)))


def cauchy(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    return np.clip(rng.standard_cauchy((rows, n)), -1e4, 1e4)


def integers(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """Small whole numbers: sums are exact in every type."""
    return rng.integers(-8, 9, (rows, n)).astype(float)


def ragged(deviation: float) -> Values:
    """Deviations from deviation/10 to 10 deviation, row by row."""

    def draw(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
        return rng.normal(size=(rows, n)) * deviation * np.geomspace(0.1, 10, rows)[:, None] + rng.normal(size=(rows, 1))

    return draw
