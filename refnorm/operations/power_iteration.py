"""Divide a matrix by its largest singular value, as a power iteration that is carried from step to step sees it.

    n times:  u = W v / max(||W v||, eps)      v = W' u / max(||W' u||, eps)      or v before u, as PyTorch's older hook
    sigma = u' W v      what = W / sigma

(T. Miyato et al., arXiv 1802.05957, section 2.1 and algorithm 1.)  u and v are kept, so one iteration a step is enough while W
moves slowly.  They are constants of the gradient (`stop`): at the singular vectors sigma does not answer to them to first
order, and d sigma = u' dW v is its derivative.

    dL/dW = (g - <g, what> u v') / sigma,      <dL/dW, W> = <g, what> (1 - u' W v / sigma) = 0, exactly, converged or not.

u v' has rank 1: the gradient is g less what would only stretch the top direction (section 2.3 of the paper).

Shapes: W, what, g (D, M); u (D,); v (M,).
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import stop


class Saved(NamedTuple):
    """float64: u (D,), v (M,), and sigma."""

    u: Any
    v: Any
    sigma: Any


def forward(w: Any, u: Any, v: Any, *, n: int, eps: float, first: str) -> tuple[Any, Saved]:
    u, v = iterated(stop(w), u, v, n=n, eps=eps, first=first)
    saved = Saved(u, v, np.sum(u * (w @ v)))
    return w / saved.sigma, saved


def iterated(w: Any, u: Any, v: Any, *, n: int, eps: float, first: str) -> tuple[Any, Any]:
    """u and v after n power iterations."""
    for _ in range(n):
        if first == "u":
            u = unit(w @ v, eps)
            v = unit(w.T @ u, eps)
        else:
            v = unit(w.T @ u, eps)
            u = unit(w @ v, eps)
    return u, v


def unit(a: Any, eps: float) -> Any:
    return a / max(float(np.sqrt(np.sum(np.square(a)))), eps)


def backward(g: Any, w: Any, saved: Saved) -> Any:
    what = w / saved.sigma
    return (g - np.sum(g * what) * saved.u[:, None] * saved.v) / saved.sigma
