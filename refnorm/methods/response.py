"""Responses: filter response norm with its thresholded unit, and the bounded response that does without statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method
from refnorm.anatomy.recovery import Affine
from refnorm.operations import rms

NCS = Area("n c s -> n | c | s")
"""Activations of any layout and rank as (N, C, S)."""
AFFINE = Affine("c")


def per_channel(*names: str) -> Any:
    """The shapes of a method whose parameters all run along the channels."""
    return lambda x, channel_axis, **_: dict.fromkeys(names, Layout.activations(x, channel_axis).lengths("c"))


def _filtered(x: Any, learned_eps: Any, eps: float, channel_axis: int) -> tuple[Any, Any, Any, Any]:
    """Layout, partition, z (N, C, S) and the whole eps (1, C, 1)."""
    layout = Layout.activations(x, channel_axis)
    part = NCS.partition(layout)
    return layout, part, part.split(x), eps if learned_eps is None else eps + np.abs(np.reshape(learned_eps, (1, -1, 1)))


def _filter_response_backward(
    dy: Any, saved: rms.Saved, *, x, gamma, beta, tau, learned_eps, eps, channel_axis, **_: Any
) -> tuple:
    """TLU sends dy to the larger side.  With r = (q + e)^(-1/2), dxhat / de = -r^2 xhat / 2, and de / dlearned is its sign."""
    layout, part, z, _ = _filtered(x, learned_eps, eps, channel_axis)
    zhat = rms.apply(z, saved)
    xhat, dtau = part.merge(zhat), None
    if tau is not None:
        above = AFFINE.forward(xhat, gamma, beta, layout) > layout.along(tau, "c")
        dtau = layout.sum_to(np.where(above, 0, dy), "c")
        dy = np.where(above, dy, 0)
    dxhat, (dgamma, dbeta) = AFFINE.backward(dy, xhat, gamma, beta, layout)
    g, deps = part.split(dxhat), None
    if learned_eps is not None:
        deps = np.sign(learned_eps) * np.sum(-0.5 * np.square(saved.rstd) * g * zhat, axis=(0, 2))
    return part.merge(rms.backward(g, z, saved, eps=eps)), dgamma, dbeta, dtau, deps


@method(
    backward=_filter_response_backward,
    arrays=("x", "gamma", "beta", "tau", "learned_eps"),
    shapes=per_channel("gamma", "beta", "tau", "learned_eps"),
    cite=Citation(
        "S. Singh, S. Krishnan",
        "Filter Response Normalization Layer: Eliminating Batch Dependence in the Training of Deep Neural Networks",
        "CVPR",
        2020,
        "1911.09737",
    ),
    formula="y = max(gamma x / sqrt(mean(x^2) + |eps|) + beta, tau)",
    # with the learned eps at zero; no mean is taken, so no shift is invisible
    facts=invariances("yes yes no no yes yes no yes"),
    dialects={
        "paper": Dialect({"eps": 1e-6}, spoken_by="the paper: eps = 1e-6, and a learned one where there is a single position"),
        "lubana": Dialect({"eps": 0.0}, spoken_by="Beyond BatchNorm's code: eps is learned alone, and starts at 1e-5"),
    },
    examples=(
        {"shape": (3, 4, 5), "learned_eps": None},
        {"shape": (3, 4, 5)},
        {"shape": (2, 3, 2, 3), "tau": None, "channel_axis": -1},
    ),
)
def filter_response_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    tau: Any = None,
    learned_eps: Any = None,
    *,
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "paper",
    backend: str = "numpy",
) -> Any:
    """Filter response normalization with its thresholded linear unit (TLU).

        y = max(gamma_c x / sqrt(q_nc + eps + |learned_eps_c|) + beta_c, tau_c),      q_nc = mean over s of x^2

    Without spatial axes q = x^2, and eps alone keeps x / sqrt(x^2 + eps) from being a sign.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    tau : (C,), the threshold, or None for no threshold; where both sides are equal the gradient goes to tau
    learned_eps : (C,) or None; its absolute value is added to eps
    eps : added to the mean square

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta, dtau, dlearned_eps).
    Raises ValueError, TypeError naming the argument.

    S. Singh and S. Krishnan, arXiv 1911.09737, equations 1 to 4; the gradient is derived in operations/rms.py.
    """
    layout, part, z, whole = _filtered(x, learned_eps, eps, channel_axis)
    layout.require("s")
    zhat, saved = rms.forward(z, eps=whole)
    y = AFFINE.forward(part.merge(zhat), gamma, beta, layout)
    return y if tau is None else np.maximum(y, layout.along(tau, "c")), saved


def _dynamic_tanh_backward(dy: Any, saved: Any, *, x, alpha, gamma, beta, channel_axis, **_: Any) -> tuple:
    """With t = tanh(a x): dt = (1 - t^2)(a dx + x da)."""
    layout = Layout.activations(x, channel_axis)
    dt, (dgamma, dbeta) = AFFINE.backward(dy, saved, gamma, beta, layout)
    du = dt * (1 - np.square(saved))
    return du if alpha is None else alpha * du, None if alpha is None else np.sum(du * x), dgamma, dbeta


@method(
    backward=_dynamic_tanh_backward,
    arrays=("x", "alpha", "gamma", "beta"),
    shapes=lambda x, channel_axis, **_: {"alpha": (), **per_channel("gamma", "beta")(x, channel_axis)},
    cite=Citation("J. Zhu, X. Chen, K. He, Y. LeCun, Z. Liu", "Transformers without Normalization", "CVPR", 2025, "2503.10622"),
    formula="y = gamma tanh(alpha x) + beta",
    facts=invariances("no no no no no no no no"),
    dialects={"torch": Dialect(spoken_by="the authors' code")},
    examples=({"shape": (5, 4)}, {"shape": (3, 4, 5), "channel_axis": 1}, {"shape": (2, 3, 2, 4)}),
)
def dynamic_tanh(
    x: Any,
    alpha: Any = None,
    gamma: Any = None,
    beta: Any = None,
    *,
    channel_axis: int = -1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Any:
    """Dynamic tanh: an elementwise squashing in the place of a normalization; no statistics at all.

        y = gamma_c tanh(alpha x) + beta_c

    Parameters
    ----------
    x : (N, *positions, C), or (N, C, *spatial) with channel_axis=1; float64, float32, float16 or bfloat16
    alpha : () or None, which is 1; the authors start at 0.5
    gamma, beta : (C,) or None

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dalpha, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    J. Zhu et al., arXiv 2503.10622, equation 1.
    """
    t = np.tanh(x if alpha is None else alpha * x)
    return AFFINE.forward(t, gamma, beta, Layout.activations(x, channel_axis)), t
