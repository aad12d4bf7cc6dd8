"""Known wrong forwards, and the view of a case on which all guesses are made.

Each is computed on the failing case and held against what the candidate returned, on rows and in float64; one that lands
within a few tolerances of the observation, where the right formula does not, names the fault.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from .conventions import TRAILING
from .rows import Rows

Guess = tuple[str, np.ndarray]
DEFAULTS = (0.0, 1e-3, 1e-5, 1e-6, 1e-8, 1e-12, 2e-5, 1e-4)
BLOCKS = (65536, 32768, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2)


@dataclass(frozen=True)
class View:
    """A case on its rows, in float64."""

    x: np.ndarray
    dy: np.ndarray
    gamma: Any
    beta: Any
    eps: float
    mean: np.ndarray
    var: np.ndarray
    kind: str
    outside: bool
    training: bool

    @classmethod
    def of(cls, rows: Rows) -> View:
        case, stats = rows.e.case, rows.stats
        x, dy = rows.split(case.x.astype(float)), rows.split(np.asarray(rows.e.cotangent, float))
        gamma, beta = (np.asarray(p, float) for p in (rows.gamma, rows.beta))
        mean, var = np.asarray(stats.mean, float), np.asarray(stats.var, float)
        return cls(x, dy, gamma, beta, float(stats.eps), mean, var, stats.kind, stats.outside, case.training)

    @property
    def n(self) -> int:
        return self.x.shape[1]

    def rstd(self, var: Any = None, eps: float | None = None) -> np.ndarray:
        var, eps = self.var if var is None else var, self.eps if eps is None else eps
        return 1 / (np.sqrt(var) + eps) if self.outside else 1 / np.sqrt(var + eps)

    def y(self, xhat: np.ndarray) -> np.ndarray:
        return self.gamma * xhat + self.beta

    def of_batch(self) -> tuple[np.ndarray, np.ndarray]:
        """rstd and xhat by the statistics of these rows themselves."""
        r = 1 / np.sqrt(self.x.var(axis=1, keepdims=True) + self.eps)
        return r, (self.x - self.x.mean(axis=1, keepdims=True)) * r

    @property
    def c(self) -> np.ndarray:
        return self.x - self.mean

    @property
    def unbiased(self) -> float:
        return self.n / max(self.n - 1, 1)


def changed_eps(v: View) -> dict[str, float]:
    """Wrong uses of the eps that is asked for."""
    return {
        "eps is added twice": 2 * v.eps,
        "eps is squared": v.eps**2,
        "the root of eps is added": np.sqrt(v.eps),
        "eps is multiplied by the row length": v.eps * v.n,
        "eps is divided by the row length": v.eps / v.n,
        "eps is multiplied by 10": 10 * v.eps,
        "eps is divided by 10": v.eps / 10,
        **{f"eps is never below {eps:g}": max(v.eps, eps) for eps in DEFAULTS if eps},
        **{f"eps is never above {eps:g}": min(v.eps, eps) for eps in DEFAULTS if eps},
        "eps is rounded to float16": float(np.float16(v.eps)),
        "eps is rounded to bfloat16": float(np.asarray(v.eps).astype(bfloat16)),
    }


def of_output(v: View) -> Iterator[Guess]:
    """Wrong forwards: (what is wrong, y on rows)."""
    c, r = v.c, v.rstd()
    yield "the variance is the unbiased one, over m - 1", v.y(c * v.rstd(v.var * v.unbiased))
    if v.outside:
        yield "eps stands inside the root", v.y(c / np.sqrt(v.var + v.eps))
    else:
        yield "eps stands outside the root, sqrt(var) + eps", v.y(c / (np.sqrt(v.var) + v.eps))
    for eps in DEFAULTS:
        if eps != v.eps:
            words = "eps is left out" if eps == 0 else f"eps is always {eps:g}, whatever is asked"
            yield words, v.y(c * v.rstd(eps=eps))
    for words, eps in changed_eps(v).items():
        yield words, v.y(c * v.rstd(eps=eps))
    largest = np.square(v.x).max(axis=1, keepdims=True, initial=0)
    yield "eps is multiplied by the largest x^2 of the row", v.y(c / np.sqrt(v.var + v.eps * largest))
    yield f"eps is a floor, max({'mean square' if v.kind == 'rms' else 'var'}, eps)", v.y(c / np.sqrt(np.maximum(v.var, v.eps)))
    yield "it divides by the variance, not by its root", v.y(c / (v.var + v.eps))
    yield "it does not divide by the deviation", v.y(c)
    yield "it divides by the norm of the row, not by its root mean square", v.y(c / np.sqrt(v.var * v.n + v.eps))
    square = np.mean(np.square(v.x), axis=1, keepdims=True)
    if v.kind == "rms":
        mean = v.x.mean(axis=1, keepdims=True)
        yield "the mean is subtracted", v.y((v.x - mean) / np.sqrt(v.x.var(axis=1, keepdims=True) + v.eps))
        yield "it divides by the deviation about the mean", v.y(v.x / np.sqrt(v.x.var(axis=1, keepdims=True) + v.eps))
    else:
        yield "the mean is not subtracted", v.y(v.x * r)
        yield "it divides by the root mean square about 0", v.y(c * v.rstd(square))
        yield "it normalizes by the root mean square: neither mean nor variance", v.y(v.x * v.rstd(square))
    yield from _padded(v)
    xhat = c * r
    yield "gamma is not applied", xhat + v.beta
    yield "beta is not applied", v.gamma * xhat
    yield "beta is subtracted", v.gamma * xhat - v.beta
    yield "gamma and beta are not applied", xhat
    yield "gamma and beta are swapped", v.beta * xhat + v.gamma
    yield "beta is added before gamma is applied", v.gamma * (xhat + v.beta)
    yield "the weight is 1 + gamma", (1 + v.gamma) * xhat + v.beta
    yield "the weight is gamma, without its offset 1", (v.gamma - 1) * xhat + v.beta
    yield "the weight is |gamma|", np.abs(v.gamma) * xhat + v.beta
    yield "the input is returned", v.x
    yield "the output is zero", 0 * v.x
    for part, words in _parts(v):
        mean = 0 * v.mean if v.kind == "rms" else part.mean(axis=1, keepdims=True)
        var = np.mean(np.square(part - mean), axis=1, keepdims=True)
        yield f"the statistics are over {words}", v.y((v.x - mean) * v.rstd(var))


def _padded(v: View) -> Iterator[Guess]:
    """A row is worked on at a longer length, and what stands past its end counts: as 0, or as (0 - mean)^2."""
    total, square = v.x.sum(axis=1, keepdims=True), np.square(v.x).sum(axis=1, keepdims=True)
    lengths = {"a power of two": 1 << (v.n - 1).bit_length(), **{f"whole blocks of {b}": -(-v.n // b) * b for b in BLOCKS}}
    for words, n in lengths.items():
        if n == v.n or (words != "a power of two" and n > 2 * v.n):
            continue
        if v.kind == "rms":
            yield f"the sum of squares is divided by the length padded to {words}", v.y(v.x * v.rstd(square / n))
            yield f"what pads a row to {words} counts as ones", v.y(v.x * v.rstd((square + n - v.n) / v.n))
            continue
        counted = f"what pads a row to {words} counts in the variance, as (0 - mean)^2"
        yield counted, v.y(v.c * v.rstd(v.var + (n / v.n - 1) * np.square(v.mean)))
        mean = total / n
        yield f"what pads a row to {words} counts as zeros", v.y((v.x - mean) * v.rstd(square / n - np.square(mean)))
        var = np.square(v.x - mean).sum(axis=1, keepdims=True) / n
        yield f"mean and variance are divided by the length padded to {words}", v.y((v.x - mean) * v.rstd(var))


def _parts(v: View) -> Iterator[tuple[np.ndarray, str]]:
    for block in BLOCKS:
        whole = v.n // block * block
        if 0 < whole < v.n:  # at one length alone many blocks end at the same place
            yield v.x[:, :whole], f"the first {whole} of {v.n} entries alone"
            yield v.x[:, :whole], f"whole blocks of {block} entries alone"
        if block < v.n:
            yield v.x[:, :block], f"the first {block} entries alone"
    if v.n > 1:
        yield v.x[:, :-1], "all entries but the last"
        yield v.x[:, 1:], "all entries but the first"


def of_area(rows: Rows) -> Iterator[Guess]:
    """Statistics over other axes, in the shape of x."""
    e = rows.e
    x = e.case.x.astype(float)
    eps, rms, outside = float(rows.stats.eps), rows.stats.kind == "rms", rows.stats.outside
    gamma, beta = (rows.merge(np.asarray(p, float)) for p in (rows.gamma, rows.beta))
    for k in range(1, x.ndim + 1):
        for axes in itertools.combinations(range(x.ndim), k):
            y = gamma * _standardized(x, axes, eps, rms, outside) + beta
            yield f"the statistics are over {_words(axes, x.ndim, e.case.norm)}", y
            yield f"the statistics are over axes {axes}", y
    groups = e.arguments.get("num_groups")
    axis = e.case.channel_axis % x.ndim
    if groups and axis == 1 and x.shape[1] % groups == 0:
        for count in {groups, x.shape[1] // groups}:
            split = x.reshape(x.shape[0], x.shape[1] // count, count, *x.shape[2:])
            hat = _standardized(split, (1, *range(3, split.ndim)), eps, rms, outside).reshape(x.shape)
            yield f"channel c is in group c % {count}", gamma * hat + beta
            split = x.reshape(x.shape[0], count, x.shape[1] // count, *x.shape[2:])
            hat = _standardized(split, tuple(range(2, split.ndim)), eps, rms, outside).reshape(x.shape)
            yield f"there are {count} groups, not {groups}", gamma * hat + beta


def _words(axes: tuple[int, ...], ndim: int, norm: str) -> str:
    """Axes counted from the last; a layer norm over the last one alone may be meant so."""
    meant = ", whatever shape gamma has (if that is meant: normalized_ndim=1)" if norm in TRAILING else ""
    return f"the last axis alone{meant}" if axes == (ndim - 1,) else f"axes {tuple(a - ndim for a in axes)}"


def _standardized(x: np.ndarray, axes: tuple[int, ...], eps: float, rms: bool, outside: bool) -> np.ndarray:
    mean = 0 if rms else x.mean(axis=axes, keepdims=True)
    var = np.mean(np.square(x - mean), axis=axes, keepdims=True)
    return (x - mean) / (np.sqrt(var) + eps if outside else np.sqrt(var + eps))
