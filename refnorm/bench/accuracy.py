"""Accuracy beside speed: what a kernel loses when the mean is large against the deviation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS, Method

RATIOS = (1.0, 1e3, 1e6)
UNIT = 2.0**-24                                   # of float32; an ulp at 1 is twice that
CLAIMED = {"y": 5.0, "dx": 5.0, "dgamma": 2.0, "dbeta": 2.0}
"""y in ulp of max(|y|, 1); dx in ulp of max(|dx|, root mean square of its row); others in u times their terms' magnitudes."""


def inputs(method: Method, shape: tuple[int, ...], options: Mapping[str, Any], ratio: float) -> tuple[dict[str, Any], Any]:
    """Arguments in float32 whose rows have this |mean|/std, each its own mean's sign and size; and dy."""
    rng = np.random.default_rng(int(ratio) + sum(shape))
    x = rng.normal(size=shape)
    blocks = method.triple.blocks(**method.resolve(x, **options)[0])
    means = ratio * rng.choice([-1.0, 1.0], size=blocks.max() + 1) * rng.uniform(0.7, 1, size=blocks.max() + 1)
    x = (x + means[blocks]).astype(np.float32)
    shapes = method.shapes(**method.resolve(x, **options)[0])
    parameters = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    return {"x": x, **parameters, **options}, rng.normal(size=shape).astype(np.float32)


def measure(
    name: str, shape: tuple[int, ...], options: Mapping[str, Any], ratio: float,
    backend: str = "numpy", forward: Callable | None = None,
) -> dict[str, float]:  # fmt: skip
    """The largest errors of a backend, or of y alone of a function (x, gamma, beta), against the reference on float64."""
    method = NORMS[name]
    arguments, dy = inputs(method, shape, options, ratio)
    exact = {k: v.astype(np.float64) if k in method.arrays else v for k, v in arguments.items()}
    right, right_cache, *_ = method.forward(**exact, **_eps(method, arguments))
    if forward is not None:
        return {"y": ulp(forward(*(arguments[k] for k in method.arrays)), right, 1.0)}
    y, cache, *_ = method.forward(**arguments, backend=backend)
    gradients = dict(zip(method.arrays, method.backward(dy, cache, backend=backend), strict=True))
    wanted = dict(zip(method.arrays, method.backward(dy.astype(np.float64), right_cache), strict=True))
    blocks = method.triple.blocks(**method.resolve(**arguments)[0])
    count = np.bincount(blocks.ravel())
    typical = np.sqrt(np.bincount(blocks.ravel(), np.square(wanted["x"]).ravel()) / count)[blocks]
    found = {"y": ulp(y, right, 1.0), "dx": ulp(gradients["x"], wanted["x"], typical)}
    for parameter, magnitude in _magnitudes(method, dy, right_cache).items():
        error = np.abs(gradients[parameter].astype(np.float64) - wanted[parameter])
        found["d" + parameter] = float(np.max(error / (UNIT * magnitude)))
    return found


def ulp(found: Any, right: Any, least: Any) -> float:
    """The largest error in ulp of max(|right|, least)."""
    unit = np.spacing(np.maximum(np.abs(right), least).astype(np.float32))
    return float(np.max(np.abs(found.astype(np.float64) - right) / unit))


def _eps(method: Method, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The eps that float32 is given by default; that of float64 can be another one."""
    return {"eps": method.resolve(**arguments)[0]["eps"]}


def _magnitudes(method: Method, dy: Any, cache: Any) -> dict[str, Any]:
    """For each parameter the sum of |term| over the terms of its gradient: its own backward on magnitudes."""
    triple, arguments = method.triple, cache.arguments
    call = triple.call(**arguments)
    xhat = np.abs(call.layout.write(call.part.merge(triple.operation.apply(call.z, cache.saved))))
    recovered = {"layout": call.layout, **call.recovery_options}
    _, sums = triple.recovery.backward(np.abs(dy).astype(np.float64), xhat, *call.parameters, **recovered)
    return dict(zip(triple.recovery.parameters, sums, strict=True))
