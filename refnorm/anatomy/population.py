"""Population: running statistics as a pure state, updated by a rule that says what momentum weighs.

    new batch weighed ("new"):  running <- (1 - momentum) * running + momentum * batch        PyTorch, tinygrad
    old value weighed ("old"):  running <- momentum * running + (1 - momentum) * batch        Keras, Flax, ONNX, Chainer
    momentum None ("new" only): the mean of all batches so far                                PyTorch

The running variance is kept unbiased, times m / (m - 1) (PyTorch), or biased (Keras, Flax, ONNX).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from refnorm.autodiff import Box

from .precision import narrow, wide


class State(NamedTuple):
    """Running statistics: mean and var of shape (C,), and how many batches they have seen.  Never written to."""

    mean: Any
    var: Any
    count: int = 0  # type: ignore[assignment]


class VarianceState(NamedTuple):
    """Running variance alone, shape (C,), for methods that keep no mean."""

    var: Any
    count: int = 0  # type: ignore[assignment]


class DeviationState(NamedTuple):
    """Running mean and (mean absolute) deviation, shape (C,)."""

    mean: Any
    deviation: Any
    count: int = 0  # type: ignore[assignment]


class CovarianceState(NamedTuple):
    """Running mean, shape (C,), and covariance, one matrix for each group of D channels: shape (C / D, D, D)."""

    mean: Any
    covariance: Any
    count: int = 0  # type: ignore[assignment]


class MatrixState(NamedTuple):
    """Running mean, shape (C,), and whitening matrix, one for each group of D channels: shape (C / D, D, D)."""

    mean: Any
    matrix: Any
    count: int = 0  # type: ignore[assignment]


JOINT = ("covariance", "matrix")
"""Statistics of coordinates treated jointly: a matrix a group; a number stands for that multiple of the identity."""


def fresh(mean: Any = None, var: Any = None, count: int = 0) -> State:
    """A state: given statistics, or mean 0 and variance 1, which broadcast to any number of channels."""
    return State(np.zeros(()) if mean is None else mean, np.ones(()) if var is None else var, count)


def fresh_variance(var: Any = None, count: int = 0) -> VarianceState:
    """A state: a given variance, or 1."""
    return VarianceState(np.ones(()) if var is None else var, count)


def fresh_deviation(mean: Any = None, deviation: Any = None, count: int = 0) -> DeviationState:
    """A state: given statistics, or mean 0 and deviation 1."""
    return DeviationState(np.zeros(()) if mean is None else mean, np.ones(()) if deviation is None else deviation, count)


def fresh_covariance(
    mean: Any = None, covariance: Any = None, matrix: Any = None, count: int = 0
) -> CovarianceState | MatrixState:
    """A state of whitening: given statistics, or mean 0 and the identity; with `matrix` that of a dialect that averages it."""
    mean = np.zeros(()) if mean is None else mean
    if matrix is not None:
        if covariance is not None:
            raise ValueError("covariance and matrix are both given; a state keeps one of them")
        return MatrixState(mean, matrix, count)
    return CovarianceState(mean, np.ones(()) if covariance is None else covariance, count)


def fresh_matrix() -> MatrixState:
    """A state of whitening that averages the matrix: mean 0 and the identity."""
    return MatrixState(np.zeros(()), np.ones(()))


@dataclass(frozen=True)
class Population:
    """How a dialect keeps running statistics."""

    weighs: Literal["new", "old"] = "new"
    variance: Literal["unbiased", "biased"] = "unbiased"
    state: Callable[[], Any] | None = None                    # makes a fresh state, where a dialect keeps other statistics

    def update(self, state: Any, batch: Mapping[str, Any], m: Any, momentum: float | None) -> Any:
        """The state after a batch of m samples a statistic, statistics by their names in the state, in its own dtype."""
        if momentum is None and self.weighs == "old":
            raise ValueError("momentum is None (the mean of all batches); where it weighs the old value, it must be a number")
        new = 1 / (state.count + 1) if momentum is None else momentum if self.weighs == "new" else 1 - momentum
        if self.variance == "unbiased":
            batch = {name: _unbiased(value, m) if name in ("var", *JOINT) else value for name, value in batch.items()}
        moved = {name: _moved(getattr(state, name), value, new) for name, value in batch.items()}
        return state._replace(**moved, count=state.count + 1)


UNBIASED_NEW = Population()


def _unbiased(value: Any, m: Any) -> Any:
    """Times m / (m - 1); m (C,) or a number, one sample count for all channels of a group."""
    factor = m / np.maximum(m - 1, 1)
    return value * (factor if np.ndim(value) < 3 or np.ndim(factor) == 0 else np.reshape(factor, (len(value), -1))[:, :1, None])


def whole(matrix: Any, d: int) -> Any:
    """A statistic of d coordinates: a matrix as it is, a number as that multiple of the identity."""
    return matrix if np.ndim(matrix) else matrix * np.eye(d)


def _moved(old: Any, batch: Any, weight: float) -> Any:
    old = old if isinstance(old, Box) else np.asarray(old)           # traced: after the first of several virtual batches
    old = old if np.ndim(batch) < 3 else whole(old, np.shape(batch)[-1])
    return narrow((1 - weight) * wide(old) + weight * batch, old.dtype)


def along_channels(statistic: Any, shape: tuple[int, ...]) -> Any:
    """A running statistic of shape () or (C,) in float64, in a shape that has C at one place and 1 at the others."""
    return np.broadcast_to(wide(statistic), (math.prod(shape),)).reshape(shape)


def check_state(state: Any, fresh: Any, channels: int, d: int = 1) -> None:
    """Raise ValueError unless a state keeps what a fresh one keeps, in the right shapes."""
    if state is None:
        raise ValueError("state is None; with training=False it must hold running statistics: make one with .state(...)")
    if state._fields != fresh._fields:
        have, right = (", ".join(s._fields) for s in (state, fresh))
        raise ValueError(f"state keeps {have}; here it must keep {right}: make one with .state(...)")
    for name in state._fields:
        shape, full = np.shape(getattr(state, name)), (channels // d, d, d) if name in JOINT else (channels,)
        if shape not in ((), full):
            raise ValueError(f"state.{name} has shape {shape}; x has {channels} channels, so it must have shape {full}")
