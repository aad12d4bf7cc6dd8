"""Divisive normalization over neighbourhoods: of windows, and of learned pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.anatomy.area import Layout
from refnorm.anatomy.arguments import positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.operations import divisive

from .local_response import NEIGHBOURS
from .response import AFFINE, NCS, per_channel


def _means(
    x: Any, centre_window: Any, pool_window: Any, channel_axis: int, dialect: Any
) -> tuple[Layout, divisive.Pooling, divisive.Pooling]:
    """Layout, and two poolings on x itself: means over windows of positions and all channels, or over windows of channels."""
    layout = Layout.activations(x, channel_axis)
    (channel,), spatial = layout.axes_of("c"), layout.axes_of("s")
    axes = spatial or (channel,)
    centre, pool = _lengths(centre_window, "centre_window", len(axes)), _lengths(pool_window, "pool_window", len(axes))
    everywhere = ((channel, np.full((layout.shape[channel],) * 2, 1 / layout.shape[channel])),) if spatial else ()

    def means(lengths: tuple[int, ...], divisors: tuple[int, ...]) -> divisive.Pooling:
        windows = [divisive.window(layout.shape[a], *NEIGHBOURS["half after"](n)) for a, n in zip(axes, lengths, strict=True)]
        if spoken(dialect).conventions["edges"] == "cut":
            windows = [w / np.sum(w, axis=1, keepdims=True) for w in windows]
        else:
            windows = [w / divisor for w, divisor in zip(windows, divisors, strict=True)]
        return *zip(axes, windows, strict=True), *everywhere

    return layout, means(centre, centre), means(pool, centre if spatial else pool)


def _lengths(window: Any, name: str, axes: int) -> tuple[int, ...]:
    lengths = window if isinstance(window, tuple) else (window,) * axes
    if len(lengths) != axes:
        raise ValueError(f"{name} is {window!r}; it must be a positive integer, or {axes} of them, one an axis")
    return tuple(positive_integer(name, n) for n in lengths)


def _divisive_backward(
    dy: Any, saved: divisive.Saved, *, x, gamma, beta, centre_window, pool_window, channel_axis, dialect, **_: Any
) -> tuple:
    layout, centre, pool = _means(x, centre_window, pool_window, channel_axis, dialect)
    xhat = saved.centred / np.sqrt(saved.pooled)
    dxhat, parameters = AFFINE.backward(dy, xhat, gamma, beta, layout)
    return divisive.backward(dxhat, saved, power=0.5, pool=pool, centre=centre)[0], *parameters


@method(
    backward=_divisive_backward,
    arrays=("x", "gamma", "beta"),
    shapes=per_channel("gamma", "beta"),
    cite=Citation(
        "M. Ren, R. Liao, R. Urtasun, F. H. Sinz, R. S. Zemel",
        "Normalizing the Normalizers: Comparing and Extending Network Normalization Schemes",
        "ICLR",
        2017,
        "1611.04520",
    ),
    formula="v = x - mean over a window of x;  y = gamma v / sqrt(mean over a window of v^2 + eps) + beta",
    # a re-centring W + 1 g' shifts all channels alike, but differently at each position: only a window over channels removes it
    facts=invariances("yes no dense no no yes no yes"),
    dialects={
        "paper": Dialect(
            {"eps": 1.0}, conventions={"edges": "cut"}, spoken_by="the paper: means over the neighbours that exist"
        ),
        "repo": Dialect(
            {"eps": 1.0},
            conventions={"edges": "padded"},
            spoken_by="the authors' code: zeros beyond the edge count; on images the first window's size divides both",
        ),
    },
    examples=(
        {"shape": (3, 2, 5), "centre_window": 3, "pool_window": 4},
        {"shape": (4, 7), "centre_window": 5, "pool_window": 3},
        {"shape": (2, 3, 4, 2), "centre_window": (3, 2), "pool_window": (2, 3), "channel_axis": -1, "dialect": "repo"},
        {"shape": (4, 7), "centre_window": 5, "pool_window": 2, "dialect": "repo"},
    ),
)
def divisive_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    centre_window: int | tuple[int, ...],
    pool_window: int | tuple[int, ...],
    eps: float = FROM_DIALECT,
    channel_axis: int = 1,
    dialect: str = "paper",
    backend: str = "numpy",
) -> Any:
    """Divisive normalization: each entry centred and divided within a neighbourhood of its own.

        v = x - mean of x over the centre window        y = gamma_c v / sqrt(mean of v^2 over the pool window + eps) + beta_c

    With spatial axes a neighbourhood is a window of positions and all channels there; without, a window of channels.  Each v
    has a centre of its own, so the mean of v^2 is no variance.  Windows over everything give layer norm with eps = sigma^2.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    centre_window, pool_window : lengths, one for all axes or one an axis; an even one reaches one further to the end
    eps : the paper's sigma^2

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    M. Ren et al., arXiv 1611.04520, equation 4; the gradient is derived in operations/divisive.py.
    """
    layout, centre, pool = _means(x, centre_window, pool_window, channel_axis, dialect)
    xhat, saved = divisive.forward(x, bias=eps, power=0.5, pool=pool, centre=centre)
    return AFFINE.forward(xhat, gamma, beta, layout), saved


def _generalized_backward(dy: Any, saved: divisive.Saved, *, x, beta, gamma, inverse, channel_axis, **_: Any) -> tuple:
    part = NCS.partition(Layout.activations(x, channel_axis))
    g = part.split(dy)
    dz, dq = divisive.backward(g, saved, power=-0.5 if inverse else 0.5, pool=((1, gamma),))
    dgamma = np.sum(dq @ np.swapaxes(np.square(saved.centred), 1, 2), axis=0)
    return part.merge(dz), np.sum(dq, axis=(0, 2)), dgamma


@method(
    backward=_generalized_backward,
    arrays=("x", "beta", "gamma"),
    shapes=lambda x, channel_axis, **_: {
        "beta": Layout.activations(x, channel_axis).lengths("c"),
        "gamma": Layout.activations(x, channel_axis).lengths("c") * 2,
    },
    positive=("beta", "gamma"),
    cite=Citation(
        "J. Ballé, V. Laparra, E. P. Simoncelli",
        "Density Modeling of Images Using a Generalized Normalization Transformation",
        "ICLR",
        2016,
        "1511.06281",
    ),
    formula="y_c = x_c / sqrt(beta_c + sum over c' of gamma_cc' x_c'^2)",
    facts=invariances("no no no no no no no no"),
    dialects={"balle": Dialect(spoken_by="the authors, exponents 2 and 1/2 as in arXiv 1611.01704")},
    examples=(
        {"shape": (3, 4, 5)},
        {"shape": (5, 4)},
        {"shape": (5, 4), "inverse": True},
        {"shape": (2, 3, 2, 3), "channel_axis": -1},
    ),
)
def generalized_divisive_norm(
    x: Any,
    beta: Any,
    gamma: Any,
    *,
    inverse: bool = False,
    channel_axis: int = 1,
    dialect: str = "balle",
    backend: str = "numpy",
) -> Any:
    """Generalized divisive normalization (GDN): each channel divided by a learned pool of all channels at its position.

        y_c = x_c / sqrt(beta_c + sum over c' of gamma_cc' x_c'^2);      with inverse=True times that root, the decoder's IGDN

    IGDN is the authors' approximate inverse: one step of the fixed-point iteration that inverts GDN.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    beta : (C,), positive
    gamma : (C, C), not negative; row c is what divides channel c

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dbeta, dgamma).
    Raises ValueError, TypeError naming the argument.

    J. Ballé et al., arXiv 1511.06281, with alpha = 2 and epsilon = 1/2; the gradient is derived in operations/divisive.py.
    """
    part = NCS.partition(Layout.activations(x, channel_axis))
    bias, power = np.reshape(beta, (1, -1, 1)), -0.5 if inverse else 0.5
    zhat, saved = divisive.forward(part.split(x), bias=bias, power=power, pool=((1, gamma),))
    return part.merge(zhat), saved
