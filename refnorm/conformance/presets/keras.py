"""Keras 3 layers on the JAX or the torch backend, gradients through the backend.

The backend is the one that is configured (KERAS_BACKEND, ~/.keras/keras.json) if it is one of the two, else the first that
is installed.  Layers are called as their users call them: channels last, 16-bit types under a mixed policy, with parameters
and moving statistics in float32.  float64 is judged where it is asked for (--dtype float64).

Found in Keras 3.15.1, each confirmed by hand; what is not named passes, in float32 and in bfloat16:

    layer                         input that shows it                          comes out         right
    on the JAX backend
    UnitNormalization             x = [0, 0], dy = [1, 2]: dx                  NaN               finite: dy / eps
    on the torch backend
    BatchNormalization            x = [4096, 4097, 4098, 4097]                 +-31.6, var 0     +-1.413, var 0.5
                                  five times 1000.1                            NaN               0
    GroupNormalization            x = [4096, 4097, 4098, 4097]                 +-31.6            +-1.413

The first: the root of the squares' sum has no derivative at 0.  The others: ops.moments is E[x^2] - E[x]^2 there, and not
clipped at 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..candidate import Candidate, Unusable
from ..cases import Case

BACKENDS = ("jax", "torch")
if "keras" not in sys.modules and os.environ.get("KERAS_BACKEND") not in BACKENDS:
    if (found := next(filter(find_spec, BACKENDS), None)) is not None:  # without one, keras itself says what is missing
        os.environ["KERAS_BACKEND"] = found

import keras  # noqa: E402  (the backend is read when it is imported)

DTYPES = ("float32", {"x": "bfloat16", "params": "float32", "out": "bfloat16"})


def _called(layer: Any, x: Any, *parameters: Any, state: tuple[Any, ...] = (), **options: Any) -> tuple[Any, list[Any]]:
    """y and the state of a layer whose variables are given, in the order of their creation."""
    layer.build(x.shape)
    return layer.stateless_call([p for p in parameters if p is not None], list(state), x, **options)


def _policy(x: Any) -> str:
    name = keras.backend.standardize_dtype(x.dtype)
    return f"mixed_{name}" if name in ("float16", "bfloat16") else name


def batch_norm(
    x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum=0.99, eps=1e-3, training=True, channels=-1
) -> tuple[Any, ...]:  # fmt: skip
    """keras.layers.BatchNormalization."""
    layer = keras.layers.BatchNormalization(
        channels, momentum=momentum, epsilon=eps, scale=gamma is not None, center=beta is not None, dtype=_policy(x)
    )
    y, state = _called(layer, x, gamma, beta, state=(running_mean, running_var), training=training)
    return y, *state


def batch_norm_first(
    x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum=0.99, eps=1e-3, training=True
) -> tuple[Any, ...]:  # fmt: skip
    """keras.layers.BatchNormalization(axis=1)."""
    given = (x, gamma, beta, running_mean, running_var)
    return batch_norm(*given, momentum=momentum, eps=eps, training=training, channels=1)


def layer_norm(x, gamma=None, beta=None, *, eps=1e-3, normalized_ndim: int = 1) -> Any:
    """keras.layers.LayerNormalization."""
    axes = list(range(-normalized_ndim, 0))
    layer = keras.layers.LayerNormalization(
        axis=axes, epsilon=eps, scale=gamma is not None, center=beta is not None, dtype=_policy(x)
    )
    return _called(layer, x, gamma, beta)[0]


def rms_norm(x, gamma, *, eps=1e-6, normalized_ndim: int = 1) -> Any:
    """keras.layers.RMSNormalization."""
    layer = keras.layers.RMSNormalization(axis=list(range(-normalized_ndim, 0)), epsilon=eps, dtype=_policy(x))
    return _called(layer, x, gamma)[0]


def group_norm(x, gamma=None, beta=None, *, num_groups: int, eps=1e-3, channels=-1) -> Any:
    """keras.layers.GroupNormalization."""
    layer = keras.layers.GroupNormalization(
        num_groups, channels, epsilon=eps, scale=gamma is not None, center=beta is not None, dtype=_policy(x)
    )
    return _called(layer, x, gamma, beta)[0]


def group_norm_first(x, gamma=None, beta=None, *, num_groups: int, eps=1e-3) -> Any:
    """keras.layers.GroupNormalization(axis=1)."""
    return group_norm(x, gamma, beta, num_groups=num_groups, eps=eps, channels=1)


def instance_norm(x, gamma=None, beta=None, *, eps=1e-3) -> Any:
    """keras.layers.GroupNormalization(groups=-1)."""
    return group_norm(x, gamma, beta, num_groups=-1, eps=eps)


def lp_norm(x, *, p: int = 2, axis: int = -1) -> Any:
    """keras.layers.UnitNormalization."""
    return keras.layers.UnitNormalization(axis=axis, dtype=_policy(x))(x)


def spectral_norm(w, u, v, *, n_power_iterations=1, training=True, dim=-1) -> tuple[Any, ...]:
    """keras.layers.SpectralNormalization around a Dense layer that is given the identity; v is made from u, and is not kept."""
    moved = keras.ops.moveaxis(w, dim, -1)
    layer = keras.layers.SpectralNormalization(keras.layers.Dense(moved.shape[-1], use_bias=False), n_power_iterations)
    identity = keras.ops.eye(moved.shape[0], dtype=keras.backend.standardize_dtype(w.dtype))
    y, state = _called(layer, identity, moved, state=(u[None],), training=training)
    return keras.ops.moveaxis(y, -1, dim), state[0][0], None


def _tracked(case: Case) -> Any:
    return case.arguments["running_mean"] is not None or "the layer always has its moving statistics"


def _scaled(case: Case) -> Any:
    return case.arguments["gamma"] is not None or "the layer always has its scale"


def _unit(case: Case) -> Any:
    return case.arguments["p"] == 2 or "the layer is of Euclidean length"


def _matrix(case: Case) -> Any:
    trains = case.training and case.arguments["n_power_iterations"] > 0
    if not np.any(case.x):
        return "weights of zeros are left as they are, and u"
    return (trains and case.x.ndim == 2) or "a Dense layer, in training"


def candidates() -> Iterator[tuple[str, str, Candidate]]:
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise Unusable(f"keras runs on {backend}; its gradients are judged on {' or '.join(BACKENDS)}: set KERAS_BACKEND")
    narrow, wide, always = DTYPES, DTYPES[:1], lambda case: True
    for norm, dialect, function, layer, dtypes, supports in (
        ("batch_norm", "keras", batch_norm, "BatchNormalization", narrow, _tracked),
        ("batch_norm", "keras", batch_norm_first, "BatchNormalization(axis=1)", wide, _tracked),
        ("layer_norm", "keras", layer_norm, "LayerNormalization", narrow, always),
        ("rms_norm", "flax", rms_norm, "RMSNormalization", narrow, _scaled),
        ("group_norm", "keras", group_norm, "GroupNormalization", narrow, always),
        ("group_norm", "keras", group_norm_first, "GroupNormalization(axis=1)", wide, always),
        ("instance_norm", "keras", instance_norm, "GroupNormalization(groups=-1)", narrow, always),
        ("lp_norm", "torch", lp_norm, "UnitNormalization", wide, _unit),
        ("spectral_norm", "hook", spectral_norm, "SpectralNormalization", wide, _matrix),
    ):
        fields: dict[str, Any] = {"dtypes": dtypes, "name": f"keras {keras.__version__} {layer} on {backend}"}
        if norm in ("batch_norm", "group_norm", "instance_norm"):
            fields["channel_axis"] = 1 if "axis=1" in layer else -1
        if supports is not always:
            fields["supports"] = supports
        yield norm, dialect, (Candidate.from_torch if backend == "torch" else Candidate.from_jax)(function, **fields)
