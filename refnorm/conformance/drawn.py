"""Parameters, running statistics and cotangents, by the names that strata give them."""

from __future__ import annotations

import numpy as np

RUNNING_VAR = (0.0, 1e-12, 1e-6, 1e-3, 1.0, 1e2, 1e4, 1e6)
"""Variances in evaluation: of channels that are dead, tiny, and huge."""


def parameter(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """drawn, some zeros, zeros, signs, ones."""
    if kind == "zeros":
        return np.zeros(shape)
    if kind == "some zeros":
        return np.where(rng.random(shape) < 0.5, 0.0, rng.normal(size=shape))
    if kind == "signs":
        return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 2, shape)
    if kind == "ones":
        return np.ones(shape)
    return 0.3 + rng.normal(size=shape)


def running(rng: np.random.Generator, kind: str, channels: int, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Running mean and variance: drawn; fresh (0 and 1); extreme (`RUNNING_VAR` in turn); large mean; a variance, "1e-06"."""
    mean, var = rng.normal(size=channels), rng.uniform(0.5, 2, channels)
    if kind == "fresh":
        return np.zeros(channels), np.ones(channels)
    if kind == "extreme":
        return mean, np.minimum(np.resize(RUNNING_VAR, channels), largest / 4)
    if kind == "large mean":
        return 1e4 + mean, var
    return (mean, var) if kind == "drawn" else (mean, np.full(channels, min(float(kind), largest / 4)))


def cotangent(rng: np.random.Generator, kind: str, z: np.ndarray) -> np.ndarray:
    """dy on rows: drawn, centred, aligned, spike, huge, tiny, zeros, ones, alike (the same in every row), last (the last
    entry of each row and the last row are large: what a sum of parts drops).

    Drawn ones have a large mean and a large part along xhat, so that no term of the gradient is small.
    """
    noise = rng.normal(size=z.shape)
    if kind == "zeros" or z.size == 0:
        return np.zeros(z.shape)
    if kind == "ones":
        return np.ones(z.shape)
    if kind == "alike":
        return np.broadcast_to(noise[:1] + 0.75, z.shape)
    if kind == "last":
        noise[:, -1] *= 3 * np.sqrt(max(z.shape))
        noise[-1] *= 3 * np.sqrt(max(z.shape))
        return noise
    if kind == "spike":
        noise = np.zeros(z.shape)
        noise.reshape(-1)[rng.integers(z.size)] = 1.0
        return noise
    if kind == "centred":
        return noise - noise.mean(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        centred = z - z.mean(axis=1, keepdims=True)
        top = np.max(np.abs(centred), axis=1, keepdims=True)
        unit = np.nan_to_num(np.where(top > 0, centred / np.where(top > 0, top, 1), 0))
    if kind == "aligned":
        return unit + 0.01 * noise
    drawn = noise + 0.75 + unit
    return drawn * {"huge": 1e4, "tiny": 1e-4}.get(kind, 1.0)
