"""Known wrong gradients and running statistics; as `hypotheses`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .hypotheses import BLOCKS, DEFAULTS, Guess, View, changed_eps
from .rows import Rows


def of_input_gradient(v: View) -> Iterator[Guess]:
    """Wrong dx."""
    r, g = v.rstd(), v.dy * v.gamma
    xhat = v.c * r

    def m(a: np.ndarray) -> np.ndarray:
        return a.mean(axis=1, keepdims=True)

    a, b = (0 if v.kind == "rms" else m(g)), m(g * xhat)
    yield "the variance is a constant: the term of xhat is dropped", r * (g - a)
    if v.kind != "rms":
        yield "the gradient drops the mean term", r * (g - xhat * b)
        yield "the mean is subtracted with the wrong sign", r * (g + a - xhat * b)
    else:
        yield "the mean of the gradient is subtracted as well", r * (g - m(g) - xhat * b)
    yield "the statistics are constants: both terms are dropped", r * g
    yield "the term of xhat has the wrong sign", r * (g - a + xhat * b)
    yield "the term of xhat is twice as large", r * (g - a - 2 * xhat * b)
    yield "the term of xhat is half as large", r * (g - a - xhat * b / 2)
    yield "the term of xhat misses the deviation", r * (g - a - v.c * b)
    yield "sums stand in the place of means", r * (g - a * v.n - xhat * b * v.n)
    plain = v.dy
    pa, pb = (0 if v.kind == "rms" else m(plain)), m(plain * xhat)
    yield "gamma is left out", r * (plain - pa - xhat * pb)
    yield "gamma is applied after the means are taken", r * v.gamma * (plain - pa - xhat * pb)
    yield "gamma is left out of the means", r * (g - pa - xhat * pb)
    yield "gamma is applied twice", r * (g * v.gamma - m(g * v.gamma) * (v.kind != "rms") - xhat * m(g * v.gamma * xhat))
    yield "the deviation is left out", g - a - xhat * b
    yield "it divides by the variance, not by its root", r * r * (g - a - xhat * b)
    for words, rr in _deviations(v):
        h = v.c * rr
        yield words, rr * (g - a - h * m(g * h))
    term = v.c * r**3 * m(g * v.c)
    for words, rr in _deviations(v):
        h = v.c * rr
        yield f"{words}, in the term of xhat", r * (g - a) - rr * h * m(g * h)
        yield f"{words}, but for the term of xhat", rr * (g - a) - term
    yield "the means are over m - 1", r * (g - a * v.unbiased - xhat * b * v.unbiased)
    yield "the term of xhat is over m - 1", r * (g - a - xhat * b * v.unbiased)
    yield "it is zero", 0 * g
    yield "its sign is wrong", -r * (g - a - xhat * b)
    yield "dy is returned", v.dy
    for block in BLOCKS:
        whole = v.n // block * block
        if 0 < whole < v.n:
            part = slice(0, whole)
            pa = 0 if v.kind == "rms" else g[:, part].sum(axis=1, keepdims=True) / v.n
            pb = (g * xhat)[:, part].sum(axis=1, keepdims=True) / v.n
            words = f"its sums are over whole blocks of {block} entries alone"
            yield words, r * (g - pa - xhat * pb)


def _deviations(v: View) -> Iterator[Guess]:
    """Wrong 1 / deviation, with what is wrong."""
    yield "eps is left out", v.rstd(eps=0.0)
    yield "the variance is the unbiased one", v.rstd(v.var * v.unbiased)
    yield "eps stands outside the root", 1 / (np.sqrt(v.var) + v.eps)
    yield "it divides by the variance, not by its root", 1 / (v.var + v.eps)
    yield from ((f"eps is always {eps:g}, whatever is asked", v.rstd(eps=eps)) for eps in DEFAULTS if eps not in (0, v.eps))
    yield from ((words, v.rstd(eps=eps)) for words, eps in changed_eps(v).items())
    yield "eps is a floor, max(var, eps)", 1 / np.sqrt(np.maximum(v.var, v.eps))


def of_parameter_gradient(v: View, rows: Rows, name: str) -> Iterator[Guess]:
    """Wrong dgamma or dbeta, in the parameter's shape flattened."""
    reduce = rows.reducer()
    xhat = v.c * v.rstd()
    right = v.dy * xhat if name == "dgamma" else v.dy
    terms = reduce(right)
    count = terms.shape[1]
    if not terms.size:
        return
    if name == "dgamma":
        wrong = {
            **({} if v.training else {"evaluation uses the statistics of the batch": v.dy * v.of_batch()[1]}),
            "it is that of beta": v.dy,
            "it sums dy x, not dy xhat": v.dy * v.x,
            "it sums dy (x - mean): the deviation is left out": v.dy * v.c,
            "it sums dy y": v.dy * v.y(xhat),
            "gamma is in it": v.dy * v.gamma * xhat,
            "the mean is left in": v.dy * v.x * v.rstd(),
            **{words: v.dy * v.c * r for words, r in _deviations(v)},
        }
        for words, term in wrong.items():
            yield words, reduce(term).sum(axis=1)
    else:
        yield "it is that of gamma", reduce(v.dy * xhat).sum(axis=1)
        yield "gamma is in it", reduce(v.dy * v.gamma).sum(axis=1)
        yield "it sums dy rstd", reduce(v.dy * v.rstd()).sum(axis=1)
    yield "it is the mean of its terms, not their sum", terms.mean(axis=1)
    yield "it is zero", 0 * terms[:, 0]
    yield "its sign is wrong", -terms.sum(axis=1)
    yield "the last row overwrites the others", terms[:, -1]
    yield "it is of the first row alone", terms[:, 0]
    for block in BLOCKS:
        whole = count // block * block
        if 0 < whole < count:
            yield f"the terms past whole blocks of {block} are left out", terms[:, :whole].sum(axis=1)
        if block < count:
            yield f"it sums the first {block} terms alone", terms[:, :block].sum(axis=1)
    if count > 1:
        yield "the last term is left out", terms[:, :-1].sum(axis=1)
        yield "the first term is left out", terms[:, 1:].sum(axis=1)


def of_state(v: View, rows: Rows, name: str) -> Iterator[Guess]:
    """Wrong running statistics."""
    e = rows.e
    old = np.asarray(e.arguments["state"][0 if name == "running_mean" else 1], float)
    momentum, population = e.arguments["momentum"], e.spoken.population
    w = float(momentum if population.weighs == "new" else 1 - momentum)
    mean, var = v.mean[:, 0], v.var[:, 0]
    unbiased = population.variance == "unbiased"
    right = mean if name == "running_mean" else var * (v.unbiased if unbiased else 1.0)

    def moved(new: np.ndarray, weight: float = w) -> np.ndarray:
        return (1 - weight) * old + weight * new

    yield f"momentum weighs the {'old' if population.weighs == 'new' else 'new'} value", moved(right, 1 - w)
    if name == "running_var":
        other = "biased" if unbiased else "unbiased"
        value = var if unbiased else var * v.unbiased
        yield f"the {other} variance is kept", moved(value)
        yield f"the {other} variance is kept, and momentum weighs the other value", moved(value, 1 - w)
        yield "the deviation is kept, not the variance", moved(np.sqrt(var))
        yield "eps is in it", moved(right + v.eps)
        yield "1 / sqrt(var + eps) is kept", moved(v.rstd()[:, 0])
        yield "the mean is kept in its place", moved(mean)
        yield "the mean square is kept: the mean is not subtracted", moved(np.mean(np.square(v.x), axis=1))
        yield "the factor m / (m - 1) is squared", moved(var * v.unbiased**2)
        yield "the factor is (m - 1) / m", moved(var / v.unbiased)
        yield "the sum of squares is kept", moved(var * v.n)
    else:
        yield "the variance is kept in its place", moved(var)
        yield "the sum is kept, not the mean", moved(mean * v.n)
    yield "it is not updated", old
    yield "the batch's statistic replaces it", right
    yield "the old value is not weighed down", old + w * right
    yield "the batch's statistic is added, unweighed", (1 - w) * old + right
    for weight in (0.1, 0.9, 0.99, 0.01):
        if abs(weight - w) > 1e-9:
            yield f"the new value always has weight {weight:g}", moved(right, weight)
