"""Rules of products of vectors, matrices and tensors.  y = A B has dL/dA = g B^H and dL/dB = A^H g."""

from __future__ import annotations

import string
from functools import reduce
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .core import composite, primitive
from .recording import defvjp
from .rules_elementwise import conj


def adjoint(a: Any) -> Any:
    """A^H, over the last two axes."""
    return np.swapaxes(conj(a), -1, -2)


def _left(g: Any, y: Any, a: Any, b: Any) -> Any:
    if np.ndim(b) == 1:
        return np.expand_dims(g, -1) * conj(b)
    if np.ndim(a) == 1:
        return (conj(b) @ np.expand_dims(g, -1))[..., 0]
    return g @ adjoint(b)


def _right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if np.ndim(a) == 1:
        return np.expand_dims(conj(a), -1) * np.expand_dims(g, -2) if np.ndim(b) > 1 else g * conj(a)
    if np.ndim(b) == 1:
        return (adjoint(a) @ np.expand_dims(g, -1))[..., 0]
    if np.ndim(b) == 2:                                 # one product of tall matrices, not a batch of small ones and its sum
        a, g = (np.reshape(m, (int(np.prod(np.shape(m)[:-1])), np.shape(m)[-1])) for m in (a, g))
    return adjoint(a) @ g


defvjp(np.matmul, _left, _right)
composite(np.linalg.matmul)(lambda x1, x2, /: np.matmul(x1, x2))
if hasattr(np, "matvec"):                               # since NumPy 2.2
    composite(np.matvec)(lambda a, v: np.matmul(a, np.expand_dims(v, -1))[..., 0])
    composite(np.vecmat)(lambda v, a: np.matmul(np.expand_dims(conj(v), -2), a)[..., 0, :])
composite(np.vecdot)(lambda a, b: np.matmul(np.expand_dims(conj(a), -2), np.expand_dims(b, -1))[..., 0, 0])
composite(np.linalg.vecdot)(lambda x1, x2, /, *, axis=-1: np.vecdot(np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1)))
composite(np.vdot)(lambda a, b: np.matmul(conj(np.ravel(a)), np.ravel(b)))
composite(np.inner)(lambda a, b: np.tensordot(a, b, (-1, -1)) if np.ndim(a) and np.ndim(b) else np.multiply(a, b))
composite(np.outer)(lambda a, b, out=None: np.expand_dims(np.ravel(a), 1) * np.ravel(b))
composite(np.linalg.outer)(lambda x1, x2, /: np.outer(x1, x2))
composite(np.linalg.multi_dot)(lambda arrays, *, out=None: reduce(np.dot, arrays))


@composite(np.dot)
def _dot(a: Any, b: Any, out: Any = None) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    return np.matmul(a, b) if np.ndim(b) <= 2 else np.tensordot(a, b, (-1, -2))


@composite(np.tensordot)
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    left, right = (range(-axes, 0), range(axes)) if isinstance(axes, int) else axes
    left, right = normalize_axis_tuple(left, np.ndim(a)), normalize_axis_tuple(right, np.ndim(b))
    rows = tuple(i for i in range(np.ndim(a)) if i not in left)
    columns = tuple(i for i in range(np.ndim(b)) if i not in right)
    m, k, n = ([np.shape(x)[i] for i in kept] for x, kept in ((a, rows), (a, left), (b, columns)))
    size = [int(np.prod(shape)) for shape in (m, k, n)]
    product = np.reshape(np.transpose(a, rows + left), size[:2]) @ np.reshape(np.transpose(b, right + columns), size[1:])
    return np.reshape(product, m + n)


composite(np.linalg.tensordot)(lambda x1, x2, /, *, axes=2: np.tensordot(x1, x2, axes))


@composite(np.kron)
def _kron(a: Any, b: Any) -> Any:
    rank = max(np.ndim(a), np.ndim(b))
    m, n = ((1,) * (rank - np.ndim(x)) + np.shape(x) for x in (a, b))
    blocks = np.reshape(a, [k for i in m for k in (i, 1)]) * np.reshape(b, [k for i in n for k in (1, i)])
    return np.reshape(blocks, [i * j for i, j in zip(m, n, strict=True)])


@composite(np.cross)
def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    if np.shape(a)[-1] != 3 or np.shape(b)[-1] != 3:
        raise ValueError(f"cross products are of vectors of 3; got {np.shape(a)[-1]} and {np.shape(b)[-1]}")
    nxt, last = [1, 2, 0], [2, 0, 1]
    return np.moveaxis(a[..., nxt] * b[..., last] - a[..., last] * b[..., nxt], -1, axisc)


composite(np.linalg.cross)(lambda x1, x2, /, *, axis=-1: np.cross(x1, x2, axis=axis))


@composite(np.linalg.matrix_power)
def _matrix_power(a: Any, n: int) -> Any:
    """By squaring: a^n = (a^2)^(n // 2) a^(n % 2)."""
    if n < 0:
        return np.linalg.matrix_power(np.linalg.inv(a), -n)
    if n < 2:
        return a if n else np.broadcast_to(np.eye(np.shape(a)[-1], dtype=a.dtype), np.shape(a))
    half = np.linalg.matrix_power(a @ a, n // 2)
    return half @ a if n % 2 else half


# einsum


@primitive
def _contracted(subscripts: str, *operands: Any, optimize: Any = False) -> Any:
    return np.einsum(subscripts, *operands, optimize=optimize)


@composite(np.einsum)
def _einsum(*operands: Any, out: Any = None, optimize: Any = False) -> Any:
    if not isinstance(operands[0], str):
        raise NotImplementedError("numpy.einsum of a traced array needs its subscripts as a string")
    return _contracted(*operands, optimize=optimize)


def _explicit(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """The terms and the output, letter by letter: no ellipsis, no implicit output."""
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    widths = [rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks, strict=True)]
    free = [c for c in string.ascii_letters if c not in subscripts]
    dots = "".join(free[: max(widths)])
    terms = [t.replace("...", dots[len(dots) - w :]) for t, w in zip(terms, widths, strict=True)]
    if not arrow:
        letters = "".join(t.replace("...", "") for t in left.split(","))
        out = ("..." if "..." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return terms, out.replace("...", dots)


def _contraction(i: int, g: Any, y: Any, subscripts: str, *operands: Any, optimize: Any = False) -> Any:
    """y = sum of products, so the cotangent of operand i is the sum of g times the others over the indices it has not.

    An index of it that is nowhere else was summed alone: ones along it.  An index that it has twice was read on the diagonal:
    a Kronecker delta.
    """
    terms, out = _explicit(subscripts, [np.ndim(a) for a in operands])
    mine, others = terms[i - 1], terms[: i - 1] + terms[i:]
    size: dict[str, int] = {}
    for term, a in zip(terms, operands, strict=True):
        for c, n in zip(term, np.shape(a), strict=True):
            size[c] = n if size.get(c, 1) == 1 else size[c]
    arrays = [g, *(conj(a) for j, a in enumerate(operands) if j != i - 1)]
    factors, target = [out, *others], ""
    free = iter(c for c in string.ascii_letters if c not in size)
    for c in mine:
        if c in target:
            twin = next(free)
            factors.append(c + twin)
            arrays.append(np.eye(size[c]))
            target += twin
            continue
        target += c
        if not any(c in factor for factor in factors):
            factors.append(c)
            arrays.append(np.ones(size[c]))
    return np.einsum(",".join(factors) + "->" + target, *arrays, optimize=optimize)


defvjp(_contracted, None, each=_contraction)
