"""Stochastic normalization disturbance: how much a sample's output depends on whom it shares a batch with.

For a function G of a batch, a sample x and s batches X^{B_i}, each x and m - 1 others (L. Huang et al., arXiv 2003.12327),

    y_i = G(X^{B_i}; x)        Delta_G(x) = (1/s) sum_i || y_i - mean_j y_j ||
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def outputs(function: Callable[[Any], Any], x: Any, others: Iterable[Any]) -> np.ndarray:
    """y_i of x in each batch: a point of the scatter picture each, shape (s, ...).

    Parameters
    ----------
    function : a batch (m, ...) to its outputs (m, ...): a norm, or a network in training mode
    x : one sample, (...)
    others : s batches (m - 1, ...) that x joins, at place 0
    """
    return np.stack([np.asarray(function(np.concatenate([np.asarray(x)[None], rest])))[0] for rest in others])


def disturbance(y: Any) -> float:
    """Delta of the outputs (s, ...) of one sample in s batches.  Raises ValueError for fewer than two."""
    flat = np.reshape(y, (len(y), -1))
    if len(flat) < 2:
        raise ValueError(f"y has {len(flat)} outputs; a disturbance needs the sample in two batches or more")
    return float(np.mean(np.linalg.norm(flat - flat.mean(axis=0), axis=1)))
