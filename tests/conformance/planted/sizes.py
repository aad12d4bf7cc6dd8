"""Right up to a length or a count: tails, blocks, grids."""

from __future__ import annotations

import numpy as np

from ..kernels import having, plain_mean, standard_dx
from .base import first_only, plant, whole_blocks

SZ = ("size.y", "size.gradients", "size.state")
for limit in (64, 1024):
    plant(
        "size",
        "layer_norm",
        f"mean term dropped beyond {limit}",
        having(
            dx=lambda g, h, r, rms, limit=limit: (
                standard_dx(g, h, r, rms) if g.shape[1] <= limit else r * (g - h * plain_mean(g * h))
            )
        ),
        *SZ,
    )
    plant(
        "size",
        "batch_norm",
        f"statistics of the first {limit} values",
        having(statistics=lambda x, limit=limit: first_only(x, limit)),
        *SZ,
    )
for block in (4, 32, 128):
    plant(
        "size",
        "layer_norm",
        f"tail past blocks of {block} not counted",
        having(statistics=lambda x, block=block: whole_blocks(x, block)),
        *SZ,
        "forward.y",
        "numerics.y",
    )
    plant(
        "size",
        "group_norm",
        f"tail past blocks of {block} not written",
        having(
            affine=lambda h, g, b, block=block: np.where(
                np.arange(h.shape[1]) < max(h.shape[1] // block * block, min(block, h.shape[1])), h * g + b, 0
            )
        ),
        *SZ,
        "forward.y",
        "numerics.y",
    )
plant(
    "size",
    "layer_norm",
    "rows past 65535 not written",
    having(affine=lambda h, g, b: np.where(np.arange(len(h))[:, None] < 65535, h * g + b, 0)),
    *SZ,
)
plant(
    "size",
    "layer_norm",
    "dgamma of the first 256 rows",
    having(reduce=lambda t, p: t.reshape(-1, *p.shape)[:256].sum(axis=0)),
    *SZ,
)
plant(
    "size",
    "layer_norm",
    "dgamma of whole blocks of 32 rows",
    having(reduce=lambda t, p: (lambda u: u[: max(len(u) // 32 * 32, min(32, len(u)))].sum(axis=0))(t.reshape(-1, *p.shape))),
    *SZ,
)
plant(
    "size",
    "batch_norm",
    "channels past 128 unprocessed",
    having(affine=lambda h, g, b: np.where(np.arange(len(h))[:, None] < 128, h * g + b, h)),
    *SZ,
)
plant(
    "size", "rms_norm", "row index wraps at 65536", having(affine=lambda h, g, b: (h * g + b)[np.arange(len(h)) % 65536]), *SZ
)
