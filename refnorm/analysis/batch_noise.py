"""The noise in batch statistics, under a Gaussian: what a batch of m makes of the mean and the deviation.

For x_1..x_m from N(mu, sigma^2), with mu_m and sigma_m^2 the batch's mean and biased variance (W. Cochran, 1934),

    (mu - mu_m) / sigma ~ N(0, 1/m),      m sigma_m^2 / sigma^2 ~ chi^2 with m - 1 degrees of freedom,   independent.

So a batch-normalized value is (x - mu + sigma n) s / sigma with n ~ N(0, 1/m) and s = sigma / sigma_m = sqrt(m) / chi_{m-1},
and by E chi_k^-p = 2^(-p/2) Gamma((k - p)/2) / Gamma(k/2),

    E s = sqrt(m/2) Gamma((m-2)/2) / Gamma((m-1)/2)  (m > 2)          E s^2 = m / (m - 3)  (m > 3).

For whitening by Cholesky's factor, Sigma_m = L L', Bartlett's decomposition says sqrt(m) L_ii ~ chi_{m-i} (i = 1..d) and that
the entries below are independent of it and of mean 0, which makes the mean of L^-1 diagonal:

    E (L^-1)_ii = sqrt(m/2) Gamma((m-i-1)/2) / Gamma((m-i)/2).
"""

from __future__ import annotations

import math

import numpy as np


def mean_scale(m: int) -> float:
    """E[sigma / sigma_m] of a batch of m."""
    return inverse_chi(m, m - 1)


def mean_square_scale(m: int) -> float:
    """E[(sigma / sigma_m)^2] of a batch of m, infinite for m of 3 or less."""
    return m / (m - 3) if m > 3 else math.inf


def mean_cholesky_whitening(d: int, m: int) -> np.ndarray:
    """The diagonal of E[L^-1] for standard normal samples, (d,)."""
    return np.array([inverse_chi(m, m - i) for i in range(1, d + 1)])


def inverse_chi(m: int, freedom: int) -> float:
    """E[sqrt(m) / chi_k], k = freedom; infinite for k of 1 or less."""
    if freedom < 2:
        return math.inf
    return math.sqrt(m / 2) * math.exp(math.lgamma((freedom - 1) / 2) - math.lgamma(freedom / 2))
