"""Exact identities of a row: they need no oracle, and catch what a shared mistake would hide."""

from __future__ import annotations

import numpy as np

from ..cases import Case
from ..expected import Expectation
from ..findings import Finding
from ..rows import Rows
from ..session import Session
from .comparing import bounds, ran, within


def constraints(session: Session, case: Case) -> list[Finding]:
    """mean(y) = 0 and mean(y^2) = s2 / (s2 + eps) for gamma 1, beta 0, from the inputs' own s2."""
    trial, rows = session.call(case, backward=False), _rows(session, case)
    if not ran(trial) or trial is None or rows is None:
        return []
    found = []
    gamma = np.abs(np.asarray(rows.gamma, np.float64))  # 1, or 2 where an offset cannot be left out
    y, x = rows.split(trial.values["y"].astype(np.float64)) / gamma, rows.split(case.x.astype(np.float64))
    bound = rows.split(bounds(session, case)["y"]) / gamma
    kind, eps = session.method.triple.operation.name, case.arguments.get("eps") or 0.0
    centre = 0 * x[:, :1] if kind == "rms" else x.mean(axis=1, keepdims=True)
    square = np.mean(np.square(x - centre), axis=1)
    right = {"deviation": square / (np.sqrt(square) + eps) ** 2, "center": square}.get(kind, square / (square + eps))
    rounding = 1e-14 * (1 + np.abs(x).max(initial=0))
    if kind != "rms":
        zero, slack = np.zeros(len(y)), bound.mean(axis=1) + rounding
        found.append(within("facts.constraints", case, "mean of y", y.mean(axis=1), zero, slack, "not 0", kind="oracle"))
    slack = np.mean(2 * np.abs(y) * bound + np.square(bound), axis=1) + rounding
    got = np.square(y).mean(axis=1)
    words = "not s2 / (s2 + eps)"
    found.append(within("facts.constraints", case, "mean of y^2", got, right, slack, words, kind="oracle"))
    return found


def invariance(session: Session, case: Case) -> list[Finding]:
    """y of 3 x + 5 with 9 eps is y of x, on whole numbers, where both are exact inputs."""
    rms, outside = session.plan(session.main).is_rms, session.method.triple.operation.name == "deviation"
    name, eps = session.convention.arrays[0], case.arguments["eps"]
    x = (3 * case.x.astype(np.float64) + (0 if rms else 5)).astype(case.x.dtype)
    moved = case.replaced(**{name: x, "eps": eps * (3 if outside else 9)})
    first, second = session.call(case, backward=False), session.call(moved, backward=False)
    if not ran(first) or not ran(second) or first is None or second is None:
        return []
    may = bounds(session, case)["y"] + bounds(session, moved)["y"]
    words = "a x + b with a^2 eps is normalized differently"
    return [within("facts.invariance", moved, "y", second.values["y"], first.values["y"], may, words, kind="changed")]


def gradient(session: Session, case: Case) -> list[Finding]:
    """<dx, 1> = 0, and <dx, xhat> = <g, xhat> eps r^3 (eps r^2 where eps stands outside the root), row by row."""
    trial, rows = session.call(case), _rows(session, case)
    name = "d" + session.convention.arrays[0]
    if not ran(trial) or trial is None or name not in trial.values or rows is None:
        return []
    found, stats = [], rows.stats
    dx = rows.split(trial.values[name].astype(np.float64))
    bound = rows.split(bounds(session, case, gradients=True)[name])
    xhat = np.asarray(stats.xhat, np.float64)
    g = rows.split(case.dy.astype(np.float64)) * np.asarray(rows.gamma, np.float64)
    rstd, eps = np.asarray(stats.rstd, np.float64)[:, 0], case.arguments.get("eps") or 0.0
    if stats.kind != "rms":
        slack = bound.sum(axis=1)
        found.append(
            within("facts.gradient", case, "sum of dx", dx.sum(axis=1), np.zeros(len(dx)), slack, "not 0", kind="oracle")
        )
    if stats.kind != "center":
        right = (g * xhat).sum(axis=1) * eps * rstd ** (2 if stats.outside else 3)
        slack = (bound * np.abs(xhat)).sum(axis=1) + 1e-14 * np.abs(g * xhat).sum(axis=1) * rstd
        got, words = (dx * xhat).sum(axis=1), "not <g, xhat> eps r^3"
        found.append(within("facts.gradient", case, "<dx, xhat>", got, right, slack, words, kind="oracle"))
    return found


def _rows(session: Session, case: Case) -> Rows | None:
    """The expectation's rows, or None where the method is no map of rows."""
    expectation = Expectation(case, session.dialect, session.casts)
    return expectation.rows if expectation.by_rows else None
