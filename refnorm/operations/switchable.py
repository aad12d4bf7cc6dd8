"""Standardize with a mixture of statistics: those of the instance (in), of the layer (ln) and of the batch (bn).

One entry z_ncs has three means and three variances, over s, over c s and over n s.  With w = softmax(a), w' = softmax(b),

    mu_nc = sum_k w_k mu_k        s2_nc = sum_k w'_k s2_k        zhat = (z - mu_nc) / sqrt(s2_nc + eps)

(P. Luo et al., arXiv 1806.10779, equation 3.)

The gradient, r = 1 / sqrt(s2_nc + eps).  For each (n, c):  dL/dmu = -r sum_s g,  dL/ds2 = -r^2 / 2 sum_s g zhat.  Each
statistic k sees the sum of these over the (n, c) that it serves, times its weight; a mean over m entries sends 1 / m to each of
them, a variance 2 (z - mu_k) / m.  The weights see d_k = dL/dw_k = sum_nc dL/dmu mu_k, and a softmax sends
w (d - sum w d) to its logits.

The authors' code takes the instance's variance unbiased, times 1 + b with b = 1 / (S - 1), and builds the other two from it, so
that b mean_c(s2_in) and b mean_n(s2_in) enter them: `bessel` is that b, or 0 as in the paper.

Masked statistics: `shares` (in, ln, bn) are what an entry counts in each of the three, 1 / m where none is left out; each
sums to 1 over its statistic's axes.

Shapes: z, zhat, g (N, C, S); a, b (3,), in the order in, ln, bn; shares broadcast to z; means and variances (N, C, 1),
(N, 1, 1), (1, C, 1).
"""

from typing import Any, NamedTuple

import numpy as np

AXES = ((2,), (1, 2), (0, 2))
AMONG = (None, 1, 0)  # the axis of (N, C, 1) along which one statistic serves several


class Saved(NamedTuple):
    """float64: three means and variances as they were used (the batch's own or a population's), their mixture, the weights."""

    means: tuple
    variances: tuple
    mean: Any
    rstd: Any
    w: Any
    v: Any


def softmax(a: Any) -> Any:
    e = np.exp(a - np.max(a))
    return e / np.sum(e)


def statistics(z: Any, shares: tuple) -> tuple[tuple, tuple]:
    """Three means, three biased variances, two-pass and corrected."""
    of = tuple(zip(shares, AXES, strict=True))
    means = tuple(np.sum(w * z, axis=axes, keepdims=True) for w, axes in of)
    means = tuple(mu + np.sum(w * (z - mu), axis=axes, keepdims=True) for mu, (w, axes) in zip(means, of, strict=True))
    squares = (np.sum(w * np.square(z - mu), axis=axes, keepdims=True) for mu, (w, axes) in zip(means, of, strict=True))
    return means, tuple(squares)


def forward(
    z: Any, a: Any, b: Any, *, eps: float, shares: tuple, bessel: float = 0.0, population: Any = None
) -> tuple[Any, Saved]:
    """population: (mean, variance), (1, C, 1) each, in the place of the batch's own (evaluation)."""
    means, variances = statistics(z, shares)
    own = variances[0]
    if bessel:
        variances = tuple(s2 + bessel * _along(np.mean, own, axis) for s2, axis in zip(variances, AMONG, strict=True))
    if population is not None:
        means, variances = ((*means[:2], population[0]), (*variances[:2], population[1]))
    w, v = softmax(a), softmax(b)
    mean = sum(w[k] * means[k] for k in range(3))
    rstd = 1 / np.sqrt(sum(v[k] * variances[k] for k in range(3)) + eps)
    saved = Saved(means, variances, mean, rstd, w, v)
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return (z - saved.mean) * saved.rstd


def backward(
    g: Any, z: Any, saved: Saved, *, eps: float, shares: tuple, bessel: float = 0.0, evaluation: bool = False
) -> tuple[Any, Any, Any]:
    """dL/dz, dL/da, dL/db."""
    n, c, _ = np.shape(z)
    zhat = apply(z, saved)
    gm = -saved.rstd * np.sum(g, axis=2, keepdims=True)
    gv = -0.5 * np.square(saved.rstd) * np.sum(g * zhat, axis=2, keepdims=True)
    dz = saved.rstd * g
    spread = 0.0  # through the unbiased instance variance
    for k, (among, share, served) in enumerate(zip(AMONG, shares, (1, c, n), strict=True)):
        if k == 2 and evaluation:
            break
        gm_k, gv_k = _along(np.sum, saved.w[k] * gm, among), _along(np.sum, saved.v[k] * gv, among)
        dz = dz + share * (gm_k + 2 * gv_k * (z - saved.means[k]))
        spread = spread + bessel * gv_k / served
    if bessel:
        dz = dz + shares[0] * 2 * spread * (z - saved.means[0])
    da = np.stack([np.sum(gm * mu) for mu in saved.means])
    db = np.stack([np.sum(gv * s2) for s2 in saved.variances])
    return dz, saved.w * (da - np.sum(saved.w * da)), saved.v * (db - np.sum(saved.v * db))


def _along(reduce: Any, a: Any, axis: int | None) -> Any:
    return a if axis is None else reduce(a, axis=axis, keepdims=True)
