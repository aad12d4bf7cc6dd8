"""Two-layer networks with normalized weights, trained by gradient flow: their kernel, and its smallest eigenvalue.

Y. Dukler, Q. Gu, G. Montufar, Optimization Theory for ReLU Neural Networks Trained with Normalization Layers (ICML 2020):

    f(x) = m^(-1/2) sum_k c_k g_k relu(v_k'x / |v_k|),      v_k ~ N(0, alpha^2 I),  g_k = |v_k| / alpha,  c_k = +-1 fixed

so that g v / |v| is N(0, I) whatever alpha.  With residual r = f - y on n samples, r' = -(V / alpha^2 + G) r under gradient
flow in v and g, where (a = relu'(v'x), v^ = v/|v|, P = I - v^v^')

    G_ij = (1/m) sum_k c_k^2 relu(v^_k'x_i) relu(v^_k'x_j)
    V_ij / alpha^2 = (1/m) sum_k c_k^2 (g_k / |v_k|)^2 a_ki a_kj x_i'P_k x_j

and g_k / |v_k| = 1/alpha at the start.  Small alpha: the direction's V leads; large alpha: the length's G.  Where the kernel's
least eigenvalue lambda stays positive, |r|^2 decays at least as exp(-2 lambda t).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class TwoLayer(NamedTuple):
    v: np.ndarray                                            # (m, d)
    g: np.ndarray                                            # (m,)
    c: np.ndarray                                            # (m,)

    @property
    def lengths(self) -> np.ndarray:
        return np.linalg.norm(self.v, axis=1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """f of samples (n, d)."""
        return np.maximum(x @ (self.v / self.lengths[:, None]).T, 0) @ (self.c * self.g) / np.sqrt(len(self.g))


def initial(m: int, d: int, alpha: float, rng: np.random.Generator) -> TwoLayer:
    v = alpha * rng.normal(size=(m, d))
    return TwoLayer(v, np.linalg.norm(v, axis=1) / alpha, rng.choice([-1.0, 1.0], m))


def kernels(network: TwoLayer, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V / alpha^2, G), each (n, n)."""
    unit = network.v / network.lengths[:, None]
    along, m = x @ unit.T, len(network.g)                                       # (n, m)
    length = (np.maximum(along, 0) * network.c**2) @ np.maximum(along, 0).T / m
    weight = (along > 0) * (network.c * network.g / network.lengths)
    active = weight @ weight.T                                                  # sum_k over neurons active on both
    radial = (weight * along) @ (weight * along).T
    return (active * (x @ x.T) - radial) / m, length


def train(network: TwoLayer, x: np.ndarray, y: np.ndarray, *, rate: float, steps: int) -> np.ndarray:
    """|r|^2 before each step of gradient descent in v and g on |r|^2 / 2."""
    (v, g, c), losses = network, []
    root = np.sqrt(len(g))
    for _ in range(steps):
        lengths = np.linalg.norm(v, axis=1)
        unit = v / lengths[:, None]
        along = x @ unit.T
        active = np.maximum(along, 0)
        r = active @ (c * g) / root - y
        losses.append(float(r @ r))
        dg = c * (r @ active) / root
        pushed = (along > 0) * r[:, None]                                       # (n, m)
        dv = (c * g / lengths / root)[:, None] * (pushed.T @ x - np.sum(pushed * along, axis=0)[:, None] * unit)
        v, g = v - rate * dv, g - rate * dg
    return np.array(losses)
