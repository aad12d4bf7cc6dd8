"""Batch renormalization."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.area import Layout, Partition
from refnorm.anatomy.arguments import finite_number
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.mask import weights
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.population import Population, along_channels, check_state
from refnorm.anatomy.recovery import Affine
from refnorm.operations import renormalize

from .batch import BATCH, RAGGED

AFFINE = Affine("c")


class RenormState(NamedTuple):
    """Running statistics (C,): mean and deviation for evaluation; another pair, with its own momentum, for r and d."""

    mean: Any
    deviation: Any
    renorm_mean: Any
    renorm_deviation: Any
    count: int = 0  # type: ignore[assignment]


def fresh_renorm(mean: Any = None, deviation: Any = None, renorm_mean: Any = None, renorm_deviation: Any = None) -> RenormState:
    """A state: given statistics, or mean 0 and deviation 1; those for r and d are the same where they are not given."""
    mean = np.zeros(()) if mean is None else mean
    deviation = np.ones(()) if deviation is None else deviation
    renorm_mean = mean if renorm_mean is None else renorm_mean
    return RenormState(mean, deviation, renorm_mean, deviation if renorm_deviation is None else renorm_deviation)


def _laid(x: Any, mask: Any, channel_axis: int) -> tuple[Layout, Partition, Any]:
    """Layout, partition and weights of one call."""
    layout = Layout.activations(x, channel_axis)
    part = BATCH.partition(layout)
    return layout, part, None if mask is None else weights(mask, layout, part)[0]


def _backward(dy: Any, saved: Any, **arguments: Any) -> tuple:
    layout, part, weight = _laid(arguments["x"], arguments["mask"], arguments["channel_axis"])
    z = part.split(arguments["x"])
    xhat = part.merge(renormalize.apply(z, saved))
    dxhat, parameters = AFFINE.backward(dy, xhat, arguments["gamma"], arguments["beta"], layout)
    g = part.split(dxhat)
    if arguments["training"]:
        dz = renormalize.backward(g, z, saved, eps=arguments["eps"], weight=weight)
    else:
        dz = renormalize.apply_backward(g, saved)
    return part.merge(dz), *parameters


@method(
    backward=_backward,
    arrays=("x", "gamma", "beta"),
    shapes=lambda x, channel_axis, **_: dict.fromkeys(("gamma", "beta"), Layout.activations(x, channel_axis).lengths("c")),
    state=fresh_renorm,
    stops=("r", "d"),
    cite=Citation(
        "S. Ioffe",
        "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models",
        "NIPS",
        2017,
        "1702.03275",
    ),
    formula="y = gamma ((x - mean_B) / sigma_B * r + d) + beta,  "
    "r = stop(clip(sigma_B / sigma)), d = stop(clip((mean_B - mean) / sigma))",
    # the population is a yardstick that a scaled or shifted batch is measured against, so nothing is invariant
    facts=invariances("no no no no no no no no"),
    dialects={
        "paper": Dialect(
            {"eps": 1e-5, "momentum": 0.01, "renorm_momentum": 0.01, "r_min": None, "r_max": 3.0, "d_max": 5.0},
            spoken_by="the paper, after its schedule of r_max and d_max has run out",
        ),
        "keras": Dialect(
            {"eps": 1e-3, "momentum": 0.99, "renorm_momentum": 0.99, "r_min": 0.0, "r_max": np.inf, "d_max": np.inf},
            Population(weighs="old", variance="biased"),
            conventions={"floor": True},
            spoken_by="Keras 3, BatchNormalization(renorm=True): no clips by default, no running deviation below sqrt(eps)",
        ),
    },
    examples=(
        {"shape": (5, 4, 3)},
        {"shape": (8, 4)},
        {"shape": (6, 3, 2), "r_max": 1.1, "d_max": 0.2},
        {"shape": (3, 2, 2, 4), "channel_axis": -1, "dialect": "keras"},
        {"shape": (5, 2, 3), "mask": RAGGED},
    ),
)
def batch_renorm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    renorm_momentum: float = FROM_DIALECT,
    r_min: float | None = FROM_DIALECT,
    r_max: float = FROM_DIALECT,
    d_max: float = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "paper",
    backend: str = "numpy",
) -> Any:
    """Batch renormalization: batch norm, corrected towards the running statistics by factors that count as constants.

        y = gamma ((x - mu_B) / sigma_B * r + d) + beta,    sigma_B = sqrt(s2_B + eps)
        r = clip(sigma_B / sigma, r_min, r_max)     d = clip((mu_B - mu) / sigma, -d_max, d_max)

    mu and sigma are those of the state as it comes in.  Unclipped, y is what evaluation gives, (x - mu) / sigma.
    r_max = 1, d_max = 0 is batch norm.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    state : from `batch_renorm.state(mean=, deviation=)`; None starts at 0 and 1.  It keeps running deviations, not variances,
        and two pairs: one for evaluation, one for r and d
    momentum, renorm_momentum : of either pair; weigh the new batch (paper) or the old value (keras)
    r_min, r_max, d_max : the clips; r_min None is 1 / r_max
    eps : added to the batch's variance
    mask : boolean, broadcasts to x; False entries are left out of the statistics

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument.

    S. Ioffe, arXiv 1702.03275, algorithm 1; the gradient is derived in operations/renormalize.py.
    """
    layout, part, weight = _laid(x, mask, channel_axis)
    layout.require("n s")
    (c,) = layout.lengths("c")
    state = fresh_renorm() if state is None and training else state
    check_state(state, fresh_renorm(), c, 1)
    mean, deviation, *running = (along_channels(s, (c, 1, 1)) for s in state[:4])
    floor = np.sqrt(eps) if spoken(dialect).conventions.get("floor") else 0.0
    z = part.split(x)
    if training:
        if not 0 <= finite_number("renorm_momentum", renorm_momentum, "in 0..1") <= 1:
            raise ValueError(f"renorm_momentum is {renorm_momentum!r}; it must be a finite number, in 0..1")
        if not r_max >= 1 or not d_max >= 0 or (r_min is not None and not r_min <= r_max):
            raise ValueError(f"r_min, r_max, d_max are {r_min}, {r_max}, {d_max}; they must be <= r_max, >= 1 and >= 0")
        clips = {"r_min": 1 / r_max if r_min is None else r_min, "r_max": r_max, "d_max": d_max}
        zhat, saved = renormalize.forward(z, running[0], np.maximum(running[1], floor), eps=eps, weight=weight, **clips)
        batch = {"mean": np.reshape(saved.mean, (c,)), "deviation": np.reshape(saved.deviation, (c,))}
        behind = {f"renorm_{name}": statistic for name, statistic in batch.items()}
        population, seen = spoken(dialect).population, state.count
        state = population.update(state, batch, part.blocks[2], momentum)._replace(count=seen)
        state = population.update(state, behind, part.blocks[2], renorm_momentum)
    else:
        saved = renormalize.from_population(mean, np.maximum(deviation, floor))
        zhat = renormalize.apply(z, saved)
    return AFFINE.forward(part.merge(zhat), gamma, beta, layout), saved, state
