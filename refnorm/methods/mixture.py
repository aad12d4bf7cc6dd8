"""Switchable normalization: a mixture of statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.mask import weights
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.population import Population, along_channels, check_state, fresh
from refnorm.operations import switchable

from .batch import OLD_BIASED
from .response import AFFINE, NCS

SOME = np.arange(5) < np.array([5, 3, 4])[:, None, None]
"""A mask of lengths for (3, C, 5)."""
NORMALIZERS = (Area("n c s -> n c | | s"), Area("n c s -> n | | c s"), Area("n c s -> c | | n s"))
"""Instance, layer and batch: the order of all mixtures."""


def _bessel(positions: int, mask: Any, dialect: Any) -> float:
    """1 / (S - 1) where the dialect takes the instance's variance unbiased, else 0."""
    if spoken(dialect).conventions["instance"] == "biased":
        return 0.0
    if mask is not None:
        raise ValueError("mask is given; this dialect averages the instances' statistics, which asks for equal counts")
    if positions < 2:
        raise ValueError(f"x has {positions} position a channel; this dialect's instance variance is unbiased and asks for two")
    return 1 / (positions - 1)


def _shares(mask: Any, layout: Layout) -> tuple[tuple, Any]:
    """What an entry of (N, C, S) counts in the instance's, the layer's and the batch's statistics; the batch's counts."""
    whole = NCS.partition(layout)
    if mask is None:
        n, c, s = whole.blocks
        return tuple(np.full((1, 1, 1), 1 / m) for m in (s, c * s, n * s)), n * s
    parts = [area.partition(layout) for area in NORMALIZERS]
    weighted = [weights(mask, layout, part) for part in parts]
    shares = (whole.split(part.merge(w)) for part, (w, _) in zip(parts, weighted, strict=True))
    return tuple(shares), weighted[2][1]


def _switchable_backward(dy: Any, saved: Any, **arguments: Any) -> tuple:
    x = arguments["x"]
    layout = Layout.activations(x, arguments["channel_axis"])
    part = NCS.partition(layout)
    z = part.split(x)
    xhat = part.merge(switchable.apply(z, saved))
    dxhat, parameters = AFFINE.backward(dy, xhat, arguments["gamma"], arguments["beta"], layout)
    bessel, (shares, _) = _bessel(part.blocks[2], arguments["mask"], arguments["dialect"]), _shares(arguments["mask"], layout)
    g, evaluation = part.split(dxhat), not arguments["training"]
    dz, *logits = switchable.backward(g, z, saved, eps=arguments["eps"], shares=shares, bessel=bessel, evaluation=evaluation)
    return part.merge(dz), *parameters, *logits


@method(
    backward=_switchable_backward,
    arrays=("x", "gamma", "beta", "mean_logits", "var_logits"),
    shapes=lambda x, channel_axis, **_: {
        **dict.fromkeys(("gamma", "beta"), Layout.activations(x, channel_axis).lengths("c")),
        **dict.fromkeys(("mean_logits", "var_logits"), (3,)),
    },
    state=fresh,
    cite=Citation(
        "P. Luo, J. Ren, Z. Peng, R. Zhang, J. Li",
        "Differentiable Learning-to-Normalize via Switchable Normalization",
        "ICLR",
        2019,
        "1806.10779",
    ),
    formula="y = gamma (x - sum_k w_k mean_k) / sqrt(sum_k w'_k var_k + eps) + beta,  k: instance, layer, batch",
    # the batch's share sees a shift, the layer's a row: nothing but a common scale is invisible to all three
    facts=invariances("yes no no no no yes no no"),
    dialects={
        "paper": Dialect({"eps": 1e-5, "momentum": 0.1}, Population(variance="biased"), conventions={"instance": "biased"}),
        "repo": Dialect(
            {"eps": 1e-5, "momentum": 0.997},
            OLD_BIASED,
            conventions={"instance": "unbiased"},
            spoken_by="the authors' code, using_moving_average: the instance's variance unbiased, the others built from it",
        ),
    },
    examples=(
        {"shape": (3, 4, 5)},
        {"shape": (3, 2, 4), "dialect": "repo"},
        {"shape": (2, 3, 2, 4), "channel_axis": -1},
        {"shape": (3, 2, 5), "mask": SOME},
    ),
)
def switchable_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    mean_logits: Any = None,
    var_logits: Any = None,
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
    """Switchable normalization: mean and variance are mixtures of the instance's, the layer's and the batch's.

        y = gamma_c (x - sum_k w_k mu_k) / sqrt(sum_k w'_k s2_k + eps) + beta_c
        w = softmax(mean_logits)      w' = softmax(var_logits)

    It mixes statistics, not outputs: at the corners of the simplex it is instance, layer or batch norm, in between it is no
    mixture of their outputs (exemplar_norm is).  In evaluation the batch's share is the state's.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    mean_logits, var_logits : (3,), in the order instance, layer, batch; None: equal weights
    state : running mean and variance of the batch, from `switchable_norm.state(mean=, var=)` (the authors' code starts
        both at 0)
    momentum : weighs the new batch (paper) or the old value (repo)
    eps : added to the mixed variance
    mask : boolean, broadcasts to x; False entries are left out of all three statistics (not under the repo dialect)

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)`
    (dx, dgamma, dbeta, dmean_logits, dvar_logits).

    Raises
    ------
    ValueError, TypeError naming the argument; under the repo dialect also for a single position.

    P. Luo et al., arXiv 1806.10779, equations 2 to 5; the gradient is derived in operations/switchable.py.
    """
    layout = Layout.activations(x, channel_axis)
    layout.require("n c s")
    part = NCS.partition(layout)
    _, c, s = part.blocks
    state = fresh() if state is None and training else state
    check_state(state, fresh(), c)
    bessel, (shares, counted) = _bessel(s, mask, dialect), _shares(mask, layout)
    logits = (np.zeros(3) if a is None else a for a in (mean_logits, var_logits))
    population = None if training else tuple(along_channels(a, (1, c, 1)) for a in state[:2])
    zhat, saved = switchable.forward(part.split(x), *logits, eps=eps, shares=shares, bessel=bessel, population=population)
    if training:
        batch = {"mean": np.reshape(saved.means[2], (c,)), "var": np.reshape(saved.variances[2], (c,))}
        state = spoken(dialect).population.update(state, batch, counted, momentum)
    return AFFINE.forward(part.merge(zhat), gamma, beta, layout), saved, state
