"""One table: for every function that has a rule, the calls that the rule is tried on.

example(fun, arrays, call=None, **options): `arrays` names the arguments that are traced, "3x4" by its shape, "." for a number,
after a letter for what is in it.  All entries are far apart and far from 0 and 1, so that no step crosses a kink.

    (none)  of either sign      +  positive     >  greater than 1     u  between -0.9 and 0.9
    c       complex             s  symmetric positive definite        t  lower triangular, positive diagonal
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from refnorm.autodiff import matrix
from refnorm.autodiff.box import getitem, power
from refnorm.autodiff.rules_indexing import scatter

EXAMPLES = []


@dataclass(frozen=True)
class Example:
    fun: Any
    arrays: str
    call: Any
    options: Any

    def draw(self):
        rng = np.random.default_rng(0)
        return [array(word, rng) for word in self.arrays.split()]

    def __call__(self, *xs):
        return (self.call or self.fun)(*xs, **self.options)

    def __str__(self):
        words = [f"{k}={v}" for k, v in self.options.items()]
        return f"{self.fun.__name__}({', '.join([*self.arrays.split(), *words])})"


def array(word, rng):
    letters, shape = word.rstrip("x.0123456789"), word.lstrip("c+>ust")
    shape = () if shape == "." else tuple(int(n) for n in shape.split("x"))
    if letters[:1] == "c":
        return np.asarray(array(word[1:], rng) + 0.3j * array(word[1:], rng))
    size = int(np.prod(shape))
    low, high = {"": (0.4, 2.1), "+": (0.5, 2.5), ">": (1.3, 3.5), "u": (0.2, 0.85), "s": (0.4, 2.1), "t": (0.4, 2.1)}[letters]
    x = rng.permutation(np.geomspace(low, high, size)).reshape(shape)           # geometric: no two sums of them are equal,
    x = x * rng.uniform(0.97, 1.03)                                             # nor entries of two arrays
    if letters in ("", "u", "s", "t"):
        x = x * rng.choice([-1.0, 1.0], shape)
    if letters == "s":
        x = x @ np.swapaxes(x, -1, -2) / max(shape[-1], 1) + 0.5 * np.eye(shape[-1])
    if letters == "t":
        x = np.tril(x, -1) + (1.0 + np.abs(x)) * np.eye(shape[-1])
    return np.asarray(x)


def example(fun, *arrays, call=None, **options):
    for words in arrays:
        EXAMPLES.append(Example(fun, words, call, options))


# elementwise

PAIRS = "3x4 3x4", "3x4 4", "4 2x1x4", "3x1 1x4", ". 3", "3 .", ". .", "0x3 3", "2x0 1x1"
for fun in (np.add, np.subtract, np.multiply, np.divide):
    example(fun, *PAIRS, "c3x4 4", "3 c2x3", "c3 c.")
for fun in (np.remainder, np.fmod, np.maximum, np.minimum, np.fmax, np.fmin, np.hypot, np.arctan2, np.logaddexp, np.logaddexp2):
    example(fun, "3x4 +4", "+3x1 1x4", ". +.", "0x3 +3", "3 2x1")
for fun in (np.power, np.float_power, power):
    example(fun, "+3x4 4", "+. 3", "+3 .", "c3 c2x1", "0 0")
    example(fun, "3x4", "c3", call=lambda x, fun=fun: fun(x, 3))
    example(fun, "3", call=lambda x, fun=fun: fun(2.0, x))
    example(fun, "+3", call=lambda x, fun=fun: fun(x, np.array([0.0, 1.0, 2.0])))
for fun in (np.positive, np.negative, np.reciprocal, np.square, np.exp, np.exp2, np.expm1, np.sin, np.cos, np.sinh, np.cosh,
            np.tanh):
    example(fun, "3x4", ".", "0x2", "c3")
for fun in (np.cbrt, np.degrees, np.rad2deg, np.radians, np.deg2rad, np.fabs, np.arctan, np.arcsinh):
    example(fun, "3x4", ".", "0")
for fun in (np.log, np.log2, np.log10, np.log1p, np.sqrt):
    example(fun, "+3x4", "+.", "0", "c3")
for fun in (np.arcsin, np.arccos, np.arctanh, np.tan):
    example(fun, "u3x4", "u.", "cu3", "0")
example(np.arctan, "cu3")
example(np.arcsinh, "cu3")
example(np.arccosh, ">3x4", ">.", "c>3")
example(np.absolute, "3x4", ".", "0", "c3x4")
example(np.sign, "3", "c3x4")
example(np.copysign, "3x4 4")
example(np.heaviside, "3 3")
example(np.heaviside, "3", call=lambda h: np.heaviside(np.array([-1.0, 0.0, 1.0]), h))
example(np.where, "3x4 4", ". 4", "c4 3x1", "4 c.", call=lambda a, b: np.where(np.arange(4) % 3 > 0, a, b))
example(np.where, "3x4 3x4 3x4", call=lambda c, a, b: np.where(c > 0, a, b))
example(np.where, "3x4 4", call=lambda c, a: np.where(c, a, 0.5))
example(np.clip, "3x4", a_min=-0.9, a_max=1.1)
example(np.clip, "3x4 4", call=lambda x, low: np.clip(x, low - 2, None))
example(np.clip, "3x4", min=-0.9)
example(np.conjugate, "3", "c3x4")
for fun in (np.real, np.imag):
    example(fun, "c3x4", "c.", "3")
example(np.angle, "c3x4", "3")
example(np.angle, "c3", deg=True)
example(np.modf, "3x4")
example(np.frexp, "3x4")
example(np.frexp, "3", call=lambda x: np.frexp(x)[0])
example(np.ldexp, "3x4", call=lambda x: np.ldexp(x, np.array([1, -2, 0, 3])))
example(np.divmod, "3x4 +4")
example(np.divmod, "3 +3", call=lambda a, b: np.divmod(a, b)[1])
example(np.nan_to_num, "3", call=lambda x: np.nan_to_num(x + np.array([0.0, np.nan, 0.0])))

# reductions

for fun in (np.sum, np.mean, np.prod):
    example(fun, "3x4", ".", "c2x3")
    for axis in (0, -1, (0, 2), (-1, 0), ()):
        example(fun, "2x3x4", axis=axis)
        example(fun, "2x3x4", axis=axis, keepdims=True)
example(np.sum, "0x3", "3x0", axis=0)
example(np.sum, "3x4", call=lambda x: np.sum(x, axis=0, where=np.arange(4) % 2 > 0))
example(np.sum, "3", dtype=np.float64)
example(np.mean, "3x0", axis=0)
example(np.mean, "3x4", call=lambda x: np.mean(x, axis=1, where=np.arange(4) % 2 > 0))
example(np.prod, "3x0", "0x3", axis=0)
example(np.prod, "4", call=lambda x: np.prod(x - np.array([0, 0, 1, 0]) * np.sum(x * np.array([0, 0, 1, 0]))))    # with a zero
for fun in (np.var, np.std):
    example(fun, "3x4", "c2x3")
    example(fun, "3x0", axis=0)
    for axis in (0, -1, (0, 2)):
        example(fun, "2x3x4", axis=axis, keepdims=True)
        example(fun, "2x3x4", axis=axis, ddof=1)
example(np.var, "3x4", axis=0, correction=1)
for fun in (np.max, np.min, np.amax, np.amin, np.ptp):
    example(fun, "3x4", ".")
    example(fun, "2x3x4", axis=(0, -1))
    example(fun, "2x3x4", axis=1, keepdims=True)
    example(fun, "3x0x2", axis=0)
example(np.average, "3x4")
example(np.average, "3x4", axis=0, returned=True)
example(np.average, "2x3 +2x3", call=lambda a, w: np.average(a, axis=0, weights=w))
example(np.average, "2x3x4 +3", call=lambda a, w: np.average(a, axis=1, weights=w, returned=True, keepdims=True))
for fun in (np.cumsum, np.cumprod, np.nancumsum, np.nancumprod):
    example(fun, "3x4", "c3")
    example(fun, "2x3x4", "2x0x3", axis=1)
example(np.cumprod, "5", call=lambda x: np.cumprod(x * np.array([1, 1, 0, 1, 1])))
for fun in (np.cumulative_sum, np.cumulative_prod):
    example(fun, "4")
    example(fun, "3x4", axis=-1, include_initial=True)
for fun in (np.nansum, np.nanprod, np.nanmean):
    example(fun, "3x4", call=lambda x, fun=fun: fun(np.where(np.eye(3, 4) > 0, np.nan, x), axis=0, keepdims=True))
example(np.sort, "3x4")
example(np.sort, "3x4", axis=0)
example(np.sort, "3x4", axis=None)
for shape in ("5", "4", "3x4"):
    example(np.median, shape)
example(np.median, "2x3x4", axis=(0, 2), keepdims=True)
example(np.diff, "3x4", "c5")
example(np.diff, "3x4", n=2, axis=0)
example(np.trapezoid, "5", "3x4")
example(np.trapezoid, "3x4 4", "3x4 3x4")

# shapes

example(np.reshape, "3x4", call=lambda x: np.reshape(x, (2, -1)))
example(np.reshape, "3x4", "0x2", call=lambda x: np.reshape(x, x.size, order="F"))
example(np.ravel, "3x4", ".")
example(np.ravel, "3x4", order="F")
example(np.squeeze, "1x3x1", "1")
example(np.squeeze, "1x3x1", axis=0)
example(np.expand_dims, "3x4", axis=(0, -1))
example(np.transpose, "2x3x4", ".")
example(np.transpose, "2x3x4", axes=(1, -1, 0))
example(np.swapaxes, "2x3x4", axis1=0, axis2=-1)
example(np.moveaxis, "2x3x4", source=0, destination=-1)
example(np.moveaxis, "2x3x4", source=(0, 1), destination=(-1, 0))
example(np.rollaxis, "2x3x4", axis=2)
example(np.rollaxis, "2x3x4", axis=0, start=3)
example(np.rollaxis, "2x3x4", axis=-1, start=-2)
for fun in (np.matrix_transpose, np.linalg.matrix_transpose):
    example(fun, "2x3x4")
example(np.broadcast_to, "3x1", ".", "1x4", shape=(2, 3, 4))
example(np.broadcast_to, "1", shape=(0,))
example(np.copy, "3x4", ".", "c3")
example(np.astype, "3x4", call=lambda x: np.astype(x, np.complex128))
example(np.astype, "c3", call=lambda x: np.astype(np.real(x), np.float64))
example(np.flip, "2x3")
example(np.flip, "2x3", axis=-1)
for fun in (np.fliplr, np.flipud, np.rot90):
    example(fun, "2x3")
example(np.rot90, "2x3x4", k=3, axes=(1, 2))
example(np.roll, "2x3", shift=2)
example(np.roll, "2x3", shift=(1, -1), axis=(0, 1))
for fun in (np.tril, np.triu):
    example(fun, "3x4")
    example(fun, "2x3x3", k=-1)
for fun in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    example(fun, ".", "3", "2x3", "2x1x3", "3 .")
example(np.full_like, "2x3 3", call=lambda x, v: np.full_like(x, v))
example(np.tile, "2x3", reps=2)
example(np.tile, "3", ".", reps=(2, 1, 2))
example(np.repeat, "2x3", repeats=2)
example(np.repeat, "2x3", repeats=[1, 0, 3], axis=1)
example(np.broadcast_arrays, "3x1 4")
example(np.meshgrid, "3 4 2", "3")
example(np.meshgrid, "3 4", indexing="ij", sparse=True)
example(np.pad, "2x3", pad_width=1)
example(np.pad, "2x3", pad_width=((0, 2), (1, 0)), constant_values=3.0)
for mode in ("edge", "reflect", "symmetric", "wrap"):
    example(np.pad, "4x3", pad_width=((2, 1), (0, 2)), mode=mode)
example(sliding_window_view, "5", window_shape=2)
example(sliding_window_view, "2x4x5", window_shape=(3, 2), axis=(1, -1))
example(sliding_window_view, "3x3", window_shape=(2, 2))
example(np.concatenate, "2x3 2x1", "2x0 2x3", "2x3 c2x1", call=lambda *a: np.concatenate(a, axis=1))
example(np.concatenate, "2x3 4", call=lambda *a: np.concatenate(a, axis=None))
example(np.concatenate, "2x3 2x3", call=lambda a, b: np.concatenate([a, np.ones((1, 3)), b], axis=-2, dtype=np.float64))
example(np.stack, "2x3 2x3", call=lambda *a: np.stack(a, axis=-1))
for fun in (np.hstack, np.vstack, np.dstack):
    example(fun, "3 3", "2x3 2x3", ". .", call=lambda *a, fun=fun: fun(a))
example(np.column_stack, "3 3x2", call=lambda *a: np.column_stack(a))
example(np.append, "3 2x2")
example(np.append, "3x1 3x2", axis=1)
example(np.block, "2x2 2x1 3", call=lambda a, b, c: np.block([[a, b], [c]]))
example(np.block, ". 3", call=lambda a, b: np.block([a, b]))
example(np.split, "6x2", indices_or_sections=3)
example(np.split, "2x6", indices_or_sections=[1, 4], axis=-1)
example(np.array_split, "5x2", indices_or_sections=2)
example(np.hsplit, "4", "2x4", indices_or_sections=2)
example(np.vsplit, "4x2", indices_or_sections=2)
example(np.dsplit, "2x1x4", indices_or_sections=[1])
example(np.unstack, "3x2")
example(np.unstack, "3x2", axis=-1)

# indexing

example(getitem, "3x4", call=lambda x: x[1:, ::-2])
example(getitem, "3x4", call=lambda x: x[..., None, -1])
example(getitem, "3x4", call=lambda x: x[[0, 2, 0]])
example(getitem, "3x4", call=lambda x: x[x > 0])
example(getitem, "3x4", call=lambda x: x[np.array([[0, 1], [1, 1]]), 1:3])
example(getitem, "3x0", call=lambda x: x[1])
example(scatter, "2x3", call=lambda g: scatter(g, (4, 3), slice(1, 3)))
example(scatter, "4", call=lambda g: scatter(g, (3,), np.array([0, 1, 0, 2])))
example(np.take, "3x4", indices=[1, 5, 1])
example(np.take, "3x4", indices=[[1, 2], [2, 2]], axis=-1)
example(np.take_along_axis, "3x4", "c3x4", call=lambda x: np.take_along_axis(x, np.array([[0, 1], [3, 3], [2, 0]]), axis=1))
example(np.take_along_axis, "6", call=lambda x: np.take_along_axis(x, np.array([1, 1, 4]), axis=None))
example(np.take_along_axis, "6", call=lambda x: np.take_along_axis(x, np.array([1, 1, 4]), axis=0))
example(np.compress, "3x4", call=lambda x: np.compress([True, False, True], x, axis=0))
example(np.extract, "3x4", call=lambda x: np.extract(x > 0, x))
example(np.delete, "3x4", obj=1, axis=1)
example(np.delete, "3x4", obj=[0, 5])
example(np.select, "3 3", call=lambda a, b: np.select([a > 0, b > 0], [a, b], default=0.5))
for fun in (np.diagonal, np.trace, np.linalg.diagonal, np.linalg.trace):
    example(fun, "3x3", "2x3x4")
    example(fun, "4x3", offset=-1)
    example(fun, "4x3", offset=1)
example(np.diagonal, "2x3x4", axis1=-1, axis2=0)
for k in (0, 1, -2):
    example(np.diag, "3", "3x4", k=k)
    example(np.diagflat, "2x2", k=k)

# products

for fun in (np.matmul, np.linalg.matmul):
    example(fun, "3x4 4x2", "2x3x4 4x2", "3x4 2x4x2", "2x1x3x4 3x4x2", "c3x4 c4x2", "3x4 c4x2", "3x0 0x2", "0x3 3x2")
example(np.matmul, "4 4", "4 4x2", "3x4 4", "4 2x4x3", "2x3x4 4", "c4 c2x4x3", "c2x3x4 c4", "c4 c4")
if hasattr(np, "matvec"):
    example(np.matvec, "3x4 4", "2x3x4 2x4", "c3x4 c4")
    example(np.vecmat, "3 3x4", "2x3 3x4", "c3 c3x4")
example(np.vecdot, "4 4", "3x4 4", "c4 c3x4")
example(np.linalg.vecdot, "3x4 3x4", "c3x4 c3x4", axis=0)
example(np.vdot, "2x3 2x3", "c3 c3")
example(np.inner, "4 4", "2x4 3x4", ". 3", "c3 c2x3")
example(np.outer, "3 4", "2x2 3", "c2 c3")
example(np.linalg.outer, "3 4")
example(np.dot, "4 4", "2x3 3x4", "3 .", "2x3x4 4", "2x3x4 5x4x2", "c2x3 c3x4")
example(np.linalg.multi_dot, "2x3 3x4 4x2", "3 3x2 2", call=lambda *a: np.linalg.multi_dot(a))
example(np.tensordot, "2x3x4 3x4x2", "c2x3x4 c3x4x2")
example(np.linalg.tensordot, "2x3x4 4x3x5", axes=([1, 2], [1, 0]))
example(np.tensordot, "2x3 4x3", axes=(1, -1))
example(np.tensordot, "2 3", axes=0)
example(np.kron, "2x3 3x2", "2 3x2", ". 3", "c2 c3")
example(np.cross, "3 3", "2x3 3", "c3 c3")
example(np.cross, "3x2 2x3", axisa=0, axisc=0)
example(np.linalg.cross, "3x2 3x2", axis=0)
for n in (0, 1, 2, 5, -2):
    example(np.linalg.matrix_power, "s3x3", "s2x2x2", n=n)
for subscripts, arrays in {
    "ij,jk->ik": "2x3 3x4", "ij,jk": "c2x3 c3x4", "nij,nkj->nik": "2x3x4 2x3x4", "...ij,...j->...i": "2x3x4 4", "ii->i": "3x3",
    "ii": "3x3", "ij->": "3x4", "ij->j": "c3x4", "iij->j": "3x3x2", "i,i,i->": "3 3 3", "ij,ij->i": "2x3 1x3",
    "...,...": "2x3 3", ",i->i": ". 3", "ij->ji": "0x3", "i,j->ij": "2 3", "bij,b...->bi...": "2x3x4 2x3", "ji,i": "2x3 3",
}.items():  # fmt: skip
    example(np.einsum, arrays, call=lambda *a, subscripts=subscripts: np.einsum(subscripts, *a))
example(np.einsum, "2x3 3x4 4x2", call=lambda *a: np.einsum("ij,jk,kl->il", *a, optimize=True))

# linear algebra

for fun in (np.linalg.inv, np.linalg.det, np.linalg.slogdet):
    example(fun, "s3x3", "s2x2x2", "cs2x2", "1x1")
example(np.linalg.slogdet, "c3x3", call=lambda a: np.linalg.slogdet(a)[0])
example(np.linalg.slogdet, "3x3", call=lambda a: np.linalg.slogdet(a).logabsdet)
example(np.linalg.solve, "s3x3 3", "s3x3 3x2", "s2x3x3 3", "s2x3x3 3x1", "s3x3 2x3x2", "cs3x3 c3", "cs3x3 3x2")
example(np.linalg.cholesky, "s3x3", "s2x2x2", "1x0x0")
example(np.linalg.cholesky, "s3x3", upper=True)
for fun in (np.linalg.eigh, np.linalg.eigvalsh):
    for corner in "LU":
        example(fun, "3x3", "2x3x3", "1x1", UPLO=corner)
example(np.linalg.eigh, "3x3", call=lambda a: np.linalg.eigh(a)[1])
example(np.linalg.eigh, "3x3", call=lambda a: np.linalg.eigh(a)[0])
example(np.linalg.norm, "3x4", "4", "c3x4")
example(np.linalg.norm, "3x4", axis=0, keepdims=True)
for order in (2, 1, 3.0, np.inf, -np.inf):
    example(np.linalg.norm, "3x4", "c3x4", ord=order, axis=1)
for order in ("fro", 1, -1, np.inf, -np.inf):
    example(np.linalg.norm, "3x4", ord=order)
    example(np.linalg.norm, "2x3x4", ord=order, axis=(2, 0), keepdims=True)
example(np.linalg.vector_norm, "3x4")
example(np.linalg.vector_norm, "3x4", axis=-1, ord=1)
example(np.linalg.matrix_norm, "2x3x4")
example(np.linalg.matrix_norm, "2x3x4", ord=1, keepdims=True)
for fun in (matrix.sym_sqrt, matrix.sym_inv_sqrt):
    example(fun, "s3x3", "s2x2x2", "s1x1")
    example(fun, ".", call=lambda e, fun=fun: fun(np.exp(e) * np.eye(3)))
example(matrix.lyapunov, "s3x3 3x3", "s2x2x2 2x2", "s2x2 2x2x2")
for lower in (True, False):
    for trans in (True, False):
        example(matrix.solve_triangular, "t3x3 3x2", "t2x3x3 3x1", "t3x3 2x3x2", call=lambda m, b, lower=lower, trans=trans: (
            matrix.solve_triangular(m if lower else m.mT, b, lower, trans)))
for fun in (matrix.cholesky, matrix.logdet, matrix.eigh):
    example(fun, "s3x3", "s2x2x2")

# Fourier transforms

for norm in (None, "backward", "ortho", "forward"):
    for fun in (np.fft.fft, np.fft.ifft):
        example(fun, "4", "c5", "c3x4", norm=norm)
    for fun in (np.fft.rfft, np.fft.ihfft):
        example(fun, "4", "5", "3x4", norm=norm)
    for fun in (np.fft.irfft, np.fft.hfft):
        example(fun, "c4", "c3x4", "4", norm=norm)
for n in (3, 4, 7):
    for fun in (np.fft.fft, np.fft.ifft, np.fft.irfft, np.fft.hfft):
        example(fun, "c4x2", n=n, axis=0)
    for fun in (np.fft.rfft, np.fft.ihfft):
        example(fun, "4x2", n=n, axis=0)
for fun in (np.fft.fftn, np.fft.ifftn, np.fft.fft2, np.fft.ifft2, np.fft.irfftn, np.fft.irfft2):
    example(fun, "c3x4", "c2x3x4")
    example(fun, "c3x4", s=(2, 5), axes=(0, 1), norm="ortho")
    example(fun, "c2x3x4", axes=(2, 0), norm="forward")
for fun in (np.fft.rfftn, np.fft.rfft2):
    example(fun, "3x4", "2x3x5")
    example(fun, "3x4", s=(2, 5), axes=(0, 1), norm="ortho")
    example(fun, "2x3x4", axes=(2, 0), norm="forward")
for fun in (np.fft.fftshift, np.fft.ifftshift):
    example(fun, "5", "c3x4")
    example(fun, "3x4", axes=-1)
