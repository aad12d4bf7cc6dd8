"""Confusion matrices without prior and bias: iterative proportional fitting to row and column sums of one.

IPF(M) alternates M <- M / row sums, M <- M / column sums (R. Sinkhorn, 1964; J. Erbani et al., arXiv 2509.04959, for confusion
matrices).  Its limit is D1 M D2, the one matrix of that form whose rows and columns sum to 1, so

    IPF(D_r M D_c) = IPF(M) for positive diagonals             all odds ratios M_ij M_kl / (M_il M_kj) are M's own
    C = diag(prior) S diag(bias), S doubly stochastic          IPF(C) = S: what row or column normalization alone cannot find

In the geometry of Kullback and Leibler each half step is the projection onto matrices with given row (or column) sums.  Near
the limit S the error of the row sums is multiplied by sigma_2(S)^2 a sweep, sigma_2 the second singular value: the linear part
of a half step is S' (or S), whose first singular pair, the constants, is taken out.

Positive matrices always have the limit.  With zeros it takes total support: every positive entry lies on a positive diagonal,
a permutation along which M is positive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Fit(NamedTuple):
    matrix: np.ndarray
    errors: np.ndarray
    """max |row sum - 1| after each sweep, whose column sums are 1."""

    @property
    def rate(self) -> float:
        """The factor per sweep, from the last sweeps above rounding."""
        errors = self.errors[(self.errors > 1e-11) & (self.errors < 1e-3)]
        if len(errors) < 3:
            raise ValueError(f"{len(errors)} sweeps lie between 1e-3 and 1e-11; a rate takes three")
        return float((errors[-1] / errors[0]) ** (1 / (len(errors) - 1)))


def fit(m: np.ndarray, tolerance: float = 1e-15, sweeps: int = 10_000) -> Fit:
    """IPF of a square nonnegative matrix.  Raises ValueError where it has no limit, or a row or column of zeros."""
    m = np.array(m, float)
    if m.ndim != 2 or m.shape[0] != m.shape[1] or np.any(m < 0) or not np.all(np.isfinite(m)):
        raise ValueError(f"m has shape {m.shape}; it must be a square matrix of finite numbers, 0 or more")
    if np.any(m.sum(axis=0) == 0) or np.any(m.sum(axis=1) == 0):
        raise ValueError("m has a row or a column of zeros; its sum cannot be made 1")
    if not has_total_support(m):
        raise ValueError("m has a positive entry on no positive diagonal: fitting would drive it to 0 and never arrive")
    errors: list[float] = []
    while len(errors) < sweeps:
        m = m / m.sum(axis=1, keepdims=True)
        m = m / m.sum(axis=0, keepdims=True)
        errors.append(float(np.max(np.abs(m.sum(axis=1) - 1))))
        if errors[-1] <= tolerance * len(m):
            break
    return Fit(m, np.array(errors))


def has_total_support(m: np.ndarray) -> bool:
    """Does every positive entry lie on a diagonal of positive entries: a perfect matching through each of them."""
    from scipy.optimize import linear_sum_assignment

    positive = np.asarray(m) > 0
    if positive.all():
        return True
    for i, j in zip(*np.nonzero(positive), strict=True):
        cost = (~positive).astype(float)
        cost[i] = 1
        cost[i, j] = 0
        rows, columns = linear_sum_assignment(cost)
        if cost[rows, columns].sum() > 0:
            return False
    return True


def odds_ratios(m: np.ndarray) -> np.ndarray:
    """M_ij M_00 / (M_i0 M_0j), which fix all others; (n - 1, n - 1)."""
    return m[1:, 1:] * m[0, 0] / np.outer(m[1:, 0], m[0, 1:])
