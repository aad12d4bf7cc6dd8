"""EvoNorm B0 and S0: normalization and activation in one searched formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.mask import spread_mask
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.population import Population, along_channels, check_state, fresh_variance
from refnorm.operations import evolved

from .batch import OLD_BIASED
from .mixture import SOME
from .response import AFFINE, NCS, per_channel

GROUPED = Area("n (g k) s -> n g | k | s")
EVONORM = Citation(
    "H. Liu, A. Brock, K. Simonyan, Q. V. Le", "Evolving Normalization-Activation Layers", "NeurIPS", 2020, "2004.02967"
)


def _b0_statistics(z: Any, mask: Any, eps: float, dialect: Any) -> tuple[evolved.Spread, evolved.Spread]:
    """The batch's spread and the instance's; mask (N, C, S) or None."""
    unbiased = spoken(dialect).conventions["instance"] == "unbiased"
    least = np.shape(z)[2] if mask is None else int(np.min(np.sum(mask, axis=2)))
    if least == 0:
        raise ValueError("mask leaves a channel of a sample without entries; each must have one at least")
    if unbiased and least < 2:
        raise ValueError(f"x has {least} position a channel; this dialect's instance variance is unbiased and asks for two")
    instance = evolved.spread(z, (2,), eps=eps, unbiased=unbiased, counted=mask)
    return evolved.spread(z, (0, 2), eps=eps, counted=mask), instance


def _b0_backward(dy: Any, saved: Any, *, x, gamma, beta, v, training, channel_axis, **_: Any) -> tuple:
    layout = Layout.activations(x, channel_axis)
    part = NCS.partition(layout)
    z, (batch, instance) = part.split(x), saved
    v = np.reshape(v, (1, -1, 1)) if v is not None else np.ones((1, 1, 1))
    xhat = part.merge(evolved.b0(z, v, batch.std, instance))
    dxhat, parameters = AFFINE.backward(dy, xhat, gamma, beta, layout)
    dz, dv = evolved.b0_backward(part.split(dxhat), z, v, batch, instance, evaluation=not training)
    return part.merge(dz), *parameters, np.reshape(dv, (-1,))


@method(
    backward=_b0_backward,
    arrays=("x", "gamma", "beta", "v"),
    shapes=per_channel("gamma", "beta", "v"),
    state=fresh_variance,
    cite=EVONORM,
    formula="y = gamma x / max(sqrt(var_b + eps), v x + sqrt(var_i + eps)) + beta,  variances of batch and instance",
    # both sides of the maximum grow with x: no sigmoid here, so a scale cancels
    facts=invariances("yes yes no no yes yes no no"),
    dialects={
        "paper": Dialect({"eps": 1e-5, "momentum": 0.9}, OLD_BIASED, conventions={"instance": "biased"}, spoken_by="the paper"),
        "lubana": Dialect(
            {"eps": 1e-5, "momentum": 0.9},
            OLD_BIASED,
            conventions={"instance": "unbiased"},
            spoken_by="Beyond BatchNorm's code: torch.var's default for the instance",
        ),
        "timm": Dialect(
            {"eps": 1e-3, "momentum": 0.1},
            Population(),
            conventions={"instance": "biased"},
            spoken_by="timm: running variance unbiased",
        ),
    },
    examples=(
        {"shape": (3, 4, 5)},
        {"shape": (3, 2, 4), "dialect": "lubana"},
        {"shape": (2, 2, 3, 3), "channel_axis": -1, "dialect": "timm"},
        {"shape": (3, 2, 5), "mask": SOME},
    ),
)
def evo_norm_b0(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    v: Any = None,
    *,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "paper",
    backend: str = "numpy",
) -> Any:
    """EvoNorm-B0: x over the larger of the batch's deviation and a line in x above the instance's.

        y = gamma_c x / max(sqrt(s2_c + eps), v_c x + sqrt(s2_nc + eps)) + beta_c

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta, v : (C,) or None; v None is 1, where the authors start
    state : the batch's running variance, from `evo_norm_b0.state(var=)`; None starts at 1
    momentum : weighs the old value (paper, lubana) or the new batch (timm)
    eps : added to both variances
    mask : boolean, broadcasts to x; False entries are left out of both variances

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)`
    (dx, dgamma, dbeta, dv).

    Raises
    ------
    ValueError, TypeError naming the argument; under the lubana dialect also for a single position.

    H. Liu et al., arXiv 2004.02967, table 2; the gradient is derived in operations/evolved.py.
    """
    layout = Layout.activations(x, channel_axis)
    layout.require("n s")
    part = NCS.partition(layout)
    n, c, s = part.blocks
    state = fresh_variance() if state is None and training else state
    check_state(state, fresh_variance(), c)
    z = part.split(x)
    counted = None if mask is None else part.split(spread_mask(mask, layout)).astype(np.float64)
    batch, instance = _b0_statistics(z, counted, eps, dialect)
    if training:
        update = {"var": np.reshape(np.square(batch.std) - eps, (c,))}
        state = spoken(dialect).population.update(
            state, update, n * s if counted is None else np.sum(counted, axis=(0, 2)), momentum
        )
    else:
        batch = batch._replace(std=np.sqrt(along_channels(state.var, (1, c, 1)) + eps))
    xhat = evolved.b0(z, np.ones((1, 1, 1)) if v is None else np.reshape(v, (1, -1, 1)), batch.std, instance)
    return AFFINE.forward(part.merge(xhat), gamma, beta, layout), (batch, instance), state


def _s0_laid(x: Any, v: Any, num_groups: int, channel_axis: int) -> tuple[Layout, Any, Any, Any]:
    """Layout, partition, z (N, G, K, S) and v (1, G, K, 1)."""
    layout = Layout.activations(x, channel_axis)
    part = GROUPED.partition(layout, num_groups)
    b, k, s = part.blocks
    v = np.ones((1, 1, 1, 1)) if v is None else np.reshape(v, (1, num_groups, k, 1))
    return layout, part, np.reshape(part.split(x), (b // num_groups, num_groups, k, s)), v


def _s0_backward(dy: Any, saved: Any, *, x, gamma, beta, v, num_groups, channel_axis, **_: Any) -> tuple:
    layout, part, z, v = _s0_laid(x, v, num_groups, channel_axis)
    xhat = part.merge(np.reshape(evolved.s0(z, v, saved), part.blocks))
    dxhat, parameters = AFFINE.backward(dy, xhat, gamma, beta, layout)
    dz, dv = evolved.s0_backward(np.reshape(part.split(dxhat), np.shape(z)), z, v, saved)
    return part.merge(np.reshape(dz, part.blocks)), *parameters, np.reshape(dv, (-1,))


@method(
    backward=_s0_backward,
    arrays=("x", "gamma", "beta", "v"),
    shapes=per_channel("gamma", "beta", "v"),
    cite=EVONORM,
    formula="y = gamma x sigmoid(v x) / sqrt(var_g + eps) + beta,  variance over the group",
    # the sigmoid sees the scale that the division then takes away
    facts=invariances("no no no no no no no no"),
    dialects={
        "paper": Dialect({"eps": 1e-5}, conventions={"group": "biased"}, spoken_by="the paper, timm"),
        "lubana": Dialect(
            {"eps": 1e-5}, conventions={"group": "unbiased"}, spoken_by="Beyond BatchNorm's code: torch.var's default"
        ),
    },
    examples=(
        {"shape": (3, 6, 4), "num_groups": 2},
        {"shape": (4, 6), "num_groups": 2},
        {"shape": (2, 2, 3, 4), "num_groups": 2, "channel_axis": -1, "dialect": "lubana"},
    ),
)
def evo_norm_s0(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    v: Any = None,
    *,
    num_groups: int,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "paper",
    backend: str = "numpy",
) -> Any:
    """EvoNorm-S0: a swish over the group's deviation.

        y = gamma_c x sigmoid(v_c x) / sqrt(s2_ng + eps) + beta_c

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta, v : (C,) or None; v None is 1, where the authors start
    num_groups : divides C; the authors use 32
    eps : added to the variance

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta, dv).
    Raises ValueError, TypeError naming the argument.

    H. Liu et al., arXiv 2004.02967, table 2; the gradient is derived in operations/evolved.py.
    """
    layout, part, z, v = _s0_laid(x, v, num_groups, channel_axis)
    layout.require("c s")
    unbiased = spoken(dialect).conventions["group"] == "unbiased"
    saved = evolved.spread(z, (2, 3), eps=eps, unbiased=unbiased)
    return AFFINE.forward(part.merge(np.reshape(evolved.s0(z, v, saved), part.blocks)), gamma, beta, layout), saved
