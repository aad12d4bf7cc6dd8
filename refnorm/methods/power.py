"""Power normalization, whose backward is deliberately not the gradient and keeps a state."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.area import Area, Layout, Partition
from refnorm.anatomy.arguments import finite_number
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.mask import weights
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.population import along_channels, check_state
from refnorm.anatomy.precision import narrow
from refnorm.anatomy.recovery import Affine
from refnorm.operations import power, rms

from .batch import BATCH, RAGGED

AFFINE, SCALING = Affine("c"), Area("n (g k) s -> n g s | | k")


class PowerState(NamedTuple):
    """Running mean square and, kept by the backward, nu; (C,) each, and the number of batches."""

    square: Any
    nu: Any
    count: int = 0  # type: ignore[assignment]


def fresh_power(square: Any = None, nu: Any = None, count: int = 0) -> PowerState:
    """A state: given statistics, or mean square 1 and nu 0."""
    return PowerState(np.ones(()) if square is None else square, np.zeros(()) if nu is None else nu, count)


class Saved(NamedTuple):
    scaling: rms.Saved
    power: power.Saved
    state: PowerState


def _laid(x: Any, num_groups: int, channel_axis: int) -> tuple[Layout, Partition, Partition]:
    layout = Layout.activations(x, channel_axis)
    return layout, SCALING.partition(layout, num_groups), BATCH.partition(layout)


def _backward(dy: Any, saved: Saved, **arguments: Any) -> tuple:
    x, eps = arguments["x"], arguments["eps"]
    layout, scaling, part = _laid(x, arguments["num_groups"], arguments["channel_axis"])
    z = part.split(scaling.merge(rms.apply(scaling.split(x), saved.scaling)))
    xhat = part.merge(power.apply(z, saved.power))
    dxhat, parameters = AFFINE.backward(dy, xhat, arguments["gamma"], arguments["beta"], layout)
    g, state = part.split(dxhat), saved.state
    if arguments["training"]:
        (c,) = layout.lengths("c")
        keep, current = arguments["backward_momentum"], spoken(arguments["dialect"]).conventions["current"]
        dz, nu = power.backward(g, z, saved.power, along_channels(state.nu, (c, 1, 1)), eps=eps, keep=keep, current=current)
        state = state._replace(nu=narrow(np.reshape(nu, (c,)), np.asarray(state.nu).dtype))
    else:
        dz = saved.power.rate * g
    dscaled = rms.backward(scaling.split(part.merge(dz)), scaling.split(x), saved.scaling, eps=eps)
    return scaling.merge(dscaled), *parameters, state


@method(
    backward=_backward,
    arrays=("x", "gamma", "beta"),
    shapes=lambda x, channel_axis, **_: dict.fromkeys(("gamma", "beta"), Layout.activations(x, channel_axis).lengths("c")),
    state=fresh_power,
    rule="h = g - (1 - b) nu xhat, divided by the root mean square, in the place of the gradient; nu <- nu + mean(h xhat)",
    cite=Citation(
        "S. Shen, Z. Yao, A. Gholami, M. W. Mahoney, K. Keutzer",
        "PowerNorm: Rethinking Batch Normalization in Transformers",
        "ICML",
        2020,
        "2003.07845",
    ),
    formula="u = x / rms over a group's channels;  y = gamma u / sqrt(p + eps) + beta,  p <- a p + (1 - a) mean(u^2)",
    # all scales leave with the group scaling, as in rms norm at each position; the running root mean square is a constant
    facts=invariances("yes no no no yes yes no yes"),
    dialects={
        "repo": Dialect(
            {"eps": 1e-5, "momentum": 0.9, "backward_momentum": 0.9, "warmup": 10_000},
            conventions={"current": True, "cumulative": True},
            spoken_by="the authors' code: the backward divides by the current root mean square",
        ),
        "paper": Dialect(
            {"eps": 1e-5, "momentum": 0.9, "backward_momentum": 0.9, "warmup": 0},
            conventions={"current": False, "cumulative": False},
            spoken_by="the paper, as recalled: the backward divides by what the forward divided by",
        ),
    },
    examples=(
        {"shape": (5, 4, 3), "warmup": 0, "num_groups": 2},
        {"shape": (8, 4), "warmup": 0, "num_groups": 2, "dialect": "paper"},
        {"shape": (6, 3), "warmup": 10},
        {"shape": (5, 2, 3), "warmup": 1, "mask": RAGGED},
        {"shape": (3, 2, 4), "warmup": 0, "channel_axis": -1, "num_groups": 2},
    ),
)
def power_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    num_groups: int = 1,
    state: Any = None,
    training: bool = True,
    momentum: float = FROM_DIALECT,
    backward_momentum: float = FROM_DIALECT,
    warmup: int = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "repo",
    backend: str = "numpy",
) -> Any:
    """Power normalization: each channel divided by a running root mean square, once each position's own scale is gone.

        u = x / sqrt(mean of x^2 over the group's channels + eps)
        y = gamma_c u / sqrt(p_c + eps) + beta_c        p_c <- a p_c + (1 - a) mean over n, s of u^2

    The backward is the authors' approximation, *not* the gradient, and it updates nu:

        dx, dgamma, dbeta, state = power_norm.backward(dy, cache)

    hands back the state of the forward with the new nu; carry that one on.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    num_groups : divides C; groups of channels whose scale is taken at each position
    state : from `power_norm.state(square=, nu=, count=)`; None starts at 1 and 0
    momentum, backward_momentum : a and b in 0..1, weigh the old value
    warmup : for so many batches the batch's own mean square is used
    eps : added to both mean squares
    mask : boolean, broadcasts to x; False entries are left out of p (and, as in the authors' code, not of nu)

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)`
    (dx, dgamma, dbeta, state).

    Raises
    ------
    ValueError, TypeError naming the argument.

    S. Shen et al., arXiv 2003.07845, algorithms 2 and 3; the rule is in operations/power.py.
    """
    layout, scaling, part = _laid(x, num_groups, channel_axis)
    layout.require("n s")
    (c,) = layout.lengths("c")
    state = fresh_power() if state is None and training else state
    check_state(state, fresh_power(), c)
    for name, value in (("momentum", momentum), ("backward_momentum", backward_momentum)):
        if not 0 <= finite_number(name, value, "in 0..1") <= 1:
            raise ValueError(f"{name} is {value!r}; it must be a finite number, in 0..1")
    u, scale = rms.forward(scaling.split(x), eps=eps)
    z = part.split(scaling.merge(u))
    weight = None if mask is None else weights(mask, layout, part)[0]
    running = along_channels(state.square, (c, 1, 1))
    zhat, saved = power.forward(z, None if training and state.count < warmup else running, eps=eps, weight=weight)
    if training:
        cumulative = spoken(dialect).conventions["cumulative"]
        moved = power.moved(running, saved.square, keep=momentum, seen=state.count, warmup=warmup, cumulative=cumulative)
        square = narrow(np.reshape(moved, (c,)), np.asarray(state.square).dtype)
        nu = np.array(np.broadcast_to(state.nu, (c,)))
        state = PowerState(square, nu, state.count + 1)
    return AFFINE.forward(part.merge(zhat), gamma, beta, layout), Saved(scale, saved, state), state
