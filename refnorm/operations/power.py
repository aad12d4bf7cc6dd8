"""Divide by a running root mean square, with a backward of its own (power norm).

Forward, with the running mean square p of the batches before this one, a constant in this batch (S. Shen et al., arXiv
2003.07845):

    q = mean(z^2)        zhat = z / sqrt(p + eps)        p <- a p + (1 - a) q

The gradient of that is g / sqrt(p + eps): it ignores that p follows z, as batch norm's gradient does not.  The authors put in
its place an estimate of what the batch's own statistics would say, by a running moment here too,

    h = g - (1 - b) nu zhat        dz = h / sqrt(p + eps)        nu <- nu + mean(h zhat)

so the backward is deliberately not the gradient, and it updates a state.  With N = (1 - b) nu this is the paper's form, as
recalled: h = g - N zhat, N <- N (1 - (1 - b) mean(zhat^2)) + (1 - b) mean(g zhat).  At the recursion's fixed point
mean(h zhat) = 0, so N = mean(g zhat) / mean(zhat^2), and where mean(zhat^2) = 1, h is the gradient g - zhat mean(g zhat) of
`rms` with the batch's own statistics.  The authors' code divides h by the *current* sqrt(q + eps).

Shapes: z, zhat, g (B, D, M); statistics (B, D, 1); weight (B, 1, M), sums to 1 along M, or None: it weighs q alone.
"""

from typing import Any, NamedTuple

import numpy as np

from .standardize import average


class Saved(NamedTuple):
    """float64, shape (B, D, 1): q, and 1 / sqrt(p + eps) of the p that the forward used."""

    square: Any
    rate: Any


def forward(z: Any, running: Any, *, eps: float, weight: Any = None) -> tuple[Any, Saved]:
    """running: p, (B, D, 1), or None for the batch's own q (warm-up)."""
    square = average(np.square(z), weight)
    saved = Saved(square, 1 / np.sqrt((square if running is None else running) + eps))
    return apply(z, saved), saved


def apply(z: Any, saved: Saved) -> Any:
    return z * saved.rate


def backward(g: Any, z: Any, saved: Saved, nu: Any, *, eps: float, keep: float, current: bool) -> tuple[Any, Any]:
    """dz by the published rule, and the new nu; keep is b, current the authors' code's divisor."""
    zhat = apply(z, saved)
    h = g - (1 - keep) * nu * zhat
    return h * (1 / np.sqrt(saved.square + eps) if current else saved.rate), nu + average(h * zhat)


def moved(running: Any, square: Any, *, keep: float, seen: int, warmup: int, cumulative: bool) -> Any:
    """p after a batch with `seen` before it; the authors' code also takes the plain mean of all while it warms up."""
    if cumulative and seen + 1 < warmup:
        running = running + (square - running) / (seen + 1)
    return keep * running + (1 - keep) * square
