"""The hidden proofs of the exercises: each asks a function on rows that are drawn, and complains in one line.

Answers are compared with refnorm's own explicit backward; a complaint names the result, the problem, and where the error
points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import refnorm as rn

LOOSE = 1e-9
"""Relative: float64 is right to 1e-14 here, and a wrong term is of the order of one."""


def rows(seed: int = 0) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Problems of growing malice: what it is, x and a random cotangent."""
    rng = np.random.default_rng(seed)
    for words, shape, offset, scale in (
        ("one row of 4", (1, 4), 0.0, 1.0),
        ("three rows of 5", (3, 5), 0.0, 1.0),
        ("rows far from zero", (3, 7), 50.0, 1.0),
        ("rows of small variance, where eps counts", (2, 6), 0.3, 3e-3),
    ):
        yield words, offset + scale * rng.normal(size=shape), rng.normal(size=shape)


def compared(names: Sequence[str], answer: Any, right: Sequence[np.ndarray], words: str, xhat: Any = None) -> Iterator[str]:
    """Complaints about an answer's shapes and values, the first result first."""
    given = answer if isinstance(answer, tuple) else (answer,)
    if len(given) != len(right):
        yield f"It returns {len(given)} results; it must return {len(right)}: {', '.join(names)}."
        return
    for name, mine, exact in zip(names, given, right, strict=True):
        mine = np.asarray(mine)
        if mine.shape != exact.shape:
            yield f"{name} has shape {mine.shape}; on {words} it must have shape {exact.shape}."
            return
        error = mine - exact
        if not np.max(np.abs(error)) <= LOOSE * max(float(np.max(np.abs(exact))), 1e-300):
            yield f"{name} is wrong on {words}: off by {_size(error, exact)}.{_points(error, exact, xhat)}"


def _size(error: np.ndarray, exact: np.ndarray) -> str:
    if not np.all(np.isfinite(error)):
        return "NaN or infinity"
    size = np.linalg.norm(error) / np.linalg.norm(exact)
    return f"{size:.0%} of its length" if size < 10 else f"{size:.0e} times its length"


def _points(error: np.ndarray, exact: np.ndarray, xhat: Any) -> str:
    """Where the error points, row by row: along the answer, along 1, along xhat, or within the two."""
    if not np.all(np.isfinite(error)) or error.ndim != 2:
        return ""

    def within(*directions: Any) -> bool:
        left = 0.0
        for i, row in enumerate(error):
            basis = np.stack([np.broadcast_to(d, error.shape)[i] for d in directions], axis=1)
            left += float(np.sum((row - basis @ np.linalg.lstsq(basis, row, rcond=None)[0]) ** 2))
        return left <= 1e-12 * float(np.sum(error**2))

    if within(exact):
        return "  Its direction is right and its length is not: look for a factor, m, m - 1, or a power of r."
    if xhat is None:
        return "  All of the error is a constant in each row: look at what a shift of the row does." if within(1.0) else ""
    for directions, words in (
        ((1.0,), "All of the error lies along 1: a mean that was forgotten, or taken twice."),
        ((xhat,), "All of the error lies along xhat: the term that the variance or the length brings."),
        ((1.0, xhat), "The error lies along 1 and along xhat: both terms, or sums in the place of means."),
    ):
        if within(*directions):
            return f"  {words}"
    return "  It points elsewhere than along 1 and xhat: look at gamma, at the axes, and at what g is."


def center(backward: Callable[..., Any]) -> Iterator[str]:
    for words, _, dy in rows():
        (right,) = rn.gradient_centralization.backward(dy, rn.gradient_centralization.forward(dy)[1])
        yield from compared(("dx",), backward(dy), (right,), words)


def layer_norm(backward: Callable[..., Any]) -> Iterator[str]:
    for words, x, dy in rows():
        gamma, beta = np.random.default_rng(1).normal(size=(2, x.shape[1]))
        for eps in (1e-5, 0.3):
            _, cache = rn.layer_norm.forward(x, gamma, beta, eps=eps)
            right, xhat = rn.layer_norm.backward(dy, cache), rn.layer_norm(x, eps=eps)
            answer = backward(dy, x, gamma, beta, eps=eps)
            yield from compared(("dx", "dgamma", "dbeta"), answer, right, f"{words}, eps {eps:g}", xhat)


def rms_norm(backward: Callable[..., Any]) -> Iterator[str]:
    for words, x, dy in rows():
        gamma = np.random.default_rng(1).normal(size=x.shape[1])
        for eps in (1e-6, 0.3):
            _, cache = rn.rms_norm.forward(x, gamma, eps=eps)
            right, xhat = rn.rms_norm.backward(dy, cache), rn.rms_norm(x, eps=eps)
            yield from compared(("dx", "dgamma"), backward(dy, x, gamma, eps=eps), right, f"{words}, eps {eps:g}", xhat)


def radial(dx_dot_xhat: Callable[..., Any]) -> Iterator[str]:
    for words, x, g in rows():
        for eps in (1e-5, 0.3):
            xhat, cache = rn.layer_norm.forward(x, eps=eps)
            (dx, *_) = rn.layer_norm.backward(g, cache)
            var = np.var(x, axis=1)
            for i in range(len(x)):
                right, said = float(dx[i] @ xhat[i]), dx_dot_xhat(g[i], xhat[i], float(var[i]), eps)
                scale = float(np.linalg.norm(dx[i]) * np.linalg.norm(xhat[i]))
                if not abs(said - right) <= 1e-12 * scale:
                    hint = "It is not zero: eps is not." if said == 0 else f"It is {right:.3e}, and yours {said:.3e}."
                    yield f"<dx, xhat> is wrong on {words}, eps {eps:g}.  {hint}"


def evaluation(backward: Callable[..., Any]) -> Iterator[str]:
    for words, x, dy in rows():
        rng = np.random.default_rng(1)
        gamma, beta, mean = rng.normal(size=(3, x.shape[1]))
        var = rng.uniform(0.5, 2, x.shape[1])
        state = rn.batch_norm.state(mean=mean, var=var)
        _, cache, _ = rn.batch_norm.forward(x, gamma, beta, state=state, training=False, eps=1e-5)
        answer = backward(dy, x, gamma, beta, mean, var, eps=1e-5)
        right = rn.batch_norm.backward(dy, cache)
        for complaint in compared(("dx", "dgamma", "dbeta"), answer, right, words):
            yield complaint + ("  In evaluation nothing is averaged." if complaint.startswith("dx") else "")


def merge(merge: Callable[..., Any]) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for offset, words in ((0.0, "numbers around 0"), (1.0, "parts with different means"), (1e6, "numbers around a million")):
        first, second = offset + rng.normal(size=7), 1.1 * offset + rng.normal(size=3)
        parts = [v for p in (first, second) for v in (len(p), np.mean(p), np.sum((p - np.mean(p)) ** 2))]
        whole = np.concatenate([first, second])
        right = (len(whole), np.mean(whole), np.sum((whole - np.mean(whole)) ** 2))
        answer = merge(*parts)
        if len(answer) != 3:
            yield f"It returns {len(answer)} results; it must return 3: n, mean, q."
            return
        for name, mine, exact in zip(("n", "mean", "q"), answer, right, strict=True):
            if not abs(mine - exact) <= 1e-9 * max(abs(exact), 1e-300):
                hint = "  Two parts with different means are spread by that difference too." if name == "q" else ""
                yield f"{name} is wrong on {words}: {mine:.6g}, and it is {exact:.6g}.{hint}"
    small = merge(1000, 1e8, 1000.0, 1000, 1e8 + 1, 1000.0)[2]
    if not abs(small - 2500.0) <= 1e-3:
        yield f"q is {small:.6g} where it is 2500, around a mean of 1e8: squares of large numbers were subtracted."


def weight_norm(backward: Callable[..., Any]) -> Iterator[str]:
    for words, v, dw in rows():
        g = np.random.default_rng(1).normal(size=len(v))
        _, cache = rn.weight_norm.forward(v, g)
        right = rn.weight_norm.backward(dw, cache)
        yield from compared(("dv", "dg"), backward(dw, v, g), right, words, v)
