"""Exact symmetries: results that must agree without any oracle.

Scaling by powers of two, changing signs and doubling dy commute with every rounding, so a right implementation gives the same
bits.  A root taken through exp and log, or a library's pow, need not: a difference of a few roundings is let pass.
"""

from __future__ import annotations

import numpy as np

from ..cases import Case
from ..findings import Finding
from ..session import Session
from ..tolerance import scales_exactly, scaling_is_exact
from ..tolerance_arithmetic import FORMATS
from .comparing import ran, within

LET_PASS = 16
"""Roundings of the largest entry."""


def powers_of_two(session: Session, case: Case) -> list[Finding]:
    """x -> 2^p x with eps -> 4^p eps: y, dgamma and dbeta stay, dx shrinks by 2^p, running mean and variance grow."""
    found = []
    outside = session.method.triple.operation.name == "deviation"
    for p in (-4, 5) if session.main.x.itemsize == 2 else (-12, 7, 20):
        if _is_exact(session, case, p):
            powers = {"y": 0, "dx": -p, "running_mean": p, "running_var": 2 * p}
            grown = _grown(case, p, 1 if outside else 2)
            found += _held(session, "facts.scaling", case, grown, powers, f"x scaled by 2^{p}", {})
    return found


def negation(session: Session, case: Case) -> list[Finding]:
    """x -> -x without beta: y changes its sign, dx stays, dgamma changes its sign."""
    changes = {session.convention.arrays[0]: -case.x}
    if case.arguments.get("running_mean") is not None:
        changes["running_mean"] = -case.arguments["running_mean"]
    signs = {"y": -1, "dgamma": -1, "running_mean": -1}
    return _held(session, "facts.symmetry", case, case.replaced(**changes), {}, "x with its sign changed", signs)


def linearity(session: Session, case: Case) -> list[Finding]:
    """dy -> 2 dy doubles every gradient, dy -> -dy changes its sign."""
    twice = case.replaced(dy=(2 * case.dy.astype(np.float64)).astype(case.dy.dtype))
    doubled = {"dx": 1} | {"d" + n: 1 for n in session.convention.gradients}
    turned = dict.fromkeys(doubled, -1)
    return [
        *_held(session, "facts.linearity", case, twice, doubled, "dy doubled", {}),
        *_held(session, "facts.linearity", case, case.replaced(dy=-case.dy), {}, "dy with its sign changed", turned),
    ]


def _grown(case: Case, p: int, eps_power: int) -> Case:
    def times(a: np.ndarray, q: int) -> np.ndarray:
        return (a.astype(np.float64) * 2.0**q).astype(a.dtype)

    changes = {case.convention.arrays[0]: times(case.x, p), "eps": case.arguments["eps"] * 2.0 ** (p * eps_power)}
    for name, q in (("running_mean", p), ("running_var", 2 * p)):
        if case.arguments.get(name) is not None:
            changes[name] = times(case.arguments[name], q)
    return case.replaced(**changes)


def _is_exact(session: Session, case: Case, p: int) -> bool:
    part = session.method.triple.partition(**session.method.resolve(**case.reference(), dialect=session.dialect)[0])
    z, g = (part.split(a.astype(np.float64)).reshape(-1, part.blocks[2]) for a in (case.x, case.dy))
    eps = case.arguments["eps"]
    if session.method.triple.operation.name == "deviation":
        eps = eps * eps
    return bool(np.all(scaling_is_exact(z, eps, p, case.arithmetic, g)))


def _held(
    session: Session, check: str, case: Case, changed: Case, powers: dict[str, int], words: str, signs: dict[str, int]
) -> list[Finding]:
    """Each result of `changed`, brought back by its power of two and its sign, against that of `case`."""
    first, second = session.call(case), session.call(changed)
    if not ran(first) or not ran(second) or first is None or second is None:
        return []
    found = []
    for name, value in first.values.items():
        if name not in second.values or name in ("mean", "var", "rstd"):
            continue
        role = "dx" if name == "d" + session.convention.arrays[0] else name
        p, sign = powers.get(role, 0), signs.get(role, 1)
        a, b = value.astype(np.float64), sign * np.ldexp(second.values[name].astype(np.float64), -p)
        form = FORMATS.get(value.dtype)
        unit = max(FORMATS[case.arithmetic.compute].unit, form.unit if form else 0)
        exact = scales_exactly(a, p, value.dtype) if form else np.ones(a.shape, bool)
        bound = np.where(exact, LET_PASS * unit * np.max(np.abs(a), initial=0), np.nan)
        found.append(within(check, changed, name, b, a, bound, f"{words}: not the same result", kind="changed"))
    return found
