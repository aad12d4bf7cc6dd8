"""What one rounding loses, and what a sum of n of them loses: `Arithmetic`, `growth`, `drift`.

**One rounding.**  A result of the exact value z is off by at most unit |z| + least: `unit` is the unit
roundoff, `least` what an underflow loses: the smallest normal number, because many devices flush subnormals
to zero (float16 keeps them everywhere: there it is half of its smallest subnormal).

**K = 2**, the one constant that multiplies every rounding of the arithmetic (u = K unit) and none of the
storage: it pays for the products of errors that first-order derivations drop and for device roots and
divisions of two ulps.

**A sum.**  Adding a_1 .. a_n one after another commits at most unit |s_i| at addition i, s_i the partial
sums. Backwards they are S - s_i; in p interleaved lanes, those of a_i, a_(i+p), a_(i+2p) ...; trees, pairwise
sums and merged blocks have fewer and smaller ones.  Let M_i be the largest of |s_i|, |S - s_i| and the lanes'
for p = 2, 4, .. 1024 (registers, warps, blocks: an alternating row cancels in a sequential sum, not in
lanes), but at most |a_i| / unit: no addition errs by more than its addend, the other number being a candidate
for the result.  The loss is at most unit L, L = sum M_i, in each of these orders.

L is far too much for most rows, and sqrt(n) too little for some, because **the error of an addition is a
function of its addend alone**: s is a multiple of its own ulp w, so that s + a is rounded by what a leaves
over a multiple of w, e(a) = w round(a/w) - a.  Therefore

- equal addends err equally.  With shares p_k of equal addends, sum p_k = 1, the mean of e is that of d = 1 /
  sum p_k^2 independent draws, uniform on half an ulp: standard deviation 1/sqrt(3 d) of the worst case, and
  2/sqrt(d) is 3.5 of them;
- addends within a part of an ulp of each other err alike though no two are equal.  e is a sawtooth, a sum
  over k of waves of size w/(pi k) and period w/k; whatever constant is added to all addends (another mean,
  another pivot), its mean is governed by f = |mean exp(2 pi i a/w)|: 0 for addends spread over ulps, 1 for
  addends that agree within one.  f is measured at the ulp of max M, half and a quarter of it, and what the d
  equal shares explain is taken off; 2 f of the worst case;
- multiples of w err not at all, and are left out of both;
- what remains has random signs: a standard deviation of at most ||M||_2 unit / sqrt(3), of which 6 ||M||_2
  unit is ten: errors of lanes and merges are not quite independent.

    R(a) = min(L, 6 ||M||_2 + (2/sqrt(d) + 2 f) L)                              in units of the unit roundoff

About sqrt(n) max M while errors behave randomly, n/2 max M where they line up: measured on the data, no
function of n.  (A law of sqrt(n) alone fails sequential float32 sums by ten times once n kappa unit > 1; L
alone is 14 to 40 times looser at n >= 16384.  Systematic loss is real: the float32 mean of 10^6 squared
normal draws, summed in order, is low by 4e-4, because of the small ones.)

**A running mean**, m_k = m_(k-1) + (x_k - m_(k-1))/k (Welford), is rounded to its ulp w_k at step k, which
weighs k/n in the end: |s_k| unit / n, as in a sum.  But its addends shrink with k, and once they are below an
ulp, what is rounded away is the addend or what it lacks to an ulp: on a sorted or a skewed row that adds up.
The addends are known, so this is computed rather than bounded:

    W(x) = 6 ||min(|s_k|, |k a_k| / unit)||_2 + max_j |sum_(k <= j) k e_k| / unit
           a_k = (x_k - m_(k-1))/k,    e_k = w_k round(a_k/w_k) - a_k,    m_k exact
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

K = 2.0
LANES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MODES = ("wide", "saved", "storage sums", "one-pass")


class Format(NamedTuple):
    unit: float  # unit roundoff: half the distance from 1 to the next number
    least: float  # what an underflow loses
    normal: float  # the smallest normal number
    largest: float


FORMATS = {
    np.dtype(np.float64): Format(2.0**-53, 2.0**-1022, 2.0**-1022, float(np.finfo(np.float64).max)),
    np.dtype(np.float32): Format(2.0**-24, 2.0**-126, 2.0**-126, float(np.finfo(np.float32).max)),
    np.dtype(np.float16): Format(2.0**-11, 2.0**-25, 2.0**-14, 65504.0),
    np.dtype(ml_dtypes.bfloat16): Format(2.0**-8, 2.0**-126, 2.0**-126, 255 * 2.0**120),
}
NAMES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def dtype_of(name: Any) -> np.dtype:
    """A dtype or its name -> the dtype.  Raises TypeError that lists what exists."""
    dtype = np.dtype(NAMES.get(name, name)) if isinstance(name, str) else np.dtype(name)
    if dtype not in FORMATS:
        raise TypeError(f"no tolerance is derived for {dtype}; there is one for {', '.join(NAMES)}")
    return dtype


@dataclass(frozen=True)
class Arithmetic:
    """What a candidate declares of its precision: storage by role, the arithmetic between, and how it sums.

    x              storage of x, and of what follows it unless said: params, out, dx
    grads, state   parameter gradients and running statistics: as params unless said
    saved          statistics handed from forward to backward: as compute unless said
    compute        float64 for x in float64, else float32, unless said
    mode           "wide"          statistics and sums in `compute`, two-pass, Welford, merged or pivoted
                   "saved"         mean and rstd pass through the storage type of x before they are used
                   "storage sums"  sums in the storage type of x: `compute` is that type
                   "one-pass"      variance as E[x^2] - E[x]^2
    Raises TypeError for a dtype without a tolerance, ValueError for an unknown mode.
    """

    x: np.dtype
    params: np.dtype | None = None
    out: np.dtype | None = None
    dx: np.dtype | None = None
    grads: np.dtype | None = None
    state: np.dtype | None = None
    saved: np.dtype | None = None
    compute: np.dtype | None = None
    mode: str = "wide"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is unknown; it must be one of {', '.join(MODES)}")
        x = dtype_of(self.x)
        params = dtype_of(x if self.params is None else self.params)
        compute = x if self.mode == "storage sums" or x == np.float64 else dtype_of("float32")
        compute = dtype_of(compute if self.compute is None else self.compute)
        follows = {"x": x, "params": params, "out": x, "dx": x, "grads": params, "state": params, "saved": compute}
        for role, default in (follows | {"compute": compute}).items():
            given = getattr(self, role)
            object.__setattr__(self, role, default if given is None else dtype_of(given))

    @classmethod
    def of(cls, dtypes: Any, *, compute: Any = None, mode: str = "wide") -> Arithmetic:
        """From "bfloat16", a dtype, or roles {"x": "bfloat16", "params": "float32", "compute": "float32"}."""
        roles = dict(dtypes) if isinstance(dtypes, Mapping) else {"x": dtypes}
        if compute is not None:
            roles["compute"] = compute
        return cls(**roles, mode=mode)

    @property
    def unit(self) -> float:
        """The unit roundoff of the arithmetic."""
        return FORMATS[self.compute].unit

    @property
    def u(self) -> float:
        """K times it."""
        return K * self.unit

    @property
    def h(self) -> float:
        """What one underflow of the arithmetic loses."""
        return FORMATS[self.compute].least

    @property
    def largest(self) -> float:
        return FORMATS[self.compute].largest

    def storage(self, role: str) -> Format:
        """unit (never multiplied by K), least, normal and largest of what a role is stored in."""
        return FORMATS[getattr(self, role)]


def wide(dtype: Any) -> np.dtype:
    """Where exact values for an arithmetic are held: float64, for float64 long double where that is more."""
    more = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
    return np.dtype(np.longdouble if dtype_of(dtype) == np.float64 and more else np.float64)


def partial_sums(a: np.ndarray) -> np.ndarray:
    """The largest |partial sum| (rows, n) in which a term of a (rows, n) is added, over the orders above."""
    rows, n = a.shape
    s = np.cumsum(a, axis=1)
    largest = np.maximum(np.abs(s), np.abs(s[:, -1:] - s))
    if a.size == 0 or a.min() >= 0 or a.max() <= 0:  # of one sign: a lane's is at most 2 max(s_i, S - s_i)
        return largest
    for lanes in (p for p in LANES if 2 * p <= n):
        padded = np.pad(a, ((0, 0), (0, -n % lanes))).reshape(rows, -1, lanes)
        s = np.cumsum(padded, axis=1)
        s = np.maximum(np.abs(s), np.abs(s[:, -1:] - s))
        np.maximum(largest, s.reshape(rows, -1)[:, :n], out=largest)
    return largest


def growth(a: np.ndarray, unit: float) -> np.ndarray:
    """R(a) (rows, 1) for a (rows, n): what summing a row may lose, in units of the unit roundoff."""
    largest = partial_sums(a)
    size = np.minimum(largest, np.abs(a) / unit)
    if a.shape[1] <= 36:  # 6 ||M||_2 >= 6 L / sqrt(n) >= L
        return size.sum(axis=1, keepdims=True)
    return gather(size, *alignment(a, ulp(largest.max(axis=1, keepdims=True), unit)))


def drift(x: np.ndarray, unit: float) -> np.ndarray:
    """W(x) (rows, 1) for x (rows, n): n times what Welford's mean of a row may lose, likewise."""
    k = np.arange(1, x.shape[1] + 1, dtype=x.dtype)
    s = np.cumsum(x, axis=1)
    step = x.copy()
    step[:, 1:] -= (s / k)[:, :-1]
    grid = k * ulp(s / k, unit)
    lost = np.cumsum(grid * np.rint(step / grid) - step, axis=1)
    size = np.minimum(np.abs(s), np.abs(step) / unit)
    return random_walk(size) + np.abs(lost).max(axis=1, keepdims=True, initial=0) / unit


def ulp(value: np.ndarray, unit: float) -> np.ndarray:
    """The distance between neighbours at value, in a format of that unit roundoff."""
    return np.maximum(np.ldexp(np.asarray(unit, value.dtype), np.frexp(value)[1]), np.finfo(value.dtype).tiny)


def random_walk(size: np.ndarray) -> np.ndarray:
    """6 ||M||_2 (rows, 1), scaled so that no square overflows."""
    top = np.maximum(size.max(axis=1, keepdims=True, initial=0), np.finfo(size.dtype).tiny)
    return 6 * top * np.sqrt(np.square(size / top).sum(axis=1, keepdims=True))


def gather(size: np.ndarray, repeats: np.ndarray, clusters: np.ndarray | float = 0.0) -> np.ndarray:
    """What errors of sizes M (rows, n) add up to by that law (rows, 1); repeats 1/sqrt(d), clusters f."""
    worst = size.sum(axis=1, keepdims=True)
    return np.minimum(worst, random_walk(size) + 2 * (repeats + clusters) * worst)


def alignment(a: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(1/sqrt(d), f) of the law above, each (rows, 1), for partial sums with ulps of up to step (rows, 1)."""
    clusters = np.zeros(step.shape)
    for part in (1.0, 0.5, 0.25):
        left = a / (part * step)
        left -= np.rint(left)
        inexact = left != 0
        if part == 1.0:
            repeats = equal_shares(np.where(inexact, a, 0))
        turn = 2 * np.pi * left.astype(np.float64)
        along, across = np.where(inexact, np.cos(turn), 0), np.sin(turn)
        found = np.hypot(along.mean(axis=1, keepdims=True), across.mean(axis=1, keepdims=True))
        clusters = np.maximum(clusters, found)
    # d draws at random give f of about 1/sqrt(d) too, which the first term counts already
    return repeats, np.sqrt(np.maximum(np.square(clusters) - 4 * np.square(repeats), 0))


def equal_shares(a: np.ndarray) -> np.ndarray:
    """1/sqrt(d) (rows, 1), the root of sum p_k^2 over the distinct non-zero values of each row of a."""
    rows, n = a.shape
    ordered = np.sort(a, axis=1)
    starts = np.ones(a.shape, bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.flatnonzero(starts)
    length = np.diff(first, append=a.size)
    share = np.where(ordered.ravel()[first] == 0, 0, length / max(n, 1))
    return np.sqrt(np.bincount(first // max(n, 1), weights=np.square(share), minlength=rows))[:, None]
