"""The loop oracle: every method once more, as naive loops over indices, in arbitrary precision.

Nothing here shares code with the reference: no Area, no vectorized formula, no derived gradient.  Loops run on scalars of any
number type; `exact` runs them on mpmath's, and `exact_gradients` differentiates the loops themselves, by central differences
so fine, at so many digits, that no rounding is left.  Slow by design: for small shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import activations, batch, conditional, mixture, sample, weights, whitening

LOOPS: dict[str, Callable[..., Any]] = {
    **activations.LOOPS,
    **batch.LOOPS,
    **conditional.LOOPS,
    **mixture.LOOPS,
    **sample.LOOPS,
    **weights.LOOPS,
    **whitening.LOOPS,
}
"""Method name -> loops(**arguments) -> y, or (y, *state arrays); arrays are object arrays of scalars."""

RULES: dict[str, Callable[..., Any]] = {**batch.RULES}
"""Method name -> loops(dy=, **arguments) -> (*gradients, *state arrays), where the backward is on purpose not the gradient."""

DIGITS = 50


def exact(
    name: str, arguments: Mapping[str, Any], loops: Mapping[str, Callable[..., Any]] = LOOPS, digits: int = DIGITS
) -> tuple[np.ndarray, ...]:
    """(y, *state arrays) as object arrays of mpmath numbers, from arguments as `Method.resolve` gives them."""
    import mpmath

    with mpmath.workdps(digits):
        answer = loops[name](**{key: _number(value) for key, value in arguments.items()})
    return answer if isinstance(answer, tuple) else (answer,)


def exact_gradients(
    name: str, arguments: Mapping[str, Any], dy: np.ndarray, arrays: tuple[str, ...], digits: int = DIGITS
) -> dict[str, np.ndarray]:
    """d<dy, y>/da for each named array, as object arrays of mpmath numbers.

    Central differences with h = 10^(-digits / 3): truncation h^2 and rounding 10^-digits / h are both below 1e-30 at 50 digits.
    """
    import mpmath

    gradients = {}
    with mpmath.workdps(digits):
        h = mpmath.mpf(10) ** (-(digits // 3))
        weights = _number(np.asarray(dy, np.float64))
        given = {key: _number(value) for key, value in arguments.items()}
        for array in arrays:
            if given[array] is None:
                continue
            gradients[array] = np.empty(given[array].shape, object)
            for index in np.ndindex(given[array].shape):
                total = []
                for sign in (1, -1):
                    moved = given[array].copy()
                    moved[index] += sign * h
                    answer = LOOPS[name](**{**given, array: moved})
                    y = answer[0] if isinstance(answer, tuple) else answer
                    total.append(sum((a * b for a, b in zip(weights.flat, y.flat, strict=True)), mpmath.mpf(0)))
                gradients[array][index] = (total[0] - total[1]) / (2 * h)
    return gradients


def to_float64(values: np.ndarray) -> np.ndarray:
    """Object array of numbers, each rounded once."""
    return np.array([float(v) for v in values.flat]).reshape(values.shape)


def _number(value: Any) -> Any:
    """Floating-point arrays and numbers as mpmath's; everything else as it is."""
    import mpmath

    if isinstance(value, np.ndarray) and value.dtype.kind not in "biuO":
        out = np.empty(value.shape, object)
        for index in np.ndindex(value.shape):
            out[index] = mpmath.mpf(float(value[index]))
        return out
    if isinstance(value, (float, np.floating)):
        return mpmath.mpf(float(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_number(v) for v in value))
    return value
