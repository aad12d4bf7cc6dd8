"""Divide a kernel by the largest singular value of its circular convolution, as a linear map.

On a grid of n_1 x n_2 .. points the convolution is diagonal in frequency, a matrix at each,

    F(f) = sum over k of w[:, :, k] e_f(k),      e_f(k) = exp(-2 pi i sum_a f_a k_a / n_a)

and its singular values are those of all F(f) together (H. Sedghi, V. Gupta, P. M. Long, arXiv 1805.10408, theorem 6): the exact
operator norm, which the norm of the reshaped kernel is not, is sigma = max over f of |F(f)|_2.

The gradient.  At the top frequency let u' F v = sigma, u and v of length 1 (u' conjugate).  By the rule for a maximum, u, v and
f do not answer to first order, and dF = sum dw e_f, so

    d sigma = Re(u' dF v) = <T, dw>,      T[o, i, k] = Re(conj(u_o) v_i e_f(k))          and of y = w / sigma
    dL/dw = (g - <g, y> T) / sigma,       <dL/dw, w> = 0.

w is real, so -f has the same singular values, its vectors conjugate, and the same T: that tie is none.  At any other, sigma has
a kink, and this is the gradient on one side of it; `gap` says how far away the next singular value is, in units of sigma.

The second derivative needs v to first order in w, and the forward carries it: with H = F' F at f, H v0 = sigma^2 v0,

    v = v0 + R (H(w) - sigma^2) v0 = v0 + R H(w) v0,      R = (sigma^2 - H)^+      v0 and R constants, R v0 = 0,

is v0 in value and has the derivative of v; and sigma = |F v| / |v|, stationary in v, is then right to third order in w.

Shapes: w (O, I, *k); u (O,), v (I,) complex; e (*k); H, R (I, I).
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import stop


class Saved(NamedTuple):
    """sigma; the top vectors u (O,) and v (I,) and the phases e (*k), complex; gap, the relative distance to the next sigma."""

    sigma: Any
    u: Any
    v: Any
    phases: Any
    gap: float


def forward(w: Any, spatial: tuple[int, ...]) -> tuple[Any, Saved]:
    frequency, v0, r, gap = top(stop(w), spatial)
    e = phases(frequency, spatial, np.shape(w)[2:])
    f = at_frequency(w, e)
    v = v0 + r @ (np.conj(np.transpose(f)) @ (f @ v0))
    v = v / norm(v)
    fv = f @ v
    sigma = norm(fv)
    return w / sigma, Saved(sigma, fv / sigma, v, e, gap)


def backward(g: Any, w: Any, saved: Saved) -> Any:
    return (g - np.sum(g * w) / saved.sigma * slope(saved)) / saved.sigma


def slope(saved: Saved) -> Any:
    """T = d sigma / dw."""
    uv = np.conj(saved.u)[:, None] * saved.v
    return np.real(np.reshape(uv, (*np.shape(uv), *(1 for _ in saved.phases.shape))) * saved.phases)


def norm(a: Any) -> Any:
    return np.sqrt(np.sum(np.square(np.real(a)) + np.square(np.imag(a))))


def phases(frequency: tuple[int, ...], spatial: tuple[int, ...], kernel: tuple[int, ...]) -> np.ndarray:
    """e_f(k) for every k of the kernel."""
    turns = np.zeros(kernel)
    for axis, (f, n, k) in enumerate(zip(frequency, spatial, kernel, strict=True)):
        turns = turns + np.reshape(f * np.arange(k) % n / n, [-1 if a == axis else 1 for a in range(len(kernel))])
    return np.exp(-2j * np.pi * turns)


def at_frequency(w: Any, e: Any) -> Any:
    """F(f), (O, I)."""
    return np.sum(w * e, axis=tuple(range(2, np.ndim(w)))) if np.ndim(w) > 2 else w * e


def singular_values(w: Any, spatial: tuple[int, ...]) -> np.ndarray:
    """Of the circular convolution on the grid, min(O, I) a frequency: shape (*spatial, min(O, I)), descending in each."""
    return np.linalg.svd(transfer(w, spatial), compute_uv=False)


def transfer(w: Any, spatial: tuple[int, ...]) -> np.ndarray:
    """F(f) of every frequency, (*spatial, O, I)."""
    axes = tuple(range(2, np.ndim(w)))
    f = np.fft.fftn(w, spatial, axes) if axes else np.asarray(w, complex)
    return np.moveaxis(f, (0, 1), (-2, -1))


def top(w: np.ndarray, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], np.ndarray, np.ndarray, float]:
    """The frequency of the largest singular value, its right vector, R, and the relative gap."""
    f = transfer(w, spatial)
    values = np.linalg.svd(f, compute_uv=False)
    frequency = tuple(int(i) for i in np.unravel_index(np.argmax(values[..., 0]), spatial))
    squared, vectors = np.linalg.eigh(np.conj(f[frequency].T) @ f[frequency])
    apart = squared[-1] - squared[:-1]
    tied = apart <= len(squared) * np.finfo(np.float64).eps * squared[-1]
    others = vectors[:, :-1] * np.where(tied, 0, 1 / np.where(tied, 1, apart))
    sigma = values[frequency][0]
    mirror = tuple(-i % n for i, n in zip(frequency, spatial, strict=True))
    values[frequency][0] = values[mirror][0] = 0
    return frequency, vectors[:, -1], others @ np.conj(vectors[:, :-1].T), float((sigma - np.max(values)) / sigma)
