"""Right implementations of standardization, RMS and whitening, as kernels write them.

Every function computes in the dtype of what it is given, row by row on (rows, n), and shares no code with
refnorm.  They are right in tolerance.py's sense: statistics in the arithmetic, and no E[x^2] - E[x]^2.

    ORDERS     name -> sum of each row (rows, n) -> (rows,)
    MOMENTS    name -> mean and biased variance of each row, (rows,) each
    forward, backward, parameter_gradients    from statistics, an order, and one of two last steps
    whiten     Z and dX of one block (d, m)
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

Order = Callable[[np.ndarray], np.ndarray]


def sequential(a: np.ndarray) -> np.ndarray:
    return np.cumsum(a, axis=1, dtype=a.dtype)[:, -1]          # cumsum adds in a.dtype, one after another


def backwards(a: np.ndarray) -> np.ndarray:
    return sequential(a[:, ::-1])


def in_lanes(lanes: int) -> Order:
    """`lanes` accumulators, as SIMD registers and warps have them, then one after another."""
    def order(a: np.ndarray) -> np.ndarray:
        padded = np.pad(a, ((0, 0), (0, -a.shape[1] % lanes))).reshape(len(a), -1, lanes)
        return sequential(np.cumsum(padded, axis=1, dtype=a.dtype)[:, -1])
    return order


def in_blocks(block: int) -> Order:
    """Each block one after another, then the blocks: threads that own contiguous pieces."""
    def order(a: np.ndarray) -> np.ndarray:
        padded = np.pad(a, ((0, 0), (0, -a.shape[1] % block))).reshape(len(a), -1, block)
        return sequential(np.cumsum(padded, axis=2, dtype=a.dtype)[:, :, -1])
    return order


def tree(a: np.ndarray) -> np.ndarray:
    while a.shape[1] > 1:
        a = np.pad(a, ((0, 0), (0, a.shape[1] % 2)))
        a = a[:, ::2] + a[:, 1::2]
    return a[:, 0]


def pairwise(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a).sum(axis=1, dtype=a.dtype)  # NumPy: 8 lanes a block, blocks in pairs


ORDERS: dict[str, Order] = {
    "sequential": sequential, "backwards": backwards, "lanes 8": in_lanes(8), "lanes 16": in_lanes(16),
    "threads 256": in_lanes(256), "blocks 64": in_blocks(64), "tree": tree, "pairwise": pairwise,
}  # fmt: skip


def two_pass(order: Order) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = x.dtype.type(x.shape[1])
        mean = order(x) / n
        c = x - mean[:, None]
        return mean, order(c * c) / n
    return moments


def pivoted(order: Order) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """One pass about the row's first element; clipped: if that is a spike, it may be negative."""
    def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = x.dtype.type(x.shape[1])
        d = x - x[:, :1]
        shift = order(d) / n
        return x[:, 0] + shift, np.maximum(order(d * d) / n - shift * shift, 0)
    return moments


@numba.njit
def _welford(x, mean, square):
    for row in range(x.shape[0]):
        m, s = x[row, 0] - x[row, 0], x[row, 0] - x[row, 0]
        for i in range(x.shape[1]):
            k = mean.dtype.type(i + 1)
            d = x[row, i] - m
            m += d / k
            s += d * (x[row, i] - m)
        mean[row], square[row] = m, s


def welford(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, square = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    _welford(x, mean, square)
    return mean, square / x.dtype.type(x.shape[1])


def merge(na, ma, sa, nb, mb, sb, kind):
    """Chan, Golub and LeVeque: counts, means, sums of squares of two parts -> of their union."""
    n = na + nb
    d = mb - ma
    return n, ma + d * (kind(nb) / kind(n)), sa + sb + d * d * (kind(na) * kind(nb) / kind(n))


def merged(x: np.ndarray, parts: list[np.ndarray], pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Moments of parts of each row by Welford, merged one after another or in pairs."""
    kind = x.dtype.type
    found = []
    for part in parts:
        mean, var = welford(np.ascontiguousarray(part))
        found.append((part.shape[1], mean, var * kind(part.shape[1])))
    while len(found) > 1:
        if pairs:
            joined = [merge(*a, *b, kind) for a, b in zip(found[::2], found[1::2], strict=False)]
            found = joined + found[len(joined) * 2:]
        else:
            found = [merge(*found[0], *found[1], kind), *found[2:]]
    n, mean, square = found[0]
    return mean, square / kind(n)


def chan_blocks(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    block = max(64, x.shape[1] // 64)
    return merged(x, [x[:, i:i + block] for i in range(0, x.shape[1], block)], pairs=False)


def chan_tree(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    block = max(3, x.shape[1] // 64)
    return merged(x, [x[:, i:i + block] for i in range(0, x.shape[1], block)], pairs=True)


def welford_lanes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sixteen interleaved running moments, merged in pairs."""
    return merged(x, [x[:, i::16] for i in range(min(16, x.shape[1]))], pairs=True)


MOMENTS = {
    **{f"two-pass, {name}": two_pass(order) for name, order in ORDERS.items()},
    "pivoted": pivoted(sequential), "pivoted, lanes": pivoted(in_lanes(16)),
    "Welford": welford, "Welford, lanes": welford_lanes, "Chan, blocks": chan_blocks, "Chan, tree": chan_tree,
}  # fmt: skip


def order_of(name: str) -> Order:
    """The order in which an algorithm of MOMENTS forms its other sums."""
    if name.startswith("two-pass, "):
        return ORDERS[name.removeprefix("two-pass, ")]
    return in_lanes(16) if name.endswith("lanes") else tree if name.endswith("tree") else sequential


def inverse_root(var: np.ndarray, eps: float) -> np.ndarray:
    one = var.dtype.type(1)
    return one / np.sqrt(var + var.dtype.type(eps))


def forward(x, gamma, beta, mean, rstd, folded):
    """(x - mean) rstd gamma + beta, or folded, x a + b with a = gamma rstd, b = beta - mean a."""
    mean, rstd = mean[:, None], rstd[:, None]
    if folded:
        a = gamma * rstd
        return x * a + (beta - mean * a)
    return (x - mean) * rstd * gamma + beta


def backward(dy, x, gamma, mean, rstd, order: Order, folded, centered=True):
    """dx by rstd (g - mean(g) - xhat mean(g xhat)), or folded, rstd g + c2 x + c3 from sum g and sum g x.

    centered=False: RMS, whose gradient has no mean(g).
    """
    n = x.dtype.type(x.shape[1])
    g = dy * gamma
    mean, rstd = mean[:, None], rstd[:, None]
    if folded:
        first, along = order(g)[:, None], order(g * x)[:, None]
        c2 = (mean * first - along) * (rstd * rstd * rstd) / n
        c3 = -c2 * mean - first * rstd / n if centered else x.dtype.type(0)
        return rstd * g + c2 * x + c3
    xhat = (x - mean) * rstd
    first = order(g)[:, None] / n if centered else x.dtype.type(0)
    return rstd * (g - first - xhat * (order(g * xhat)[:, None] / n))


def parameter_gradients(dy, x, mean, rstd, order: Order, reduce, folded):
    """dgamma and dbeta; reduce (rows, n) -> (parameters, terms).  Folded: for one parameter a row."""
    dbeta = order(reduce(dy))
    if folded:
        return (order(dy * x) - mean * dbeta) * rstd, dbeta
    return order(reduce(dy * ((x - mean[:, None]) * rstd[:, None]))), dbeta


def update(old, new, weight):
    """A running statistic: (1 - weight) old + weight new, all in the arithmetic's dtype."""
    weight = old.dtype.type(weight)
    return (old.dtype.type(1) - weight) * old + weight * new


def whiten(x, g, eps, method, steps, order: Order | None):
    """(Z, dX) of one block x (d, m) for the cotangent g (d, m) of Z; order None: BLAS.

    zca with the gap-free derivative, cholesky by the triangle's half, newton coupled in both directions.
    """
    kind, eye = x.dtype.type, np.eye(len(x), dtype=x.dtype)
    m = kind(x.shape[1])

    def average(a):
        return (a.sum(axis=1) if order is None else order(a))[:, None] / m

    def products(a, b):
        return (a @ b.T if order is None else np.stack([order(row * b) for row in a])) / m

    c = x - average(x)
    s = products(c, c) + kind(eps) * eye
    w, pull_back = WHITENINGS[method](s, eye, kind, steps)
    ds = pull_back(products(g, c))
    dx = w.T @ g + (ds + ds.T) @ c
    return w @ c, dx - average(dx)


def zca(s, eye, kind, steps):
    values, vectors = np.linalg.eigh(s)
    root = np.sqrt(values)

    def pull_back(dw):
        inner = vectors.T @ ((dw + dw.T) / kind(2)) @ vectors
        inner = -inner / (root[:, None] * root * (root[:, None] + root))
        return vectors @ inner @ vectors.T
    return (vectors / root) @ vectors.T, pull_back


def cholesky(s, eye, kind, steps):
    lower = np.linalg.cholesky(s)
    w = np.linalg.solve(lower, eye)

    def pull_back(dw):
        inner = np.tril(lower.T @ (-w.T @ dw @ w.T)) * (eye.dtype.type(1) - eye / kind(2))
        inner = w.T @ inner @ w
        return (inner + inner.T) / kind(2)
    return w, pull_back


def newton(s, eye, kind, steps):
    """Y -> Y Q, Z -> Q Z, Q = (3 I - Z Y)/2 from S/tr S and I: Z tends to (S/tr S)^-1/2."""
    trace, half, path = np.trace(s), kind(0.5), []
    y, z = s / trace, eye
    for _ in range(steps):
        q = kind(1.5) * eye - half * (z @ y)
        path.append((y, z, q))
        y, z = y @ q, q @ z

    def pull_back(dw):
        dy, dz = np.zeros_like(s), dw / np.sqrt(trace)
        for y, z_before, q in reversed(path):
            dq = y.T @ dy + dz @ z_before.T
            dy, dz = dy @ q.T - half * z_before.T @ dq, q.T @ dz - half * dq @ y.T
        by_trace = -(dy * s).sum() / trace**2 - half * (dw * z).sum() / (trace * np.sqrt(trace))
        return dy / trace + by_trace * eye
    return z / np.sqrt(trace), pull_back


def pca(s, eye, kind, steps):
    """Descending eigenvalues, each vector's largest entry positive; the derivative divides by gaps."""
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(s))
    vectors = vectors * np.sign(np.take_along_axis(vectors, np.argmax(np.abs(vectors), axis=0)[None], axis=0))
    gaps = np.where(eye > 0, kind(1), values[:, None] - values)

    def pull_back(dw):
        by_row = (dw @ vectors) / np.sqrt(values)[:, None]
        inner = np.where(eye > 0, -kind(0.5) * by_row / values[:, None], by_row / gaps)
        return vectors @ ((inner + inner.T) / kind(2)) @ vectors.T
    return vectors.T / np.sqrt(values)[:, None], pull_back


WHITENINGS = {"zca": zca, "cholesky": cholesky, "newton": newton, "pca": pca}
