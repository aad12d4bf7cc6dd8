"""How far a convolutional layer is from preserving norms; ConvNorm's channels.

ConvNorm divides channel o's response at each frequency by its length over the input channels (S. Liu et al., arXiv 2103.00673;
operations/conv_precondition.py).  So channel o is Q_o with Q_o Q_o' = I on a circular grid at stride 1 and eps 0, and the
channels stacked have |Q|_2^2 <= sum_o |Q_o|_2^2 = O, their number, with equality where all respond alike.  For independent
random channels the rows at a frequency are O random unit vectors of I complex dimensions: |Q|_2 is near 1 + sqrt(O / I).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def matrix_of(layer: Callable[[Any], Any], shape: tuple[int, ...]) -> np.ndarray:
    """A linear layer, batch (N, *shape) to (N, ...), as a matrix (outputs, inputs): what it makes of each unit vector."""
    n = int(np.prod(shape))
    columns = np.asarray(layer(np.eye(n).reshape(n, *shape)))
    return columns.reshape(n, -1).T


def channel_defect(q: np.ndarray, channels: int) -> float:
    """max over channels of |Q_o Q_o' - I|_2, rows of Q in `channels` blocks: 0 for channel-wise isometries."""
    blocks = q.reshape(channels, -1, q.shape[1])
    return float(max(np.linalg.norm(b @ b.T - np.eye(len(b)), 2) for b in blocks))
