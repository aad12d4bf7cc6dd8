"""What a running average of whitening matrices tends to, against the root of a running covariance.

For batches of m standard normal samples of dimension d, m Sigma_m is Wishart with m - 1 degrees of freedom, E Sigma_m =
(m - 1)/m I.  The inverse root of the average is then sqrt(m / (m - 1)) I: off by 1 / (2 m), and not at all where the running
covariance is the unbiased one.  The average of the inverse roots is another thing, S -> S^(-1/2) being operator convex
(Jensen), and the gap does not close however many batches are averaged, only with m:

    Cholesky    E[L^-1] is diagonal with entries sqrt(m/2) Gamma((m-i-1)/2) / Gamma((m-i)/2)     exact (batch_noise)
    ZCA         E[Sigma_m^(-1/2)] = c I by symmetry, c = E of l^(-1/2) over the spectrum of Sigma_m; for large d and m at the
                ratio y = d / (m - 1) the spectrum is V. Marchenko and L. Pastur's (1967),
                rho(l) = sqrt((b - l)(l - a)) / (2 pi y l),  a, b = (1 -+ sqrt(y))^2, times (m - 1)/m;
                the mean of a function f over it has the first correction (Z. Bai and J. Silverstein, 2004, real entries)
                ((f(a) + f(b)) / 4 - 1/(2 pi) int f / sqrt((b - l)(l - a))) / d

All errors are relative in the Frobenius norm, |W - I| / |I|.
"""

from __future__ import annotations

import math

import numpy as np

from .batch_noise import mean_cholesky_whitening


def error(w: np.ndarray) -> float:
    """|W - I|_F / |I|_F of a matrix (d, d)."""
    identity = np.eye(len(w))
    return float(np.linalg.norm(w - identity) / np.linalg.norm(identity))


def cholesky_error(d: int, m: int) -> float:
    """Of E[L^-1], exactly."""
    return math.sqrt(float(np.mean((mean_cholesky_whitening(d, m) - 1) ** 2)))


def zca_error(d: int, m: int, nodes: int = 4000) -> float:
    """Of E[Sigma_m^(-1/2)], by the law and its first correction; needs d < m - 1."""
    y = d / (m - 1)
    if not 0 < y < 1:
        raise ValueError(f"d is {d} and m {m}; the law of the smallest eigenvalues takes d < m - 1")
    middle, half = 1 + y, 2 * math.sqrt(y)                              # a, b = middle -+ half
    angle = (np.arange(nodes) + 0.5) * np.pi / nodes                    # l = middle + half cos: the root becomes a sine
    spectrum = middle + half * np.cos(angle)
    inverse_root = spectrum**-0.5
    law = np.mean((half * np.sin(angle)) ** 2 / (2 * y * spectrum) * inverse_root)
    ends = (middle - half) ** -0.5 + (middle + half) ** -0.5
    correction = (ends / 4 - np.mean(inverse_root) / 2) / d
    return math.sqrt(m / (m - 1)) * float(law + correction) - 1


def covariance_error(m: int) -> float:
    """Of (E Sigma_m)^(-1/2), the biased covariance."""
    return math.sqrt(m / (m - 1)) - 1
