"""The four witnesses of a method's forward and backward, and a second-order one.

loops        naive index loops in arbitrary precision, which share no code with the method, against the forward
tape         the tape over the forward against the explicit backward
differences  central differences of the forward against the explicit backward
slope        the Taylor remainder of the forward with the tape's gradient: it must fall like h^2
peer         PyTorch's own operation and its autograd, in float64
rule         loops over the published rule of a backward that is deliberately not the gradient, in the place of tape,
             differences and curvature
curvature    a Hessian-vector product through the forward, through the explicit backward, and by differences of it
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refnorm import oracles
from refnorm.autodiff import frozen, hvp, vjp
from refnorm.oracles import LOOPS, to_float64
from refnorm.oracles import exact as exactly

from . import peers
from .finding import UNIT, Finding, relative
from .problem import Problem


def loops(problem: Problem) -> Finding:
    method = problem.method
    if method.name not in LOOPS:
        return Finding(method.name, "loops", False, np.inf, 0.0, "no loop oracle: write one in refnorm/oracles")
    exact = exactly(method.name, problem.arguments())
    y, _, *state = problem.forward(*problem.arrays)
    mine = (y, *(np.asarray(s) for s in state[0] if isinstance(s, np.ndarray))) if state else (y,)
    errors = [relative(a, to_float64(b)) for a, b in zip(mine, exact, strict=True)]
    return _finding(problem, "loops", max(errors), problem.rounding())


def tape(problem: Problem) -> Finding:
    if _by_rule(problem):
        return _ruled(problem, "tape")
    dy = problem.rng().normal(size=np.shape(problem.call(*problem.arrays)))
    _, pull = vjp(problem.call, *problem.arrays)
    errors = [relative(a, b) for a, b in zip(problem.gradient(dy, *problem.arrays), pull(dy), strict=True)]
    return _finding(problem, "tape", max(errors), problem.rounding())


def differences(problem: Problem) -> Finding:
    """Central differences along a random direction: truncation h^2, rounding u / h, so h = u^(1/3) and a bound of 1e3 h^2."""
    if _by_rule(problem):
        return _ruled(problem, "differences")
    rng, f = problem.rng(), frozen(problem.call, *problem.arrays)
    dy = rng.normal(size=np.shape(f(*problem.arrays)))
    v = [rng.normal(size=a.shape) for a in problem.arrays]
    h = UNIT ** (1 / 3)
    ahead, behind = (f(*(a + s * h * d for a, d in zip(problem.arrays, v, strict=True))) for s in (1, -1))
    measured = np.sum(dy * (ahead - behind)) / (2 * h)
    gradients = problem.gradient(dy, *problem.arrays)
    terms = [g * d for g, d in zip(gradients, v, strict=True)]
    scale = np.sqrt(sum(float(np.sum(np.square(t))) for t in terms))
    error = abs(measured - sum(float(np.sum(t)) for t in terms)) / scale
    return _finding(problem, "differences", error, 1e3 * h**2)


def slope(problem: Problem) -> Finding:
    """The remainder <dy, f(a + h v) - f(a)> - h <gradient, v> is h^2 times a constant: halving h must quarter it.

    To leading order: so the order is read off the four smallest steps whose remainder stands clear of rounding.
    """
    rng, f = problem.rng(), frozen(problem.call, *problem.arrays)
    y, pull = vjp(problem.call, *problem.arrays)
    dy = rng.normal(size=np.shape(y))
    v = [rng.normal(size=a.shape) for a in problem.arrays]
    first = sum(float(np.sum(g * d)) for g, d in zip(pull(dy), v, strict=True))
    steps = 2.0 ** -np.arange(6, 16)
    moved = (f(*(a + h * d for a, d in zip(problem.arrays, v, strict=True))) for h in steps)
    remainders = np.array([abs(float(np.sum(dy * (m - y))) - h * first) for h, m in zip(steps, moved, strict=True)])
    floor = problem.rounding() * float(np.sum(np.abs(dy * y)))
    seen = np.flatnonzero(remainders > 8 * floor)[-4:]
    if len(seen) < 3:                  # linear along v: there is no remainder at all
        return _finding(problem, "slope", float(np.max(remainders)), 64 * floor, "no remainder")
    order = np.polyfit(np.log2(steps[seen]), np.log2(remainders[seen]), 1)[0]
    return _finding(problem, "slope", 2 - order, 0.1, f"the remainder falls like h^{order:.3f}")


def peer(problem: Problem) -> Finding:
    missing = peers.reason_not_to_ask(problem)
    if missing:
        return Finding(problem.method.name, "peer", True, 0.0, 0.0, skipped=missing)
    dy = problem.rng().normal(size=np.shape(problem.call(*problem.arrays)))
    y, gradients, state = peers.ask(problem, dy)
    mine, _, *new_state = problem.forward(*problem.arrays)
    errors = [relative(mine, y)]
    errors += [relative(a, b) for a, b in zip(problem.gradient(dy, *problem.arrays), gradients, strict=True)]
    if state is not None:
        kept = [s for s in new_state[0] if isinstance(s, np.ndarray)]
        errors += [relative(a, b) for a, b in zip(kept, state, strict=True)]
    return _finding(problem, "peer", max(errors), 1e-10)


def curvature(problem: Problem) -> Finding:
    """Hessian-vector products of <t, tanh(y)> in the first array: forward twice taped, backward once taped, differences."""
    if _by_rule(problem):
        return _ruled(problem, "curvature")
    rng, (first, *rest) = problem.rng(), problem.arrays
    t, v = rng.normal(size=np.shape(problem.call(first, *rest))), rng.normal(size=first.shape)

    def loss(a):
        return np.sum(t * np.tanh(problem.call(a, *rest)))

    def explicit(a):
        y = problem.call(a, *rest)
        return problem.gradient(t * (1 - np.square(np.tanh(y))), a, *rest)[0]

    twice = hvp(loss, first, v)
    once = vjp(explicit, first)[1](v)[0]
    h, held = UNIT ** (1 / 3), frozen(explicit, first)
    measured = (held(first + h * v) - held(first - h * v)) / (2 * h)
    scale = problem.rounding()
    worst = max(relative(twice, once) / scale, relative(twice, measured) / (1e4 * h**2))
    return _finding(problem, "curvature", worst, 1.0, "in units of each comparison's own bound")


def rule(problem: Problem) -> Iterator[Finding]:
    """A backward that is deliberately not the gradient, against loops over its published rule; and a witness that it is not."""
    if not _by_rule(problem):
        return
    dy = problem.rng().normal(size=np.shape(problem.call(*problem.arrays)))
    *gradients, state = problem.method.backward(dy, problem.forward(*problem.arrays)[1])
    mine = (*gradients, *(np.asarray(s) for s in state if isinstance(s, np.ndarray)))
    exact = exactly(problem.method.name, {"dy": dy, **problem.arguments()}, oracles.RULES)
    errors = [relative(a, to_float64(b)) for a, b in zip(mine, exact, strict=True)]
    yield _finding(problem, "rule", max(errors), problem.rounding(), problem.method.rule)
    if problem.options.get("state") is None:         # a fresh state may hold nothing yet that sets the rule apart
        return
    _, pull = vjp(problem.call, *problem.arrays)
    apart = relative(gradients[0], pull(dy)[0])
    yield _finding(problem, "not the gradient", 1e-3 / max(apart, UNIT), 1.0, f"{apart:.2g} of its scale away from it")


def _by_rule(problem: Problem) -> bool:
    return bool(problem.method.rule) and problem.training


def _ruled(problem: Problem, proof: str) -> Finding:
    return Finding(problem.method.name, proof, True, 0.0, 0.0, skipped="the backward is a published rule, see the proof `rule`")


def _finding(problem: Problem, proof: str, error: float, bound: float, words: str = "") -> Finding:
    return Finding(problem.method.name, proof, bool(error <= bound), float(error), bound, f"{problem.label}: {words}")


