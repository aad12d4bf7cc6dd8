"""Switchable whitening: whitened by a learned mixture of the statistics of batch, instance and layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout, Partition
from refnorm.anatomy.arguments import positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.population import Population, along_channels, check_state, fresh_covariance, whole
from refnorm.anatomy.precision import wide
from refnorm.anatomy.recovery import Affine
from refnorm.operations import switchable_whitening as mixture

OF_A_SAMPLE = Area("n (g k) s -> n g | k | s")
AFFINE = Affine("c")
OLD_BIASED = Population(weighs="old", variance="biased")
ALL = ("bw", "iw", "bn", "in", "ln")
AUTHORS_CHOICES = (ALL[:2], (*ALL[:2], "ln"), ALL)


def shapes(x: Any, statistics: Sequence[str], channel_axis: int, **_: Any) -> dict[str, tuple[int, ...]]:
    unknown = [kind for kind in statistics if kind not in mixture.KINDS]
    if unknown or not statistics or len(set(statistics)) < len(statistics):
        raise ValueError(f"statistics is {tuple(statistics)!r}; it must name some of {', '.join(mixture.KINDS)}, each once")
    channels, weights = Layout.activations(x, channel_axis).lengths("c"), (len(statistics),)
    return {"gamma": channels, "beta": channels, "mean_weight": weights, "covariance_weight": weights}


def _laid(x: Any, num_groups: int, channel_axis: int) -> tuple[Layout, Partition, Any]:
    """Layout, partition, and z of shape (N, G, K, S)."""
    layout = Layout.activations(x, channel_axis)
    if min(layout.shape) == 0:
        raise ValueError(f"x has shape {layout.shape}: its statistics are over no entries")
    part = OF_A_SAMPLE.partition(layout, num_groups)
    return layout, part, np.reshape(part.split(x), (layout.shape[0], -1, *part.blocks[1:]))


def _options(statistics: Sequence[str], T: int | None, eps: float, dialect: Dialect) -> dict[str, Any]:
    """The options of the operation."""
    kinds = tuple(statistics)
    if dialect.conventions.get("shared") and kinds not in AUTHORS_CHOICES:
        raise ValueError(f"statistics is {kinds!r}; in the authors' code it is one of {', '.join(map(str, AUTHORS_CHOICES))}")
    if T is not None:
        positive_integer("T", T, "the number of Newton-Schulz steps")
    return {"kinds": kinds, "eps": eps, "T": T, **dialect.conventions}


def _backward(dy: Any, saved: Any, **arguments: Any) -> tuple:
    layout, part, z = _laid(arguments["x"], arguments["num_groups"], arguments["channel_axis"])
    options = _options(*(arguments[name] for name in ("statistics", "T", "eps", "dialect")))
    xhat = part.merge(mixture.apply(z, saved))
    dxhat, parameters = AFFINE.backward(dy, xhat, arguments["gamma"], arguments["beta"], layout)
    g = np.reshape(part.split(dxhat), np.shape(z))
    dz, *logits = mixture.backward(g, z, saved, evaluation=not arguments["training"], **options)
    given = (arguments[name] is not None for name in ("mean_weight", "covariance_weight"))
    return part.merge(dz), *parameters, *(d if there else None for d, there in zip(logits, given, strict=True))


@method(
    backward=_backward,
    arrays=("x", "gamma", "beta", "mean_weight", "covariance_weight"),
    state=fresh_covariance,
    shapes=shapes,
    formula="xhat = W(S) (x - mu), mu = sum_k w_k mu_k, S = sum_k v_k S_k + eps I, W -> S^(-1/2);  y = gamma * xhat + beta",
    cite=Citation(
        "X. Pan, X. Zhan, J. Shi, X. Tang, P. Luo",
        "Switchable Whitening for Deep Representation Learning",
        "ICCV",
        2019,
        "1904.09739",
    ),
    facts=invariances("yes no no no no yes yes no"),
    dialects={
        "paper": Dialect({"eps": 1e-5, "momentum": 0.99}, OLD_BIASED, spoken_by="the paper's equations"),
        "authors": Dialect(
            {"eps": 1e-5, "momentum": 0.99},
            OLD_BIASED,
            conventions={"shared": True, "unbiased": True},
            spoken_by="the authors' code: with all five statistics, bn and in weigh with the weights of bw and iw; ln unbiased",
        ),
    },
    examples=(
        {"shape": (3, 4, 5), "num_groups": 2},
        {"shape": (7, 3)},
        {"shape": (3, 4, 3), "num_groups": 2, "statistics": ALL, "T": None},
        {"shape": (2, 2, 3, 4), "num_groups": 2, "statistics": ALL, "dialect": "authors", "channel_axis": -1},
    ),
)
def switchable_whitening(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    mean_weight: Any = None,
    covariance_weight: Any = None,
    *,
    statistics: Sequence[str] = ("bw", "iw"),
    T: int | None = 5,
    num_groups: int = 1,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "paper",
    backend: str = "numpy",
) -> tuple:
    """Switchable whitening: each group of a sample's channels whitened by a learned mixture of statistics.

        w = softmax(mean_weight)      v = softmax(covariance_weight)
        mu = sum_k w_k mu_k           S = sum_k v_k S_k + eps I           y = gamma_c (W (x - mu))_c + beta_c,  W -> S^(-1/2)

    k runs over `statistics`: "bw" the batch's mean and covariance, "iw" the sample's own, "bn" and "in" their diagonals, "ln"
    mean and variance over all of a sample.  In evaluation the batch's come from the state.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    mean_weight, covariance_weight : (len(statistics),), logits; None: equal weights
    statistics : some of "bw", "iw", "bn", "in", "ln"
    T : number of Newton-Schulz steps, 1 or more; None: the exact inverse root (ZCA)
    num_groups : divides C; C / num_groups channels are whitened together
    state : from `.state(mean=, covariance=)`, mean (C,), covariance (num_groups, C / num_groups, C / num_groups)
    momentum : in 0..1, weighs the old value
    eps : added to the diagonal of the mixed covariance

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` the gradients.

    Raises ValueError, TypeError naming the argument.

    X. Pan et al., arXiv 1904.09739, section 3; the gradient is derived in operations/switchable_whitening.py.
    """
    layout, part, z = _laid(x, num_groups, channel_axis)
    options = _options(statistics, T, eps, spoken(dialect))
    state = fresh_covariance() if state is None and training else state
    _, groups, k, _ = np.shape(z)
    check_state(state, fresh_covariance(), groups * k, k)
    a, b = (np.zeros(len(statistics)) if weight is None else weight for weight in (mean_weight, covariance_weight))
    population = None
    if not training:
        mean, covariance = along_channels(state.mean, (1, groups, k, 1)), whole(wide(state.covariance), k)
        population = mean, np.broadcast_to(covariance, (1, groups, k, k))
    try:
        zhat, saved = mixture.forward(z, a, b, population=population, **options)
    except ValueError as error:                         # T None: of autodiff.matrix
        raise ValueError(f"x has shape {layout.shape}: a mixed covariance is singular to rounding; set a larger eps") from error
    if training:
        mean, covariance = mixture.moments(z, "batch")
        batch = {"mean": np.reshape(mean, (-1,)), "covariance": covariance[0]}
        state = spoken(dialect).population.update(state, batch, np.size(z[:, 0, 0]), momentum)
    return AFFINE.forward(part.merge(zhat), gamma, beta, layout), saved, state
