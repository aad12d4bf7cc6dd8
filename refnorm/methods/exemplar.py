"""Exemplar normalization: a mixture of outputs, each sample by ratios of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.mask import weights
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.population import Population, along_channels, check_state, fresh
from refnorm.operations import standardize

from .mixture import NORMALIZERS, SOME


def _exemplar_parts(x: Any, mask: Any, state: Any, training: bool, eps: float, layout: Layout) -> tuple[list[tuple], Any]:
    """For each normalizer its partition of x, its weights and what it saved (the batch's: the state in evaluation); counts."""
    parts = [area.partition(layout) for area in NORMALIZERS]
    weighted = [(None, part.blocks[2]) if mask is None else weights(mask, layout, part) for part in parts]
    saved = [standardize.forward(p.split(x), eps=eps, weight=w)[1] for p, (w, _) in zip(parts, weighted, strict=True)]
    if not training:
        saved[2] = standardize.from_population(*(along_channels(a, (parts[2].blocks[0], 1, 1)) for a in state[:2]), eps=eps)
    return list(zip(parts, (w for w, _ in weighted), saved, strict=True)), weighted[2][1]


def _along_samples(a: Any, layout: Layout) -> Any:
    return np.reshape(a, tuple(n if axis == 0 else 1 for axis, n in enumerate(layout.shape)))


def _exemplar_backward(dy: Any, saved: Any, **arguments: Any) -> tuple:
    """y = sum_k l_nk xhat_k gamma_k + beta_k: each normalizer backward on dy l_k gamma_k, and l by its softmax."""
    x, gamma, eps = arguments["x"], arguments["gamma"], arguments["eps"]
    layout = Layout.activations(x, arguments["channel_axis"])
    ratios, parts = saved
    dx, dratios, dgamma = 0.0, [], []
    for k, (part, weight, stats) in enumerate(parts):
        z, ratio = part.split(x), _along_samples(ratios[:, k], layout)
        xhat = part.merge(standardize.apply(z, stats))
        scaled = xhat if gamma is None else xhat * layout.along(gamma[k], "c")
        dratios.append(layout.sum_to(dy * scaled, "n"))
        dgamma.append(layout.sum_to(dy * ratio * xhat, "c"))
        g = part.split(dy * ratio if gamma is None else dy * ratio * layout.along(gamma[k], "c"))
        constant = k == 2 and not arguments["training"]
        own = standardize.apply_backward(g, stats) if constant else standardize.backward(g, z, stats, eps=eps, weight=weight)
        dx = dx + part.merge(own)
    dratio = np.stack(dratios, axis=1)
    dlogits = ratios * (dratio - np.sum(ratios * dratio, axis=1, keepdims=True))
    dbeta = layout.sum_to(dy, "c")
    return dx, np.stack(dgamma), np.stack([dbeta] * 3), dlogits


@method(
    backward=_exemplar_backward,
    arrays=("x", "gamma", "beta", "logits"),
    shapes=lambda x, channel_axis, **_: {
        **dict.fromkeys(("gamma", "beta"), (3, *Layout.activations(x, channel_axis).lengths("c"))),
        "logits": (np.shape(x)[0], 3),
    },
    state=fresh,
    cite=Citation(
        "R. Zhang, Z. Peng, L. Wu, Z. Li, P. Luo",
        "Exemplar Normalization for Learning Deep Representation",
        "CVPR",
        2020,
        "2003.08761",
    ),
    formula="y_n = sum_k gamma_k l_nk xhat_k,n + beta_k,  l_n = softmax(logits_n),  k in instance, layer, batch",
    # with gamma apart for each normalizer; the logits are held fixed, although the paper predicts them from x
    facts=invariances("yes no no no no yes no no"),
    dialects={"paper": Dialect({"eps": 1e-5, "momentum": 0.1}, Population(), lone_value="allowed")},
    examples=(
        {"shape": (3, 4, 5)},
        {"shape": (2, 2, 3, 3), "channel_axis": -1, "gamma": None},
        {"shape": (3, 2, 5), "mask": SOME},
    ),
)
def exemplar_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    logits: Any = None,
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
    """Exemplar normalization: each sample mixes the outputs of instance, layer and batch norm by ratios of its own.

        y_n = sum_k gamma_k l_nk xhat_k,n + beta_k,      l_n = softmax(logits_n)

    The paper predicts the logits from the sample's own statistics by a small network (pooling, a shared reduction,
    similarities, tanh).  Those layers are unconfirmed here, so the logits are an argument, with their gradient: any network
    may stand behind it.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (3, C), one row a normalizer in the order instance, layer, batch, or None
    logits : (N, 3) or None: equal ratios
    state, training, momentum, eps : as batch_norm, for the batch's share
    mask : boolean, broadcasts to x; False entries are left out of all three statistics

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)`
    (dx, dgamma, dbeta, dlogits).

    Raises
    ------
    ValueError, TypeError naming the argument.

    R. Zhang et al., arXiv 2003.08761 (abstract seen, formula recalled).
    """
    layout = Layout.activations(x, channel_axis)
    layout.require("n c s")
    n, (c,) = np.shape(x)[0], layout.lengths("c")
    state = fresh() if state is None and training else state
    check_state(state, fresh(), c)
    logits = np.zeros((n, 3)) if logits is None else logits
    e = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    ratios = e / np.sum(e, axis=1, keepdims=True)
    parts, counted = _exemplar_parts(x, mask, state, training, eps, layout)
    y = 0.0 if beta is None else layout.along(np.sum(beta, axis=0), "c")
    for k, (part, _, stats) in enumerate(parts):
        xhat = part.merge(standardize.apply(part.split(x), stats)) * _along_samples(ratios[:, k], layout)
        y = y + (xhat if gamma is None else xhat * layout.along(gamma[k], "c"))
    if training:
        _, _, stats = parts[2]
        batch = {"mean": np.reshape(stats.mean, (c,)), "var": np.reshape(stats.var, (c,))}
        state = spoken(dialect).population.update(state, batch, counted, momentum)
    return y, (ratios, parts), state
