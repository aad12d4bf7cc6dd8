"""Layers and activations on the tape: dense, convolution, pooling, the activations that networks here use.

Weights are (out, in, *kernel), activations (N, C, *spatial).  All of it is NumPy, so all of it has derivatives of any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from refnorm.autodiff import Box
from refnorm.autodiff.joint import joint


def dense(x: Any, w: Any) -> Any:
    """h = x W': x (N, I), w (O, I), h (N, O).  dx = g W, dW = g'x."""
    inside = isinstance(x, Box)                               # the network's input needs no cotangent

    def backward(g: Any, kept: tuple[Any, Any]) -> tuple[Any, Any]:
        x, w = kept
        return g @ w if inside else None, np.transpose(g) @ x

    return joint(lambda x, w: (x @ np.transpose(w), (x, w)), backward)(x, w)


def convolve(x: Any, w: Any) -> Any:
    """h_o = sum_i w_oi * x_i, cross-correlation, stride 1, zeros around x so that h has its size ("same").

    x (N, I, H, W), w (O, I, kh, kw) with odd kernels, h (N, O, H, W).  The windows of x are laid out as columns C of shape
    (I kh kw, N H W), and one product does the rest: h = W C, dW = g C'; dx is the correlation of g with the kernels turned
    around, O and I exchanged.  h keeps the product's memory, channels outermost, in which a norm over the batch finds each
    channel's numbers side by side.
    """
    if np.shape(w)[2] % 2 == 0 or np.shape(w)[3] % 2 == 0:
        raise ValueError(f"w has a kernel of {np.shape(w)[2]} x {np.shape(w)[3]}; it must be odd, for the output keeps "
                         f"the size of x")
    inside = isinstance(x, Box)

    def forward(x: Any, w: Any) -> tuple[Any, Any]:
        n, _, height, width = np.shape(x)
        columns = _columns(x, *np.shape(w)[2:])
        h = np.reshape(w, (np.shape(w)[0], np.shape(columns)[0])) @ columns
        return np.swapaxes(np.reshape(h, (np.shape(w)[0], n, height, width)), 0, 1), (w, columns)

    def backward(g: Any, kept: tuple[Any, Any]) -> tuple[Any, Any]:
        w, columns = kept
        rows = np.reshape(np.swapaxes(g, 0, 1), (np.shape(w)[0], np.shape(columns)[1]))
        dx = convolve(g, np.swapaxes(np.flip(w, (2, 3)), 0, 1)) if inside else None
        return dx, np.reshape(rows @ np.transpose(columns), np.shape(w))

    return joint(forward, backward)(x, w)


def _columns(x: Any, kh: int, kw: int) -> Any:
    """The windows of x, as columns: (I kh kw, N H W).  The windows are a view by strides, the columns their one copy."""
    n, channels, height, width = np.shape(x)
    planes = np.pad(np.swapaxes(x, 0, 1), ((0, 0), (0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2)))
    windows = sliding_window_view(planes, (kh, kw), axis=(2, 3))                             # (I, N, H, W, kh, kw)
    return np.reshape(np.transpose(windows, (0, 4, 5, 1, 2, 3)), (channels * kh * kw, n * height * width))


def average_pool(x: Any, size: int = 2) -> Any:
    """The mean of each size x size block: (N, C, H, W) to (N, C, H / size, W / size)."""
    n, c, height, width = np.shape(x)
    if height % size or width % size:
        raise ValueError(f"x has shape {np.shape(x)}; blocks of {size} x {size} must divide its {height} x {width} positions")
    blocks = (n, c, height // size, size, width // size, size)

    def backward(g: Any, kept: None) -> tuple[Any]:
        spread = np.broadcast_to(np.expand_dims(np.swapaxes(g, 0, 1) / size**2, (3, 5)), (c, n, *blocks[2:]))
        return (np.swapaxes(np.reshape(spread, (c, n, height, width)), 0, 1),)

    def forward(x: Any) -> tuple[Any, None]:
        parts = [x[:, :, i::size, j::size] for i in range(size) for j in range(size)]
        return sum(parts[1:], parts[0]) / size**2, None

    return joint(forward, backward)(x)


def flatten(x: Any) -> Any:
    """(N, C, *spatial) to (N, C * spatial)."""
    return np.reshape(x, (np.shape(x)[0], int(np.prod(np.shape(x)[1:]))))


relu = joint(lambda x: (np.maximum(x, 0), np.greater(x, 0)), lambda g, on: (g * on,))
"""max(x, 0), with slope 0 at 0 as frameworks have it."""

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "relu": relu,
    "tanh": np.tanh,
    "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
    "silu": lambda x: x * (1 + np.tanh(x / 2)) / 2,
}
GAINS = {"identity": 1.0, "relu": 2**0.5, "tanh": 5 / 3, "sigmoid": 1.0, "silu": 2**0.5}
"""What a weight of variance gain^2 / fan-in needs to keep the second moment through the activation: exact for relu (K. He
et al., arXiv 1502.01852) and identity, customary for the others."""
