"""The declared facts, in both directions: what is said to hold does, and what is said not to hold has a witness.

invariances   h(T v) = h(v) for a layer h = norm(W x) or norm(W) x, with the gradient's answer T' dL(T v) = dL(v), its exponent,
              and <dL/dv, generator> = 0 through the explicit backward and through differences
constraints   what the operation's output satisfies exactly, at eps = 0 and with eps; how many, as the rank of their Jacobian
identities    <dz, 1> = 0 and the exact <dz, zhat>, of the explicit backward
purity        no argument is written to, and two runs give the same bits
confinement   NaN and infinity stay in the block where they entered
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refnorm.anatomy.facts import TRANSFORMATIONS
from refnorm.anatomy.method import Method
from refnorm.autodiff import jacobian, vjp

from .finding import UNIT, Finding, relative, rounding
from .problem import Problem, draw

WITNESS = 1e-3
"""A cell says no where the output moves by more than this much of its scale: thirteen orders above rounding."""


class Layer:
    """h = norm(W x), or norm(W) x: the method inside a dense layer, or in a 1 x 1 convolution where there are positions.

    Where the method is a layer itself, h = norm(W, x).
    """

    def __init__(self, method: Method, example: Any, rng: np.random.Generator) -> None:
        self.method, shape = method, example["shape"]
        arrays, self.options = draw(method, example, rng)
        self.parameters = {name: arrays[name] for name in list(arrays)[1:]}
        if "eps" in method.signature.parameters and "eps" not in self.options:
            self.options["eps"] = 0.0               # invariances to scale are exact there, and only there
        n, c, *spatial = shape
        if method.acts_on == "activations":
            self.weight, self.data = rng.normal(size=(c, 7)), 0.5 + rng.normal(size=(n, 7, *spatial))
        elif method.acts_on == "layer":
            self.data, self.weight = arrays[method.arrays[0]], self.parameters.pop(method.arrays[1])
        else:
            self.weight, self.data = 0.5 + rng.normal(size=shape), rng.normal(size=(4, int(np.prod(shape[1:]))))
        self.dy = rng.normal(size=np.shape(self(self.weight, self.data)))

    def __call__(self, weight: Any, data: Any) -> Any:
        if self.method.acts_on == "weights":
            w = self.method.forward(weight, **self.parameters, **self.options)[0]
            return data @ np.reshape(w, (np.shape(w)[0], -1)).T
        if self.method.acts_on == "layer":
            return self.method.forward(data, weight, **self.parameters, **self.options)[0]
        return self.method.forward(self.linear(weight, data), **self.parameters, **self.options)[0]

    def linear(self, weight: Any, data: Any) -> Any:
        return np.moveaxis(np.tensordot(weight, data, axes=(1, 1)), 0, 1)

    def gradients(self, weight: Any, data: Any) -> tuple[Any, Any]:
        """dL/dW and dL/dx of L = <dy, h>, through the method's explicit backward."""
        if self.method.acts_on == "weights":
            w, cache, *_ = self.method.forward(weight, **self.parameters, **self.options)
            dw = np.reshape(self.dy.T @ data, np.shape(w))
            return self.method.backward(dw, cache)[0], self.dy @ np.reshape(w, (len(w), -1))
        if self.method.acts_on == "layer":
            _, cache, *_ = self.method.forward(data, weight, **self.parameters, **self.options)
            ddata, dweight, *_ = self.method.backward(self.dy, cache)
            return dweight, ddata
        _, pull = vjp(self.linear, weight, data)
        _, cache, *_ = self.method.forward(self.linear(weight, data), **self.parameters, **self.options)
        dweight, ddata = pull(self.method.backward(self.dy, cache)[0])
        return dweight, ddata


def settings(method: Method) -> Iterator[tuple[str, Any]]:
    """One declared example without spatial axes ("dense") and one with them ("spatial"), channels at axis 1."""
    axis = method.signature.parameters.get("channel_axis")
    examples = [e for e in method.examples if axis is None or e.get("channel_axis", axis.default) % len(e["shape"]) == 1]
    for name, fits in (("dense", lambda rank: rank == 2), ("spatial", lambda rank: rank > 2)):
        found = [e for e in examples if fits(len(e["shape"]))]
        if found:
            yield name, found[0]


def invariance_cell(method: Method, transformation: str) -> tuple[str, str, float]:
    """The cell as measured ("yes", "forward", "dense", "no"), its words, and the worst error where it holds."""
    t, held, words, worst = TRANSFORMATIONS[transformation], {}, [], 0.0
    stopped = []
    for setting, example in settings(method):
        rng = np.random.default_rng(7)
        layer = Layer(method, example, rng)
        moved = relative(*_before_and_after(layer, t, rng))
        bound = 1e3 * rounding(layer.data.size)
        held[setting] = moved <= bound
        if held[setting]:
            error, exponent = _gradient_answers(layer, t, np.random.default_rng(8))
            if method.stops and error >= WITNESS:
                stopped.append(setting)
                why = f"its gradient not, by {error:.2g}: {' '.join(method.stops)} stopped"
                words.append(f"{setting}: the output to {moved:.0e}, {why}")
                continue
            held[setting] = error <= bound
            worst = max(worst, moved / bound, error / bound)
            words.append(f"{setting}: holds to {moved:.0e}, gradient to {error:.0e}, exponent {exponent:+d}")
        else:
            words.append(f"{setting}: no, {t.words} moves the output by {moved:.2g} of its scale")
            if moved < WITNESS:
                worst = np.inf                      # neither rounding nor a witness
    if all(held.values()):
        cell = "forward" if stopped else "yes"
    else:
        cell = "dense" if held.get("dense") else "no"
    return cell, "; ".join(words), worst


def _before_and_after(layer: Layer, t: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    v = layer.weight if t.of == "weight" else layer.data
    moved = t.apply(v, t.draw(rng, v.shape))
    after = layer(moved, layer.data) if t.of == "weight" else layer(layer.weight, moved)
    return layer(layer.weight, layer.data), after


def _gradient_answers(layer: Layer, t: Any, rng: np.random.Generator) -> tuple[float, int]:
    """The worst of: T' dL(T v) = dL(v); <dL/dv, generator> = 0; the output's difference along the generator; the exponent."""
    which = 0 if t.of == "weight" else 1
    v = (layer.weight, layer.data)[which]

    def at(u: Any) -> tuple[Any, Any]:
        return (u, layer.data) if which == 0 else (layer.weight, u)

    a = t.draw(rng, v.shape)
    before = layer.gradients(*at(v))[which]
    after = layer.gradients(*at(t.apply(v, a)))[which]
    generator = t.generator(v, a)
    along = abs(np.sum(before * generator)) / np.sqrt(np.sum(np.square(before)) * np.sum(np.square(generator)))
    h = UNIT ** (1 / 3)
    ahead, behind = layer(*at(v + h * generator)), layer(*at(v - h * generator))
    drift = relative(ahead, behind) * UNIT ** (2 / 3) / h         # in units where h^2 is rounding
    uniform = 3.0 * np.ones_like(a)
    answer = layer.gradients(*at(t.apply(v, uniform)))[which]
    exponent = np.log(np.linalg.norm(answer) / np.linalg.norm(before)) / np.log(3.0)
    error = max(relative(t.adjoint(after, a), before), along, drift, abs(exponent - t.exponent))
    return float(error), round(float(exponent))


def invariances(method: Method) -> Iterator[Finding]:
    for name, declared in method.facts.invariances.items():
        cell, words, worst = invariance_cell(method, name)
        ok = cell == declared and worst <= 1
        said = "" if cell == declared else f"declared {declared!r}, found {cell!r}; "
        yield Finding(method.name, f"invariance:{name}", ok, worst, 1.0, said + words)


def constraints(problem: Problem) -> Iterator[Finding]:
    """Residuals of the operation's exact constraints, and their count as the rank of the Jacobian."""
    operation = problem.method.operation
    if operation is None or operation.constraints is None or not problem.training:
        return
    _, d, m = problem.method.triple.partition(**problem.arguments()).blocks
    at_zero = "eps" in operation.options and (operation.condition is None or operation.constraints.feasible(d, m))
    for eps in (None, 0.0) if at_zero else (None,):
        zhat, saved, call = _rows(problem if eps is None else problem.with_options(eps=eps))
        residual = operation.constraints.residuals(zhat, saved, **call.options, **call.weighted)
        bound = rounding(zhat.shape[2], _growth(operation, saved, call))
        yield _found(problem, "constraints", float(np.max(np.abs(residual))), bound, operation.constraints.words)
    _, d, m = zhat.shape
    saved, weighted = type(saved)(*(s[:1] for s in saved)), {k: w[:1] for k, w in call.weighted.items()}
    jac = jacobian(lambda z: operation.constraints.residuals(z, saved, **call.options, **weighted))(zhat[:1])
    rank = int(np.linalg.matrix_rank(np.reshape(jac, (-1, d * m))))
    count = operation.constraints.count(d, m)
    feasible = operation.constraints.feasible(d, m)
    words = f"rank {rank}, formula {count} a block of {d} x {m}, {'feasible' if feasible else 'infeasible'}"
    yield _found(problem, "constraint count", abs(rank - count), 0.0, words)


def identities(problem: Problem) -> Iterator[Finding]:
    operation = problem.method.operation
    if operation is None or operation.identities is None or not problem.training:
        return
    zhat, saved, call = _rows(problem)
    g = problem.rng().normal(size=zhat.shape)
    dz = operation.backward(g, call.z, saved, **call.options, **call.weighted)
    residual = operation.identities(dz, g, zhat, saved, **call.options)
    scale = float(np.max(np.sum(np.abs(dz), axis=2)))
    bound = rounding(zhat.shape[2], _growth(operation, saved, call))
    yield _found(problem, "identities", float(np.max(np.abs(residual))) / scale, bound, "<dx, 1>, <dx, xhat>")


def _growth(operation: Any, saved: Any, call: Any) -> float:
    """The condition of what an operation inverts: whitening moves by |W|^2 |S| times what its covariance S moves by."""
    return operation.amplifies(saved, **call.options)


def _rows(problem: Problem) -> tuple[Any, Any, Any]:
    """zhat in (B, D, M), what was saved, and the call, of one forward."""
    call = problem.method.triple.call(**problem.arguments())
    return *problem.method.operation.forward(call.z, **call.options, **call.weighted), call


def purity(problem: Problem) -> Iterator[Finding]:
    """Nothing of the caller's is written to, and a second run gives the same bits."""
    arrays = tuple(a.copy() for a in problem.arrays)
    for a in problem.arrays:
        a.flags.writeable = False
    try:
        y, cache, *_ = problem.forward(*problem.arrays)
        dy = problem.rng().normal(size=np.shape(y))
        kept = dy.copy()
        first, again = (_flat(problem.method.backward(dy, cache)) for _ in range(2))
        same = all(np.array_equal(a, b) for a, b in zip((*problem.arrays, dy), (*arrays, kept), strict=True))
        same = same and np.array_equal(y, problem.call(*problem.arrays))
        same = same and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        words = "arguments untouched, runs identical"
    except ValueError as error:
        same, words = False, f"writes to an argument: {error}"
    finally:
        for a in problem.arrays:
            a.flags.writeable = True
    yield _found(problem, "purity", 0.0 if same else np.inf, 0.0, words)


def _flat(gradients: tuple) -> list[Any]:
    """Gradients, and the arrays of a state that stands behind them."""
    return [a for g in gradients for a in (g if isinstance(g, tuple) else (g,))]


def confinement(problem: Problem) -> Iterator[Finding]:
    """A NaN or an infinity in one entry reaches the entries that share its statistics, and no other."""
    if problem.method.area is None or not problem.training:
        return
    blocks = problem.method.triple.blocks(**problem.arguments())
    first, *rest = problem.arrays
    clean = problem.call(first, *rest)
    worst = 0.0
    for poison in (np.nan, np.inf):
        x = first.copy()
        x[(0,) * x.ndim] = poison
        y = problem.call(x, *rest)
        outside = blocks != blocks[(0,) * x.ndim]
        worst = max(worst, relative(y[outside], clean[outside]), 0.0 if np.isnan(y[~outside]).any() else np.inf)
    yield _found(problem, "confinement", worst, 0.0, "NaN and infinity stay in their block")


def _found(problem: Problem, proof: str, error: float, bound: float, words: str) -> Finding:
    return Finding(problem.method.name, proof, bool(error <= bound), float(error), float(bound), f"{problem.label}: {words}")
