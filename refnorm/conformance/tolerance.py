"""What a right implementation may lose: a bound for every element, derived, from the very input.

Nothing here is fitted to what passes, and nothing grows with the size of an array that does not enter one
sum.  The derivation is read in this order: tolerance_arithmetic (a rounding, a sum), tolerance_statistics
(mean, variance, xhat: the letters below), this file (what is made of them), tolerance_whitening (whitening;
maps without a derivation), tolerance_verdict (what is done with a bound).  All is reachable from here.

    y = gamma xhat + beta

**y**: two roundings of gamma xhat, of y, and of beta - mu a where y is folded; then one to storage, after
`casts` more that a dialect makes (Llama's RMSNorm 1; ONNX's LayerNormalization with stash_type 1, whose
product and sum are in the storage type too, 2).  Underflows: of xhat, of gamma xhat, of a = gamma r, which
meets c.

    E_y = |gamma| E_xhat + u (2 |gamma xhat| + |y| + |beta|) + h (1 + |gamma| + |c|);    stored:
          E (1 + us) + us (|y| + casts |gamma xhat|) + hs (1 + casts (1 + |gamma|))

**dx** = r (g - a - xhat b), g = dy gamma, a = mean(g), b = mean(g xhat).  a: a sum, the product dy gamma, the
division. b is summed as g xhat or as (sum g x - mu sum g) r, whose products round as the folded form does,
and inherits xhat's errors; a shift of xhat by t moves b by t a, not by t mean|g|.

    delta_a = u (R(g)/n + mean|g| + 2 |a|) + 2 h
    delta_b = u [(R(g x) + |mu| R(g)) r/n + R(g xhat)/n + 2 |b|] + 3 mean(|g| l) + t (|a| + delta_a)
              + sigma |b| + 2 h (1 + r)
    E_dx    = (1 + sigma) r {3 sigma (|g - a| + 3 |xhat b|) + 4 u (|g| + |a| + |xhat b|) + delta_a
              + |xhat| delta_b + (t + l)(|b| + delta_b)} + h (1 + r + |x| + |mu|);    stored

3 sigma: r enters as r^3 in dx = r g + c2 x + c3, c2 = (mu sum g - sum g x) r^3/n, as many kernels write it; l
|b| holds the roundings of c2 x + c3, h |x| an underflow of c2.

**Parameters.**  sum dy xhat is summed as it stands or as r (sum dy x - mu sum dy):

    E_dgamma = sum |dy| E_xhat + u [R(dy xhat) + R(dy x r) + R(dy mu r) + 2 sum |dy xhat|];    stored
    E_dbeta  = u R(dy);    stored

**Casts and the backward.**  A forward that rounds xhat to storage, y = gamma fl(xhat), multiplies in storage,
and so does its gradient as autograd derives it: g = fl(dy gamma), dgamma = sum fl(dy fl(xhat)); the cast's own
gradient is a cast, and what follows is in the arithmetic again.  An error of us |g| in every g is carried on by
the same linear map as g is; every term of dgamma is rounded twice, and these errors add up like those of a
sum (tolerance_arithmetic: at random, but for equal terms).  A rounded sum gamma xhat + beta changes no gradient.

    E_dx    + us r (|g| + mean|g| + |xhat| mean|g xhat|)
    E_dgamma + 2 us G(dy xhat),   G(a) = min(sum|a|, 6 ||a||_2 + 2 sum|a| / sqrt(d))

**State**, w the weight of the new value, f the variance's factor (n/(n-1) in dialects that keep the unbiased
one).  w is rounded, and so is 1 - w, whose error is as large as w's even where 1 - w is small: u |new value -
old value|.

    E_mean = w delta + u (4 |(1 - w) old| + 4 |w mu| + |mu - old|);    stored
    E_var  = w f (A + delta^2) + u (6 |(1 - w) old| + 6 |w f var| + |f var - old|);    stored

**Variants.**  rms: a = delta_a = 0.  center: b = delta_b = 0.  Evaluation: dx = g r, 8 u |dx|.  Weights: dx =
r (g - w sum g - w xhat sum(g xhat)), the sums in the place of n times the means.  eps outside the root: b
becomes b/(s r), and inherits s once more.

**Three outcomes.**  A finite bound: judged.  Infinite, the conditioning leaves nothing to judge: the value
must be finite. NaN, out of range, not judged: the statistics are (tolerance_statistics); |value| + bound, or
where the bound is infinite the largest value that any right implementation may arrive at, exceeds the
storage; for dx also r^3 max x^2 max|g| or r^3 beyond the arithmetic, or r^3 below its smallest number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tolerance_arithmetic import Arithmetic, Format, equal_shares, gather, growth
from .tolerance_statistics import Statistics, evaluation, quiet
from .tolerance_verdict import (
    Comparison,
    Scale,
    bits_lost,
    compare,
    growth_exponent,
    scale_test,
    scales_exactly,
    scaling_is_exact,
)
from .tolerance_whitening import Block, probe

__all__ = [
    "Arithmetic", "Block", "Comparison", "Scale", "Statistics", "backward", "bits_lost", "compare",
    "evaluation", "forward", "growth_exponent", "parameter_gradients", "probe", "running", "saved",
    "scale_test", "scales_exactly", "scaling_is_exact",
]  # fmt: skip


def _stored(
    bound: np.ndarray, value: np.ndarray, form: Format, out_of_range: Any, ceiling: Any
) -> np.ndarray:
    """The bound after one rounding to storage, and the three outcomes."""
    bound = bound * (1 + form.unit) + form.unit * np.abs(value) + form.least
    bound = np.where(np.isnan(bound), np.inf, bound)
    beyond = np.where(np.isinf(bound), ceiling, np.abs(value) + bound) > form.largest
    return np.where(out_of_range | beyond | ~np.isfinite(value), np.nan, bound)


@quiet
def forward(stats: Statistics | Block, gamma: Any = 1.0, beta: Any = 0.0, casts: int = 0) -> np.ndarray:
    """E_y (rows, n).  gamma, beta: exact values of what a candidate was given, broadcast to (rows, n)."""
    a, form = stats.arithmetic, stats.arithmetic.storage("out")
    gamma, beta = np.asarray(gamma, stats.x.dtype), np.asarray(beta, stats.x.dtype)
    scaled = gamma * stats.xhat
    y, size = scaled + beta, np.abs(scaled)
    bound = np.abs(gamma) * stats.error + a.u * (2 * size + np.abs(y) + np.abs(beta))
    bound = bound + a.h * (1 + np.abs(gamma) + np.abs(stats.c))
    bound = bound + casts * (form.unit * size + form.least * (1 + np.abs(gamma)))
    ceiling = np.abs(gamma) * stats.ceiling() + np.abs(beta)
    return _stored(bound, y, form, np.isnan(stats.error), ceiling)


@quiet
def backward(stats: Statistics, dy: Any, gamma: Any = 1.0, casts: int = 0) -> np.ndarray:
    """E_dx (rows, n) for the cotangent dy (rows, n) of y; gamma broadcasts against it.  casts: as forward's."""
    s, a, form = stats, stats.arithmetic, stats.arithmetic.storage("dx")
    g = np.asarray(dy, s.x.dtype) * np.asarray(gamma, s.x.dtype)
    size, r, flushed = np.abs(g), s.rstd, a.h * (1 + s.rstd + np.abs(s.x) + np.abs(s.mean))
    g_form = a.storage("out")
    lost = g_form.unit * size + g_form.least if casts else np.zeros_like(size)
    if s.frozen:
        bound = (8 * a.u * size + lost) * r + flushed
        return _stored(bound, g * r, form, s.out_of_range, size * r)

    def R(q: np.ndarray) -> np.ndarray:
        return a.u * growth(q, a.unit)

    share = 1 / max(s.n, 1) if s.weight is None else s.weight
    sum_g, all_g = g.sum(axis=1, keepdims=True), size.sum(axis=1, keepdims=True)
    sum_gx = (g * s.xhat).sum(axis=1, keepdims=True)
    loss_a = R(g) + a.u * (all_g + 2 * np.abs(sum_g)) + 2 * a.h * s.n
    if s.kind == "rms":
        sum_g = loss_a = np.zeros_like(s.mean)
    loss_b = (R(g * s.x) + np.abs(s.mean) * R(g)) * r + R(g * s.xhat) + 2 * a.u * np.abs(sum_gx)
    loss_b = loss_b + 3 * (size * s.local).sum(axis=1, keepdims=True) + s.shift * (np.abs(sum_g) + loss_a)
    loss_b = loss_b + s.sigma * np.abs(sum_gx) + 2 * a.h * s.n * (1 + r)
    if s.kind == "center":
        sum_gx = loss_b = np.zeros_like(s.mean)
    if s.outside:
        loss_b, sum_gx = ((q / (np.sqrt(s.var) * r)) for q in (loss_b + s.sigma * np.abs(sum_gx), sum_gx))
    mean_g, b, loss_a, loss_b = share * sum_g, share * sum_gx, share * loss_a, share * loss_b
    pull = np.abs(s.xhat * b)
    bound = 3 * s.sigma * (np.abs(g - mean_g) + 3 * pull) + 4 * a.u * (size + np.abs(mean_g) + pull)
    bound = bound + loss_a + np.abs(s.xhat) * loss_b + (s.shift + s.local) * (np.abs(b) + loss_b)
    if casts:
        along = (lost * np.abs(s.xhat)).sum(axis=1, keepdims=True)
        all_lost = 0 if s.kind == "rms" else lost.sum(axis=1, keepdims=True)
        bound = bound + lost + share * (all_lost + np.abs(s.xhat) * along)
    ceiling = s.reach * s.peak(g) * (2 + np.square(s.peak(s.ceiling())))
    bad = s.out_of_range | (ceiling > a.largest) | (s.reach**3 > a.largest) | (r**3 < a.h)
    return _stored((1 + s.sigma) * r * bound + flushed, r * (g - mean_g - s.xhat * b), form, bad, ceiling)


@quiet
def parameter_gradients(
    stats: Statistics | Block, dy: Any, reduce: Callable[[np.ndarray], np.ndarray], casts: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(E_dgamma, E_dbeta), each (parameters,).

    reduce rearranges an array (rows, n) into (parameters, terms): what each parameter's gradient sums.
    """
    s, a, form = stats, stats.arithmetic, stats.arithmetic.storage("grads")
    dy = np.asarray(dy, s.x.dtype)

    def R(q: np.ndarray) -> np.ndarray:
        return a.u * growth(reduce(q), a.unit)[:, 0]

    terms, plain = reduce(dy * s.xhat), reduce(dy)
    lost = np.abs(dy) * s.error
    lost = np.where(np.isnan(lost) & ~np.isnan(s.error), np.inf, lost)  # 0 times infinity
    bound = reduce(lost + a.h * (1 + s.rstd)).sum(axis=1) + 2 * a.u * np.abs(terms).sum(axis=1)
    bound = bound + R(dy * s.xhat) + sum(R(dy * part) for part in s.scaled())
    if casts:
        twice = a.storage("x").unit + a.storage("out").unit
        bound = bound + twice * gather(np.abs(terms), equal_shares(terms))[:, 0]
        bound = bound + a.storage("x").least * np.abs(plain).sum(axis=1) + a.storage("out").least * terms.shape[1]
    ceiling = reduce(np.abs(dy) * s.ceiling()).sum(axis=1)
    E_dgamma = _stored(bound, terms.sum(axis=1), form, np.isnan(bound), ceiling)
    return E_dgamma, _stored(R(dy) + a.h * plain.shape[1], plain.sum(axis=1), form, False, 0)


@quiet
def running(
    stats: Statistics, running_mean: Any, running_var: Any, momentum: Any, factor: Any = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """(E_mean, E_var), each (rows,), of (1 - momentum) old + momentum new.

    momentum is the weight of the NEW value, whatever a dialect calls it.  factor multiplies the biased
    variance: n / (n - 1) where the unbiased one is kept.  running_mean, running_var: the old values, (rows,).
    """
    s, a, form = stats, stats.arithmetic, stats.arithmetic.storage("state")
    w, f = np.asarray(momentum, s.x.dtype), np.asarray(factor, s.x.dtype)
    peak = s.peak(s.x)
    bounds = []
    for old, new, lost, roundings, largest in (
        (running_mean, s.mean, s.delta, 4, s.n * peak),
        (running_var, f * s.var, f * (s.A + np.square(s.delta)), 6, s.n * np.square(peak)),
    ):
        old = np.asarray(old, s.x.dtype).reshape(-1, 1)
        bound = roundings * (np.abs((1 - w) * old) + np.abs(w * new)) + np.abs(new - old)
        bound = w * lost + a.u * bound + a.h
        bounds.append(_stored(bound, (1 - w) * old + w * new, form, ~(largest <= a.largest), 0)[:, 0])
    return bounds[0], bounds[1]


@quiet
def saved(stats: Statistics) -> dict[str, np.ndarray]:
    """Bounds (rows,) on what a forward hands to its backward: "mean", "var" (biased, without eps), "rstd"."""
    s, form = stats, stats.arithmetic.storage("saved")
    values = {"mean": s.mean, "var": s.var, "rstd": s.rstd}
    losses = {"mean": s.delta, "var": s.A + np.square(s.delta), "rstd": s.rstd * s.sigma}
    return {name: _stored(losses[name], values[name], form, s.out_of_range, s.reach)[:, 0] for name in values}
