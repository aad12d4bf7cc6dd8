"""Spectra of Hessians and Fisher matrices in training mode: the loss is one function of the batch, samples coupled by norms.

Exact for small networks, H e_i for every i.  For larger ones from products H v alone:

Lanczos.  m steps from a unit vector b give an orthonormal Q (P, m) and T = Q'HQ tridiagonal; an eigenpair (theta, s) of T is
one of H, (theta, Q s), up to a residual of exactly |beta_m s_m|.  Outer eigenvalues come first.

Stochastic quadrature.  For a random unit b, the weights s_1^2 at the theta_i are Gauss's rule of the spectral measure of b,
exact for polynomials of degree 2m - 1, and E over b is tr f(H) / P (B. Ghorbani, S. Krishnan, Y. Xiao, arXiv 1901.10159).  A
network's H has a few eigenvalues that are far larger than the rest; they would dominate the variance, of order lambda_max^k /
sqrt(n) for the k-th moment.  So the converged ones are taken out first: with U their eigenvectors, U'U = I,

    tr f(H) = sum f(theta) + tr f(H on the complement of U),

the first sum exact, the second by probes orthogonal to U.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import hvp, jvp, vjp
from refnorm.nets import Network, cross_entropy, from_vector, to_vector

Product = Callable[[np.ndarray], np.ndarray]


def hessian_product(
    network: Network,
    parameters: Mapping[str, Any],
    x: np.ndarray,
    labels: np.ndarray,
    training: bool = True,
    state: Mapping[str, Any] | None = None,
    loss: Callable[[Any, Any], Any] = cross_entropy,
) -> Product:
    """v -> H v for the mean loss of one batch in all parameters, both as vectors in the order of `parameters`."""
    w = to_vector(parameters)

    def objective(vector: Any) -> Any:
        return loss(network.apply(from_vector(vector, parameters), x, state, training)[0], labels)

    return lambda v: hvp(objective, w, v)


def fisher_product(
    network: Network,
    parameters: Mapping[str, Any],
    x: np.ndarray,
    training: bool = True,
    state: Mapping[str, Any] | None = None,
) -> Product:
    """v -> F v, the Fisher matrix of softmax outputs, J' S J / N with S = diag(p) - p p' of each sample.

    J is the derivative of the whole batch's outputs, so in training mode each row of it sees the others through the statistics.
    Also the Gauss-Newton part of the Hessian of the cross-entropy: the rest is the curvature of the outputs.
    """
    w = to_vector(parameters)

    def outputs(vector: Any) -> Any:
        return network.apply(from_vector(vector, parameters), x, state, training)[0]

    z, pull = vjp(outputs, w)
    p = np.exp(z - np.max(z, axis=1, keepdims=True))
    p = p / np.sum(p, axis=1, keepdims=True)

    def product(v: np.ndarray) -> np.ndarray:
        u = jvp(outputs, w, v)[1]                             # J v
        return pull(p * (u - np.sum(p * u, axis=1, keepdims=True)) / len(x))[0]

    return product


def matrix_of(product: Product, size: int) -> np.ndarray:
    """The symmetric matrix of a product: `size` products, and the mean with its transpose, which rounding alone changes."""
    H = np.stack([product(unit) for unit in np.eye(size)])
    return (H + H.T) / 2


class Lanczos(NamedTuple):
    """Ritz values ascending (m,), their vectors (P, m), and the norm of each one's residual (m,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    first: np.ndarray  # s_1^2: the weights of Gauss's rule


def lanczos(product: Product, start: np.ndarray, steps: int, against: np.ndarray | None = None) -> Lanczos:
    """Lanczos' iteration with full reorthogonalization; ends early where the space is invariant.

    against : (P, k) orthonormal; the iteration stays in its complement
    """
    Q: list[np.ndarray] = []
    alphas: list[float] = []
    betas: list[float] = []
    q = _outside(start, against)
    q = q / np.linalg.norm(q)
    for _ in range(min(steps, len(start) - (0 if against is None else against.shape[1]))):
        Q.append(q)
        r = _outside(product(q), against)
        alphas.append(float(q @ r))
        basis = np.stack(Q, axis=1)
        for _ in range(2):  # twice is enough (B. Parlett, The Symmetric Eigenvalue Problem)
            r = _outside(r - basis @ (basis.T @ r), against)
        betas.append(float(np.linalg.norm(r)))
        if betas[-1] <= 1e-12 * max(map(abs, alphas)):
            break
        q = r / betas[-1]
    T = np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1)
    values, s = np.linalg.eigh(T)
    return Lanczos(values, np.stack(Q, axis=1) @ s, betas[-1] * np.abs(s[-1]), s[0] ** 2)


def _outside(v: np.ndarray, against: np.ndarray | None) -> np.ndarray:
    return v if against is None else v - against @ (against.T @ v)


class Density(NamedTuple):
    """A spectrum as weighted points; weights sum to the dimension."""

    values: np.ndarray
    weights: np.ndarray

    def moment(self, k: int) -> float:
        """tr H^k."""
        return float(self.weights @ self.values**k)


def spectral_density(
    product: Product,
    size: int,
    *,
    probes: int,
    steps: int,
    rng: np.random.Generator | int,
    deflation: int = 80,
    tolerance: float = 1e-6,
) -> Density:
    """The density of H from `deflation` + probes * steps products.

    tolerance : residual, relative to the largest Ritz value, at which an eigenvalue counts as found and is taken out
    """
    rng = np.random.default_rng(rng)
    outer = lanczos(product, rng.normal(size=size), deflation)
    found = outer.residuals <= tolerance * np.max(np.abs(outer.values))
    U, left = outer.vectors[:, found], size - int(np.sum(found))
    values, weights = [outer.values[found]], [np.ones(int(np.sum(found)))]
    for _ in range(probes if left else 0):
        inner = lanczos(product, rng.normal(size=size), steps, against=U)
        values.append(inner.values)
        weights.append(inner.first * left / probes)
    return Density(np.concatenate(values), np.concatenate(weights))


def largest_eigenvalue(product: Product, size: int, rng: np.random.Generator | int, steps: int = 40) -> float:
    """lambda_max by Lanczos."""
    return float(lanczos(product, np.random.default_rng(rng).normal(size=size), steps).values[-1])


def outliers(eigenvalues: np.ndarray, factor: float = 5.0) -> int:
    """How many eigenvalues exceed `factor` times the root mean square of all."""
    return int(np.sum(eigenvalues > factor * np.sqrt(np.mean(np.square(eigenvalues)))))
