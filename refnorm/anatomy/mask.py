"""Mask: which entries count in the statistics; the entries left out are normalized like the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .area import Layout, Partition


def masked(arguments: Mapping[str, Any], layout: Layout) -> Any:
    """Which entries count in the statistics: those that the argument `mask` names, less those that the layout pads."""
    mask = arguments.get("mask")
    return np.ones((), bool) if mask is None and layout.missing else mask


def spread_mask(mask: Any, layout: Layout) -> np.ndarray:
    """A mask (True where an entry counts) in the layout's shape."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"mask has dtype {mask.dtype}; it must be boolean, True where an entry counts")
    try:
        return layout.read(np.broadcast_to(mask, layout.native))
    except ValueError:
        raise ValueError(f"mask has shape {mask.shape}; it must broadcast to the shape of x, {layout.native}") from None


def weights(mask: Any, layout: Layout, part: Partition) -> tuple[np.ndarray, np.ndarray]:
    """A mask as weights (B, 1, M) that sum to 1 along M, and the count (B,) behind them."""
    full = spread_mask(mask, layout)
    weight = part.split(full).astype(np.float64)
    if np.any(weight != weight[:, :1]):
        raise ValueError("mask differs among channels whitened together; it must be the same for them, as (N, 1, *spatial) is")
    weight = weight[:, :1]
    counted = weight.sum(axis=2, keepdims=True)
    if np.any(counted == 0):
        raise ValueError(f"mask leaves {int(np.sum(counted == 0))} of {counted.size} statistics over no entries at all")
    return weight / counted, counted[:, 0, 0]
