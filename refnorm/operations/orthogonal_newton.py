"""Orthogonalize centred rows by Newton's iteration (ONI): the inverse square root of their Gram matrix, by products alone.

    zc = z - mean(z)      K = zc zc' + eps I      n = ||K||_F      S = K / n      V = zc / sqrt(n)
    B_0 = I               B_t+1 = 3/2 B_t - 1/2 B_t^3 S            zhat = B_T V

(L. Huang et al., arXiv 2004.00887.)  B_t is a polynomial of S, so each step takes a singular value s of B_t V to
p(s) = s (3 - s^2) / 2, which rises on 0..1 to its fixed point 1.  The norm puts every s of V into 0..1, so the singular values
of zhat rise to 1 with T, and never pass it; those that are 0 (more rows than M - 1) stay 0.

The gradient.  Let G = dL/dB_t+1.  d(B^3 S) = dB B B S + B dB B S + B B dB S + B B B dS, and so, for t = T - 1 .. 0,

    dL/dS   <- dL/dS - (B^3)' G / 2
    dL/dB_t  = 3/2 G - (G (B B S)' + B' G (B S)' + (B B)' G S') / 2            from dL/dB_T = g V',  dL/dV = B_T' g

and back through S = K / n and V = zc / sqrt(n), with dn = <K, dK> / n:

    dL/dn  = -<dL/dS, K> / n^2 - <dL/dV, zc> / (2 n^(3/2))
    dL/dK  = (dL/dS) / n + (dL/dn) K / n
    dL/dzc = (dL/dV) / sqrt(n) + (dL/dK + (dL/dK)') zc,        dL/dz = dL/dzc - mean(dL/dzc).

Exactly: <dz, 1> = 0, and zhat is centred.  In exact arithmetic it is Bjorck's iteration on V (bjorck.py), and that is the one
that bears many steps.  Here a rounding of B, in the eigenvectors of S with eigenvalues l, grows in each step by

    3/2 - l_j (b_i^2 + b_i b_j + b_j^2) / 2,        b <- (3/2 - b^2 l / 2) b, from 1 to 1 / sqrt(l);  by 3/2 a step where l is 0

so at last by (q + sqrt(q)) / 2 - 1 with q = l_j / l_i, over 1 wherever the condition number of S is over 2.44: `growth` is the
product.  The T of the paper, 3 to 7, ends before it is felt.

Shapes: z, zhat, g (B, D, M); mean (B, D, 1); n (B, 1, 1); K, S, B (B, D, D).
"""

from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff.matrix import T as transposed
from refnorm.autodiff.matrix import symmetric

from .standardize import average, moments, stacked, total


class Saved(NamedTuple):
    """float64: mean (B, D, 1); K and the last iterate B_T, (B, D, D); n (B, 1, 1)."""

    mean: Any
    gram: Any
    norm: Any
    iterate: Any


def forward(z: Any, *, T: int, eps: float) -> tuple[Any, Saved]:
    mean, _ = moments(z)
    gram = (z - mean) @ transposed(z - mean) + eps * np.eye(np.shape(z)[1])
    norm = np.sqrt(np.sum(np.square(gram), axis=(1, 2), keepdims=True))
    saved = Saved(mean, gram, norm, iterates(gram / norm, T)[-1])
    return apply(z, saved), saved


def iterates(s: Any, T: int) -> list[Any]:
    """B_0 .. B_T."""
    b = [np.broadcast_to(np.eye(np.shape(s)[-1]), np.shape(s))]
    for _ in range(T):
        b.append(1.5 * b[-1] - 0.5 * (b[-1] @ b[-1] @ b[-1]) @ s)
    return b


def apply(z: Any, saved: Saved) -> Any:
    return saved.iterate @ ((z - saved.mean) / np.sqrt(saved.norm))


def backward(g: Any, z: Any, saved: Saved, *, T: int, eps: float) -> Any:
    n, zc = saved.norm, z - saved.mean
    s, v = saved.gram / n, zc / np.sqrt(n)
    ds, db, dv = 0.0, g @ transposed(v), transposed(saved.iterate) @ g
    for b in reversed(iterates(s, T)[:-1]):
        ds = ds - 0.5 * transposed(b @ b @ b) @ db
        cube = db @ transposed(b @ b @ s) + transposed(b) @ db @ transposed(b @ s) + transposed(b @ b) @ db @ transposed(s)
        db = 1.5 * db - 0.5 * cube
    dn = -inner(ds, saved.gram) / n**2 - inner(dv, zc) / (2 * n**1.5)
    dgram = ds / n + dn * saved.gram / n
    dzc = dv / np.sqrt(n) + 2 * symmetric(dgram) @ zc
    return dzc - average(dzc)


def inner(a: Any, b: Any) -> Any:
    """<a, b> of each block, (B, 1, 1)."""
    return np.sum(a * b, axis=(1, 2), keepdims=True)


def apply_backward(g: Any, saved: Saved) -> Any:
    return transposed(saved.iterate) @ g / np.sqrt(saved.norm)


def growth(saved: Saved, *, T: int, eps: float) -> Any:
    """What a rounding of an early B grows by until B_T, shape (B,): the product over the steps of the factors above."""
    s = np.linalg.eigvalsh(saved.gram / saved.norm)
    b, grown = np.ones_like(s), np.ones(np.shape(saved.gram))
    for _ in range(T):
        bi, bj, sj = b[:, :, None], b[:, None, :], s[:, None, :]
        grown = grown * np.maximum(1, np.abs(1.5 - 0.5 * sj * (bi**2 + bi * bj + bj**2)))
        b = 1.5 * b - 0.5 * b**3 * s
    return np.max(grown, axis=(1, 2))


def residuals(zhat: Any, saved: Saved, *, T: int, eps: float) -> Any:
    """Zero, exactly: mean(zhat); shape (B, D)."""
    return stacked(average(zhat))


def identities(dz: Any, g: Any, zhat: Any, saved: Saved, *, T: int, eps: float) -> Any:
    """Zero, exactly: <dz, 1>; shape (B, D)."""
    return stacked(total(dz))
