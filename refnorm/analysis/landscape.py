"""The landscape of the loss around the path of training, and what batch norm does to it.

S. Santurkar, D. Tsipras, A. Ilyas, A. Madry, How Does Batch Normalization Help Optimization?, arXiv 1805.11604.

One unit, one batch: y (m,), yhat = (y - mu) / sigma, z = gamma yhat + beta, L a function of z with gradient g and Hessian H
there, v = dL/dy = (gamma / sigma) P g, P = I - 11'/m - yhat yhat'/m.  P is a projector and g'P g is what is left of ||g||^2:

    theorem 4.1   ||v||^2 = (gamma^2 / sigma^2) (||g||^2 - <1, g>^2 / m - <g, yhat>^2 / m)
    theorem 4.2   v' (d2L/dy2) v = (gamma^2 / sigma^2) v' H v - gamma / (m sigma^2) <g, yhat> ||v||^2
    theorem 4.4   max over ||X|| <= lambda of ||X' v||^2 = lambda^2 ||v||^2, hence by 4.1 from the gradient's parts

The paper states 4.1 and 4.4 as inequalities; with g taken at z they are equalities.  For 4.2: d(P g / sigma) along v has four
terms; as v is orthogonal to 1 and to yhat, sigma does not move (d sigma = <yhat, v> / m = 0), d yhat = v / sigma, and
d(P g) = P H dz - (yhat <g, dyhat> + dyhat <g, yhat>) / m, of which v sees gamma^2/sigma^2 v'Hv and the last term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from refnorm.nets import Evaluation

Evaluate = Callable[[Mapping[str, Any]], Evaluation]


class Unit(NamedTuple):
    """One batch of one unit, and the loss after it: everything that the theorems are made of."""

    yhat: np.ndarray
    sigma: float
    gamma: float
    g: np.ndarray  # dL/dz
    Hv: np.ndarray  # d2L/dz2 applied to v


def squared_gradient(u: Unit) -> float:
    """Theorem 4.1: ||dL/dy||^2."""
    m = len(u.g)
    return float((u.gamma / u.sigma) ** 2 * (u.g @ u.g - np.sum(u.g) ** 2 / m - (u.g @ u.yhat) ** 2 / m))


def curvature(u: Unit, v: np.ndarray) -> float:
    """Theorem 4.2: v' (d2L/dy2) v, for v = dL/dy."""
    m = len(v)
    return float((u.gamma / u.sigma) ** 2 * (v @ u.Hv) - u.gamma / (m * u.sigma**2) * (u.g @ u.yhat) * (v @ v))


def worst_weight_gradient(u: Unit, length: float) -> float:
    """Theorem 4.4: the largest ||dL/dW||^2 = ||X' v||^2 over inputs X with ||X||_2 <= length."""
    g_j, m = length**2 * float(u.g @ u.g), len(u.g)
    return float((u.gamma / u.sigma) ** 2 * (g_j - length**2 * m * np.mean(u.g) ** 2 - length**2 / m * (u.g @ u.yhat) ** 2))


class Landscape(NamedTuple):
    """Along one gradient: how far the loss ranges, how far the gradient moves, and the effective beta."""

    loss_range: float  # max - min of L(w - a g) over a
    gradient_change: float  # max ||g(w - a g) - g||
    beta: float  # max ||g(w - a g) - g|| / (a ||g||)


def landscape(
    evaluate: Evaluate, parameters: Mapping[str, Any], gradients: Mapping[str, Any], steps: Sequence[float]
) -> Landscape:
    """The Landscape at `parameters` along their gradient, at the given step sizes a > 0, all on the batch of `evaluate`."""
    length = norm(gradients.values())
    losses, changes = [], []
    for a in steps:
        there = evaluate({n: p - a * gradients[n] for n, p in parameters.items()})
        losses.append(there.loss)
        changes.append(norm(there.gradients[n] - g for n, g in gradients.items()))
    slopes = [c / (a * length) for c, a in zip(changes, steps, strict=True)]
    return Landscape(max(losses) - min(losses), max(changes), max(slopes))


class Shift(NamedTuple):
    """How the gradient of one layer moves when the layers before it take their step: distance relative to it, and cosine."""

    relative: float
    cosine: float


def internal_covariate_shift(
    evaluate: Evaluate, parameters: Mapping[str, Any], updated: Mapping[str, Any], layers: Sequence[Sequence[str]]
) -> list[Shift]:
    """Definition 2.1, for each layer but the first: its gradient before and after the layers before it are updated, same batch.

    layers : the names of the parameters of each layer, in order
    """
    before = evaluate(parameters).gradients
    shifts = []
    for i in range(1, len(layers)):
        early = {n: updated[n] for names in layers[:i] for n in names}
        after = evaluate({**parameters, **early}).gradients
        old, new = (np.concatenate([np.ravel(g[n]) for n in layers[i]]) for g in (before, after))
        lengths = np.linalg.norm(old), np.linalg.norm(new)
        shifts.append(Shift(float(np.linalg.norm(new - old) / lengths[0]), float(old @ new / np.prod(lengths))))
    return shifts


def norm(arrays: Iterable[Any]) -> float:
    """The Euclidean norm of several arrays together."""
    return float(np.sqrt(sum(float(np.sum(np.square(a))) for a in arrays)))
