"""Layers and activations on the tape: dense, convolution, pooling, the activations that networks here use.

Weights are (out, in, *kernel), activations (N, C, *spatial).  All of it is NumPy, so all of it has derivatives of any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from refnorm.autodiff.joint import joint


def dense(x: Any, w: Any) -> Any:
    """h = x W': x (N, I), w (O, I), h (N, O)."""
    return x @ np.transpose(w)


def convolve(x: Any, w: Any) -> Any:
    """h_o = sum_i w_oi * x_i, cross-correlation, stride 1, zeros around x so that h has its size ("same").

    x (N, I, H, W), w (O, I, kh, kw) with odd kernels, h (N, O, H, W).  The windows of x are a view; one copy lays them out as
    columns (I kh kw, N H W), and one product of matrices does the rest.  h keeps the product's memory, channels outermost, in
    which a norm over the batch finds each channel's numbers side by side.
    """
    n, channels, height, width = np.shape(x)
    out, _, kh, kw = np.shape(w)
    if kh % 2 == 0 or kw % 2 == 0:
        raise ValueError(f"w has a kernel of {kh} x {kw}; it must be odd, for the output keeps the size of x")
    planes = np.pad(np.swapaxes(x, 0, 1), ((0, 0), (0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2)))
    windows = sliding_window_view(planes, (kh, kw), axis=(2, 3))                             # (I, N, H, W, kh, kw)
    columns = np.reshape(np.transpose(windows, (0, 4, 5, 1, 2, 3)), (channels * kh * kw, n * height * width))
    h = np.reshape(w, (out, channels * kh * kw)) @ columns
    return np.swapaxes(np.reshape(h, (out, n, height, width)), 0, 1)


def average_pool(x: Any, size: int = 2) -> Any:
    """The mean of each size x size block: (N, C, H, W) to (N, C, H / size, W / size)."""
    n, c, height, width = np.shape(x)
    if height % size or width % size:
        raise ValueError(f"x has shape {np.shape(x)}; blocks of {size} x {size} must divide its {height} x {width} positions")
    return np.mean(np.reshape(x, (n, c, height // size, size, width // size, size)), axis=(3, 5))


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
