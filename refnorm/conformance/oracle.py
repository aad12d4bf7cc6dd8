"""The oracle in arbitrary precision: a norm and its gradient by naive index loops, for small shapes.

It shares no code with refnorm's reference: entries are sorted into rows by their indices, sums are exact to 40 digits more
than float64 holds, and the gradient is the chain rule through variance and mean (S. Ioffe and C. Szegedy, arXiv 1502.03167,
section 3), not the projector that operations/standardize.py derives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

DIGITS = 60


class Exact(NamedTuple):
    """float64 roundings of exact values: y, per-entry rows; and the exact numbers behind them."""

    y: np.ndarray
    state: tuple[np.ndarray, np.ndarray] | None
    xhat: dict[tuple[int, ...], Any]
    rows: dict[Any, Row]


class Row(NamedTuple):
    """One set of shared statistics: the entries' indices, and exact numbers."""

    entries: list[tuple[int, ...]]
    mean: Any
    var: Any  # mean square for rms
    rstd: Any


def knows(norm: str) -> bool:
    return norm in ROW_OF


def exact(norm: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """{"y": ..., "state": (mean, var) or None} of a norm, rounded to float64.

    arguments: as `Method.resolve` gives them.  Raises KeyError for a norm without loops (`knows` tells).
    """
    found = _forward(norm, arguments)
    return {"y": found.y, **({"state": found.state} if found.state is not None else {})}


def exact_gradients(norm: str, arguments: Mapping[str, Any], dy: np.ndarray) -> dict[str, np.ndarray]:
    """{"x": dx, "gamma": ..., "beta": ...} for those that are given, rounded to float64."""
    import mpmath

    with mpmath.workdps(DIGITS):
        found, x = _forward(norm, arguments), arguments["x"]
        parameter = PARAMETER_OF[norm]
        gamma, beta, offset = arguments.get("gamma"), arguments.get("beta"), _number(arguments.get("offset") or 0)
        dgamma: dict[Any, Any] = {}
        dbeta: dict[Any, Any] = {}
        cotangent = {}
        for i in np.ndindex(x.shape):
            up, p = _number(dy[i]), parameter(i, arguments)
            dgamma[p] = dgamma.get(p, 0) + up * found.xhat[i]
            dbeta[p] = dbeta.get(p, 0) + up
            cotangent[i] = up if gamma is None else up * (offset + _number(gamma[p]))
        dx = np.zeros(x.shape)
        for row in found.rows.values():
            _row_gradient(norm, arguments, row, cotangent, dx)
        gradients = {"x": dx}
        for name, given, sums in (("gamma", gamma, dgamma), ("beta", beta, dbeta)):
            if given is not None:
                gradients[name] = np.array([float(sums.get(p, 0)) for p in np.ndindex(given.shape)]).reshape(given.shape)
        return gradients


def _row_gradient(norm: str, arguments: Mapping[str, Any], row: Row, up: Mapping[tuple[int, ...], Any], dx: np.ndarray) -> None:
    """The chain rule of one row: through xhat, then the statistic, then the mean."""
    import mpmath

    n, r = len(row.entries), row.rstd
    if not arguments.get("training", True):
        for i in row.entries:
            dx[i] = float(up[i] * r)
        return
    centred = {i: _number(arguments["x"][i]) - row.mean for i in row.entries}
    along = mpmath.fsum(up[i] * centred[i] for i in row.entries)
    if norm == "mean_variance_norm":  # r = 1 / (s + eps), ds/dvar = 1 / (2 s); s = 0 is a corner
        dvar = -along * r**2 / (2 * mpmath.sqrt(row.var)) if row.var else mpmath.mpf(0)
    else:
        dvar = -along * r**3 / 2
    total = mpmath.fsum(up.get(i) for i in row.entries)
    dmean = mpmath.mpf(0) if norm == "rms_norm" else -r * total
    for i in row.entries:
        dx[i] = float(up[i] * r + dvar * 2 * centred[i] / n + dmean / n)


def _forward(norm: str, arguments: Mapping[str, Any]) -> Exact:
    import mpmath

    with mpmath.workdps(DIGITS):
        x, row_of, parameter = arguments["x"], ROW_OF[norm], PARAMETER_OF[norm]
        members: dict[Any, list[tuple[int, ...]]] = {}
        for i in np.ndindex(x.shape):
            members.setdefault(row_of(i, arguments), []).append(i)
        rows = {key: _statistics(norm, arguments, key, entries) for key, entries in members.items()}
        gamma, beta, offset = arguments.get("gamma"), arguments.get("beta"), _number(arguments.get("offset") or 0)
        y, xhat = np.zeros(x.shape), {}
        for row in rows.values():
            for i in row.entries:
                xhat[i] = (_number(x[i]) - row.mean) * row.rstd
                p = parameter(i, arguments)
                value = xhat[i] if gamma is None else xhat[i] * (offset + _number(gamma[p]))
                y[i] = float(value if beta is None else value + _number(beta[p]))
        return Exact(y, _state(arguments, rows), xhat, rows)


def _statistics(norm: str, arguments: Mapping[str, Any], key: Any, entries: list[tuple[int, ...]]) -> Row:
    import mpmath

    values, eps, n = [_number(arguments["x"][i]) for i in entries], _number(arguments["eps"]), len(entries)
    if not arguments.get("training", True):
        mean, var = (_number(np.broadcast_to(s, _channels(arguments))[key]) for s in arguments["state"][:2])
        return Row(entries, mean, var, 1 / mpmath.sqrt(var + eps))
    mean = mpmath.mpf(0) if norm == "rms_norm" else mpmath.fsum(values) / n
    var = mpmath.fsum((v - mean) ** 2 for v in values) / n
    deviation = mpmath.sqrt(var) + eps if norm == "mean_variance_norm" else mpmath.sqrt(var + eps)
    return Row(entries, mean, var, 1 / deviation if deviation else mpmath.inf)


def _state(arguments: Mapping[str, Any], rows: Mapping[Any, Row]) -> tuple[np.ndarray, np.ndarray] | None:
    """Running statistics after this batch, by the dialect's rule written out once more."""
    state = arguments.get("state")
    if "state" not in arguments:
        return None
    shape = _channels(arguments)
    old_mean, old_var, seen = (np.zeros(()), np.ones(()), 0) if state is None else state
    olds = np.broadcast_to(old_mean, shape), np.broadcast_to(old_var, shape)
    if not arguments["training"]:
        return olds
    population, momentum = arguments["dialect"].population, arguments["momentum"]
    if momentum is None:
        new = 1 / _number(seen + 1)
    else:
        new = _number(momentum) if population.weighs == "new" else 1 - _number(momentum)
    means, variances = np.zeros(shape), np.zeros(shape)
    for c, row in rows.items():
        n = len(row.entries)
        var = row.var * n / max(n - 1, 1) if population.variance == "unbiased" else row.var
        means[c] = float((1 - new) * _number(olds[0][c]) + new * row.mean)
        variances[c] = float((1 - new) * _number(olds[1][c]) + new * var)
    return means, variances


def _number(value: Any) -> Any:
    import mpmath

    return mpmath.mpf(float(value))


def _channels(arguments: Mapping[str, Any]) -> tuple[int]:
    return (arguments["x"].shape[arguments["channel_axis"]],)


def _channel(i: tuple[int, ...], arguments: Mapping[str, Any]) -> int:
    return i[arguments["channel_axis"]]


def _without_channel(i: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, ...]:
    axis = arguments["channel_axis"] % len(i)
    return i[:axis] + i[axis + 1 :]


def _group(i: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, int]:
    return i[0], _channel(i, arguments) * arguments["num_groups"] // _channels(arguments)[0]


def _leading(i: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, ...]:
    return i[: arguments["axis"] % len(i)]


def _trailing(i: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, ...]:
    return i[arguments["axis"] % len(i) :]


def _kept(i: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, ...]:
    over = {a % len(i) for a in arguments["axes"]}
    return tuple(k for a, k in enumerate(i) if a not in over)


Key = Callable[[tuple[int, ...], Mapping[str, Any]], Any]
ROW_OF: dict[str, Key] = {
    "batch_norm": _channel,
    "layer_norm": _leading,
    "rms_norm": _leading,
    "instance_norm": lambda i, arguments: (i[0], _channel(i, arguments)),
    "group_norm": _group,
    "position_norm": _without_channel,
    "mean_variance_norm": _kept,
}
PARAMETER_OF: dict[str, Key] = {
    **dict.fromkeys(
        ("batch_norm", "instance_norm", "group_norm", "position_norm"), lambda i, arguments: (_channel(i, arguments),)
    ),
    **dict.fromkeys(("layer_norm", "rms_norm"), _trailing),
    "mean_variance_norm": _kept,
}
