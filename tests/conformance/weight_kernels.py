"""Kernels of norms that are no rows, as authors write them in NumPy, and what goes wrong in them: `bug`; None is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.conformance import Candidate


def _matrix(w: Any, dim: int | None) -> Any:
    return w.reshape(1, -1) if dim is None else np.moveaxis(w, dim, 0).reshape(w.shape[dim], -1)


def _back(m: Any, w: Any, dim: int | None) -> Any:
    if dim is None:
        return m.reshape(w.shape)
    return np.moveaxis(m.reshape(w.shape[dim], *(n for i, n in enumerate(w.shape) if i != dim % w.ndim)), 0, dim)


def weight_norm(bug: str | None = None) -> Candidate:
    def length(r):
        square = np.square(r - r.mean(axis=1, keepdims=True) if bug == "centred" else r)
        if bug == "tail past blocks of 8":
            square = square[:, : max(r.shape[1] // 8 * 8, min(8, r.shape[1]))]
        q = square.mean(axis=1, keepdims=True) if bug == "mean for sum" else square.sum(axis=1, keepdims=True)
        n = np.sqrt(q + np.float32(1e-5)) if bug == "eps" else np.sqrt(q)
        n = np.maximum(n, np.float32(1e-4)) if bug == "never below 1e-4" else n
        return np.maximum(n, np.float32(1)) if bug == "never below 1" else n

    def forward(v, g=None, *, dim=0):
        if bug == "the other axis where they are alike" and dim == 0 and v.shape[0] == v.shape[1]:
            dim = 1
        r = _matrix(v, dim)
        y = r / length(r)
        if g is not None and bug != "g left out":
            y = y * (np.abs(g) if bug == "g without its sign" else g).reshape(-1, 1)
        return _back(y, v, dim).astype(v.dtype)

    def backward(dy, v, g=None, *, dim=0):
        r, up = _matrix(v, dim), _matrix(dy, dim)
        n = np.sqrt(np.square(r).sum(axis=1, keepdims=True))
        unit, scale = r / n, np.float32(1) if g is None else g.reshape(-1, 1)
        along = (up * unit).sum(axis=1, keepdims=True)
        dv = scale / n * (up - (0 if bug == "no projection" else unit * along))
        dg = along / n if bug == "dg over the length" else along
        return _back(dv, v, dim).astype(v.dtype), None if g is None else dg.reshape(g.shape).astype(g.dtype)

    return Candidate(forward, backward, dtypes=("float32",))


def spectral_norm(bug: str | None = None) -> Candidate:
    def unit(a, eps):
        n = np.sqrt((a * a).sum())
        return a / (n + np.float32(eps)) if bug == "eps added" else a / max(n, np.float32(eps))

    def iterated(m, u, v, count, eps):
        for _ in range(count):
            u = unit(m @ v, eps)
            v = unit(m.T @ u, eps)
        return u, v

    def forward(w, u, v, *, n_power_iterations, eps, training, dim=0):
        m, before = _matrix(w, dim), (u, v)
        count = n_power_iterations if training or bug == "iterates in evaluation" else 0
        u, v = iterated(m, u, v, count + (training and bug == "once more"), eps)
        sigma = u @ (m @ v)
        sigma = np.sqrt((m * m).sum()) if bug == "Frobenius" else np.linalg.norm(m, 2) if bug == "exact" else sigma
        sigma = max(sigma, np.float32(1)) if bug == "never below 1" else sigma
        u, v = (before[0] if bug == "u kept" else u), (before[1] if bug == "v kept" else v)
        return (w / sigma).astype(w.dtype), np.asarray(u, w.dtype), np.asarray(v, w.dtype)

    def backward(dy, w, u, v, *, n_power_iterations, eps, training, dim=0):
        m, up = _matrix(w, dim), _matrix(dy, dim)
        u, v = iterated(m, u, v, n_power_iterations if training else 0, eps)
        sigma = u @ (m @ v)
        through = 0 if bug == "sigma detached" else (up * m).sum() / sigma**2 * np.outer(u, v)
        return (_back(up / sigma - through, w, dim).astype(w.dtype),)

    return Candidate(forward, backward, dtypes=("float32",))


def weight_standardization(bug: str | None = None) -> Candidate:
    """timm's; "original": the authors', by torch.std, NaN for rows of one entry."""

    def forward(w, *, eps):
        axes = (0,) if bug == "over the outputs" else tuple(range(2 if bug == "over the kernel" and w.ndim > 2 else 1, w.ndim))
        n = np.float32(np.prod([w.shape[a] for a in axes]))
        c = w if bug == "mean left in" else w - w.mean(axis=axes, keepdims=True)
        total = np.square(c).sum(axis=axes, keepdims=True)
        eps = np.float32(10 * eps if bug == "eps ten times" else eps)
        with np.errstate(all="ignore"):
            if bug == "original":
                return (c / (np.sqrt(total / (n - 1)) + eps)).astype(w.dtype)
            var = total / max(n - 1, np.float32(1)) if bug == "n - 1" else total / n
            if bug == "one pass":
                var = np.square(w).mean(axis=axes, keepdims=True) - np.square(w.mean(axis=axes, keepdims=True))
            return (c / (np.sqrt(var) + eps) if bug == "eps outside" else c / np.sqrt(var + eps)).astype(w.dtype)

    return Candidate(forward, dtypes=("float32",))


def whitening(kind: str, bug: str | None = None) -> Candidate:
    """kind: zca, cholesky, newton."""

    def matrix(cov, T):
        d = cov.shape[1]
        if kind == "cholesky":
            inverse = np.linalg.inv(np.linalg.cholesky(cov))
            return inverse.transpose(0, 2, 1) if bug == "transposed" else inverse
        if kind == "newton":
            trace = np.trace(cov, axis1=1, axis2=2)[:, None, None]
            P = np.broadcast_to(np.eye(d, dtype=cov.dtype), cov.shape)
            for _ in range(T - 1 if bug == "a step less" else T):
                P = np.float32(1.5) * P - np.float32(0.5) * P @ P @ P @ (cov / trace)
            return P if bug == "trace left out" else P / np.sqrt(trace)
        values, q = np.linalg.eigh(cov)
        values = np.maximum(values, np.float32(float(bug[-4:]))) if bug and bug.startswith("clamped") else values
        return q / np.sqrt(values)[:, None, :] @ q.transpose(0, 2, 1)

    def forward(x, gamma=None, beta=None, *, eps, num_groups=None, T=5):
        channels, groups = x.shape[1], 1 if bug == "groups ignored" else num_groups or 1
        z = np.moveaxis(x, 1, 0).reshape(groups, channels // groups, -1)
        d, m = z.shape[1:]
        c = z - z.mean(axis=2, keepdims=True)
        cov = c @ c.transpose(0, 2, 1) / np.float32(m - 1 if bug == "m - 1" else m)
        cov = cov + np.float32(10 * eps if bug == "eps ten times" else eps) * np.eye(d, dtype=x.dtype)
        cov = cov * np.eye(d, dtype=x.dtype) if bug == "variances alone" else cov
        y = np.moveaxis((matrix(cov, T) @ c).reshape(channels, x.shape[0], *x.shape[2:]), 0, 1)
        along = (1, -1) + (1,) * (x.ndim - 2)
        y = y if gamma is None else y * gamma.reshape(along)
        return (y if beta is None else y + beta.reshape(along)).astype(x.dtype)

    return Candidate(forward, dtypes=("float32",))
