"""Whitening's contract: from a method's arguments to whitening.py's loops, and from their sums to what the method returns.

What may be called, refused and saved is the reference's own business, as in contract.py: its Norm is run with an operation
whose statistics come from a kernel.  Between the loops there are only D x D matrices, in float64.  With the recovery R, a
matrix (diag(gamma), or a coloring's gamma), and with the sums P = sum dy zc', s = sum dy:

    forward     y  = R W (x - mu) + beta
    backward    dx = W' R' dy + 2/M Sbar (x - mu) - W' R' s/M       Sbar = dL/dS of Q = R' P in the place of g zc'
                dR = P W'                                           for gamma its diagonal

so x is read once for P and once for dx, and zhat is never made.  In evaluation dx = W' R' dy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from refnorm.anatomy.backends import NoKernel
from refnorm.anatomy.method import NORMS, Cache, Method
from refnorm.anatomy.norm import Call, Norm
from refnorm.anatomy.precision import narrow, wide
from refnorm.anatomy.recovery import Affine, Coloring

from . import whitening, whitening_factors, whitening_panels
from .jit import run
from .lie import Lie, lie_of
from .storage import arithmetic, as_stored

FEWEST = 16
"""Coordinates from which panels pay."""

PER_BYTE = 32
"""Entry by entry, products of D coordinates take a core as long as moving D / 32 times their bytes: what jit.run asks for."""


def has_kernels(method: Method) -> bool:
    """Is a method a whitening and a recovery that the kernels here know?"""
    triple = method.triple
    known = isinstance(triple, Norm) and triple.operation.name in whitening_factors.FROM_COVARIANCE
    return known and (isinstance(triple.recovery, Coloring) or triple.recovery == Affine("c"))


@dataclass(frozen=True)
class Work:
    """One call in the kernels' terms."""

    triple: Norm
    call: Call
    lie: Lie
    eps: float
    number: Any                                   # the arithmetic's type

    @property
    def fused(self) -> bool:
        """Does the recovery run along the coordinates?  That of group whitening, along the channels, does not."""
        return self.triple.recovery == Coloring() or self.triple.area == Coloring.area

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(zip(self.triple.recovery.parameters, self.call.parameters, strict=True))

    def colored(self, matrix: np.ndarray, transposed: bool = False) -> np.ndarray:
        """R matrix, or R' matrix, (B, D, D) in float64."""
        gamma = self.parameters["gamma"]
        if gamma is None or not self.fused:
            return matrix
        if isinstance(self.triple.recovery, Coloring):
            return (np.swapaxes(wide(gamma), 1, 2) if transposed else wide(gamma)) @ matrix
        b, d, _ = self.call.part.blocks
        return wide(gamma).reshape(b, d, 1) * matrix

    @property
    def shift(self) -> np.ndarray:
        beta = self.parameters["beta"]
        b, d, _ = self.call.part.blocks
        return np.zeros((b, d)) if beta is None or not self.fused else wide(beta).reshape(b, d)


def work(method: Method, arguments: Mapping[str, Any], x: np.ndarray) -> Work:
    """A call, checked by the reference, and laid out.  Raises NoKernel for what there is no kernel for."""
    triple = method.triple
    call = triple.call(**{**arguments, triple.x: np.broadcast_to(np.zeros((), x.dtype), x.shape)})
    if call.weighted:
        raise NoKernel(f"backend 'numba' has no kernel for {method.name} with masked statistics; backend='numpy' has it")
    return Work(triple, call, lie_of(call.layout.read(x), call.part), call.options["eps"], arithmetic(x.dtype))


def forward(method: Method, arguments: Mapping[str, Any]) -> tuple:
    """y, saved; and the new state where there is a population."""
    triple, x = method.triple, arguments[method.triple.x]
    w = work(method, arguments, x)
    flat = w.lie.read(w.call.layout.read(x))
    saved = statistics(w, flat, arguments)
    y = w.lie.empty(x.dtype if w.fused else np.dtype(w.number))
    apply(w, as_stored(flat), saved, as_stored(y))
    y = w.lie.write(y)
    if not w.fused:
        recover: Any = triple.recovery.forward
        y = narrow(recover(y, *w.call.parameters, layout=w.call.layout), x.dtype)
    y = w.call.layout.write(y)
    return (y, saved, triple._updated(saved, w.call, arguments)) if triple.state is not None else (y, saved)


def statistics(w: Work, x: np.ndarray, arguments: Mapping[str, Any]) -> Any:
    """What the operation saves, of the batch or of the state; every error of the reference is raised here."""
    name = w.triple.operation.name
    factors = whitening_factors.FROM_COVARIANCE[name]

    def of_batch(z: Any, **options: Any) -> tuple:
        mean, covariance = moments(w, x)
        return None, factors(mean[:, :, None], covariance, **options)

    operation = replace(w.triple.operation, forward=of_batch, apply=lambda z, saved: None)
    if operation.condition is not None:
        operation = replace(operation, condition=partial(whitening_factors.condition, operation.condition))
    triple = replace(w.triple, operation=operation)
    with np.errstate(all="ignore"):
        return (triple._operated if operation.condition is None else triple._inverted)(w.call, arguments)[1]


def moments(w: Work, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (B, D) and covariance (B, D, D)."""
    b, d, _ = w.call.part.blocks
    mean, covariance = np.zeros((b, d)), np.zeros((b, d, d))
    if d < FEWEST:
        run(whitening.statistics, d * x.nbytes, as_stored(x), w.lie.numbers, mean, covariance)
    else:
        pivot = w.lie.pivot(x, w.number)
        run(whitening_panels.statistics, d * x.nbytes // PER_BYTE, as_stored(x), w.lie.numbers, pivot, mean, covariance)
    return mean, covariance


def apply(w: Work, x: np.ndarray, saved: Any, y: np.ndarray) -> None:
    """y = R W (x - mean) + beta is written."""
    multiplied(w, x, saved.mean[:, :, 0], w.colored(saved.matrix), w.shift, y)


def multiplied(
    w: Work, x: np.ndarray, mean: np.ndarray, matrix: np.ndarray, shift: np.ndarray, y: np.ndarray,
    dy: np.ndarray | None = None, direct: np.ndarray | None = None,
) -> None:  # fmt: skip
    """y = matrix (x - mean) + shift, and + direct dy."""
    inputs = (x,) if dy is None else (dy, x)
    if not y.size:
        return
    d = w.call.part.blocks[1]
    if d < FEWEST or not _moderate(matrix) or not _moderate(direct):
        plain: Any = whitening.apply if dy is None else whitening.pull_back
        both = (matrix,) if direct is None else (direct, matrix)
        run(plain, d * len(inputs) * y.nbytes, *inputs, w.lie.numbers, mean, *both, shift, y)
        return
    high = mean.astype(w.number)
    shift = shift + (matrix @ (high - mean)[:, :, None])[:, :, 0]
    joined = whitening_panels.panelled(matrix if direct is None else np.concatenate([direct, matrix], axis=2), w.number)
    fast: Any = whitening_panels.apply if dy is None else whitening_panels.pull_back
    kind = whitening_panels.kind_of(matrix if direct is None else direct, direct is not None)
    size = d * len(inputs) * y.nbytes // PER_BYTE
    run(fast, size, *inputs, w.lie.numbers, high, joined, kind, shift.astype(w.number), y)


def _moderate(matrix: np.ndarray | None) -> bool:
    """Can float32 hold this matrix and its products?  NaN is left to the plain loop as well."""
    return matrix is None or not matrix.size or bool(np.max(np.abs(matrix)) < 1e15)


def backward(method: Method, dy: np.ndarray, cache: Cache) -> tuple:
    """One gradient per array, in the arrays' dtypes; None for one that was not given."""
    x = cache.arguments[method.triple.x]
    wider = np.result_type(x, dy) if x.dtype != dy.dtype else x.dtype
    w = work(method, cache.arguments, x.astype(wider, copy=False))
    read = partial(np.ndarray.astype, dtype=wider, copy=False)
    flat_x, cotangent = w.lie.read(w.call.layout.read(read(x))), w.call.layout.read(read(dy))
    given = list(w.call.parameters)
    if not w.fused:
        cotangent, gradients = _recovery_backward(w, as_stored(flat_x), cotangent, cache.saved)
    flat_dy, dx = w.lie.read(cotangent), w.lie.empty(cotangent.dtype)
    if flat_dy.dtype != flat_x.dtype:
        flat_x = flat_x.astype(flat_dy.dtype)
    stored = as_stored(flat_dy), as_stored(flat_x)
    found = fill_backward(w, *stored, cache.saved, cache.arguments.get("training", True), as_stored(dx))
    gradients = found if w.fused else gradients
    parameters = (None if p is None else narrow(np.reshape(g, p.shape), p.dtype) for p, g in zip(given, gradients, strict=True))
    return narrow(w.call.layout.write(w.lie.write(dx)), x.dtype), *parameters


def fill_backward(w: Work, dy: np.ndarray, x: np.ndarray, saved: Any, training: bool, dx: np.ndarray) -> tuple[Any, Any]:
    """dx is written; dgamma and dbeta, where the recovery is fused."""
    b, d, m = w.call.part.blocks
    mean = saved.mean[:, :, 0]
    sums, products = np.zeros((b, d)), np.zeros((b, d, d))
    if dx.size and (training or w.fused):
        if d < FEWEST:
            run(whitening.products, d * x.nbytes, dy, x, w.lie.numbers, mean, sums, products)
        else:
            fast, high = whitening_panels.products, mean.astype(w.number)
            run(fast, d * x.nbytes // PER_BYTE, dy, x, w.lie.numbers, high, mean, sums, products)
    transposed = partial(np.swapaxes, axis1=1, axis2=2)
    direct = transposed(w.colored(saved.matrix))
    if training:
        q = w.colored(products, transposed=True)
        with np.errstate(all="ignore"):
            along = 2 / m * whitening_factors.COVARIANCE_GRADIENT[w.triple.operation.name](q, saved, **w.call.options)
        multiplied(w, x, mean, along, -(direct @ sums[:, :, None])[:, :, 0] / m, dx, dy, direct)
    else:
        multiplied(w, dy, np.zeros((b, d)), direct, np.zeros((b, d)), dx)
    if isinstance(w.triple.recovery, Coloring):
        return products @ transposed(saved.matrix), sums
    return np.sum(products * saved.matrix, axis=2), sums


def _recovery_backward(w: Work, x: np.ndarray, dy: np.ndarray, saved: Any) -> Any:
    """dL/dxhat, and the parameters' gradients, where the recovery does not run along the coordinates."""
    xhat = w.lie.empty(np.dtype(w.number))
    apply(w, x, saved, xhat)
    recovered: Any = w.triple.recovery.backward
    return recovered(dy.astype(w.number), w.lie.write(xhat), *w.call.parameters, layout=w.call.layout)


def methods() -> dict[str, tuple[Callable, Callable]]:
    return {name: (partial(forward, m), partial(backward, m)) for name, m in NORMS.items() if has_kernels(m)}
