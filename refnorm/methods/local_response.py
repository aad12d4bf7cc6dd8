"""Local response normalization, and what a window of channels takes in."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Layout
from refnorm.anatomy.arguments import finite_number, positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.operations import divisive

from .response import NCS

NEIGHBOURS = {
    "half before": lambda size: (size // 2, (size - 1) // 2),
    "half after": lambda size: ((size - 1) // 2, size // 2),
    "both": lambda size: (size // 2, size // 2),
}
"""How many channels before and after one a window of `size` takes in; they differ for an even size."""


def _window(channels: int, size: int, alpha: float, dialect: Any) -> divisive.Pooling:
    """alpha times the window over channels, as a pooling of (N, C, S)."""
    size, alpha = positive_integer("size", size, "the number of channels in a window"), finite_number("alpha", alpha)
    conventions = spoken(dialect).conventions
    window = divisive.window(channels, *NEIGHBOURS[conventions["window"]](size))
    return ((1, window * (alpha / size if conventions["alpha"] == "over size" else alpha)),)


def _local_response_backward(dy: Any, saved: divisive.Saved, *, x, size, alpha, beta, channel_axis, dialect, **_: Any) -> tuple:
    part = NCS.partition(Layout.activations(x, channel_axis))
    pool = _window(saved.centred.shape[1], size, alpha, dialect)
    return (part.merge(divisive.backward(part.split(dy), saved, power=beta, pool=pool)[0]),)


@method(
    backward=_local_response_backward,
    arrays=("x",),
    shapes=lambda **_: {},
    cite=Citation(
        "A. Krizhevsky, I. Sutskever, G. E. Hinton",
        "ImageNet Classification with Deep Convolutional Neural Networks",
        "NIPS",
        2012,
    ),
    formula="y = x / (k + alpha sum over a window of channels of x^2)^beta",
    facts=invariances("no no no no no no no no"),
    dialects={
        "torch": Dialect(
            {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0},
            conventions={"alpha": "over size", "window": "half before"},
            spoken_by="PyTorch: alpha / size; an even size takes size // 2 channels before",
        ),
        "onnx": Dialect(
            {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0},
            conventions={"alpha": "over size", "window": "half after"},
            spoken_by="ONNX: alpha / size; an even size takes (size - 1) // 2 channels before",
        ),
        "krizhevsky": Dialect(
            {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0},
            conventions={"alpha": "raw", "window": "both"},
            spoken_by="the paper, Chainer: alpha as it is, size // 2 channels on either side",
        ),
        "tensorflow": Dialect(
            {"size": 11, "alpha": 1.0, "beta": 0.5, "k": 1.0},
            conventions={"alpha": "raw", "window": "both"},
            spoken_by="TensorFlow: alpha as it is; its depth_radius is size // 2",
        ),
    },
    examples=(
        {"shape": (3, 6, 4), "alpha": 2.0, "size": 3},
        {"shape": (5, 7), "alpha": 1.5, "size": 4},
        {"shape": (2, 3), "alpha": 0.7, "size": 9},
        {"shape": (5, 7), "alpha": 1.5, "size": 4, "dialect": "onnx"},
        {"shape": (2, 3, 5), "alpha": 0.3, "size": 4, "dialect": "krizhevsky", "channel_axis": -1},
    ),
)
def local_response_norm(
    x: Any,
    *,
    size: int = FROM_DIALECT,
    alpha: float = FROM_DIALECT,
    beta: float = FROM_DIALECT,
    k: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Any:
    """Local response normalization: each entry divided by the energy of its neighbouring channels at its position.

        y_c = x_c / (k + alpha' sum over c' in the window of c of x_c'^2)^beta

    alpha' is alpha / size (torch, onnx) or alpha (krizhevsky, tensorflow).  Windows are cut off at the first and last channel.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    size : channels in a window; where it is even, the dialect says which side has one more
    alpha, beta, k : as above

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx,).  Raises ValueError, TypeError naming the argument.

    A. Krizhevsky et al., NIPS 2012, section 3.3; the gradient is derived in operations/divisive.py.
    """
    part = NCS.partition(Layout.activations(x, channel_axis))
    pool = _window(part.blocks[1], size, alpha, dialect)
    beta, k = finite_number("beta", beta), finite_number("k", k)
    zhat, saved = divisive.forward(part.split(x), bias=k, power=beta, pool=pool)
    return part.merge(zhat), saved
