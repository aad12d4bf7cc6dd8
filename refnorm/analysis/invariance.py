"""Scale invariance and its price for the gradient: of any function, in any of its arguments.

Where f(a w) = f(w) for all a > 0, differentiation in a at 1 and in w gives (L. Euler)

    <w, grad f(w)> = 0          grad f(a w) = grad f(w) / a,

for each part of w that may be scaled by itself: the whole matrix, each neuron's row, each group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from refnorm.autodiff import grad


class Scaling(NamedTuple):
    """What a scale does: zeros and -1 for an invariant function."""

    moved: float                                            # |f(a w) - f(w)| over |f(w)|, of the largest entry
    along: float                                            # max over parts of |<w, g>| / (|w| |g|)
    exponent: float                                         # of a in |grad f(a w)|


def moved(after: Any, before: Any) -> float:
    """The largest change, over the largest entry."""
    return float(np.max(np.abs(np.asarray(after) - before)) / np.max(np.abs(before)))


def scaling(
    function: Callable[..., Any], arguments: Sequence[Any], which: int, *, scale: float = 3.0, parts: int = 0, seed: int = 0
) -> Scaling:
    """How function(*arguments), an array, answers to scaling argument number `which`.

    function : made of functions that autodiff traces, refnorm's methods included
    scale : a > 0
    parts : how many leading axes of the argument index what is scaled by itself: 0 the whole, 1 each row

    The gradient is that of <c, function>, c a fixed random cotangent.
    """
    if not scale > 0 or scale == 1:
        raise ValueError(f"scale is {scale!r}; it must be positive and not 1")
    arguments = [np.asarray(a, float) for a in arguments]
    w, before = arguments[which], np.asarray(function(*arguments))
    cotangent = np.random.default_rng(seed).normal(size=before.shape)

    def with_(v: Any) -> list[Any]:
        return [v if i == which else a for i, a in enumerate(arguments)]

    slope = grad(lambda v: np.sum(cotangent * function(*with_(v))))
    g, scaled = slope(w), slope(scale * w)
    rows, gradients = (np.reshape(a, (int(np.prod(w.shape[:parts])), -1)) for a in (w, g))
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(gradients, axis=1)
    along = np.abs(np.sum(rows * gradients, axis=1)) / np.where(lengths == 0, 1, lengths)
    exponent = np.log(np.linalg.norm(scaled) / np.linalg.norm(g)) / np.log(scale)
    return Scaling(moved(function(*with_(scale * w)), before), float(np.max(along)), float(exponent))
