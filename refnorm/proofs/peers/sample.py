"""PyTorch's operations for norms of each sample on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def in_heads(normalize: Callable[[Any], Any], x: Any, num_heads: int, axis: int) -> Any:
    """normalize over the last axis of (..., heads, d), and back."""
    last = x.movedim(axis, -1)
    return normalize(last.reshape(*last.shape[:-1], num_heads, -1)).reshape(last.shape).movedim(-1, axis)


def query_key_norm(F: Any, x: Any, gamma: Any, *, num_heads: int, axis: int, eps: float, offset: float, **_: Any) -> Any:
    return in_heads(lambda z: F.rms_norm(z, z.shape[-1:], offset + gamma, eps), x, num_heads, axis)


def query_key_layer_norm(F: Any, x: Any, gamma: Any, beta: Any, *, num_heads: int, axis: int, eps: float, **_: Any) -> Any:
    return in_heads(lambda z: F.layer_norm(z, z.shape[-1:], gamma, beta, eps), x, num_heads, axis)


def lp_norm(F: Any, x: Any, *, p: float, axis: Any, eps: float, dialect: Any) -> Any:
    if dialect.conventions["floor"] == "max" and not isinstance(axis, tuple):
        return F.normalize(x, p=p, dim=axis, eps=eps)
    import torch

    n = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return (
        x
        / {"max": n.clamp_min(eps), "plus": n + eps, "inside": (n**p + eps) ** (1 / p), "zero": n}[dialect.conventions["floor"]]
    )


def local_response_norm(F: Any, x: Any, *, size: int, alpha: float, beta: float, k: float, dialect: Any, **_: Any) -> Any:
    """PyTorch's own operator for its own dialect; the others through it, with alpha and an odd size that mean the same."""
    if x.ndim == 2:  # PyTorch asks for a spatial axis
        return local_response_norm(F, x[..., None], size=size, alpha=alpha, beta=beta, k=k, dialect=dialect)[..., 0]
    if dialect.conventions["window"] == "half before":
        return F.local_response_norm(x, size, alpha, beta, k)
    if dialect.conventions["window"] == "both":
        odd = size // 2 * 2 + 1
        return F.local_response_norm(x, odd, alpha * odd, beta, k)
    return F.local_response_norm(x.flip(1), size, alpha, beta, k).flip(1)


def filter_response_norm(F: Any, x: Any, gamma: Any, beta: Any, tau: Any, learned_eps: Any, *, eps: float, **_: Any) -> Any:
    def along(a: Any) -> Any:
        return a.reshape(1, -1, *(1 for _ in x.shape[2:]))

    square = x.square().flatten(2).mean(2).reshape(*x.shape[:2], *(1 for _ in x.shape[2:]))
    return (along(gamma) * x / (square + eps + along(learned_eps.abs())).sqrt() + along(beta)).maximum(along(tau))


TORCH: dict[str, Callable[..., Any]] = {
    "query_key_norm": query_key_norm,
    "query_key_layer_norm": query_key_layer_norm,
    "lp_norm": lp_norm,
    "local_response_norm": local_response_norm,
    "filter_response_norm": filter_response_norm,
    "scale_norm": lambda F, x, g, *, axis, eps, **_: g * F.normalize(x, p=2, dim=axis, eps=eps),
}
