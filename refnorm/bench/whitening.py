"""Whitening as calls without arguments: ours, and the same formulas in PyTorch, which has no whitening of its own.

PyTorch's backward is written out as well, with everything kept that its forward has made (xhat, the matrix, eigenvectors): its
autograd, through the factorization, would take longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS

Calls = dict[str, Callable[[], Any]]


def ours(name: str, x: np.ndarray, dy: np.ndarray, parameters: Mapping[str, np.ndarray]) -> dict[str, Calls]:
    """Statistics, factorization and application; without the checks of arguments that the public call adds."""
    from refnorm.kernels.cpu import whitening_contract as contract

    method = NORMS[name]
    arguments, _ = method.resolve(x, **parameters)
    w = contract.work(method, arguments, x)
    flat, up = w.lie.read(x), w.lie.read(dy)
    y, dx = w.lie.empty(x.dtype), w.lie.empty(x.dtype)
    saved = contract.statistics(w, flat, arguments)
    _, cache, *_ = method.forward(x, **parameters, backend="numba")
    return {
        "forward": {
            "preallocated": lambda: contract.apply(w, flat, contract.statistics(w, flat, arguments), y),
            "fresh": lambda: contract.apply(w, flat, contract.statistics(w, flat, arguments), w.lie.empty(x.dtype)),
            "call": lambda: method.forward(x, **parameters, backend="numba"),
        },
        "backward": {
            "preallocated": lambda: contract.fill_backward(w, up, flat, saved, True, dx),
            "fresh": lambda: contract.fill_backward(w, up, flat, saved, True, w.lie.empty(x.dtype)),
            "call": lambda: method.backward(dy, cache, backend="numba"),
        },
    }


def torchs(name: str, x: np.ndarray, dy: np.ndarray, parameters: Mapping[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch, float32, x of shape (M, D)."""
    import torch

    arguments, _ = NORMS[name].resolve(x, **parameters)
    operation, eps, steps = NORMS[name].triple.operation.name, arguments["eps"], arguments.get("T", 0)
    z, up, gamma, beta = (torch.from_numpy(a) for a in (x, dy, parameters["gamma"], parameters["beta"]))
    identity, m = torch.eye(x.shape[1]), len(x)
    factor, average = {
        "zca": (_zca, _zca_gradient), "cholesky": (_cholesky, _cholesky_gradient), "newton": (_newton, _newton_gradient)
    }[operation]  # fmt: skip

    def forward() -> Any:
        zc = z - z.mean(0)
        matrix, kept = factor(torch, torch.addmm(eps * identity, zc.T, zc, alpha=1 / m), identity, steps)
        xhat = zc @ matrix.T
        return torch.addcmul(beta, xhat, gamma), zc, xhat, matrix, kept

    _, zc, xhat, matrix, kept = forward()

    def backward() -> Any:
        g = up * gamma
        dx = average(torch, g, zc, xhat, matrix, kept)
        return dx, (up * xhat).sum(0), up.sum(0)

    return {"forward": lambda: forward()[0], "backward": backward}


def _zca(torch: Any, s: Any, identity: Any, steps: int) -> tuple[Any, Any]:
    values, vectors = torch.linalg.eigh(s)
    roots = values.rsqrt()
    return (vectors * roots) @ vectors.T, (vectors, roots)


def _zca_gradient(torch: Any, g: Any, zc: Any, xhat: Any, matrix: Any, kept: Any) -> Any:
    """F_ij (w_i + w_j) = w_i h_ij + h_ji w_j in the basis of the eigenvectors, as operations/zca.py derives."""
    vectors, w = kept
    h = vectors.T @ (g.T @ xhat) @ vectors / len(g)
    f = vectors @ ((w[:, None] * h + h.T * w) / (w[:, None] + w)) @ vectors.T
    return (g - g.mean(0) - xhat @ f) @ matrix


def _cholesky(torch: Any, s: Any, identity: Any, steps: int) -> tuple[Any, Any]:
    return torch.linalg.solve_triangular(torch.linalg.cholesky(s), identity, upper=False), None


def _cholesky_gradient(torch: Any, g: Any, zc: Any, xhat: Any, matrix: Any, kept: Any) -> Any:
    lower = torch.tril(g.T @ xhat / len(g))
    return (g - g.mean(0) - xhat @ (lower + torch.tril(lower, -1).T)) @ matrix


def _newton(torch: Any, s: Any, identity: Any, steps: int) -> tuple[Any, Any]:
    trace = torch.trace(s)
    y, p = s / trace, identity
    iterates = [(y, p)]
    for _ in range(steps):
        k = (3 * identity - p @ y) / 2
        y, p = y @ k, k @ p
        iterates.append((y, p))
    return p * trace.rsqrt(), (s, trace, identity, iterates)


def _newton_gradient(torch: Any, g: Any, zc: Any, xhat: Any, matrix: Any, kept: Any) -> Any:
    """The recursion's adjoint, as operations/newton.py derives."""
    s, trace, identity, iterates = kept
    dw = g.T @ zc
    dy, dp = torch.zeros_like(s), dw * trace.rsqrt()
    for y, p in iterates[-2::-1]:
        k = (3 * identity - p @ y) / 2
        dk = y.T @ dy + dp @ p.T
        dy, dp = dy @ k.T - p.T @ dk / 2, k.T @ dp - dk @ y.T / 2
    along = (dy * s).sum() / trace + (dw * matrix).sum() / 2
    ds = ((dy + dy.T) / 2 - along * identity) / trace
    return (g - g.mean(0)) @ matrix + zc @ ds * (2 / len(g))
