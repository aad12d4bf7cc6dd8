"""Filter response norm: root mean square of each sample's channel, an affine map, and a threshold, in one pass each way.

    q = mean(x^2)      r = 1 / sqrt(q + eps_c)      xhat = r x      y = max(gamma_c xhat + beta_c, tau_c)

Entries lie as lie.py says, with the samples as blocks and the channels as coordinates.  All arithmetic is float64: what is
compared with the threshold then is what the reference compares, and the loops wait for memory as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import prange

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.method import Cache, Method
from refnorm.anatomy.precision import narrow, wide
from refnorm.operations import rms

from .jit import kernel, parallel, run
from .lie import Lie, lie_of
from .row_lanes import shifted_sums
from .storage import as_stored, read, write
from .whitening import at

NCS = Area("n c s -> n | c | s")


@kernel
def mean_square(x: Any, lie: Any, b: Any, c: Any) -> Any:
    outer, _, _, inner, _, _, _ = lie
    squares = 0.0
    for o in range(outer):
        if inner > 1:
            squares += shifted_sums(x, at(lie, o, b, c, 0), inner, 0.0)[1]
        else:
            squares += np.float64(read(x, at(lie, o, b, c, 0))) ** 2
    return squares / (outer * inner)


@parallel
def forward_loops(x: Any, lie: Any, eps: Any, gamma: Any, beta: Any, tau: Any, y: Any, square: Any, rstd: Any) -> None:
    """eps, gamma, beta, tau (C,) and square, rstd (N, C), float64; tau is -inf where there is none."""
    outer, samples, channels, inner, _, _, _ = lie
    for i in prange(samples * channels):
        b, c = i // channels, i % channels
        q = mean_square(x, lie, b, c)
        r = 1 / np.sqrt(q + eps[c])
        square[b, c], rstd[b, c] = q, r
        for o in range(outer):
            first = at(lie, o, b, c, 0)
            for j in range(first, first + inner):
                value = read(x, j) * r * gamma[c] + beta[c]
                write(y, j, value if value >= tau[c] or np.isnan(value) else tau[c])


@parallel
def backward_loops(
    dy: Any, x: Any, lie: Any, rstd: Any, gamma: Any, beta: Any, tau: Any, dx: Any, sums: Any
) -> None:
    """dy goes to the larger side, to tau where both are equal.  sums (4, N, C): of dgamma, dbeta, dtau, g xhat."""
    outer, samples, channels, inner, _, _, _ = lie
    for i in prange(samples * channels):
        b, c = i // channels, i % channels
        r, along, total, below = rstd[b, c], 0.0, 0.0, 0.0
        for o in range(outer):
            first = at(lie, o, b, c, 0)
            for j in range(first, first + inner):
                d, xhat = np.float64(read(dy, j)), read(x, j) * r
                above = xhat * gamma[c] + beta[c] > tau[c]
                total += d if above else 0.0
                along += d * xhat if above else 0.0
                below += 0.0 if above else d
        sums[0, b, c], sums[1, b, c], sums[2, b, c], sums[3, b, c] = along, total, below, along * gamma[c]
        answer = along * gamma[c] / (outer * inner)
        for o in range(outer):
            first = at(lie, o, b, c, 0)
            for j in range(first, first + inner):
                xhat = read(x, j) * r
                g = read(dy, j) * gamma[c] if xhat * gamma[c] + beta[c] > tau[c] else 0.0
                write(dx, j, r * (g - xhat * answer))


def _laid(x: np.ndarray, channel_axis: int) -> tuple[Layout, Lie]:
    layout = Layout.activations(x, channel_axis)
    layout.require("s")
    return layout, lie_of(x, NCS.partition(layout))


def _along_channels(arguments: Mapping[str, Any], channels: int) -> tuple[np.ndarray, ...]:
    """eps, gamma, beta, tau (C,), float64, as the loops read them."""
    given = {name: arguments[name] for name in ("learned_eps", "gamma", "beta", "tau")}
    absent = {"learned_eps": 0.0, "gamma": 1.0, "beta": 0.0, "tau": -np.inf}
    learned, *others = (np.full(channels, absent[k]) if v is None else wide(v) for k, v in given.items())
    return arguments["eps"] + np.abs(learned), *others


def forward(method: Method, arguments: Mapping[str, Any]) -> tuple[np.ndarray, rms.Saved]:
    x = arguments["x"]
    layout, lie = _laid(x, arguments["channel_axis"])
    n, (c,) = x.shape[0], layout.lengths("c")
    y, square, rstd = lie.empty(x.dtype), np.empty((n, c)), np.empty((n, c))
    if x.size:
        given = (as_stored(lie.read(x)), lie.numbers, *_along_channels(arguments, c), as_stored(y), square, rstd)
        run(forward_loops, 2 * x.nbytes, *given)
    return lie.write(y), rms.Saved(square[:, :, None], rstd[:, :, None])


def backward(method: Method, dy: np.ndarray, cache: Cache) -> tuple:
    """dx, dgamma, dbeta, dtau, dlearned_eps.  With e the whole eps, dxhat / de = -r^2 xhat / 2."""
    arguments = cache.arguments
    x = arguments["x"]
    wider = np.result_type(x, dy) if x.dtype != dy.dtype else x.dtype
    layout, lie = _laid(x, arguments["channel_axis"])
    n, (c,) = x.shape[0], layout.lengths("c")
    dx, sums, rstd = lie.empty(wider), np.zeros((4, n, c)), np.ascontiguousarray(cache.saved.rstd[:, :, 0])
    if x.size:
        both = (as_stored(lie.read(a.astype(wider, copy=False))) for a in (dy, x))
        run(backward_loops, 3 * x.nbytes, *both, lie.numbers, rstd, *_along_channels(arguments, c)[1:], as_stored(dx), sums)
    dgamma, dbeta, dtau = np.sum(sums[:3], axis=1)
    deps = np.sum(-0.5 * np.square(rstd) * sums[3], axis=0)
    if arguments["learned_eps"] is not None:
        deps = deps * np.sign(wide(arguments["learned_eps"]))
    found = {"gamma": dgamma, "beta": dbeta, "tau": dtau, "learned_eps": deps}
    return narrow(lie.write(dx), x.dtype), *(
        None if arguments[name] is None else narrow(gradient, arguments[name].dtype) for name, gradient in found.items()
    )
