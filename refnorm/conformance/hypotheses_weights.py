"""Known wrong forms of what has no rows with a mean: weight norm, whitening, vectors of a given length; as `hypotheses`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from .expected import Expectation
from .hypotheses import Guess
from .whitened import Whitened, is_whitening

FLOORS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def of_method(expectation: Expectation, name: str) -> Iterator[Guess]:
    """Wrong values of one output or gradient, in its shape."""
    if is_whitening(expectation.method) and expectation.case.training and name == "y":
        yield from _whitening(expectation)
    elif expectation.case.norm == "weight_norm":
        yield from _weight_norm(expectation, name)
    elif expectation.case.norm == "weight_standardization":
        yield from _weight_standardization(expectation, name)
    elif name == "y" and "p" in expectation.case.convention.options:
        yield from _lengths(expectation)


def _weight_norm(e: Expectation, name: str) -> Iterator[Guess]:
    v, dw = e.case.x.astype(float), e.case.dy.astype(float)
    dim, g = e.case.arguments.get("dim"), e.case.arguments.get("g")
    mine = tuple(range(v.ndim)) if dim is None else tuple(a for a in range(v.ndim) if a != dim % v.ndim)
    shape = [1 if axis in mine else n for axis, n in enumerate(v.shape)]
    laid = np.ones((1,) * v.ndim) if g is None else g.astype(float).reshape(shape)

    def length(axes: tuple[int, ...], a: np.ndarray = v) -> np.ndarray:
        return np.sqrt(np.square(a).sum(axis=axes, keepdims=True))

    right = length(mine)
    if name == "y":
        for count in range(1, v.ndim + 1):
            for axes in itertools.combinations(range(v.ndim), count):
                if axes != mine:
                    yield f"the norm is over axes {axes}", laid * v / length(axes)
                    yield f"the norm is over axes {tuple(a - v.ndim for a in axes)}", laid * v / length(axes)
        centred = v - v.mean(axis=mine, keepdims=True)
        yield "v is returned: nothing is normalized", v
        yield "it does not divide by the norm", laid * v
        yield "it divides by the squared norm", laid * v / right**2
        yield "it divides by the root mean square, not by the norm", laid * v / np.sqrt(np.square(v).mean(mine, keepdims=True))
        yield "it divides by the sum of |v|", laid * v / np.abs(v).sum(axis=mine, keepdims=True)
        yield "it divides by the largest |v|", laid * v / np.abs(v).max(axis=mine, keepdims=True)
        yield "the mean is subtracted", laid * centred / length(mine, centred)
        yield "g is squared", laid**2 * v / right
        yield "|g| stands in the place of g", np.abs(laid) * v / right
        yield "the length is 1 + g", (1 + laid) * v / right
        yield "the length is exp(g)", np.exp(laid) * v / right
        for eps in (1e-3, 1e-5, 1e-6, 1e-8, 1e-12):
            yield f"{eps:g} is added to the norm", laid * v / (right + eps)
            yield f"{eps:g} is added to the squared norm", laid * v / np.sqrt(right**2 + eps)
            yield f"the norm is at least {eps:g}", laid * v / np.maximum(right, eps)
    elif name == "dv":
        unit = v / right
        along = (dw * unit).sum(axis=mine, keepdims=True)
        yield "the norm is a constant: the term along v is dropped", laid * dw / right
        yield "g is left out", (dw - unit * along) / right
        yield "it does not divide by the norm", laid * (dw - unit * along)
        yield "it divides by the squared norm", laid * (dw - unit * along) / right**2
        yield "the term along v misses the norm", laid * (dw - v * along) / right
        yield "the term along v has the wrong sign", laid * (dw + unit * along) / right
        yield "it is zero", 0 * dw
        yield "dw is returned", dw
    elif name == "dg":
        yield "it sums dw v: the norm is left out", (dw * v).sum(axis=mine)
        yield "it sums dw w: g is in it", (dw * laid * v / right).sum(axis=mine)
        yield "it sums dw", dw.sum(axis=mine)
        yield "it is the mean of its terms, not their sum", (dw * v / right).mean(axis=mine)
        yield "its sign is wrong", -(dw * v / right).sum(axis=mine)
        yield "it is zero", 0 * dw.sum(axis=mine)


def _weight_standardization(e: Expectation, name: str) -> Iterator[Guess]:
    """(w - mean) / (s + eps), s with w.size - 1 as the authors have it, or (w - mean) / sqrt(var + eps)."""
    w, dy, eps = e.case.x.astype(float), e.case.dy.astype(float), float(e.arguments["eps"])
    outside = e.spoken.conventions["spread"] == "outside"
    dim = e.arguments.get("dim", 0)
    mine = tuple(range(w.ndim)) if dim is None else tuple(a for a in range(w.ndim) if a != dim % w.ndim)
    n = w.size // (1 if dim is None else w.shape[dim])

    def deviation(
        axes: tuple[int, ...] = mine, ddof: int = int(outside), eps: float = eps, outside: bool = outside
    ) -> np.ndarray:
        var = w.var(axis=axes, keepdims=True, ddof=ddof)
        return np.sqrt(var) + eps if outside else np.sqrt(var + eps)

    c = w - w.mean(axis=mine, keepdims=True)
    if name == "y":
        yield f"the variance is the {'biased' if outside else 'unbiased'} one", c / deviation(ddof=int(not outside))
        yield "the mean is not subtracted", w / deviation()
        yield "it does not divide by the deviation", c
        yield "eps stands inside the root" if outside else "eps stands outside the root", c / deviation(outside=not outside)
        yield "eps is left out", c / deviation(eps=0.0)
        yield "it divides by the variance, not by its root", c / deviation() ** 2
        yield "it divides by sqrt(n) as well, the fan-in", c / deviation() / np.sqrt(n)
        norm = np.sqrt(np.square(c).sum(axis=mine, keepdims=True) + eps)
        yield "it divides by the norm of the row, not by its deviation", c / norm
        square = np.sqrt(np.square(w).mean(axis=mine, keepdims=True))
        yield "it divides by the root mean square about 0", c / (square + eps if outside else np.sqrt(square**2 + eps))
        for count in range(1, w.ndim + 1):
            for axes in itertools.combinations(range(w.ndim), count):
                if axes != mine:
                    y = (w - w.mean(axis=axes, keepdims=True)) / deviation(axes)
                    yield f"the statistics are over axes {axes}", y
                    yield f"the statistics are over axes {tuple(a - w.ndim for a in axes)}", y
    elif name == "dw":
        s, mean = deviation(), dy.mean(axis=mine, keepdims=True)
        root = np.sqrt(w.var(axis=mine, keepdims=True, ddof=int(outside))) if outside else s
        along = (dy * c).sum(axis=mine, keepdims=True) / ((n - outside) * s**2 * root)
        yield "the deviation is a constant: its term is dropped", (dy - mean) / s
        yield "the gradient drops the mean term", dy / s - c * along
        yield "the statistics are constants: both terms are dropped", dy / s
        yield "the term of the deviation has the wrong sign", (dy - mean) / s + c * along
        yield "the deviation is left out", s * ((dy - mean) / s - c * along)
        yield "it is zero", 0 * dy
        yield "dw is returned", dy


def _lengths(e: Expectation) -> Iterator[Guess]:
    x, p = e.case.x.astype(float), e.case.arguments.get("p", 2)
    y = np.asarray(e.computed[0], float)
    axis = e.case.arguments.get("axis", -1)
    power = (np.abs(x) ** p).sum(axis=axis, keepdims=True)
    yield "x is returned", x
    yield "the root is left out: it divides by the sum of |x|^p", x / power
    yield "it divides by the mean of |x|^p, not by its sum", x / (power / (x.size / power.size)) ** (1 / p)
    yield "signs are lost: |x| is divided", np.abs(y)
    yield "absolute values are left out of the sum", x / np.sum(x**p, axis=axis, keepdims=True) ** (1 / p)
    yield "it divides by the largest |x|", x / np.abs(x).max(axis=axis, keepdims=True)
    for eps in (1e-3, 1e-5, 1e-6):
        yield f"{eps:g} is added to the norm", x / (power ** (1 / p) + eps)
        yield f"the norm is at least {eps:g}", x / np.maximum(power ** (1 / p), eps)


def _whitening(e: Expectation) -> Iterator[Guess]:
    view, kind, eps = Whitened(e), e.method.triple.operation.name, float(e.arguments["eps"])
    z = view.part.split(e.arguments[e.method.triple.x].astype(float))
    m, d = z.shape[2], z.shape[1]
    c = z - z.mean(axis=2, keepdims=True)
    beta = np.zeros(z.shape) + view._laid("beta", 0.0)
    plain = c @ c.transpose(0, 2, 1) / m

    def y(matrix: np.ndarray, a: np.ndarray = c) -> np.ndarray:
        return view.part.merge(view.gamma * (matrix @ a) + beta)

    ridge = eps * np.eye(d)
    root = {"zca": _zca, "pca": _pca, "cholesky": _cholesky, "newton": _zca}
    mine: Callable[[np.ndarray], np.ndarray] = root[kind]
    for words, sigma in {
        "the covariance is over m - 1": plain * m / max(m - 1, 1) + ridge,
        "the covariance is not divided by m": plain * m + ridge,
        "eps is left out of the covariance": plain,
        "the covariance is not centred": z @ z.transpose(0, 2, 1) / m + ridge,
        "only the variances are used: the covariances are left out": plain * np.eye(d) + ridge,
        "eps is added to every entry of the covariance": plain + eps,
        "eps is scaled by the trace of the covariance": plain + ridge * np.trace(plain, axis1=1, axis2=2)[:, None, None] / d,
    }.items():
        try:
            yield words, y(mine(sigma))
        except np.linalg.LinAlgError:
            continue
    sigma = plain + ridge
    yield "the mean is not subtracted from x", y(mine(sigma), z)
    raw = z @ z.transpose(0, 2, 1) / m + ridge
    yield "the mean is not subtracted at all", y(mine(raw), z)
    for other, words in (("zca", "ZCA"), ("pca", "PCA"), ("cholesky", "Cholesky")):
        if other != kind:
            yield f"it whitens by {words}, not as {e.case.norm} does", y(root[other](sigma))
    yield "the whitening matrix is transposed", y(mine(sigma).transpose(0, 2, 1))
    yield "it multiplies by the root of the covariance, not by its inverse", y(np.linalg.inv(mine(sigma)))
    yield "it multiplies by the inverse covariance, not by its root", y(np.linalg.inv(sigma))
    yield "gamma and beta are not applied", view.part.merge(mine(sigma) @ c)
    values, vectors = np.linalg.eigh(plain)
    for floor in FLOORS:
        for words, kept in (
            (f"eigenvalues are clamped from below at {floor:g}", np.maximum(values + eps, floor)),
            (f"eigenvalues are clamped from below at {floor:g}, without eps", np.maximum(values, floor)),
            (f"eps is always {floor:g}, whatever is asked", values + floor),
        ):
            inverse = kept[:, None, :] ** -0.5
            if kind == "zca":
                yield words, y((vectors * inverse) @ vectors.transpose(0, 2, 1))
            elif kind == "pca":
                yield words, y(_signed(inverse.transpose(0, 2, 1) * vectors.transpose(0, 2, 1))[:, ::-1])


def _zca(sigma: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(sigma)
    return (vectors * values[:, None, :] ** -0.5) @ vectors.transpose(0, 2, 1)


def _pca(sigma: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(sigma)
    return _signed((vectors * values[:, None, :] ** -0.5).transpose(0, 2, 1))[:, ::-1]


def _cholesky(sigma: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.linalg.cholesky(sigma))


def _signed(matrix: np.ndarray) -> np.ndarray:
    """Each row's largest entry positive: the convention of PCA here."""
    at = np.abs(matrix).argmax(axis=2)[..., None]
    return matrix * np.sign(np.take_along_axis(matrix, at, axis=2))
