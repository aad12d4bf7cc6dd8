"""Kernels under test, written as kernel authors write them, on NumPy, in the arithmetic that they declare; and their bugs.

One body for every norm of rows: lay the entries out as (rows, n), work, lay them back.  `Parts` are its replaceable pieces:
a right implementation in another style and a planted bug are both a `Parts` with some of them replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnorm.conformance import Candidate


@dataclass(frozen=True)
class Layout:
    """How a norm lays x out as rows, and a parameter along them."""

    rows: Callable[..., Any]  # (x, options) -> (rows, n)
    back: Callable[..., Any]  # (rows, shape, options) -> x
    along: Callable[..., Any]  # (parameter, x, options) -> broadcasts to x
    reduce: Callable[..., Any]  # (terms like x, parameter) -> gradient


def _channels(p: Any, x: Any, options: dict) -> Any:
    return p.reshape(1, -1, *(1 for _ in x.shape[2:]))


def _sum_channels(terms: Any, p: Any) -> Any:
    return terms.sum(axis=(0, *range(2, terms.ndim)))


def _sum_leading(terms: Any, p: Any) -> Any:
    return terms.reshape(-1, *p.shape).sum(axis=0) if p.ndim else terms.sum()


def _trailing(x: Any, options: dict) -> Any:
    k = options["ndim"]
    return x.reshape(*x.shape[: x.ndim - k], -1).reshape(-1, int(np.prod(x.shape[x.ndim - k :])))


def _groups(x: Any, options: dict) -> Any:
    n, c = x.shape[:2]
    g = options["num_groups"]
    return x.reshape(n * g, (c // g) * int(np.prod(x.shape[2:])))


LAYOUTS = {
    "layer_norm": Layout(_trailing, lambda r, s, o: r.reshape(s), lambda p, x, o: p, _sum_leading),
    "rms_norm": Layout(_trailing, lambda r, s, o: r.reshape(s), lambda p, x, o: p, _sum_leading),
    "group_norm": Layout(_groups, lambda r, s, o: r.reshape(s), _channels, _sum_channels),
    "instance_norm": Layout(
        lambda x, o: x.reshape(x.shape[0] * x.shape[1], int(np.prod(x.shape[2:]))), lambda r, s, o: r.reshape(s), _channels,
        _sum_channels,
    ),
    "batch_norm": Layout(
        lambda x, o: np.moveaxis(x, 1, 0).reshape(x.shape[1], -1),
        lambda r, s, o: np.moveaxis(r.reshape(s[1], s[0], *s[2:]), 0, 1), _channels, _sum_channels,
    ),
    "position_norm": Layout(
        lambda x, o: np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]),
        lambda r, s, o: np.moveaxis(r.reshape(s[0], *s[2:], s[1]), -1, 1), _channels, _sum_channels,
    ),
    "mean_variance_norm": Layout(
        lambda x, o: np.moveaxis(x, o["axes"], range(x.ndim - len(o["axes"]), x.ndim)).reshape(
            -1, int(np.prod([x.shape[a] for a in o["axes"]]))
        ),
        lambda r, s, o: np.moveaxis(
            r.reshape(*[n for a, n in enumerate(s) if a not in o["axes"]], *[s[a] for a in o["axes"]]),
            range(len(s) - len(o["axes"]), len(s)), o["axes"],
        ), None, None,
    ),
}  # fmt: skip


# How means and variances are computed: every one of these is right.


def plain_mean(a: Any) -> Any:
    return a.sum(axis=1, keepdims=True) / a.dtype.type(a.shape[1])


def two_pass(x: Any) -> tuple[Any, Any]:
    mean = plain_mean(x)
    return mean, plain_mean(np.square(x - mean))


def sequential(a: Any) -> Any:
    """One addition after another: the worst order."""
    total = np.zeros((len(a), 1), a.dtype)
    for i in range(a.shape[1]):
        total += a[:, i : i + 1]
    return total / a.dtype.type(a.shape[1])


def naive(x: Any) -> tuple[Any, Any]:
    mean = sequential(x)
    return mean, sequential(np.square(x - mean))


def welford(x: Any) -> tuple[Any, Any]:
    mean, m2 = np.zeros((len(x), 1), x.dtype), np.zeros((len(x), 1), x.dtype)
    for k in range(x.shape[1]):
        delta = x[:, k : k + 1] - mean
        mean = mean + delta / x.dtype.type(k + 1)
        m2 = m2 + delta * (x[:, k : k + 1] - mean)
    return mean, m2 / x.dtype.type(x.shape[1])


def chan(x: Any, block: int = 32) -> tuple[Any, Any]:
    """Blocks of 32, merged (T. Chan, G. Golub, R. LeVeque 1979)."""
    count, mean, m2 = 0, np.zeros((len(x), 1), x.dtype), np.zeros((len(x), 1), x.dtype)
    for start in range(0, x.shape[1], block):
        part = x[:, start : start + block]
        n = part.shape[1]
        mine, var = two_pass(part)
        delta, total = mine - mean, count + n
        mean = mean + delta * x.dtype.type(n / total)
        m2 = m2 + var * x.dtype.type(n) + np.square(delta) * x.dtype.type(count * n / total)
        count = total
    return mean, m2 / x.dtype.type(count)


def halves(a: Any) -> Any:
    """Pairwise, down to single entries."""
    if a.shape[1] <= 1:
        return a.sum(axis=1, keepdims=True)
    k = a.shape[1] // 2
    return halves(a[:, :k]) + halves(a[:, k:])


def pairwise(x: Any) -> tuple[Any, Any]:
    n = x.dtype.type(x.shape[1])
    mean = halves(x) / n
    return mean, halves(np.square(x - mean)) / n


def pivoted(x: Any) -> tuple[Any, Any]:
    """One pass about the first entry of the row."""
    pivot = x[:, :1]
    d = x - pivot
    mean = plain_mean(d)
    return pivot + mean, np.maximum(plain_mean(np.square(d)) - np.square(mean), 0)


@dataclass(frozen=True)
class Parts:
    """The pieces of a kernel; every one can be replaced."""

    statistics: Callable[..., Any] = two_pass
    rstd: Callable[..., Any] = lambda var, eps: 1 / np.sqrt(var + eps)
    affine: Callable[..., Any] = lambda xhat, gamma, beta: xhat * gamma + beta
    dxhat: Callable[..., Any] = lambda dy, gamma: dy * gamma
    dx: Callable[..., Any] | None = None
    dgamma: Callable[..., Any] = lambda dy, xhat: dy * xhat
    dbeta: Callable[..., Any] = lambda dy: dy
    reduce: Callable[..., Any] | None = None
    momentum: Callable[..., Any] = lambda old, new, m: (1 - m) * old + m * new
    variance: Callable[..., Any] = lambda var, n: var * (n / max(n - 1, 1))
    layout: Layout | None = None
    cast: Callable[..., Any] | None = None  # xhat -> xhat, before the recovery
    compute: Any = None  # dtype of the arithmetic; float32 for 16 bits unless said
    enter: Callable[..., Any] = lambda x: x  # what is done to an incoming array
    leave: Callable[..., Any] = lambda y: y  # what is done to y
    rms_mean: bool = False


def standard_dx(g: Any, xhat: Any, rstd: Any, is_rms: bool) -> Any:
    mean = 0 if is_rms else plain_mean(g)
    return rstd * (g - mean - xhat * plain_mean(g * xhat))


class Kernel:
    """A norm's forward and backward, put together from Parts."""

    def __init__(self, norm: str, parts: Parts) -> None:
        self.norm, self.parts, self.layout = norm, parts, parts.layout or LAYOUTS[norm]
        self.is_rms, self.outside = norm == "rms_norm", norm == "mean_variance_norm"

    def _wide(self, a: Any) -> Any:
        if a is None:
            return None
        compute = self.parts.compute or (np.float64 if a.dtype == np.float64 else np.float32)
        return self.parts.enter(a).astype(compute)

    def _laid(self, p: Any, x: Any, options: dict, absent: float) -> Any:
        if p is None:
            return x.dtype.type(absent)
        full = np.broadcast_to(self.layout.along(self._wide(p), x, options), x.shape)
        return self.layout.rows(full, options)

    def _statistics(self, rows: Any, eps: float, given: Any = None) -> tuple[Any, Any, Any]:
        if given is not None:
            mean, var = (self._wide(s).reshape(-1, 1) for s in given)
        else:
            mean, var = self.parts.statistics(rows)
            if self.is_rms:
                mean, var = 0 * mean, plain_mean(np.square(rows))
        kind = rows.dtype.type
        rstd = 1 / (np.sqrt(var) + kind(eps)) if self.outside else self.parts.rstd(var, kind(eps))
        return mean, var, rstd

    def forward(self, x: Any, gamma: Any, beta: Any, options: dict, given: Any = None) -> tuple[Any, Any, Any, int]:
        wide = self._wide(x)
        rows = self.layout.rows(wide, options)
        mean, var, rstd = self._statistics(rows, options["eps"], given)
        xhat = (rows - mean) * rstd
        if self.parts.cast is not None:
            xhat = self.parts.cast(xhat, x.dtype)
        gamma, beta = self._laid(gamma, wide, options, 1.0), self._laid(beta, wide, options, 0.0)
        gamma = gamma + rows.dtype.type(options.get("offset", 0))
        y = self.parts.leave(self.layout.back(self.parts.affine(xhat, gamma, beta), x.shape, options))
        return y.astype(x.dtype), mean[:, 0], var[:, 0], rows.shape[1]

    def backward(self, dy: Any, x: Any, gamma: Any, beta: Any, options: dict, given: Any = None) -> list[Any]:
        wide, up = self._wide(x), self._wide(dy)
        rows, up_rows = self.layout.rows(wide, options), self.layout.rows(up, options)
        mean, _, rstd = self._statistics(rows, options["eps"], given)
        xhat = (rows - mean) * rstd
        laid = self._laid(gamma, wide, options, 1.0) + rows.dtype.type(options.get("offset", 0))
        g = self.parts.dxhat(up_rows, laid)
        dx = g * rstd if given is not None else (self.parts.dx or standard_dx)(g, xhat, rstd, self.is_rms)
        found = [self.layout.back(dx, x.shape, options).astype(x.dtype)]
        for p, terms in ((gamma, self.parts.dgamma(up_rows, xhat)), (beta, self.parts.dbeta(up_rows))):
            if p is None:
                found.append(None)
            else:
                terms = self.layout.back(np.broadcast_to(terms, rows.shape), x.shape, options)
                found.append((self.parts.reduce or self.layout.reduce)(terms, p).astype(p.dtype))
        return found


def candidate(norm: str, parts: Parts | None = None, **fields: Any) -> Candidate:
    """A kernel as a Candidate, under the contract's convention."""
    k = Kernel(norm, parts or Parts())
    forward, backward = _bound(norm, k)
    return Candidate(forward, backward, **{"name": f"{norm} kernel", **fields})


def _bound(norm: str, k: Kernel) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if norm == "layer_norm":

        def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
            return k.forward(x, gamma, beta, {"eps": eps, "ndim": normalized_ndim if gamma is None else gamma.ndim})[0]

        def backward(dy, x, gamma=None, beta=None, *, eps, normalized_ndim=1):
            return tuple(k.backward(dy, x, gamma, beta, {"eps": eps, "ndim": normalized_ndim if gamma is None else gamma.ndim}))
    elif norm == "rms_norm":

        def forward(x, gamma=None, *, eps, offset, normalized_ndim=1):
            o = {"eps": eps, "ndim": normalized_ndim if gamma is None else gamma.ndim, "offset": 0 if gamma is None else offset}
            return k.forward(x, gamma, None, o)[0]

        def backward(dy, x, gamma=None, *, eps, offset, normalized_ndim=1):
            o = {"eps": eps, "ndim": normalized_ndim if gamma is None else gamma.ndim, "offset": 0 if gamma is None else offset}
            return tuple(k.backward(dy, x, gamma, None, o)[:2])
    elif norm == "group_norm":

        def forward(x, gamma=None, beta=None, *, num_groups, eps):
            return k.forward(x, gamma, beta, {"eps": eps, "num_groups": num_groups})[0]

        def backward(dy, x, gamma=None, beta=None, *, num_groups, eps):
            return tuple(k.backward(dy, x, gamma, beta, {"eps": eps, "num_groups": num_groups}))
    elif norm == "mean_variance_norm":

        def forward(x, *, axes, eps):
            return k.forward(x, None, None, {"eps": eps, "axes": axes})[0]

        def backward(dy, x, *, axes, eps):
            return _deviation_backward(k, dy, x, {"eps": eps, "axes": axes})
    elif norm == "batch_norm":
        return _batch(k)
    else:

        def forward(x, gamma=None, beta=None, *, eps):
            return k.forward(x, gamma, beta, {"eps": eps})[0]

        def backward(dy, x, gamma=None, beta=None, *, eps):
            return tuple(k.backward(dy, x, gamma, beta, {"eps": eps}))

    return forward, backward


def _deviation_backward(k: Kernel, dy: Any, x: Any, options: dict) -> Any:
    """eps outside the root: the term of xhat is divided by s, not by s + eps."""
    rows, g = (k.layout.rows(k._wide(a), options) for a in (x, dy))
    mean, var, rstd = k._statistics(rows, options["eps"])
    s = np.sqrt(var)
    unit = np.where(s > 0, (rows - mean) / np.where(s > 0, s, 1), 0)
    dx = rstd * (g - plain_mean(g) - s * rstd * unit * plain_mean(unit * g))
    return k.layout.back(dx, x.shape, options).astype(x.dtype)


def _batch(k: Kernel) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum, eps, training):
        given = None if training else (running_mean, running_var)
        y, mean, var, n = k.forward(x, gamma, beta, {"eps": eps}, given)
        if not training or running_mean is None:
            return y, running_mean, running_var
        old = [k._wide(running_mean), k._wide(running_var)]
        new = [mean, k.parts.variance(var, n)]
        kept = [k.parts.momentum(o, b, o.dtype.type(momentum)) for o, b in zip(old, new, strict=True)]
        return y, kept[0].astype(running_mean.dtype), kept[1].astype(running_var.dtype)

    def backward(dy, x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum, eps, training):
        given = None if training else (running_mean, running_var)
        return tuple(k.backward(dy, x, gamma, beta, {"eps": eps}, given))

    return forward, backward


RIGHT: dict[str, Parts] = {
    "two passes": Parts(),
    "naive sums": Parts(statistics=naive),
    "Welford": Parts(statistics=welford),
    "Chan": Parts(statistics=chan),
    "pairwise": Parts(statistics=pairwise),
    "pivoted": Parts(statistics=pivoted),
    "folded": Parts(affine=lambda xhat, gamma, beta: gamma * xhat + beta, rstd=lambda v, e: np.sqrt(1 / (v + e))),
    "power": Parts(rstd=lambda v, e: (v + e) ** v.dtype.type(-0.5)),
}


def having(**changes: Any) -> Parts:
    return replace(Parts(), **changes)
