"""Moments that merge: how many samples, their mean, and their scatter about it.

    n = sum w        mu = sum(w z) / n        S = sum w (z - mu)(z - mu)'

Two sets of samples, A and B, merge without a second look at either (T. F. Chan, G. H. Golub, R. J. LeVeque, Am. Stat. 37 (1983)
242).  With d = mu_B - mu_A,

    n = n_A + n_B        mu = mu_A + d n_B / n        S = S_A + S_B + d d' n_A n_B / n.

The last term is the parallel-axis theorem: about mu, A scatters S_A + n_A (mu_A - mu)(mu_A - mu)', where mu_A - mu = -d n_B / n
and mu_B - mu = d n_A / n, and n_A (n_B / n)^2 + n_B (n_A / n)^2 = n_A n_B / n.  Nothing cancels: S is a sum of positive terms,
unlike sum z^2 - n mu^2, which loses everything once |mu| > std / sqrt(u).

Samples that come in batches (a running population), lie on other processes (synchronized batch norm) or do not fit into memory
(out-of-core whitening) are all this one merge.  And so is their gradient: with gm = dL/dmu and gS = dL/dS, S does not answer to
mu (sum w (z - mu) = 0), so that

    dL/dz_i = w_i (gm / n + (gS + gS')(z_i - mu)),

which needs the sample itself and the merged moments only: each batch, process or file computes its own part.

Shapes: z (B, D, M); weight (B, 1, M) of any size, or None for ones; count (B, 1, 1); mean (B, D, 1); scatter (B, D, D) where
the coordinates are treated jointly, and its diagonal (B, D, 1) where they are not.  All float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Moments of a set of samples; `a + b` are those of both sets."""

    count: Any
    mean: Any
    scatter: Any

    def __add__(self, other: Moments) -> Moments:
        return merge(self, other)

    @property
    def covariance(self) -> Any:
        """S / n, biased: (B, D, D) of joint moments, the variances (B, D, 1) of others.  NaN of no samples."""
        return self.scatter / self.count


def of(z: Any, weight: Any = None, joint: bool = False) -> Moments:
    """The moments of the samples z_1..z_M, two-pass and corrected."""
    w = np.ones((1, 1, z.shape[2])) if weight is None else weight
    count = np.sum(w, axis=2, keepdims=True) * np.ones((z.shape[0], 1, 1))
    whole = np.where(count > 0, count, 1)  # no samples: mean 0, scatter 0
    mean = np.sum(w * z, axis=2, keepdims=True) / whole
    mean = mean + np.sum(w * (z - mean), axis=2, keepdims=True) / whole
    c = z - mean
    scatter = (w * c) @ np.swapaxes(c, 1, 2) if joint else np.sum(w * np.square(c), axis=2, keepdims=True)
    return Moments(count, mean, scatter)


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets together."""
    count = a.count + b.count
    share = b.count / np.where(count > 0, count, 1)  # n_B / n
    d = b.mean - a.mean
    square = d @ np.swapaxes(d, 1, 2) if a.scatter.shape[2] == a.mean.shape[1] else np.square(d)
    return Moments(count, a.mean + d * share, a.scatter + b.scatter + square * a.count * share)


def merged(parts: Sequence[Moments]) -> Moments:
    """All parts, merged in pairs, pairs of pairs and so on: rounding grows with the logarithm of their number."""
    if not parts:
        raise ValueError("parts is empty; there must be at least one set of moments to merge")
    while len(parts) > 1:
        parts = [merge(*parts[i : i + 2]) if i + 1 < len(parts) else parts[i] for i in range(0, len(parts), 2)]
    return parts[0]


def backward(gmean: Any, gscatter: Any, z: Any, moments: Moments, weight: Any = None) -> Any:
    """dL/dz for samples z that are among those behind `moments`: all of them, one batch, or one process's share."""
    c = z - moments.mean
    joint = moments.scatter.shape[2] == moments.mean.shape[1]
    spread = (gscatter + np.swapaxes(gscatter, 1, 2)) @ c if joint else 2 * gscatter * c
    dz = gmean / moments.count + spread
    return dz if weight is None else weight * dz
