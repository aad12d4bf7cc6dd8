"""Length and direction apart: least squares and half-spaces with normalized weights.

J. Kohler et al., arXiv 1805.10389; with S = E x x', u = -E y x and w~ = gamma w / |w|_S, |w|_S^2 = w'S w.

**Least squares.**  With the best gamma the objective is, up to constants, rho(w) / 2 with

    rho(w) = -(u'w)^2 / (w'S w)        grad rho = -2 ((u'w) u + rho S w) / (w'S w)

rho falls from 0 to rho* = -u'S^-1 u at w ~ S^-1 u: a Rayleigh quotient with a rank-one numerator.  Gradient steps of length
w'S w / (2 L |rho|), with mu and L the extreme eigenvalues of S, contract linearly from any start with u'w != 0:

    rho_t - rho* <= (1 - mu/L)^(2t) (rho_0 - rho*).

**Half-spaces.**  For z = -y x from N(u, Sigma), S = Sigma + u u', and f(w~) = E phi(z'w~), Stein's lemma gives

    grad f = E[phi'] u + E[phi''] Sigma w~ = (E[phi'] - E[phi''] u'w~) u + E[phi''] S w~,

so every stationary point lies on one line, that of S^-1 u, whatever phi: the direction is that of least squares.  It can be
learned by itself, and gamma by bisection: gradient descent in normalized parameterization.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


def quotient(w: np.ndarray, s: np.ndarray, u: np.ndarray) -> float:
    """rho(w)."""
    return -float((u @ w) ** 2 / (w @ s @ w))


def quotient_gradient(w: np.ndarray, s: np.ndarray, u: np.ndarray) -> np.ndarray:
    return -2 * ((u @ w) * u + quotient(w, s, u) * (s @ w)) / (w @ s @ w)


def descend(s: np.ndarray, u: np.ndarray, w: np.ndarray, steps: int) -> np.ndarray:
    """rho_0 .. rho_T under the adaptive step.  Raises ValueError where u'w = 0: rho is stationary there."""
    if u @ w == 0:
        raise ValueError("w is orthogonal to u, where the gradient vanishes; start elsewhere")
    largest, path = np.linalg.eigvalsh(s)[-1], [quotient(w, s, u)]
    for _ in range(steps):
        w = w - (w @ s @ w) / (2 * largest * abs(path[-1])) * quotient_gradient(w, s, u)
        path.append(quotient(w, s, u))
    return np.array(path)


def bound(s: np.ndarray, path: np.ndarray, best: float) -> np.ndarray:
    """(1 - mu/L)^(2t) (rho_0 - rho*)."""
    mu, largest = np.linalg.eigvalsh(s)[[0, -1]]
    return (1 - mu / largest) ** (2 * np.arange(len(path))) * (path[0] - best)


class HalfSpace(NamedTuple):
    direction: np.ndarray
    gamma: float
    gradients: np.ndarray
    """|gradient in w~| after each step."""


def learn_half_space(
    z: np.ndarray, slope: Callable[[np.ndarray], np.ndarray], curvature: Callable[[np.ndarray], np.ndarray], *, steps: int = 60,
    bisections: int = 40, reach: float = 100.0,
) -> HalfSpace:  # fmt: skip
    """Gradient descent in normalized parameterization on the empirical loss mean phi(z'w~), z (n, d).

    slope, curvature : phi' and phi''.  Each step moves w against the gradient in w, then sets gamma by bisection of the loss's
    slope along w / |w|_S in 0..reach.
    """
    s, u = z.T @ z / len(z), z.mean(axis=0)
    largest = np.linalg.eigvalsh(s)[-1]
    w, gamma, gradients = -u, 1.0, []
    for _ in range(steps):
        w = w / np.sqrt(w @ s @ w)
        low, high = 0.0, reach
        for _ in range(bisections):
            gamma = (low + high) / 2
            low, high = (gamma, high) if np.mean(slope(gamma * (z @ w)) * (z @ w)) < 0 else (low, gamma)
        t = gamma * (z @ w)
        gradient = slope(t) @ z / len(z)
        gradients.append(float(np.linalg.norm(gradient)))
        tangent = gamma * (gradient - (gradient @ w) * (s @ w))                 # d/dw of f(gamma w / |w|_S) at |w|_S = 1
        w = w - tangent / (largest * gamma**2 * max(float(np.mean(curvature(t))), 1e-12))
    return HalfSpace(w / np.linalg.norm(w), gamma, np.array(gradients))
