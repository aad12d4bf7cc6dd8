"""How white T Newton-Schulz steps make an output, and how many steps a dimension needs.

Iterative normalization (L. Huang et al., arXiv 1904.03441) divides S by its trace, N = S / tr(S), and iterates
P <- 1.5 P - 0.5 P^3 N from I.  Everything commutes with S, so each eigenvalue goes its own way: with l an eigenvalue of N and
p_t that of P_t, the output's variance along it is v_t = l p_t^2, v_0 = l, and

    p_t+1 = p_t (3 - v_t) / 2        v_t+1 = v_t (3 - v_t)^2 / 4        1 - v_t+1 = (1 - v_t)^2 (4 - v_t) / 4.

While v is small a step multiplies it by 9/4 and no more; near 1 the error is squared, times 3/4.  The trace of N is 1, so d
coordinates of equal variance have l = 1/d, and of unequal ones the smallest is below.  A variance v = 1 - tol asks for

    T  ~  log(1 / l) / log(9/4) + c(tol),

a step more each time l falls by 9/4.  c is the limit of the steps t less log(1/l)/log(9/4); `steps` iterates, which is exact.
"""

from __future__ import annotations

import math

import numpy as np

RATE = math.log(9 / 4)


def whitened_variance(share: np.ndarray | float, T: int) -> np.ndarray:
    """v_T of eigenvalues of S / tr(S), in 0..1: the output's variance along them, same shape."""
    v = np.asarray(share, float)
    if np.any(v < 0) or np.any(v > 1):
        raise ValueError(f"share is {share}; eigenvalues of S / tr(S) lie in 0..1")
    for _ in range(T):
        v = v * (3 - v) ** 2 / 4
    return v


def steps(share: float, tolerance: float = 0.01) -> int:
    """The T from which the variance along an eigenvalue of S / tr(S), its share of the trace, is 1 - tolerance or more."""
    if not 0 < share <= 1 or not 0 < tolerance < 1:
        raise ValueError(f"share is {share!r} and tolerance {tolerance!r}; they must lie in 0..1, above 0")
    v, T = share, 0
    while 1 - v > tolerance:
        v, T = v * (3 - v) ** 2 / 4, T + 1
    return T


def asymptotic_steps(share: float, tolerance: float = 0.01) -> float:
    """log(1 / share) / log(9/4) + c, the same as a real number; `steps` is its ceiling for small shares."""
    v = 1 - tolerance                                           # backwards: which share needs exactly t steps
    for t in range(200):
        if v < 1e-12:
            return t + math.log(v / share) / RATE
        low, high = 0.0, v
        for _ in range(200):                                    # v_t from v_t+1, by bisection: v (3 - v)^2 / 4 rises on 0..1
            middle = (low + high) / 2
            low, high = (middle, high) if middle * (3 - middle) ** 2 / 4 < v else (low, middle)
        v = (low + high) / 2
    raise AssertionError("a step divides a small variance by 9/4")


def unnormalized_limit(eigenvalue: float, T: int = 200) -> float:
    """p_T of the iteration without the trace, p <- 1.5 p - 0.5 p^3 l from 1: l^(-1/2) for 0 < l < 3, 0 at 3."""
    p = 1.0
    for _ in range(T):
        p = 1.5 * p - 0.5 * p**3 * eigenvalue
    return p
