"""Normalizations of gradients and updates: what is done to dL/dw before the step, and to w after it."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.arguments import finite_number
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import Citation, Dialect, method
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import CENTER
from refnorm.anatomy.recovery import Identity
from refnorm.operations import sphere

ROWS = Area("o i s -> o | | i s")


@norm(
    ROWS,
    CENTER,
    Identity(),
    x="g",
    acts_on="weights",
    cite=Citation(
        "H. Yong, J. Huang, X. Hua, L. Zhang",
        "Gradient Centralization: A New Optimization Technique for Deep Neural Networks",
        "ECCV",
        2020,
        "2004.01461",
    ),
    facts=invariances("no no no yes no no no no"),
    dialects={"torch": Dialect(spoken_by="the authors' code")},
    examples=({"shape": (4, 5)}, {"shape": (3, 2, 3)}, {"shape": (2, 3, 4), "dim": -1}),
)
def gradient_centralization(g: Any, *, dim: int | None = 0, dialect: str = "torch", backend: str = "numpy") -> Layout:
    """Gradient centralization: from the gradient of a weight, the mean of each row over its fan-in is removed.

        y = g - mean over the fan-in of g = P g,      P = I - 11'/n a projector, y'1 = 0

    Parameters
    ----------
    g : the gradient of a weight (out, in, *kernel), or as `dim` says; float64, float32, float16 or bfloat16
    dim : the axis of the outputs; None: the whole array is one row

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (P dy,).
    Raises ValueError, TypeError naming the argument.

    H. Yong et al., arXiv 2004.01461, equation 1; the gradient is derived in operations/center.py.
    """
    return Layout.weights(g, "g", dim)


def tangent_backward(dy: Any, saved: None, *, g: Any, w: Any, dim: int | None, dialect: Dialect) -> tuple:
    part = ROWS.partition(Layout.weights(g, "g", dim))
    dg, dw = sphere.tangent_backward(part.split(dy), part.split(g), part.split(w))
    return part.merge(dg), part.merge(dw)


@method(
    backward=tangent_backward,
    arrays=("g", "w"),
    shapes=lambda g, **_: {"w": np.shape(g)},
    acts_on="weights",
    formula="y = g - w (w.g) / ||w||^2",
    cite=Citation(
        "M. Cho, J. Lee", "Riemannian Approach to Batch Normalization", "NeurIPS", 2017, "1709.09603"
    ),
    facts=invariances("no no no no no no no no"),
    dialects={"torch": Dialect(spoken_by="the paper")},
    examples=({"shape": (4, 5)}, {"shape": (3, 2, 3)}, {"shape": (2, 3, 4), "dim": -1}, {"shape": (2, 3), "dim": None}),
)
def tangent_projection(g: Any, w: Any, *, dim: int | None = 0, dialect: str = "torch", backend: str = "numpy") -> Any:
    """The part of a gradient along the sphere on which each row of its weight lies.

        y = (I - w w' / ||w||^2) g,      for each row; <y, w> = 0

    Parameters
    ----------
    g : the gradient of w, shape of w; float64, float32, float16 or bfloat16
    w : the weight (out, in, *kernel), or as `dim` says; only the direction of each row matters
    dim : the axis of the outputs; None: the whole array is one row

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dg, dw).
    Raises ValueError, TypeError naming the argument.

    M. Cho and J. Lee, arXiv 1709.09603, section 3; J. Sun et al., arXiv 2006.09104; derived in operations/sphere.py.
    """
    part = ROWS.partition(Layout.weights(g, "g", dim))
    return part.merge(sphere.tangent(part.split(g), part.split(w))), None


def retraction_backward(dy: Any, saved: None, *, w: Any, t: Any, step: float, dim: int | None, dialect: Dialect) -> tuple:
    part = ROWS.partition(Layout.weights(w, "w", dim))
    dw, dt = sphere.retraction_backward(part.split(dy), part.split(w), part.split(t), step=step)
    return part.merge(dw), part.merge(dt)


@method(
    backward=retraction_backward,
    arrays=("w", "t"),
    shapes=lambda w, **_: {"t": np.shape(w)},
    acts_on="weights",
    formula="y = ||w|| (w - step t) / ||w - step t||",
    cite=Citation(
        "J. Sun, X. Cao, H. Liang, W. Huang, Z. Chen, Z. Li",
        "New Interpretations of Normalization Methods in Deep Learning",
        "AAAI",
        2020,
        "2006.09104",
    ),
    facts=invariances("no no no no no no no no"),
    dialects={"torch": Dialect(spoken_by="the paper")},
    examples=(
        {"shape": (4, 5), "step": 0.5},
        {"shape": (3, 2, 3)},
        {"shape": (2, 3, 4), "dim": -1},
        {"shape": (2, 3), "dim": None, "step": 0.1},
    ),
)
def sphere_retraction(
    w: Any, t: Any, *, step: float = 1.0, dim: int | None = 0, dialect: str = "torch", backend: str = "numpy"
) -> Any:
    """A step of each row of a weight along t, and back onto the sphere that it came from: its length is kept.

        y = ||w|| (w - step t) / ||w - step t||

    One step of gradient descent on the sphere is `sphere_retraction(w, tangent_projection(g, w), step=lr)`.

    Parameters
    ----------
    w : the weight (out, in, *kernel), or as `dim` says; float64, float32, float16 or bfloat16
    t : the direction, shape of w; the retraction is of first order for a tangent one
    step : the step size, any finite number
    dim : the axis of the outputs; None: the whole array is one row

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dw, dt).
    Raises ValueError, TypeError naming the argument.

    J. Sun et al., arXiv 2006.09104, section 4; derived in operations/sphere.py.
    """
    finite_number("step", step)
    part = ROWS.partition(Layout.weights(w, "w", dim))
    return part.merge(sphere.retraction(part.split(w), part.split(t), step=step)), None
