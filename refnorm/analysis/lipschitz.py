"""Operator norms of layers, what they certify, and the spectral complexity of a network.

**Convolution.**  Circular, stride 1: diagonal in frequency, so its singular values are those of all transfer matrices F(f)
together (H. Sedghi, V. Gupta, P. Long, arXiv 1805.10408); operations/conv_spectrum.py.  The norm of the kernel reshaped to
(out, in k k) is another number, sigma <= |conv| <= sqrt(taps) sigma.

**Certified radius** (Y. Tsuzuku, I. Sato, M. Sugiyama, arXiv 1802.04034).  With f L-Lipschitz and margin M = f_t - max_i f_i,
(f_t - f_i) is sqrt(2) L-Lipschitz, so no perturbation shorter than M / (sqrt(2) L) changes the answer.  A linear classifier's
exact distance is min_i (f_t - f_i) / |w_t - w_i|.

**Spectral complexity** (P. Bartlett, D. Foster, M. Telgarsky, arXiv 1706.08498), with A_i (out, in), reference matrices M_i and
activations' Lipschitz constants rho_i,

    R = (prod rho_i |A_i|_2) (sum_i (|A_i' - M_i'|_{2,1} / |A_i|_2)^(2/3))^(3/2)

|.|_{2,1} sums the norms of columns: here of A_i', so of the rows of A_i.  With M = 0 no term of the sum sees A_i's scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from refnorm.operations import conv_spectrum


def dense_norm(w: Any) -> float:
    """|W|_2 of (out, in)."""
    return float(np.linalg.norm(w, 2))


def convolution_singular_values(w: Any, spatial: tuple[int, ...]) -> np.ndarray:
    """All of them, descending, of the circular convolution with w (out, in, *kernel) on a grid."""
    return np.sort(conv_spectrum.singular_values(w, spatial).ravel())[::-1]


def convolution_norm(w: Any, spatial: tuple[int, ...]) -> float:
    return float(convolution_singular_values(w, spatial)[0])


def convolution_matrix(w: Any, spatial: tuple[int, ...]) -> np.ndarray:
    """The circular convolution as a matrix (out prod(spatial), in prod(spatial)), entry by entry: for checking the FFT.

    y[o, s] = sum over i, k of w[o, i, k] x[i, s - k].
    """
    outs, ins, *kernel = np.shape(w)
    n = math.prod(spatial)
    matrix = np.zeros((outs, n, ins, n))
    for s in np.ndindex(*spatial):
        row = np.ravel_multi_index(s, spatial)
        for k in np.ndindex(*kernel):
            column = np.ravel_multi_index([(a - b) % m for a, b, m in zip(s, k, spatial, strict=True)], spatial)
            matrix[:, row, :, column] += w[(slice(None), slice(None), *k)]
    return matrix.reshape(outs * n, ins * n)


def reshaped_norm(w: Any) -> float:
    """|.|_2 of the kernel as a matrix (out, in x kernel): what spectral norm divides by, not the operator's norm."""
    return dense_norm(np.reshape(w, (np.shape(w)[0], -1)))


def certified_radius(outputs: Any, label: int, lipschitz: float) -> float:
    """M / (sqrt(2) L), or 0 where the answer is wrong already; outputs (classes,)."""
    outputs = np.asarray(outputs)
    margin = float(outputs[label] - np.max(np.delete(outputs, label)))
    return max(margin, 0.0) / (math.sqrt(2) * lipschitz)


def linear_distance(w: Any, b: Any, x: Any, label: int) -> float:
    """The length of the shortest perturbation of x that changes the answer of W x + b; 0 where it is wrong already."""
    f = w @ x + b
    others = [i for i in range(len(f)) if i != label]
    return max(0.0, min((f[label] - f[i]) / float(np.linalg.norm(w[label] - w[i])) for i in others))


def spectral_complexity(
    matrices: Sequence[Any], references: Sequence[Any] | None = None, activations: Sequence[float] | None = None
) -> float:
    """R of the matrices (out, in) of a network; references default to 0, Lipschitz constants of activations to 1."""
    references = [np.zeros(np.shape(a)) for a in matrices] if references is None else references
    activations = [1.0] * len(matrices) if activations is None else activations
    norms = [dense_norm(a) for a in matrices]
    rows = [float(np.sum(np.linalg.norm(a - m, axis=1))) for a, m in zip(matrices, references, strict=True)]
    product = math.prod(rho * s for rho, s in zip(activations, norms, strict=True))
    return product * sum((r / s) ** (2 / 3) for r, s in zip(rows, norms, strict=True)) ** 1.5
