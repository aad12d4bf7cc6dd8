"""Wrong forwards with a number of their own, read off the observation: as `hypotheses`.

On each row y = beta + s gamma (x - mean) gives s by least squares, and s^-2 what stands under the root.  The row on which a
number shows best gives it; whether it is the fault, the other rows and the other cases say, on which the same sentence must
hold.  A number is said with two digits, and one within 3% of a round one is that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .conventions import TRAILING
from .hypotheses import Guess, View
from .rows import Rows

ROUND = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)


def of_output(v: View, rows: Rows, observed: np.ndarray) -> Iterator[Guess]:
    """Wrong forwards: (what is wrong, y on rows)."""
    if v.n < 2 or not np.isfinite(observed).all():
        return
    with np.errstate(all="ignore"):
        yield from _under_the_root(v, observed)
        yield from _tails(v, observed)
    yield from _parameters(v, rows)


def _under_the_root(v: View, observed: np.ndarray) -> Iterator[Guess]:
    slope = v.gamma * v.c
    s = np.sum((observed - v.beta) * slope, axis=1, keepdims=True) / np.sum(np.square(slope), axis=1, keepdims=True)
    known = np.isfinite(s) & (s > 0)
    if v.outside or not known.any():
        return
    under = np.where(known, 1 / np.square(s), np.nan)
    row = int(np.nanargmax(np.where(known, v.eps / np.maximum(v.var, 1e-300) if v.eps else -v.var, np.nan)))
    extra = float(under[row, 0] - v.var[row, 0])
    if extra > 0 and (extra < 0.1 or np.ptp(v.var) > 0.1 * v.var.max()):  # of one variance alone a factor looks the same
        eps = _round(extra)
        yield f"eps is always {eps:.2g}, whatever is asked", v.y(v.c * v.rstd(eps=eps))
        if v.eps:
            factor = _round(extra / v.eps)
            yield f"eps is multiplied by {factor:.2g}", v.y(v.c * v.rstd(eps=factor * v.eps))
    name = "the mean square" if v.kind == "rms" else "the variance"
    row = int(np.nanargmax(np.where(known, -v.var, np.nan)))
    for words, floor, clamped in (
        (f"{name} is clamped from below, at", float(under[row, 0]) - v.eps, lambda c: np.maximum(v.var, c) + v.eps),
        (f"{name} + eps is clamped from below, at", float(under[row, 0]), lambda c: np.maximum(v.var + v.eps, c)),
        (f"{name} is clamped from below, without eps, at", float(under[row, 0]), lambda c: np.maximum(v.var, c)),
    ):
        if floor > 0:
            yield f"{words} {_round(floor):.2g}", v.y(v.c / np.sqrt(clamped(_round(floor))))
    row = int(np.nanargmax(np.where(known, v.var, np.nan)))
    above = float(under[row, 0]) - v.eps
    if above > 0:
        ceiling = _round(above)
        yield f"{name} is clamped from above, at {ceiling:.2g}", v.y(v.c / np.sqrt(np.minimum(v.var, ceiling) + v.eps))
    factor = float(np.nanmedian((under - v.eps) / np.where(v.var > 0, v.var, np.nan)))
    if factor > 0:
        less = v.n - v.n / factor
        if abs(less - round(less)) < 0.02 and round(less) not in (0, 1) and abs(less) < v.n:
            words = f"{name} is over m {'-' if less > 0 else '+'} {abs(round(less))}"
            yield words, v.y(v.c * v.rstd(v.var * v.n / (v.n - round(less))))
        yield f"{name} comes out {_round(factor):.2g} times too large", v.y(v.c * v.rstd(v.var * _round(factor)))


def of_parameter_gradient(v: View, rows: Rows, name: str, observed: np.ndarray) -> Iterator[Guess]:
    """dgamma or dbeta, flattened, of which some terms are left out: so many of them, or the end of an axis."""
    right = v.dy * v.c * v.rstd() if name == "dgamma" else v.dy
    terms = rows.reducer()(right)
    count = terms.shape[1]
    if count < 2 or not np.isfinite(observed).all():
        return
    sums = np.cumsum(terms, axis=1)
    first = int(np.argmin(np.abs(sums[:, :-1] - observed.reshape(-1, 1)).max(axis=0))) + 1
    yield f"it sums the first {first} of {count} terms alone", sums[:, first - 1]
    yield f"it sums the first {first} terms alone", sums[:, first - 1]
    full = rows.merge(right)
    kept = rows.layout.axes_of(rows.recovery.name)
    summed = tuple(a for a in range(full.ndim) if a not in kept)
    for axis in summed:
        n = full.shape[axis]
        if n > 1 and len(summed) > 1:
            begun = np.take(full, range(n - 1), axis=axis).sum(axis=summed).ravel()
            yield f"what stands last along axis {axis - full.ndim} is left out", begun
            yield f"what stands first along axis {axis - full.ndim} counts alone", np.take(full, [0], axis).sum(summed).ravel()


def _tails(v: View, observed: np.ndarray) -> Iterator[Guess]:
    """Statistics over the first k entries of n, whatever k: whole blocks of a size, or so many entries alone."""
    if v.n < 4 or v.x.size > 2**18:
        return
    count = np.arange(1, v.n + 1)
    mean = np.cumsum(v.x, axis=1) / count if v.kind != "rms" else np.zeros_like(v.x)
    shift = v.x - v.x[:, :1]
    var = np.cumsum(np.square(shift), axis=1) / count - np.square(np.cumsum(shift, axis=1) / count)
    if v.kind == "rms":
        var = np.cumsum(np.square(v.x), axis=1) / count
    first = (v.x[:, :1] - mean) * v.rstd(np.maximum(var, 0))  # xhat of the first entry, for every k
    gamma, beta = (np.broadcast_to(p, v.x.shape)[:, :1] for p in (v.gamma, v.beta))
    miss = np.abs(gamma * first + beta - observed[:, :1]).max(axis=0)
    cut = int(np.argmin(miss[:-1])) + 1
    part = v.x[:, :cut]
    m = 0 * v.mean if v.kind == "rms" else part.mean(axis=1, keepdims=True)
    guess = v.y((v.x - m) * v.rstd(np.mean(np.square(part - m), axis=1, keepdims=True)))
    for block in range(v.n - cut + 1, cut + 1):  # of these sizes the first `cut` entries are all whole blocks
        if cut % block == 0:
            yield f"the statistics are over whole blocks of {block} entries alone", guess
    yield f"the statistics are over the first {cut} entries alone", guess
    if cut == v.n // 2:
        yield "the statistics are over the first half of the entries alone", guess


def _parameters(v: View, rows: Rows) -> Iterator[Guess]:
    """gamma and beta read at the wrong place."""
    given = {name: rows.e.arguments.get(name) for name in ("gamma", "beta")}
    xhat, last = v.c * v.rstd(), rows.e.case.norm in TRAILING
    what = "entry i" if last else "channel c"
    letter = "i" if last else "c"
    for where, moved in _maps(rows, letter):
        kept = {"gamma": v.gamma, "beta": v.beta}
        new: dict[str, Any] = {}
        for name, array in given.items():
            if array is not None and array.size > 1:
                flat = np.asarray(array, float).ravel()
                new[name] = _laid(rows, name, moved(flat).reshape(array.shape))
        if "gamma" in new and "beta" in new:
            yield f"gamma and beta of {what} are those at {where}", new["gamma"] * xhat + new["beta"]
        if "gamma" in new:
            yield f"gamma of {what} is gamma[{where}]", new["gamma"] * xhat + kept["beta"]
        if "beta" in new:
            yield f"beta of {what} is beta[{where}]", kept["gamma"] * xhat + new["beta"]


def _maps(rows: Rows, letter: str) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    groups = rows.e.arguments.get("num_groups")
    shape = next((a.shape for a in (rows.e.arguments.get("gamma"), rows.e.arguments.get("beta")) if a is not None), ())
    count = int(np.prod(shape))
    if groups and count % groups == 0:
        each = count // groups
        yield f"{letter} // (C/G)", lambda p: p[np.arange(p.size) // each]
        yield f"{letter} % (C/G)", lambda p: p[np.arange(p.size) % each]
        yield f"{letter} % G", lambda p: p[np.arange(p.size) % groups]
    yield "0", lambda p: np.full_like(p, p[0])
    yield f"C - 1 - {letter}" if letter == "c" else "n - 1 - i", lambda p: p[::-1]
    yield f"{letter} + 1", lambda p: np.roll(p, -1)
    yield f"{letter} - 1", lambda p: np.roll(p, 1)
    if len(shape) == 2:
        yield "the transposed place", lambda p: np.ascontiguousarray(p.reshape(shape).T).ravel()
    for k in (2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 512, 1024):
        if k < count:
            yield f"{letter} % {k}", functools.partial(_modulo, k)
            yield f"min({letter}, {k - 1})", functools.partial(_cut, k)


def _modulo(k: int, p: np.ndarray) -> np.ndarray:
    return p[np.arange(p.size) % k]


def _cut(k: int, p: np.ndarray) -> np.ndarray:
    return p[np.minimum(np.arange(p.size), k - 1)]


def _laid(rows: Rows, name: str, parameter: np.ndarray) -> np.ndarray:
    parameter = parameter + rows.e.arguments.get("offset", 0) if name == "gamma" else parameter
    return rows.split(np.broadcast_to(rows.layout.along(parameter, rows.recovery.name), rows.layout.shape))


def _round(value: float) -> float:
    """A number within 3% of a round one is that one."""
    if not np.isfinite(value) or value <= 0:
        return value
    power = 10.0 ** np.floor(np.log10(value))
    nearest = min((*ROUND, 10.0), key=lambda d: abs(d * power - value))
    return float(f"{nearest * power:.1g}") if abs(nearest * power - value) <= 0.03 * value else value
