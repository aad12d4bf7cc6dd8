"""Whitening put together from PyTorch's operations, called as refnorm's is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def zca(s: Any) -> Any:
    """The Newton-Schulz iteration to its limit: autograd through eigh is not a number where eigenvalues are equal."""
    import torch

    trace = s.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    identity = torch.eye(s.shape[1], dtype=s.dtype)
    y, p = s / trace, identity.expand_as(s)
    for _ in range(30):
        k = 1.5 * identity - 0.5 * p @ y
        y, p = y @ k, k @ p
    return p / trace.sqrt()


def pca(s: Any) -> Any:
    import torch

    values, vectors = (v.flip(-1) for v in torch.linalg.eigh(s))
    sign = torch.gather(vectors, 1, vectors.abs().argmax(1, keepdim=True)).sign()
    return (vectors * sign / values.sqrt()[:, None, :]).mT


def cholesky(s: Any) -> Any:
    import torch

    return torch.linalg.inv(torch.linalg.cholesky(s))


def newton(s: Any, T: int) -> Any:
    import torch

    trace = s.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    p = torch.eye(s.shape[1], dtype=s.dtype).expand_as(s)
    for _ in range(T):
        p = 1.5 * p - 0.5 * p @ p @ p @ (s / trace)
    return p / trace.sqrt()


def moments(z: Any, eps: float) -> tuple[Any, Any, Any]:
    """Mean (B, D, 1), covariance and covariance + eps I."""
    import torch

    mean = z.mean(2, keepdim=True)
    covariance = torch.einsum("bim,bjm->bij", z - mean, z - mean) / z.shape[2]
    return mean, covariance, covariance + eps * torch.eye(z.shape[1], dtype=z.dtype)


def affine(xhat: Any, gamma: Any, beta: Any) -> Any:
    shape = (1, -1) + (1,) * (xhat.ndim - 2)
    return xhat * gamma.reshape(shape) + beta.reshape(shape)


def batch_whitening(root: Callable[..., Any]) -> Callable[..., Any]:
    def call(
        F: Any, x: Any, gamma: Any, beta: Any, *,
        num_groups: int, state: Any, training: bool, eps: float, momentum: Any, dialect: Any, T: int | None = None, **_: Any,
    ) -> tuple:  # fmt: skip
        import torch

        g, k = num_groups, x.shape[1] // num_groups
        steps = () if T is None else (T,)
        z = x.transpose(0, 1).reshape(g, k, -1)
        old_mean, old = torch.zeros(g, k, 1, dtype=x.dtype), torch.eye(k, dtype=x.dtype).expand(g, k, k)
        if state is not None:
            old_mean, old = torch.tensor(np.asarray(state[0])).reshape(g, k, 1), torch.tensor(np.asarray(state[1]))
        if training:
            mean, covariance, s = moments(z, eps)
            matrix = root(s, *steps)
            old_mean = (1 - momentum) * old_mean + momentum * mean.detach()
            old = (1 - momentum) * old + momentum * (matrix if dialect.population.state else covariance).detach()
        else:
            mean = old_mean
            matrix = old if dialect.population.state else root(old + eps * torch.eye(k, dtype=x.dtype), *steps)
        xhat = (matrix @ (z - mean)).reshape(x.transpose(0, 1).shape).transpose(0, 1)
        return affine(xhat, gamma, beta), (old_mean.reshape(-1).numpy(), old.numpy())

    return call


def group_whitening(root: Callable[..., Any]) -> Callable[..., Any]:
    def call(F: Any, x: Any, gamma: Any, beta: Any, *, num_groups: int, eps: float, T: int | None = None, **_: Any) -> Any:
        z = x.reshape(x.shape[0], num_groups, -1)
        mean, _, s = moments(z, eps)
        xhat = root(s, *(() if T is None else (T,))) @ (z - mean)
        return affine(xhat.reshape(x.shape), gamma, beta)

    return call


def switchable_whitening(
    F: Any, x: Any, gamma: Any, beta: Any, mean_weight: Any, covariance_weight: Any, *, statistics: Any, T: int | None,
    num_groups: int, state: Any, training: bool, momentum: float, eps: float, dialect: Any, **_: Any,
) -> tuple:  # fmt: skip
    import torch

    n, g, k = x.shape[0], num_groups, x.shape[1] // num_groups
    eye = torch.eye(k, dtype=x.dtype)
    old_mean, old = torch.zeros(g, k, 1, dtype=x.dtype), eye.expand(g, k, k)
    if state is not None:
        old_mean, old = torch.tensor(np.asarray(state[0])).reshape(g, k, 1), torch.tensor(np.asarray(state[1]))
    batch: tuple = moments(x.transpose(0, 1).reshape(g, k, -1), 0.0)[:2] if training else (old_mean, old)
    if training:
        old_mean, old = (momentum * a + (1 - momentum) * b.detach() for a, b in zip((old_mean, old), batch, strict=True))
    quirks = dialect.conventions
    z = x.reshape(n * g, k, -1)
    batch = tuple(s.repeat(n, 1, 1) for s in batch)
    own = moments(z, 0.0)[:2]
    flat = x.reshape(n, -1)
    layer: tuple = flat.mean(1), flat.var(1, correction=1 if quirks.get("unbiased") else 0)
    layer = tuple(s.repeat_interleave(g)[:, None, None] for s in layer)
    known = {
        "bw": batch, "bn": (batch[0], batch[1] * eye),
        "iw": own, "in": (own[0], own[1] * eye), "ln": (layer[0], layer[1] * eye),
    }  # fmt: skip
    w, v = mean_weight.softmax(0), covariance_weight.softmax(0)
    heavy = {"bn": "bw", "in": "iw"} if quirks.get("shared") else {}
    mean = sum(w[i] * known[name][0] for i, name in enumerate(statistics))
    s = sum(v[statistics.index(heavy.get(name, name))] * known[name][1] for name in statistics) + eps * eye
    xhat = (zca(s) if T is None else newton(s, T)) @ (z - mean)
    return affine(xhat.reshape(x.shape), gamma, beta), (old_mean.reshape(-1).numpy(), old.numpy())


TORCH: dict[str, Callable[..., Any]] = {
    "batch_whitening_zca": batch_whitening(zca),
    "batch_whitening_pca": batch_whitening(pca),
    "batch_whitening_cholesky": batch_whitening(cholesky),
    "iterative_norm": batch_whitening(newton),
    "group_whitening_zca": group_whitening(zca),
    "group_whitening_iterative": group_whitening(newton),
    "switchable_whitening": switchable_whitening,
}
