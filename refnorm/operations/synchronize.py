"""Standardize over samples that lie on several processes (shards): what is exchanged, forward and backward.

Forward, each shard k sends its moments (n_k, mu_k, S_k), and all merge them (operations/moments.py):

    mu, s2 = S / n over all shards      r = 1 / sqrt(s2 + eps)      zhat = r (z - mu), each shard its own.

Backward, the gradient of `standardize` over all n samples, dL/dz = r (g - mean(g) - zhat mean(g zhat)), needs of the other
shards two sums, and these merge by addition:

    G_k = sum over shard k of g      H_k = sum over shard k of g zhat      dL/dz = r (g - (G + zhat H) / n),   G = sum G_k, ...

Shards need not be equal.  The mean of the shards' means is not the mean, nor is the mean of their variances the variance (which
also lacks the variance between shards): exact for equal shards as to the mean, and wrong otherwise.

One process runs `moments.of`, `statistics`, `apply`, `sums` and `finish` on its shard, exchanging moments before the second and
sums before the last; forward and backward below run them on all shards in turn, which lie one after the other along M.

Shapes: z, zhat, g (B, D, M); weight (B, 1, M), sums to 1 along M over all shards, or None; shards: their lengths along M.
"""

from typing import Any, NamedTuple

import numpy as np

from . import moments, standardize
from .moments import Moments
from .standardize import Saved, total


class Sums(NamedTuple):
    """What a shard's backward sends, (B, D, 1) each: sum g and sum g zhat."""

    g: Any
    gz: Any


def statistics(parts: list[Moments], *, eps: float) -> Saved:
    """What every shard knows after the exchange of moments."""
    whole = moments.merged(parts)
    return standardize.from_population(whole.mean, whole.covariance, eps=eps)


def sums(g: Any, zhat: Any) -> Sums:
    return Sums(total(g), total(g * zhat))


def finish(g: Any, zhat: Any, saved: Saved, whole: Sums, share: Any) -> Any:
    """dL/dz on one shard; share: what one of its samples counts, 1 / n over all shards, or its weight."""
    return saved.rstd * (g - share * (whole.g + zhat * whole.gz))


def forward(z: Any, *, eps: float, shards: tuple[int, ...], weight: Any = None) -> tuple[Any, Saved]:
    weights = [None] * len(shards) if weight is None else cut(weight, shards)
    parts = [moments.of(z_k, w_k) for z_k, w_k in zip(cut(z, shards), weights, strict=True)]
    saved = statistics(parts, eps=eps)
    return np.concatenate([apply(z_k, saved) for z_k in cut(z, shards)], axis=2), saved


apply = standardize.apply


def backward(g: Any, z: Any, saved: Saved, *, eps: float, shards: tuple[int, ...], weight: Any = None) -> Any:
    pairs = [(g_k, apply(z_k, saved)) for g_k, z_k in zip(cut(g, shards), cut(z, shards), strict=True)]
    each = [sums(*pair) for pair in pairs]
    whole = Sums(sum(s.g for s in each), sum(s.gz for s in each))
    shares = [1 / z.shape[2]] * len(shards) if weight is None else cut(weight, shards)
    finished = [finish(g_k, zhat_k, saved, whole, share) for (g_k, zhat_k), share in zip(pairs, shares, strict=True)]
    return np.concatenate(finished, axis=2)


apply_backward = standardize.apply_backward


def from_population(mean: Any, var: Any, *, eps: float, shards: tuple[int, ...]) -> Saved:
    return standardize.from_population(mean, var, eps=eps)


def residuals(zhat: Any, saved: Saved, *, eps: float, shards: tuple[int, ...], weight: Any = None) -> Any:
    return standardize.residuals(zhat, saved, eps=eps, weight=weight)


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, eps: float, shards: tuple[int, ...]) -> Any:
    return standardize.identities(dz, g, zhat, saved, eps=eps)


def cut(a: Any, shards: tuple[int, ...]) -> list[Any]:
    """An array's shards along M, in order."""
    ends = np.cumsum(shards)
    return [a[:, :, end - n : end] for end, n in zip(ends, shards, strict=True)]
