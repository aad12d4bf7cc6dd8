"""Misbehaviour: writes, buffers, chance, NaN, wrong results of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refnorm.conformance import Candidate

from ..kernels import candidate
from .base import backwards, plant, wrapped


def _writes_x(f, x, *args, **kwargs):
    y = f(x, *args, **kwargs)
    if x.flags.writeable:
        x -= x.mean()
    return y


class _Stale:
    """Saves into one buffer, whatever is called in between."""

    def __init__(self) -> None:
        base = candidate("layer_norm", dtypes=("float32",))
        self.base, self.kept = base, None

    def forward(self, x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        self.kept = x.copy()
        return self.base.forward(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)

    def backward(self, dy, x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        kept = self.kept if self.kept is not None and self.kept.shape == x.shape else x
        return self.base.backward(dy, kept, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)


def _one_buffer() -> Candidate:
    buffers: dict[Any, Any] = {}

    def change(f, x, *args, **kwargs):
        y = f(x, *args, **kwargs)
        out = buffers.setdefault(y.shape, np.empty_like(y))
        out[...] = y
        return out

    return wrapped("layer_norm", change)


def _random(scale: float) -> Callable[[], Candidate]:
    rng = np.random.default_rng(0)
    return lambda: wrapped(
        "layer_norm", lambda f, *a, **k: (lambda y: (y * (1 + scale * rng.random())).astype(y.dtype))(f(*a, **k))
    )


def _nan_everywhere(f, x, *args, **kwargs):
    y = f(x, *args, **kwargs)
    return y + 0 * x.sum() if x.size else y


def _nan_over_channels(f, x, *args, **kwargs):
    y, mean, var = f(x, *args, **kwargs)
    return y + 0 * x.sum(), mean, var


def _scaled_down(f, x, *args, **kwargs):
    return f((x / (1 + np.abs(x).max(initial=0))).astype(x.dtype), *args, **kwargs)


def _nan_hidden(f, x, *args, **kwargs):
    return f(np.nan_to_num(x), *args, **kwargs)


FC = ("facts.purity", "facts.saved", "facts.determinism", "facts.confinement", "facts.independence")
plant("facts", "layer_norm", "writes to x", lambda: wrapped("layer_norm", _writes_x), "facts.purity", "forward.runs")
plant(
    "facts",
    "layer_norm",
    "writes to dy",
    lambda: backwards("layer_norm", lambda f, dy, *a, **k: (dy.__imul__(2) if dy.flags.writeable else dy, f(dy, *a, **k))[1]),
    "facts.purity",
)
plant("facts", "batch_norm", "updates the running mean in place", lambda: wrapped("batch_norm", lambda f, x, g, b, m, v, **k: (
    lambda r: (m.__setitem__(..., r[1]) if m is not None else 0, r)[1])(f(x, g, b, m, v, **k))), "facts.purity")  # fmt: skip
plant(
    "facts",
    "layer_norm",
    "saves in one place",
    lambda: (lambda s: Candidate(s.forward, s.backward, dtypes=("float32",)))(_Stale()),
    "facts.saved",
)
plant("facts", "layer_norm", "returns one buffer", _one_buffer, "facts.saved")
plant("facts", "layer_norm", "random in the last digit", _random(2e-7), "facts.determinism")
plant("facts", "layer_norm", "random in the fourth digit", _random(1e-4), "facts.determinism", "forward.y")
plant("facts", "layer_norm", "NaN spreads to all rows", lambda: wrapped("layer_norm", _nan_everywhere), "facts.confinement")
plant(
    "facts", "batch_norm", "NaN spreads to all channels", lambda: wrapped("batch_norm", _nan_over_channels), "facts.confinement"
)
plant("facts", "layer_norm", "NaN hidden", lambda: wrapped("layer_norm", _nan_hidden), "facts.confinement")
plant(
    "facts",
    "group_norm",
    "a scale of the whole array",
    lambda: wrapped("group_norm", _scaled_down),
    "forward.y",
    "facts.independence",
)
plant(
    "facts",
    "layer_norm",
    "gradient clipped",
    lambda: backwards("layer_norm", lambda f, dy, *a, **k: f(np.clip(dy, -1, 1), *a, **k)),
    "backward.dx",
    "facts.linearity",
)

CT = ("forward.runs", "forward.result", "backward.result", "backward.runs")
plant("contract", "layer_norm", "raises", lambda: wrapped("layer_norm", lambda f, x, *a, **k: 1 / 0), *CT)
plant(
    "contract",
    "layer_norm",
    "raises beyond 1000 rows",
    lambda: wrapped("layer_norm", lambda f, x, *a, **k: 1 / 0 if len(x) > 1000 else f(x, *a, **k)),
    *CT,
)
plant("contract", "layer_norm", "a list", lambda: wrapped("layer_norm", lambda f, *a, **k: f(*a, **k).tolist()), *CT)
plant("contract", "layer_norm", "None", lambda: wrapped("layer_norm", lambda f, *a, **k: None), *CT)
plant("contract", "layer_norm", "flattened", lambda: wrapped("layer_norm", lambda f, *a, **k: f(*a, **k).reshape(-1)), *CT)
plant(
    "contract",
    "layer_norm",
    "float64 for float32",
    lambda: wrapped("layer_norm", lambda f, *a, **k: f(*a, **k).astype(float)),
    *CT,
)
plant(
    "contract",
    "layer_norm",
    "float32 for float16",
    lambda: wrapped("layer_norm", lambda f, *a, **k: f(*a, **k).astype(np.float32), dtypes=("float16",)),
    *CT,
)
plant("contract", "batch_norm", "two outputs", lambda: wrapped("batch_norm", lambda f, *a, **k: f(*a, **k)[:2]), *CT)
plant("contract", "layer_norm", "dx alone, twice", lambda: backwards("layer_norm", lambda f, *a, **k: f(*a, **k) * 2), *CT)
plant(
    "contract",
    "layer_norm",
    "dgamma of a wrong shape",
    lambda: backwards("layer_norm", lambda f, *a, **k: (lambda r: (r[0], r[0], r[2]))(f(*a, **k))),
    *CT,
    "backward.parameters",
)
plant(
    "contract",
    "layer_norm",
    "dgamma in float64",
    lambda: backwards(
        "layer_norm", lambda f, *a, **k: (lambda r: (r[0], None if r[1] is None else r[1].astype(float), r[2]))(f(*a, **k))
    ),
    *CT,
)
plant("contract", "layer_norm", "integers", lambda: wrapped("layer_norm", lambda f, *a, **k: f(*a, **k).astype(int)), *CT)
