"""One row: the arithmetic that every kernel here is made of, plain first, then fast.

A row is any number of entries that share statistics, or one contiguous piece of them.  Statistics are float64 whatever comes
in, and so is all that is summed; entries are computed in float32 (float64 for float64).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import elementwise, kernel, reduction
from .storage import read, write

STANDARDIZE, RMS, CENTER, DEVIATION, SAMPLE_DEVIATION, FLOOR = range(6)
"""Operations: all are zhat = r (z - mean), with mean 0 for RMS; they differ in r as a function of the variance."""


@kernel
def spread(operation: Any, var: Any, count: Any, eps: Any) -> Any:
    """r, as operations/standardize.py, rms.py, center.py, deviation.py and weight_standardize.py have it."""
    if operation == CENTER:
        return 1.0
    if operation == DEVIATION:
        return 1 / (np.sqrt(var) + eps)
    if operation == SAMPLE_DEVIATION:
        return 1 / (np.sqrt(var * (count / max(count - 1, 1))) + eps)
    if operation == FLOOR:
        return 1 / np.sqrt(max(var, eps / count))
    return 1 / np.sqrt(var + eps)


@kernel
def response(operation: Any, var: Any, rstd: Any, count: Any, eps: Any) -> Any:
    """-2 r' / r^2, with r' = dr/dvar: how the spread answers.  dL/dz = r (g - mean(g) - zhat mean(g zc) response)."""
    if operation == CENTER or (operation == FLOOR and not var > eps / count):
        return 0.0
    if operation == DEVIATION or operation == SAMPLE_DEVIATION:
        bessel = count / max(count - 1, 1) if operation == SAMPLE_DEVIATION else 1.0
        deviation = np.sqrt(var * bessel)
        return bessel / deviation if deviation > 0 else 0.0
    return rstd


# Forward.


@kernel
def normalize_plainly(operation: Any, x: Any, scale: Any, shift: Any, eps: Any, y: Any) -> Any:
    """The loop to read first: one row, two passes, corrected.  x, y, scale, shift (n,).  Returns mean, var, rstd.

        mu = mean(x)      s2 = mean((x - mu)^2)      r = 1 / sqrt(s2 + eps)      y = scale r (x - mu) + shift
    """
    n = x.size
    mean = 0.0
    if operation != RMS:
        for j in range(n):
            mean += read(x, j)
        mean /= n
        lost = 0.0
        for j in range(n):
            lost += read(x, j) - mean
        mean += lost / n                            # what rounding took from the first sum
    var = 0.0
    for j in range(n):
        var += (read(x, j) - mean) ** 2
    var /= n
    rstd = spread(operation, var, n, eps)
    apply_plainly(x, mean, rstd, scale, shift, y)
    return mean, var, rstd


@kernel
def apply_plainly(x: Any, mean: Any, rstd: Any, scale: Any, shift: Any, y: Any) -> None:
    """y = scale r (x - mean) + shift in float64, rounded once."""
    for j in range(x.size):
        write(y, j, (read(x, j) - mean) * rstd * scale[j] + shift[j])


@kernel
def apply_one_plainly(x: Any, mean: Any, slope: Any, shift: Any, y: Any) -> None:
    """The same with one scale and one shift for the whole row; slope = scale r."""
    for j in range(x.size):
        write(y, j, (read(x, j) - mean) * slope + shift)


# The fast forward.  One pass for the statistics, shifted by an entry of the row: |pivot - mean| <= sqrt(n) std, so
# mean(d^2) - mean(d)^2 loses a factor of at most 1 + n, harmless in float64, where E[x^2] - E[x]^2 loses (mean/std)^2.
# Fast functions take a flat array and where the row starts in it, o: slices would be counted references.


@reduction
def shifted_sums(x: Any, o: Any, n: Any, pivot: Any) -> Any:
    """sum(x - pivot), sum((x - pivot)^2) of x[o : o + n]; 7 times the plain loop's speed, in vector lanes."""
    total, squares = 0.0, 0.0
    for j in range(o, o + n):
        d = np.float64(read(x, j)) - pivot
        total += d
        squares += d * d
    return total, squares


@kernel
def moments(operation: Any, pivot: Any, total: Any, squares: Any, count: Any) -> Any:
    """mean, var of `count` entries from their shifted sums; for RMS, with pivot 0, mean 0 and the mean square."""
    if operation == RMS:
        return 0.0, squares / count
    drift = total / count
    var = squares / count - drift * drift
    return pivot + drift, (0.0 if var < 0 else var)             # a NaN stays one


@kernel
def within_float32(rstd: Any) -> Any:
    """Can rows of this spread be computed in float32, rstd squared too?  Others are left to the plain loop; NaN as well."""
    return 1e-15 < rstd < 1e15


@kernel
def centre(mean: Any, rstd: Any, like: Any) -> Any:
    """high, drift with xhat = (x - high) r + drift: the mean in the dtype of `like`, and what that lost of it, times r.

    x - high is exact where it cancels.  Without the drift xhat is wrong by |mean|/std ulp.
    """
    high = like.dtype.type(mean)
    return high, (np.float64(high) - mean) * rstd


@elementwise
def apply(x: Any, o: Any, n: Any, high: Any, rstd: Any, drift: Any, scale: Any, shift: Any, q: Any, y: Any) -> None:
    """y = scale xhat + shift, parameters along the row, from their entry q on."""
    for j in range(n):
        write(y, o + j, ((read(x, o + j) - high) * rstd + drift) * read(scale, q + j) + read(shift, q + j))


@elementwise
def apply_one(x: Any, o: Any, n: Any, high: Any, slope: Any, shift: Any, y: Any) -> None:
    """y = slope (x - high) + shift: one scale and one shift for the whole row; slope has r in it, and shift the drift."""
    for j in range(o, o + n):
        write(y, j, (read(x, j) - high) * slope + shift)


# Backward.  With c = x - mean, xhat = c r and g = dy scale: dx = r (g - mean(g) - xhat mean(g c) response).


@kernel
def pull_back_plainly(
    operation: Any, training: Any, dy: Any, x: Any, mean: Any, var: Any, rstd: Any, scale: Any, eps: Any,
    dx: Any, dscale: Any, dshift: Any,
) -> None:  # fmt: skip
    """The loop to read first: one row; adds to dscale and dshift (n,), float64."""
    n = x.size
    a, b = 0.0, 0.0
    if training:
        for j in range(n):
            g = read(dy, j) * scale[j]
            a += g
            b += g * (read(x, j) - mean)
        a = 0.0 if operation == RMS else a / n
        b = b / n * response(operation, var, rstd, n, eps)
    for j in range(n):
        d, xhat = np.float64(read(dy, j)), (read(x, j) - mean) * rstd
        write(dx, j, rstd * (d * scale[j] - a - xhat * b))
        dscale[j] += d * xhat
        dshift[j] += d


@reduction
def scaled_sums(dy: Any, x: Any, o: Any, n: Any, scale: Any, q: Any, mean: Any) -> Any:
    """sum(g), sum(g c) in float64."""
    total, along = 0.0, 0.0
    for j in range(n):
        g = np.float64(read(dy, o + j)) * read(scale, q + j)
        total += g
        along += g * (read(x, o + j) - mean)
    return total, along


@elementwise
def pull_back(
    dy: Any, x: Any, o: Any, n: Any, high: Any, rstd: Any, drift: Any, a: Any, b: Any, scale: Any, q: Any, dx: Any
) -> None:
    """dx = r (dy scale - a - xhat b)."""
    for j in range(n):
        xhat = (read(x, o + j) - high) * rstd + drift
        write(dx, o + j, (read(dy, o + j) * read(scale, q + j) - a - xhat * b) * rstd)


@elementwise
def add_parameters(
    dy: Any, x: Any, o: Any, n: Any, high: Any, rstd: Any, drift: Any, dscale: Any, dshift: Any, q: Any
) -> None:
    """This row's part of dscale and dshift, in float64.

    A loop of its own: with dx in it, too many arrays might overlap for the compiler to use vector lanes.
    """
    for j in range(n):
        d, xhat = read(dy, o + j), (read(x, o + j) - high) * rstd + drift
        write(dscale, q + j, read(dscale, q + j) + np.float64(d) * np.float64(xhat))
        write(dshift, q + j, read(dshift, q + j) + d)


# The same with one scale for the whole row.


@kernel
def pull_back_one_plainly(dy: Any, x: Any, mean: Any, rstd: Any, a: Any, b: Any, scale: Any, dx: Any) -> None:
    for j in range(dy.size):
        write(dx, j, rstd * (read(dy, j) * scale - a - (read(x, j) - mean) * rstd * b))


@elementwise
def pull_back_one(dy: Any, x: Any, o: Any, n: Any, high: Any, slope: Any, a: Any, b: Any, dx: Any) -> None:
    """dx = slope dy - a - b (x - high); slope has r in it, b r^2, and a r and the drift."""
    for j in range(o, o + n):
        write(dx, j, read(dy, j) * slope - a - (read(x, j) - high) * b)


@reduction
def sums(dy: Any, x: Any, o: Any, n: Any, mean: Any) -> Any:
    """sum(dy), sum(dy c) in float64."""
    total, along = 0.0, 0.0
    for j in range(o, o + n):
        d = np.float64(read(dy, j))
        total += d
        along += d * (read(x, j) - mean)
    return total, along
