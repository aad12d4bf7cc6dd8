"""What a right implementation may lose in a row's mean, variance and normalized values: `Statistics`.

    mu = mean(x)      c = x - mu      v = mean(c^2) + eps      r = v^-1/2      xhat = c r

on a view X (rows, n) in which one row shares one statistic.  u, h: a rounding and an underflow of the
arithmetic, K times the one; R and W: what a sum and a running mean lose (tolerance_arithmetic); x_1: the
row's first element.

**Mean.**  A sum loses u R(x), Welford's running mean u W(x), a sum about a pivot u R(x - x_1); the roundings
of the differences, of Welford's increments (x_k - m)/k, two each at weight k/n, and of the division, 2 u
max|x|:

    delta = u (max(R(x), R(x - x_1), W(x))/n + 2 max|x|) + 2 h

**Variance.**  Let m be the computed mean.  Two passes give mean((x - m)^2) = var + (m - mu)^2 exactly, so
that the mean's error only ever adds, at most delta^2.  One pass about p takes (mu - p)^2 off mean((x - p)^2):
the roundings grow with both, and mu - p, which is a mean of its own, counts twice.  Roundings: of the
difference twice, of its square, of the division and of + eps, 5 u; of the sum, u R.  Squares and their mean
may underflow.

    D(p) = u (R(x - p)/n + mean|x - p| + |mu - p|) + 2 h
    A(p) = u (R((x - p)^2)/n + 5 v + 5 (mu - p)^2) + (2 |mu - p| + D(p)) D(p) + 2 h                    p != mu
    A(mu) = u (R(c^2)/n + 5 v) + 2 h

Welford and Chan sum products of deviations from two running means, so c_k (e_k + e_(k-1)) is lost to first
order, e_k the k-th mean's error: at most 2 delta mean|c|.  Less, where c changes sign on the way: k e_k is a
sum of roundings of up to unit |s_j| = unit j |m_j|, and the one of step j counts by sum_(k >= j) c_k/k, which
by parts is at most 2 C/j, C = max|partial sums of c|.  So each e costs 2 C/n times what roundings of size
unit |m_j| add up to, and those are 1.3 delta where the running means keep their size: 5.3 delta C/n for both,
8 to be safe (1/sqrt(n) of 2 delta mean|c| on a row in random order, more than it on a sorted one).

    A     = max(A(mu) + delta min(2 mean|c|, 8 C/n), A(x_1))                               one-pass: and A(0)
    theta = A/v,  theta+ = delta^2/v:  the computed v lies between v (1 - theta) and v (1 + theta + theta+)
    sigma = (1 - theta)^-1/2 - (1 + theta+)^-1/2 + 4 u >= |rhat/r - 1|       4 u: root, division, or an rsqrt

for 1 - (1 + a + b)^-1/2 is concave, hence at most the sum of its values at a and b, and 1 - (1 + a)^-1/2 at
most (1 - a)^-1/2 - 1.  Where theta >= 1 nothing can be said: sigma is infinite.

**Normalized.**  The mean's error shifts a row by t = delta r, the variance's scales it by sigma; and each
element is rounded: c and c r, 2 u |xhat|; or, in the folded form x a + b with a = gamma r, b = beta - mu a,
the products and what is left of them, 2 u (|x| + |mu|) r.  (a's own rounding meets c alone, and is one of the
4 u.)

    l      = u (2 |xhat| + 2 (|x| + |mu|) r) + h r
    E_xhat = (t + l)(1 + sigma) + |xhat| sigma

**Variants.**  rms: mu = delta = 0 and no pivot.  center: r = 1, sigma = 0.  Evaluation: delta = 0, sigma = 6
u.  Weights w_i >= 0 with sum 1 (masks): sums of w x in the place of means.  saved: delta gains us |mu|, A
gains 2 us v.  eps outside the root (ONNX's MeanVarianceNormalization): r = 1/(s + eps), s^2 = var; sigma is
the same difference of values of r, 1/r at the variance's two ends, and stays finite at eps > 0 because s >=
0.

**Out of range**: n max x^2 beyond the arithmetic; v = 0; theta >= 1 at eps = 0, where a computed v may be 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .tolerance_arithmetic import Arithmetic, drift, growth, partial_sums, wide

KINDS = ("standardize", "rms", "center")
quiet = np.errstate(all="ignore")  # a decorator: infinities and NaN are outcomes here


class Statistics:
    """The exact statistics of rows, and what each may lose.

    x (rows, n) real; eps >= 0, a number or (rows, 1).  kind "standardize", "rms" or "center".  weight (rows,
    n) or (n,) >= 0 with unit row sums: masked statistics.  outside: eps is added to the deviation, not to the
    variance.  mean, var (rows, 1), xhat (rows, n): exact values of an oracle, in the place of those computed
    here by a corrected two-pass sum in wide(arithmetic.compute); var is without eps (for rms, mean x^2).
    Raises ValueError for another kind, TypeError for an x that is not (rows, n).

    Attributes, (rows, 1) but for x, c, xhat, local, error (rows, n): mean, var, v, rstd; delta, A, sigma,
    shift (t); local (l); error (E_xhat: inf where nothing can be judged, NaN out of range); reach, the
    largest rstd that a right implementation may arrive at; out_of_range; frozen: the statistics are constants
    (evaluation).
    """

    weight: np.ndarray | None

    @quiet
    def __init__(
        self, x: Any, eps: Any, arithmetic: Arithmetic, kind: str = "standardize", *,
        weight: Any = None, outside: bool = False, mean: Any = None, var: Any = None, xhat: Any = None,
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is unknown; it must be one of {', '.join(KINDS)}")
        self._take(x, eps, arithmetic, kind)
        if weight is not None:
            self.weight = np.broadcast_to(np.asarray(weight, self.x.dtype), self.x.shape)
        self.outside = outside
        self._exact(mean, var, xhat)
        self._mean_loss()
        self._variance_loss()
        self._finish(np.zeros_like(self.mean) if kind == "center" else self._sigma())

    def _take(self, x: Any, eps: Any, arithmetic: Arithmetic, kind: str) -> None:
        kept = wide(arithmetic.compute)
        self.x = np.asarray(x)
        if self.x.ndim != 2:
            raise TypeError(f"x has shape {self.x.shape}; it must be (rows, n)")
        self.x = self.x.astype(kept)
        self.n, self.eps = self.x.shape[1], np.asarray(eps, kept)
        self.arithmetic, self.kind = arithmetic, kind
        self.weight = None
        self.outside, self.frozen = False, False

    def average(self, a: np.ndarray) -> np.ndarray:
        """The mean of a (rows, n), weighted where the statistics are -> (rows, 1)."""
        return (a / self.n if self.weight is None else a * self.weight).sum(axis=1, keepdims=True)

    def summing(self, a: np.ndarray) -> np.ndarray:
        """u R(a)/n: what the average of a (rows, n) loses to its additions -> (rows, 1)."""
        addends, share = (a, 1 / max(self.n, 1)) if self.weight is None else (a * self.weight, 1)
        return self.arithmetic.u * share * growth(addends, self.arithmetic.unit)

    def peak(self, a: np.ndarray) -> np.ndarray:
        """max |a| over the entries that count -> (rows, 1)."""
        counted = np.abs(a) if self.weight is None else np.where(self.weight > 0, np.abs(a), 0)
        return counted.max(axis=1, keepdims=True, initial=0)

    def _exact(self, mean: Any, var: Any, xhat: Any) -> None:
        kept, column = self.x.dtype, (len(self.x), 1)
        if mean is not None:
            self.mean = np.asarray(mean, kept).reshape(column)
        elif self.kind == "rms":
            self.mean = np.zeros(column, kept)
        else:
            rough = self.average(self.x)
            self.mean = rough + self.average(self.x - rough)
        self.c = self.x - self.mean
        self.var = self.average(np.square(self.c)) if var is None else np.asarray(var, kept).reshape(column)
        self.v = self.var if self.outside else self.var + self.eps
        self.rstd = 1 / self.deviation(self.var)
        self.xhat = self.c * self.rstd if xhat is None else np.asarray(xhat, kept)
        if xhat is not None:
            self.c = np.where(np.isfinite(self.rstd), self.xhat / self.rstd, self.c)

    def deviation(self, var: np.ndarray) -> np.ndarray:
        """1/r at a variance (rows, 1)."""
        if self.kind == "center":
            return np.ones_like(var)
        return np.sqrt(var) + self.eps if self.outside else np.sqrt(var + self.eps)

    def _mean_loss(self) -> None:
        a = self.arithmetic
        self.delta = np.zeros_like(self.mean)
        if self.kind == "rms":
            return
        first = np.zeros(len(self.x), int) if self.weight is None else np.argmax(self.weight > 0, axis=1)
        self.pivot = np.take_along_axis(self.x, first[:, None], axis=1) if self.n else self.delta
        sums = np.maximum(self.summing(self.x), self.summing(self.x - self.pivot))
        if self.weight is None:
            sums = np.maximum(sums, a.u / max(self.n, 1) * drift(self.x, a.unit))
        self.delta = sums + 2 * a.u * self.peak(self.x) + 2 * a.h
        if a.mode == "saved":
            self.delta = self.delta + a.storage("x").unit * np.abs(self.mean)

    def _variance_loss(self) -> None:
        a = self.arithmetic
        share, c = (1 / max(self.n, 1), self.c) if self.weight is None else (1, self.c * self.weight)
        wave = 8 * share * partial_sums(c).max(axis=1, keepdims=True, initial=0)
        self.A = self._one_pass(self.mean) + self.delta * np.minimum(2 * self.average(np.abs(self.c)), wave)
        if self.kind == "standardize":
            self.A = np.maximum(self.A, self._one_pass(self.pivot))
        if a.mode == "one-pass" and self.kind == "standardize":
            self.A = np.maximum(self.A, self._one_pass(0))
        if a.mode == "saved":
            self.A = self.A + 2 * a.storage("x").unit * self.v

    def _one_pass(self, p: Any) -> np.ndarray:
        """A(p) of the docstring (rows, 1)."""
        a, d, away = self.arithmetic, self.x - p, np.abs(self.mean - p)
        loss = self.summing(np.square(d)) + 5 * a.u * (self.v + np.square(away)) + 2 * a.h
        if p is self.mean:
            return loss
        mean_loss = self.summing(d) + a.u * (self.average(np.abs(d)) + away) + 2 * a.h
        return loss + (2 * away + mean_loss) * mean_loss

    def _sigma(self) -> np.ndarray:
        def fall(more: np.ndarray) -> np.ndarray:
            return np.where(more > 0, 1 - self.deviation(self.var) / self.deviation(self.var + more), 0)

        low = np.maximum(self.var - self.A, 0) if self.outside else self.var - self.A
        rise = self.deviation(self.var) / self.deviation(low) - 1
        rise = np.where(rise >= 0, rise, np.inf)  # the root of a negative number is NaN
        return np.maximum(rise, fall(self.A)) + fall(np.square(self.delta)) + 4 * self.arithmetic.u

    def _finish(self, sigma: np.ndarray) -> None:
        a, r = self.arithmetic, self.rstd
        self.sigma, self.shift = sigma, self.delta * r
        self.local = 2 * a.u * (np.abs(self.xhat) + (np.abs(self.x) + np.abs(self.mean)) * r) + a.h * r
        error = (self.shift + self.local) * (1 + sigma) + np.abs(self.xhat) * sigma
        self.reach = np.fmin(r * (1 + sigma), 1 / self.deviation(np.zeros_like(self.var)))
        self.out_of_range = ~np.isfinite(r) | (np.isinf(sigma) & (self.eps == 0))
        if not self.frozen:
            peak = self.peak(self.x)
            self.out_of_range |= ~(self.n * (peak if self.kind == "center" else np.square(peak)) <= a.largest)
        self.error = np.where(self.out_of_range, np.nan, np.where(np.isnan(error), np.inf, error))

    def ceiling(self) -> np.ndarray:
        """The largest |xhat| (rows, n) that a right implementation may give where nothing can be judged."""
        return (np.abs(self.x) + np.abs(self.mean) + self.delta) * self.reach

    def scaled(self) -> tuple[np.ndarray, np.ndarray]:
        """x r and mu r: what a parameter gradient sums where it multiplies by r last."""
        return self.x * self.rstd, self.mean * self.rstd


@quiet
def evaluation(x: Any, running_mean: Any, running_var: Any, eps: Any, arithmetic: Arithmetic) -> Statistics:
    """Batch norm in evaluation mode: statistics that are given, constants in the backward.

    x (rows, n), running_mean and running_var (rows,) or (rows, 1).
    """
    stats = Statistics.__new__(Statistics)
    stats._take(x, eps, arithmetic, "standardize")
    stats.frozen = True
    stats._exact(running_mean, running_var, None)
    stats.delta, stats.A = np.zeros_like(stats.mean), 5 * arithmetic.u * stats.v
    stats._finish(np.full_like(stats.mean, 6 * arithmetic.u))
    return stats
