"""Normalization of a convolution in the frequency domain: ConvNorm."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.area import Layout
from refnorm.anatomy.arguments import positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.precision import narrow, wide
from refnorm.operations import conv_precondition


class ConvState(NamedTuple):
    """Running preconditioner (out, *grid, the last axis halved), and how many batches it has seen.  Never written to."""

    preconditioner: Any
    count: int = 0  # type: ignore[assignment]


def fresh(preconditioner: Any = None, count: int = 0) -> ConvState:
    """A state: a given preconditioner, or 0, where the authors start."""
    return ConvState(np.zeros(()) if preconditioner is None else preconditioner, count)


class Geometry(NamedTuple):
    """Where x lies on the grid that the convolution is circular on, and which of its points are the output."""

    n: tuple[int, ...]
    x: tuple[range, ...]
    y: tuple[range, ...]


def geometry(x: Any, w: Any, padding: int, stride: int, circular: bool) -> Geometry:
    size, kernel = Layout.activations(x).lengths("s"), Layout.weights(w).lengths("s")
    if not size:
        raise ValueError(f"x has shape {np.shape(x)}; it must have a spatial axis, (N, in, *spatial)")
    if len(kernel) != len(size) or np.shape(w)[1] != np.shape(x)[1] or any(k > n for k, n in zip(kernel, size, strict=True)):
        right = f"(out, {np.shape(x)[1]}, *kernel), a kernel of rank {len(size)} and at most {size}"
        raise ValueError(f"w has shape {np.shape(w)}; x has shape {np.shape(x)}, so it must be {right}")
    stride = positive_integer("stride", stride)
    if circular:
        if padding:
            raise ValueError(f"padding is {padding!r}; under the circular dialect there is none: it must be 0")
        return Geometry(size, tuple(range(n) for n in size), tuple(range(0, n, stride) for n in size))
    if isinstance(padding, bool) or not isinstance(padding, (int, np.integer)) or not 0 <= padding < min(kernel):
        raise ValueError(f"padding is {padding!r}; w has shape {np.shape(w)}, so it must lie in 0..{min(kernel) - 1}")
    grid = tuple(n + k - 1 for n, k in zip(size, kernel, strict=True))
    kept = tuple(range(k - 1 - padding, n - k + 1 + padding, stride) for n, k in zip(grid, kernel, strict=True))
    return Geometry(grid, tuple(range(k - 1, n) for n, k in zip(grid, kernel, strict=True)), kept)


def ramp(count: int) -> float:
    """The authors' weight of the new batch: a cosine from 1 down to 0 over 40000 batches, at least 0.01."""
    return max((math.cos(math.pi * min(count, 40000) / 40000) + 1) / 2, 0.01)


def conv_backward(
    dy: Any, saved: conv_precondition.Saved, *, x: Any, w: Any, padding: int, stride: int, dialect: Dialect, **_: Any
) -> tuple:
    at = geometry(x, w, padding, stride, dialect.conventions["circular"])
    dx, dw = conv_precondition.backward(conv_precondition.put(dy, at.y, at.n), conv_precondition.put(x, at.x, at.n), w, saved)
    return conv_precondition.take(dx, at.x), dw


@method(
    backward=conv_backward,
    arrays=("x", "w"),
    shapes=lambda x, w=None, **_: {"w": (2, *np.shape(x)[1:2], *(2 for _ in np.shape(x)[2:])) if w is None else np.shape(w)},
    acts_on="layer",
    state=fresh,
    stops=("preconditioner",),
    formula="y_o = F^-1(q_o F(w_o * x)), q_o = (sum_i |F w_oi|^2)^(-1/2)",
    cite=Citation(
        "S. Liu, X. Li, Y. Zhai, C. You, Z. Zhu, C. Fernandez-Granda, Q. Qu",
        "Convolutional Normalization: Improving Deep Convolutional Network Robustness and Training",
        "NeurIPS",
        2021,
        "2103.00673",
    ),
    facts=invariances("forward forward no no forward no no no"),
    dialects={
        "circular": Dialect({"eps": 0.0}, conventions={"circular": True}, spoken_by="the paper"),
        "original": Dialect({"eps": 0.0}, conventions={"circular": False}, spoken_by="the authors' code: padded, then cropped"),
    },
    examples=(
        {"shape": (2, 2, 5)},
        {"shape": (2, 1, 3, 4), "momentum": 0.3},
        {"shape": (2, 3, 5), "stride": 2, "dialect": "original", "padding": 1},
    ),
)
def conv_norm(
    x: Any,
    w: Any,
    *,
    state: ConvState | None = None,
    training: bool = True,
    momentum: float | None = None,
    eps: float = FROM_DIALECT,
    padding: int = 0,
    stride: int = 1,
    dialect: str = "circular",
    backend: str = "numpy",
) -> Any:
    """Convolutional normalization (ConvNorm): each output channel of a convolution made an isometry, frequency by frequency.

        y_o = F^-1( F(sum_i w_oi * x_i) / sqrt(sum_i |F w_oi|^2 + eps) )

    circular: on x's own grid; at stride 1 and eps 0 every channel preserves the norm of what it does not remove, Q_o Q_o' = I.
    original: zeros around x, circular on the larger grid, cropped to the output; the crop is no isometry.
    In evaluation (training=False) the preconditioner is the state's, which ties the layer to the grid that it was trained on.

    Parameters
    ----------
    x : (N, in, *spatial); float64, float32, float16 or bfloat16
    w : (out, in, *kernel)
    state : running preconditioner from `conv_norm.state(preconditioner=)`; None starts a fresh one (0)
    momentum : weighs the new batch, in 0..1; None: the authors' ramp, a cosine from 1 to 0.01 over 40000 batches
    eps : added to the squared response; at 0 a frequency that no input channel of w responds to gives NaN
    padding : zeros on either side, under the dialect original alone
    stride : keeps every so many points of the output

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dw).
    The gradient takes the preconditioner as a constant.

    Raises
    ------
    ValueError, TypeError naming the argument.

    S. Liu et al., arXiv 2103.00673, section 3; the gradient is derived in operations/conv_precondition.py.  The learned kernel
    and the batch norm that the authors put behind it are layers of their own.
    """
    at = geometry(x, w, padding, stride, spoken(dialect).conventions["circular"])
    running = fresh() if state is None else state
    held = (np.shape(w)[0], *at.n[:-1], at.n[-1] // 2 + 1)
    if np.shape(running.preconditioner) not in ((), held):
        have = np.shape(running.preconditioner)
        raise ValueError(f"state.preconditioner has shape {have}; on a grid of {at.n} points it must have shape {held}")
    if not training and state is None:
        raise ValueError("state is None; with training=False it must hold a preconditioner: make one with .state(...)")
    q = None if training else wide(running.preconditioner)
    y, saved = conv_precondition.forward(conv_precondition.put(x, at.x, at.n), w, eps=eps, preconditioner=q)
    if training:
        new = ramp(running.count + 1) if momentum is None else momentum
        old = np.asarray(running.preconditioner)
        moved = narrow(new * saved.preconditioner + (1 - new) * wide(old), old.dtype)
        running = ConvState(moved, running.count + 1)
    return conv_precondition.take(y, at.y), saved, running
