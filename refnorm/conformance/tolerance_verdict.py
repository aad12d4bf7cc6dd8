"""What is done with a bound: `compare`, two tests that see what no bound can, and figures for a report.

**Scale test.**  A bound holds for every right order of summation on every element, so on long rows it is
wide; but all that an error of the variance does to a row is one number, rhat/r - 1, and n elements tell of
it.  A row's error is fitted by least squares,

    observed - y = gamma (shift + scale xhat) + rest           scale = sum p_i (observed - y)_i

The shift, all that the mean's error does, drops out, so that |scale| is at most sigma of tolerance_statistics
plus |p_i| times each element's own roundings, added by the law of tolerance_arithmetic.

**Exact scaling.**  x -> 2^p x with eps -> 4^p eps multiplies every intermediate value by a power of two: y
and dgamma stay, dx becomes 2^-p dx, a running mean 2^p and a running variance 4^p of what it was, bit for
bit, whatever the order of summation.  So do x -> -x, dy -> -dy, dy -> 2 dy.  No oracle and no tolerance; it
holds while nothing underflows or overflows: `scaling_is_exact` says for which rows, `scales_exactly` for
which elements of a result. (A root that goes through exp and log need not have it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .tolerance_arithmetic import FORMATS, Arithmetic, dtype_of, equal_shares, gather

if TYPE_CHECKING:
    from .tolerance_statistics import Statistics

VACUOUS = 0.1  # units of xhat: what is allowed to err by more could hardly have failed


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    ok              worst <= 1, and nothing that must be finite is not
    worst, index    the largest |observed - expected| / bound, and where (where the first
                    that must be finite and is not, if nothing judged is wrong); None for empty arrays
    judged, must_be_finite, not_judged     elements with a finite, an infinite, a NaN bound
    not_finite      how many of must_be_finite are infinite or NaN
    sharp           judged elements with a bound of at most VACUOUS units
    vacuous         there is none of them, and to pass says nothing
    """

    ok: bool
    worst: float
    index: tuple[int, ...] | None
    judged: int
    must_be_finite: int
    not_judged: int
    sharp: int
    not_finite: int

    @property
    def vacuous(self) -> bool:
        return self.sharp == 0


def compare(observed: Any, expected: Any, bound: Any, unit: Any = 1.0) -> Comparison:
    """Judge observed against expected, element by element; all three of one shape, else ValueError.

    bound: finite, the error may not exceed it; inf, the value must be finite; NaN, not judged.  A NaN or an
    infinity where a finite value is judged is a failure (NaN equals nothing).  unit, broadcast: one unit of
    xhat in terms of the result, for the verdict "vacuous": |gamma| for y, r rms(g) for dx, the root of sum
    dy^2 for dgamma and dbeta, 1/r for a mean, v for a variance, r for rstd.
    """
    bound = np.asarray(bound)
    observed, expected = (np.asarray(a).astype(bound.dtype) for a in (observed, expected))
    if not observed.shape == expected.shape == bound.shape:
        shapes = f"observed {observed.shape}, expected {expected.shape}, bound {bound.shape}"
        raise ValueError(f"shapes differ: {shapes}; they must be one")
    judged, lost = np.isfinite(bound), np.isinf(bound)
    with np.errstate(all="ignore"):
        error = np.abs(observed - expected)
        ratio = np.where(judged & (error != 0), error / bound, 0)
        sharp = judged & (bound <= VACUOUS * np.abs(np.broadcast_to(unit, bound.shape)))
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    broken = lost & ~np.isfinite(observed)
    worst = float(ratio.max(initial=0))
    culprit = np.argmax(broken if worst <= 1 and broken.any() else ratio) if bound.size else None
    return Comparison(
        ok=worst <= 1 and not broken.any(),
        worst=worst,
        index=None if culprit is None else tuple(int(i) for i in np.unravel_index(culprit, bound.shape)),
        judged=int(judged.sum()),
        must_be_finite=int(lost.sum()),
        not_judged=int(np.isnan(bound).sum()),
        sharp=int(sharp.sum()),
        not_finite=int(broken.sum()),
    )


@dataclass(frozen=True)
class Scale:
    """What `scale_test` found, each (rows,): the scale, its bound and their ratio, NaN where not judged."""

    scale: np.ndarray
    bound: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.where(np.isnan(self.bound), np.nan, np.abs(self.scale) / self.bound)

    @property
    def ok(self) -> bool:
        """Every row that is judged passes; a scale of NaN does not."""
        judged = ~np.isnan(self.bound)
        return bool(np.all(np.abs(self.scale[judged]) <= self.bound[judged]))


@np.errstate(all="ignore")
def scale_test(stats: Statistics, observed: Any, gamma: Any = 1.0, beta: Any = 0.0, casts: int = 0) -> Scale:
    """Fit shift and scale of each row's error in y (rows, n), and bound the scale; arguments as of `forward`.

    Not judged: rows out of range, rows of whose variance nothing can be said, and rows where gamma xhat is
    (nearly) a multiple of gamma, as with fewer than two values of xhat where gamma is not 0.
    """
    s, a, form = stats, stats.arithmetic, stats.arithmetic.storage("out")
    gamma, beta = (np.broadcast_to(np.asarray(p, s.x.dtype), s.x.shape) for p in (gamma, beta))
    along = gamma * s.xhat
    y = along + beta
    error = np.asarray(observed).astype(s.x.dtype) - y
    free = along
    if s.kind != "rms":
        free = along - gamma * total(along * gamma) / total(np.square(gamma))
    slope = total(free * along)
    p = free / slope
    own = np.abs(gamma) * s.local * (1 + s.sigma) + a.u * (2 * np.abs(along) + np.abs(y) + np.abs(beta))
    own = own + form.unit * (np.abs(y) + casts * np.abs(along))
    own = own + (form.least * (1 + casts) + a.h) * (1 + np.abs(gamma) + np.abs(s.c))
    rounding = gather(np.abs(p) * own, equal_shares(s.x))
    judged = ~s.out_of_range & np.isfinite(s.sigma) & (slope > 1e-6 * total(np.square(along)))
    return Scale(total(p * error)[:, 0], np.where(judged, s.sigma + rounding, np.nan)[:, 0])


def total(a: np.ndarray) -> np.ndarray:
    return a.sum(axis=1, keepdims=True)


def scaling_is_exact(x: Any, eps: Any, p: int, arithmetic: Arithmetic, dy: Any = None) -> np.ndarray:
    """(rows,) True where multiplying x by 2^p and eps by 4^p must scale every result bit for bit.

    x (rows, n), dy (rows, n) or None for a forward alone, eps a number or (rows, 1).  A sufficient condition:
    before and after, x and eps are normal numbers of their formats (or 0), and so are, with lo and hi the
    least non-zero and the largest |x|: the smallest difference lo unit/n and its square, 4 (n hi^2 + eps),
    and their products with r, r^3 and the like of dy.
    """
    kept, form, n = FORMATS[arithmetic.compute], arithmetic.storage("x"), max(np.shape(x)[1], 1)
    least_x, largest_x = magnitudes(x)
    eps = np.asarray(eps, np.longdouble).reshape(-1)
    exact = np.ones(len(least_x), bool)
    for q in (0, p):
        lo, hi, e = np.ldexp(least_x, q), np.ldexp(largest_x, q), np.ldexp(eps, 2 * q)
        small, square = lo * kept.unit / n, n * np.square(hi)
        exact &= (lo >= form.normal) & (hi <= form.largest) & ((e == 0) | (e >= kept.normal))
        exact &= (np.square(small) >= kept.normal) & (4 * (square + e) <= kept.largest)
        if dy is not None:
            least_g, largest_g = magnitudes(dy)
            r_least = 1 / np.sqrt(square + e + kept.normal)
            r_largest = 1 / np.sqrt(np.maximum(np.square(small), e))
            low = least_g * kept.unit / n * np.minimum(1, small) * np.minimum(1, r_least**3)
            high = n * largest_g * np.maximum(1, np.square(hi)) * np.maximum(1, r_largest**3)
            exact &= (low >= kept.normal) & (high <= kept.largest)
    return exact


def magnitudes(a: Any) -> tuple[np.ndarray, np.ndarray]:
    """The least non-zero and the largest |a| of each row, (rows,); infinity and 0 where there is none."""
    size = np.abs(np.asarray(a).astype(np.longdouble))
    return np.where(size > 0, size, np.inf).min(axis=1, initial=np.inf), size.max(axis=1, initial=0)


def scales_exactly(value: Any, p: int, dtype: Any) -> np.ndarray:
    """True where 2^p value is exact in dtype: 0, or normal and finite before and after.  Any shape."""
    form, size = FORMATS[dtype_of(dtype)], np.abs(np.asarray(value).astype(np.longdouble))
    low, high = np.ldexp(size, min(p, 0)), np.ldexp(size, max(p, 0))
    return (size == 0) | ((low >= form.normal) & (high <= form.largest))


def bits_lost(
    observed: Any, expected: Any, arithmetic: Arithmetic, role: str = "out", unit: Any = 1.0
) -> float:
    """How many bits a candidate lost at its worst element: log2 of max |observed - expected| / step, or 0.

    step = max(|expected|, unit) times the unit roundoff of the arithmetic or of the role's storage, whichever
    is coarser; unit as in `compare`, so that an element near 0 is measured against its row.  0: as good as
    one rounding; inf: not finite where a finite value is expected.  Elements whose expected value is not
    finite do not count.
    """
    expected = np.asarray(expected)
    observed = np.asarray(observed).astype(expected.dtype)
    step = max(arithmetic.unit, arithmetic.storage(role).unit) * np.maximum(np.abs(expected), unit)
    with np.errstate(all="ignore"):
        lost = np.where(np.isfinite(expected), np.abs(observed - expected) / step, 0)
    lost = np.where(np.isnan(lost), np.inf, lost)
    return float(np.log2(np.maximum(lost.max(initial=1), 1)))


def growth_exponent(kappas: Any, errors: Any) -> float:
    """q in error ~ kappa^q at one row length, kappa = |mean|/std.  1: a stable algorithm; 2: E[x^2] - E[x]^2.

    kappas, errors (k,), errors in units of xhat.  Least squares in logarithms over the points whose error
    exceeds four times the smallest (below is the format's floor) and not 0.1 (above nothing is left); NaN
    with fewer than 3.
    """
    kappas, errors = np.asarray(kappas, float), np.asarray(errors, float)
    floor = np.min(errors[np.isfinite(errors)], initial=np.inf)
    with np.errstate(invalid="ignore"):
        used = (errors > 4 * floor) & (errors < VACUOUS) & (kappas > 0)
    if np.count_nonzero(used) < 3:
        return float("nan")
    return float(np.polyfit(np.log(kappas[used]), np.log(errors[used]), 1)[0])
