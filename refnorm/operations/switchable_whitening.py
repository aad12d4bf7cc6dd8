"""Whitening by a mixture of statistics: of the batch (bw, bn), of the instance (iw, in) and of the layer (ln).

Each group of K channels of each sample is whitened by a mean and a covariance of its own, mixed from several, with
w = softmax(a), v = softmax(b):

    mu = sum_k w_k mu_k      S = sum_k v_k S_k + eps I      zhat = W(S) (z - mu),  W = S^(-1/2), or T Newton-Schulz steps to it

    bw   mean and covariance of the group over the batch and all positions        bn   its diagonal alone
    iw   mean and covariance of the group over the positions of one sample        in   its diagonal alone
    ln   mean and variance of one sample, all channels and positions, times I

(X. Pan et al., arXiv 1904.09739: whitening, standardizing and both at once are choices of v.)

The gradient.  With dmu = -sum_s W' g and dS of zca.py or newton.py, of each sample and group: statistic k sees their sum over
those that it serves, times its weight; a mean over m entries sends dmu / m to each of them, a covariance
2 dS (z - mu_k) / m, with dS replaced by its diagonal, or by the mean of it, where only that is used.  The weights see
<dmu, mu_k> and <dS, S_k>, and a softmax sends w (d - sum w d) to its logits.

Shapes: z, zhat, g (N, G, K, S), channels in G groups of K; a, b (number of kinds,).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import newton, zca
from .covariance import transposed
from .switchable import softmax

POOLS = {"batch": (0, 3), "instance": (3,), "layer": (1, 2, 3)}
KINDS = {"bw": "batch", "iw": "instance", "bn": "batch", "in": "instance", "ln": "layer"}


class Saved(NamedTuple):
    """float64: of each pool the mean and covariance used; the weights; of each sample's group, (N G, ...), its whitening."""

    means: dict[str, Any]
    covariances: dict[str, Any]
    w: Any
    v: Any
    whitening: Any


def moments(z: Any, pool: str, unbiased: bool = False) -> tuple[Any, Any]:
    """Mean (., ., K or 1, 1) and covariance (., ., K, K), 1 along what the pool joins; two-pass and corrected."""
    axes = POOLS[pool]
    mean = np.mean(z, axis=axes, keepdims=True)
    mean = mean + np.mean(z - mean, axis=axes, keepdims=True)
    if pool == "layer":
        var = np.mean(np.square(z - mean), axis=axes, keepdims=True)
        m = _entries(z, pool)
        return mean, var * (m / (m - 1) if unbiased else 1) * np.eye(np.shape(z)[2])
    outer = (z - mean) @ transposed(z - mean) / np.shape(z)[3]
    return mean, np.mean(outer, axis=0, keepdims=True) if pool == "batch" else outer


def _entries(z: Any, pool: str) -> int:
    return int(np.prod([np.shape(z)[axis] for axis in POOLS[pool]]))


def seen(kind: str, covariance: Any) -> Any:
    """What a kind uses of its pool's covariance: bn and in its diagonal.  Its own adjoint."""
    return covariance * np.eye(np.shape(covariance)[-1]) if kind in ("bn", "in") else covariance


def forward(
    z: Any, a: Any, b: Any, *,
    kinds: Sequence[str], eps: float, T: int | None, shared: bool = False, unbiased: bool = False, population: Any = None,
) -> tuple[Any, Saved]:  # fmt: skip
    """T None: the exact inverse root.  population: mean (1, G, K, 1) and covariance (1, G, K, K) in place of the batch's.

    shared, unbiased: quirks of the authors' code: bn and in weigh with the v of bw and iw; the variance of ln is unbiased.
    """
    n, groups, k, _ = np.shape(z)
    pools = {pool: moments(z, pool, unbiased) for pool in dict.fromkeys(KINDS[kind] for kind in kinds)}
    if population is not None and "batch" in pools:
        pools["batch"] = population
    means, covariances = ({pool: both[i] for pool, both in pools.items()} for i in (0, 1))
    w, v = softmax(a), softmax(b)
    mean = sum(w[i] * means[KINDS[kind]] for i, kind in enumerate(kinds))
    mixed = sum(v[_weight(kinds, i, shared)] * seen(kind, covariances[KINDS[kind]]) for i, kind in enumerate(kinds))
    mean = np.reshape(np.broadcast_to(mean, (n, groups, k, 1)), (-1, k, 1))
    mixed = np.reshape(np.broadcast_to(mixed, (n, groups, k, k)), (-1, k, k))
    whitening = zca.from_population(mean, mixed, eps=eps) if T is None else newton.from_population(mean, mixed, eps=eps, T=T)
    saved = Saved(means, covariances, w, v, whitening)
    return apply(z, saved), saved


def _weight(kinds: Sequence[str], i: int, shared: bool) -> int:
    """Which v weighs the covariance of kind i."""
    return kinds.index({"bn": "bw", "in": "iw"}[kinds[i]]) if shared and kinds[i] in ("bn", "in") else i


def apply(z: Any, saved: Saved) -> Any:
    return np.reshape(zca.apply(_by_block(z), saved.whitening), np.shape(z))


def _by_block(a: Any) -> Any:
    return np.reshape(a, (-1, *np.shape(a)[2:]))


def backward(
    g: Any, z: Any, saved: Saved, *,
    kinds: Sequence[str], eps: float, T: int | None, shared: bool = False, unbiased: bool = False, evaluation: bool = False,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """dL/dz, dL/da, dL/db."""
    n, groups, k, _ = np.shape(z)
    root, steps = (zca, {}) if T is None else (newton, {"T": T})
    dz = np.reshape(zca.apply_backward(_by_block(g), saved.whitening), np.shape(z))
    dmean = -np.sum(dz, axis=3, keepdims=True)
    ds = np.reshape(root.covariance_gradient(_by_block(g), _by_block(z), saved.whitening, eps=eps, **steps), (n, groups, k, k))
    da = [np.sum(dmean * saved.means[KINDS[kind]]) for kind in kinds]
    db: list[Any] = [0.0 for _ in kinds]
    for i, kind in enumerate(kinds):
        j, pool = _weight(kinds, i, shared), KINDS[kind]
        db[j] = db[j] + np.sum(ds * seen(kind, saved.covariances[pool]))
        if not (evaluation and pool == "batch"):
            dz = dz + through(pool, z, saved.means[pool], saved.w[i] * dmean, saved.v[j] * seen(kind, ds), unbiased)
    return dz, through_softmax(np.stack(da), saved.w), through_softmax(np.stack(db), saved.v)


def through_softmax(d: Any, w: Any) -> Any:
    return w * (d - np.sum(w * d))


def through(pool: str, z: Any, mean: Any, dmean: Any, ds: Any, unbiased: bool) -> Any:
    """dL/dz through a pool's mean and covariance, from their gradients of each sample and group, (N, G, K, 1), (N, G, K, K)."""
    m, joined = _entries(z, pool), tuple(axis for axis in POOLS[pool] if axis != 3)
    dmean = np.sum(dmean, axis=joined, keepdims=True) if joined else dmean
    if pool == "layer":
        dvar = np.sum(ds * np.eye(np.shape(z)[2]), axis=joined + (3,), keepdims=True)
        return dmean / m + 2 * dvar * (z - mean) / (m - 1 if unbiased else m)
    return (dmean + 2 * (np.sum(ds, axis=joined, keepdims=True) if joined else ds) @ (z - mean)) / m
