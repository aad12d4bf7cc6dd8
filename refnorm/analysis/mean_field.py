"""Infinitely wide random networks with norms: fixed points of the kernel, growth of the gradient per layer.

h = W x, W_ij ~ N(0, sigma^2 / n); xhat = norm(h); x' = phi(xhat); phi positively homogeneous, so that sigma drops out.

**Batch norm** (G. Yang et al., arXiv 1902.08129).  For one neuron its B values are Gaussian; at the fixed point they are
exchangeable, so xhat is uniform on the sphere of radius sqrt(B) in the complement of 1, where two entries have the correlation
rho = -1/(B - 1).  A homogeneous phi only sees directions, and entries of a Gaussian with that correlation serve as well:

    phi = id     Sigma_ii = 1,   Sigma_ij = rho              in their scaling  Sigma = B/(B - 1) (I - 11'/B)
    phi = relu   Sigma_ii = 1/2, Sigma_ij = J1(rho) / 2      J1(c) = (sqrt(1 - c^2) + (pi - acos c) c) / pi

The gradient.  d xhat / dh = (1/s) P, P = I - 11'/B - xhat xhat'/B, of rank B - 2.  Pre-activations have the kernel sigma^2
(a I + b 11'), a = Sigma_ii - Sigma_ij; centring removes b, so B s^2 / (sigma^2 a) is chi^2 with B - 1 degrees of freedom,
independent of xhat, and E[1/s^2] = B / (sigma^2 a (B - 3)).  What P lets through sums to zero, so one layer further back the
gradient g at x', exchangeable too, has the covariance v B/(B - 1) (I - 11'/B).  With D = diag(phi'(xhat)),

    E |P D g|^2 = v B/(B - 1) E tr((I - 11'/B) D P D)

    phi = id     v B (B - 2) / (B - 1)
    phi = relu   v (B - 2 + J0 + J1) / 2      at rho, by E[mask] = E[mask xhat^2] = 1/2, E[mask_i mask_j] = J0/2, and
                                              E[relu_i relu_j] = J1/2,       J0(c) = (pi - acos c) / pi.

Through W' the gradient is multiplied by sigma^2, and |dL/dh|^2 grows per layer backwards by

    phi = id     (B - 2) / (B - 3)
    phi = relu   (B - 2 + J0 + J1) / ((1 - J1) (B - 3)) = ((B - 1 + J0) / (1 - J1) - 1) / (B - 3).

B >= 4; for B to infinity 1 and pi / (pi - 1).

**Group norm**, G channels a group, no positions (refnorm's).  A group's pre-activations are G independent Gaussians of variance
sigma^2 / 2 (x' = relu(xhat), E xhat^2 = 1, half survives).  Here g is isotropic given xhat, W being independent of it:

    E |P (mask g)|^2 = |g|^2/G (G/2 - (1/G) G/2 - (1/G) sum E[mask xhat^2]) = |g|^2 (G - 2) / (2 G)

(xhat and -xhat are equally likely, so half of |xhat|^2 = G is behind the mask), and E[1/s^2] = 2 G / (sigma^2 (G - 3)) from
chi^2 with G - 1 degrees of freedom, independent of the direction.  Through W' the gradient is multiplied by sigma^2:

    growth of |dL/dh|^2  =  (G - 2) / (G - 3)      infinite at G = 3; G = 2 passes nothing: xhat is a sign

Two samples whose pre-activations correlate by rho come out, per group, as two directions in p = G - 1 dimensions,

    E cos = rho (2/p) (Gamma((p+1)/2) / Gamma(p/2))^2 2F1(1/2, 1/2; p/2 + 1; rho^2)      G = 2: (2/pi) asin(rho)

below rho: small groups keep samples apart, large ones do not (G to infinity: E cos = rho).
"""

from __future__ import annotations

import math

import numpy as np


def arc_cosine(c: float) -> tuple[float, float]:
    """J0(c), J1(c): 2 E[1 1] and 2 E[relu relu] of standard normals with correlation c."""
    j0 = (math.pi - math.acos(c)) / math.pi
    return j0, math.sqrt(1 - c * c) / math.pi + j0 * c


def batch_norm_kernel(batch: int, activation: str = "relu") -> tuple[float, float]:
    """(Sigma_ii, Sigma_ij) of what a layer hands on, at the fixed point."""
    rho = -1 / (batch - 1)
    return (0.5, arc_cosine(rho)[1] / 2) if activation == "relu" else (1.0, rho)


def batch_norm_growth(batch: float, activation: str = "relu") -> float:
    """Of the squared gradient per layer, backwards; infinite for batches of 3 or less."""
    if batch <= 3:
        return math.inf
    if math.isinf(batch):
        return math.pi / (math.pi - 1) if activation == "relu" else 1.0
    if activation != "relu":
        return (batch - 2) / (batch - 3)
    j0, j1 = arc_cosine(-1 / (batch - 1))
    return ((batch - 1 + j0) / (1 - j1) - 1) / (batch - 3)


def group_norm_growth(channels: int) -> float:
    """Of the squared gradient per layer with relu, groups of so many channels, no positions."""
    if channels == 2:
        return 0.0
    return (channels - 2) / (channels - 3) if channels > 3 else math.inf


def group_norm_similarity(channels: int, rho: np.ndarray | float) -> np.ndarray:
    """E cos of two samples after group norm, from the correlation rho of their pre-activations."""
    from scipy.special import hyp2f1

    p, rho = channels - 1, np.asarray(rho, float)
    ratio = math.exp(2 * (math.lgamma((p + 1) / 2) - math.lgamma(p / 2)))
    return rho * 2 / p * ratio * hyp2f1(0.5, 0.5, p / 2 + 1, np.square(rho))
