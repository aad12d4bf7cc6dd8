"""Convolve, and normalize each frequency of each output channel by the kernel's own response there.

On a grid of n_1 x n_2 .. points, X, A, Y the transforms of x, of the kernels a (padded to the grid) and of y, all circular:

    p_o(f) = sum_i |A_oi(f)|^2      q_o = 1 / sqrt(p_o + eps)      Y_no = q_o sum_i conj(A_oi) X_ni

(S. Liu et al., arXiv 2103.00673.)  conj, since layers correlate: y[s] = sum_k a[k] x[s + k].  Channel o by itself
is y_o = Q_o x with Q_o Q_o' = I at eps = 0: its response q_o conj(A_o) has length 1 at every frequency.  The channels together
have |Q|_2 <= sqrt(O), O their number.  Where every A_oi(f) is 0 there is nothing to normalize: eps = 0 gives NaN there.

The gradient.  q is a constant of it (`stop`): the authors' rule.  Y is linear in X and in A, so with G the transform of dy

    dL/dx <- sum_o A_oi q_o G_no        dL/da <- sum_n conj(q_o G_no) X_ni, its first entries,

each transformed back.  The output does not answer to the scale of a_o, but this gradient does not know:
<dL/da_o, a_o> = <dy_o, y_o>, since y is linear in a where q is held.  Weight norm's gradient is tangent; this one is not.

A convolution with zeros around it is a circular one on a larger grid, and then a part of its output: `put` places x among
zeros, `take` takes the part, and each is the adjoint of the other.

Shapes: x (N, I, *n); a (O, I, *k); y, dy (N, O, *n); q (O, *n, the last axis halved as rfft has it).
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import stop


class Saved(NamedTuple):
    """float64: q (O, *n halved)."""

    preconditioner: Any


def forward(x: Any, a: Any, *, eps: float, preconditioner: Any = None) -> tuple[Any, Saved]:
    """`preconditioner`: one to use in the place of the kernel's own."""
    n = np.shape(x)[2:]
    q = response(stop(a), n, eps) if preconditioner is None else preconditioner
    y = np.einsum("oi...,ni...->no...", np.conj(transform(a, n)), transform(x, n))
    return back(q * y, n), Saved(q)


def response(a: np.ndarray, n: tuple[int, ...], eps: float) -> np.ndarray:
    """q of kernels on a grid."""
    return 1 / np.sqrt(np.sum(np.square(np.abs(transform(a, n))), axis=1) + eps)


def backward(dy: Any, x: Any, a: Any, saved: Saved) -> tuple[Any, Any]:
    """dL/dx, dL/da."""
    n = np.shape(x)[2:]
    g = saved.preconditioner * transform(dy, n)
    dx = back(np.einsum("oi...,no...->ni...", transform(a, n), g), n)
    da = back(np.einsum("no...,ni...->oi...", np.conj(g), transform(x, n)), n)
    return dx, take(da, tuple(range(k) for k in np.shape(a)[2:]))


def take(a: Any, kept: tuple[range, ...]) -> Any:
    """The points `kept` along each axis of the grid."""
    return a[(slice(None), slice(None), *(slice(r.start, r.stop, r.step) for r in kept))]


def put(a: Any, kept: tuple[range, ...], n: tuple[int, ...]) -> Any:
    """A grid of n points with a at the points `kept`, and zeros elsewhere."""
    for axis, (points, size) in enumerate(zip(kept, n, strict=True), start=2):
        a = np.moveaxis(np.tensordot(a, np.eye(size)[list(points)], (axis, 0)), -1, axis)
    return a


def transform(a: Any, n: tuple[int, ...]) -> Any:
    return np.fft.rfftn(a, n, tuple(range(2, np.ndim(a))))


def back(a: Any, n: tuple[int, ...]) -> Any:
    return np.fft.irfftn(a, n, tuple(range(2, np.ndim(a))))
