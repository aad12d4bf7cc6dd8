"""Bounds for whitening, and for maps without a derived bound.

One block X (d, m) of d coordinates and m samples; mu (d, 1), c = X - mu, S = c c^T/m + eps I, Z = W c with W
S W^T = I (Newton's W comes near it).  delta (d, 1) is each coordinate's mean error; u, h, R as in
tolerance_arithmetic.

**Covariance.**  The mean's error adds delta delta^T, exactly as it adds delta^2 to a variance.  An entry sums
m products: u rho sqrt(S_ii S_jj), rho = max R(c_i^2)/(m var_i).  That is thirty standard deviations of one
entry where errors are random, which leaves room for the norm of a d x d matrix of them (2 sqrt(d) of one).
The roundings of its entries, and the backward error of a Cholesky factor, a symmetric eigenproblem or a
Newton step, are (4 + sqrt d) u |S|; T steps of the coupled iteration commit (1 + T/4) of it, and those of
its paper's, which is what is mostly written, `drift` besides.

**Whitened.**  Z feels an error dS through W dS W^T alone: Cholesky halves its lower triangle; for ZCA, in the
basis of eigenvectors, the entries of dW S^1/2 are dS_ij/(sqrt(l_i) (sqrt(l_i) + sqrt(l_j))).  With

    kappa_W = |W|_2^2 |S|_2         cond(S) for an exact W; at most 57 for Newton at T = 5, whatever cond(S)
    C       = u kappa_W ((4 + sqrt d)(1 + T/4) + rho) + |delta|^2 |W|_2^2
    PCA       + u |S| (4 + sqrt d + rho) max_ij sqrt(l_j/l_i)/|l_i - l_j|      eigenvectors turn

C >= 1/2 says nothing: infinite.  Where PCA's own term is, eigenvalues are equal to rounding, and PCA has no
gradient: 1/(l_i - l_j) may be infinite, and dX is not judged.  Z is moved besides by the mean, by the
roundings of c or of W x - W mu, and by those of a product of d terms:

    E_Z  = C max|Z| + |W| (delta + 2 u (|x| + |mu|)) + u d |W||c|
    E_dX = 2 (C + max |W| (delta + 2 u (|x| + |mu|))) max(|W|_2 max|g|, max|dX|) + u d |W^T||g|

with g = gamma dy.  dX = W^T (g - mean g - F Z), F a mean of g z^T put together from W: each part inherits C,
and F Z also Z's error; PCA's F is divided by gaps, and what is lost in it is a part of dX itself.  C max|Z|
rather than C |z|_2: the errors of d entries have no common direction, and sqrt d is in C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .tolerance_arithmetic import Arithmetic, growth

METHODS = ("zca", "cholesky", "pca", "newton")
SLACK = 8  # one element in a million moves by less than 1/8 of a deviation in all of six probes


class Block:
    """Exact statistics of one block x (d, m), and what whitening it may lose.

    It takes the place of Statistics in `tolerance.forward` and `parameter_gradients`; its rows are
    coordinates. method "zca", "cholesky", "pca" or "newton", with its number of steps T; matrix (d, d), the
    exact W; mean (d, 1) and xhat = Z (d, m), exact values of an oracle in the place of those computed here in
    float64.  Attributes: x, c, mean, matrix, xhat, covariance (with eps), delta (d, 1), C, error (E_Z (d,
    m)), out_of_range.  Raises ValueError for another method, and for newton without T.
    """

    def __init__(
        self, x: Any, matrix: Any, eps: float, arithmetic: Arithmetic, method: str, *,
        T: int | None = None, mean: Any = None, xhat: Any = None,
    ) -> None:  # fmt: skip
        if method not in METHODS or (method == "newton" and T is None):
            raise ValueError(f"method {method!r}, T {T!r}: it must be {', '.join(METHODS)}, newton with T")
        self.x, self.matrix = np.asarray(x, np.float64), np.asarray(matrix, np.float64)
        self.arithmetic, self.method, self.steps = arithmetic, method, T or 0
        with np.errstate(all="ignore"):
            self._exact(eps, mean, xhat)
            self._losses()

    def _exact(self, eps: float, mean: Any, xhat: Any) -> None:
        d, m = self.x.shape
        if mean is None:
            rough = self.x.mean(axis=1, keepdims=True)
            mean = rough + (self.x - rough).mean(axis=1, keepdims=True)
        self.mean = np.asarray(mean, np.float64).reshape(d, 1)
        self.c = self.x - self.mean
        self.covariance = self.c @ self.c.T / m + eps * np.eye(d)
        self.xhat = self.matrix @ self.c if xhat is None else np.asarray(xhat, np.float64)

    def _losses(self) -> None:
        a, (d, m) = self.arithmetic, self.x.shape
        peak = np.abs(self.x).max(axis=1, keepdims=True)
        self.delta = a.u * (growth(self.x, a.unit) / m + 2 * peak) + 2 * a.h
        square = np.square(self.c)
        spread = square.sum(axis=1, keepdims=True)
        self.rho = float(np.max(np.where(spread > 0, growth(square, a.unit) / spread, 0)))
        finite = bool(np.isfinite(self.matrix).all() and np.isfinite(self.covariance).all())
        self.out_of_range = not (finite and m * float(peak.max()) ** 2 <= a.largest)
        self.norm, self.tied = float(np.linalg.norm(self.matrix, 2)) if finite else np.inf, False
        self.C = np.nan if self.out_of_range else self._condition(d)
        self.moved = np.abs(self.matrix) @ (self.delta + 2 * a.u * (np.abs(self.x) + np.abs(self.mean)))
        product = a.u * d * (np.abs(self.matrix) @ np.abs(self.c))
        self.error = self.C * np.abs(self.xhat).max() + self.moved + product

    def _condition(self, d: int) -> float:
        a, values = self.arithmetic, np.linalg.eigvalsh(self.covariance)
        solver = 4 + np.sqrt(d)
        loss = a.u * self.norm**2 * values[-1] * (solver * (1 + self.steps / 4) + self.rho)
        loss += float(np.square(self.delta).sum()) * self.norm**2 + a.u * solver * drift(values / values.sum(), self.steps)
        if self.method == "pca" and d > 1:
            apart = np.where(np.eye(d, dtype=bool), np.inf, np.abs(values[:, None] - values))
            turn = np.sqrt(np.maximum(values, 0) / values[:, None]) / apart
            turned = a.u * values[-1] * (solver + self.rho) * float(turn.max())
            self.tied, loss = not turned < 0.5, loss + turned
        return float(loss) if loss < 0.5 else np.inf

    @property
    def rstd(self) -> float:
        """The scale that stands for 1/sigma: |W|_2."""
        return self.norm

    def scaled(self) -> tuple[np.ndarray, np.ndarray]:
        """|W| |x| and |W| |mu|: what a parameter gradient sums where it multiplies by W last."""
        return np.abs(self.matrix) @ np.abs(self.x), np.abs(self.matrix) @ np.abs(self.mean)

    def ceiling(self) -> np.ndarray:
        """The largest |Z| (1, m) that a right implementation may give where nothing can be judged."""
        size = np.abs(self.x) + np.abs(self.mean) + self.delta
        return self.norm * np.linalg.norm(size, axis=0, keepdims=True)

    def backward(self, dy: Any, gamma: Any = 1.0, dx: Any = None) -> np.ndarray:
        """E_dX (d, m) for the cotangent dy (d, m) of y; gamma broadcasts.  dx: the exact gradient, for its
        size.
        """
        a, form, d = self.arithmetic, self.arithmetic.storage("dx"), len(self.x)
        with np.errstate(all="ignore"):
            g = np.abs(np.asarray(dy, np.float64) * np.asarray(gamma, np.float64))
            value = np.zeros_like(g) if dx is None else np.abs(np.asarray(dx, np.float64))
            size = max(self.norm * g.max(), value.max())
            bound = 2 * (self.C + self.moved.max()) * size + a.u * d * (np.abs(self.matrix).T @ g)
            bound = (bound + a.h * (1 + self.norm)) * (1 + form.unit) + form.unit * value + form.least
            bound = np.where(np.isnan(bound), np.inf, bound)
            beyond = np.where(np.isinf(bound), d * size, value + bound) > form.largest
            return np.where(beyond | self.out_of_range | self.tied, np.nan, bound)


def drift(values: Any, steps: int) -> float:
    """What roundings become in Z = P c in T steps of P <- 3/2 P - 1/2 P^3 N, in units of (4 + sqrt d) u max|Z|.

    values: eigenvalues s of N, 0..1.  In its eigenvectors P is diagonal, b, but a rounding e of P is not, and grows a step by
    3/2 - s_j (b_i^2 + b_i b_j + b_j^2) / 2 (operations/newton_uncoupled.py).  A step commits max b for P, and max b^3 max s / 2
    for its products, whose large terms cancel; column j of P meets c_j, as large as sqrt(s_j).
    """
    s = np.maximum(np.asarray(values, np.float64), 0)
    b, error = np.ones_like(s), np.zeros((len(s), len(s)))
    for _ in range(steps):
        growth = np.abs(1.5 - 0.5 * s * (b[:, None] ** 2 + b[:, None] * b + b**2))
        error = growth * error + b.max() + 0.5 * b.max() ** 3 * s.max()
        b = 1.5 * b - 0.5 * b**3 * s
    return float((error * np.sqrt(s)).max(initial=0))


def probe(
    f: Callable[..., Any], inputs: Sequence[Any], u: float, probes: int = 6, *,
    n: int | None = None, seed: int = 0,
) -> list[np.ndarray]:  # fmt: skip
    """Bounds on the outputs of an exact map f(*inputs) that has no derived ones.

    Eight times the largest move of each element under relative noise, uniform in (4 + sqrt n) u: what a right
    summation of n terms may be charged to its data.  inputs: float64 arrays; what is no array of floats is
    passed as it is.  f returns an array or a tuple of them.  n: the longest reduction, the longest axis
    unless said.  The caller adds the storage's rounding.  NaN, not judged, where the exact output is not
    finite.
    """
    arrays = [np.asarray(value) for value in inputs]
    moves = [array.dtype.kind == "f" and array.ndim > 0 for array in arrays]
    n = max((max(array.shape) for array in arrays if array.ndim), default=1) if n is None else n
    level, generator = (4 + np.sqrt(n)) * u, np.random.default_rng(seed)

    def outputs(values: Sequence[Any]) -> list[np.ndarray]:
        result = f(*values)
        return [np.asarray(part, np.float64) for part in (result if isinstance(result, tuple) else (result,))]

    exact = outputs(inputs)
    largest = [np.zeros_like(part) for part in exact]
    with np.errstate(all="ignore"):
        for _ in range(probes):
            noise = [1 + level * generator.uniform(-1, 1, array.shape) for array in arrays]
            noisy = [v * e if m else v for v, e, m in zip(inputs, noise, moves, strict=True)]
            there = outputs(noisy)
            largest = [np.fmax(top, np.abs(a - b)) for top, a, b in zip(largest, there, exact, strict=True)]
        bounds = [SLACK * (top + u * np.abs(part)) for top, part in zip(largest, exact, strict=True)]
    return [np.where(np.isfinite(part), bound, np.nan) for bound, part in zip(bounds, exact, strict=True)]
