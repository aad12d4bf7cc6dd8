"""Standardize with the batch, then correct towards the population by factors that the gradient does not see (batch renorm).

    zhat = (z - mu_B) / sigma_B * r + d        r = stop(clip(sigma_B / sigma))        d = stop(clip((mu_B - mu) / sigma))

mu and sigma are running statistics of earlier batches, sigma_B = sqrt(s2 + eps) holds eps already.  Where nothing is clipped,
zhat = (z - mu) / sigma: what evaluation computes.  (S. Ioffe, arXiv 1702.03275, algorithm 1.)

The gradient.  r and d count as constants, so this is the gradient of `standardize` for the cotangent r g:

    dL/dz = r / sigma_B (g - mean(g) - n mean(g n)),   n = (z - mu_B) / sigma_B.

Shapes: z, zhat, g (B, D, M); mean, deviation, r, d (B, D, 1); weight (B, 1, M), sums to 1 along M, or None.
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import stop

from . import standardize


class Saved(NamedTuple):
    """float64, shape (B, D, 1); mean and deviation are the batch's."""

    mean: Any
    var: Any
    rstd: Any
    deviation: Any
    r: Any
    d: Any


def forward(
    z: Any, mean: Any, deviation: Any, *, eps: float, r_min: float, r_max: float, d_max: float, weight: Any = None
) -> tuple[Any, Saved]:
    """mean, deviation: the running statistics mu and sigma, (B, D, 1)."""
    _, batch = standardize.forward(z, eps=eps, weight=weight)
    sigma = np.sqrt(batch.var + eps)
    r = stop(np.clip(sigma / deviation, r_min, r_max))
    d = stop(np.clip((batch.mean - mean) / deviation, -d_max, d_max))
    saved = Saved(*batch, sigma, r, d)
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return (z - saved.mean) * saved.rstd * saved.r + saved.d


def backward(g: Any, z: Any, saved: Saved, *, eps: float, weight: Any = None) -> Any:
    return standardize.backward(saved.r * g, z, standardize.Saved(*saved[:3]), eps=eps, weight=weight)


def from_population(mean: Any, deviation: Any) -> Saved:
    """Evaluation: zhat = (z - mu) / sigma."""
    return Saved(mean, None, 1 / deviation, deviation, np.ones_like(deviation), np.zeros_like(deviation))


def apply_backward(g: Any, saved: Saved) -> Any:
    return saved.rstd * g
