"""Derivatives of functions of arrays: vjp, jvp, grad, value_and_grad, hvp, jacobian.

Cotangents live in the real inner product <a, b> = Re sum(conj(a) b).  So for y = f(x), complex or real,

    <g, f'(x) v> = <pull(g), v>      for every tangent v and cotangent g,

a real x has a real cotangent, and the gradient of a real f of complex x is df/dRe(x) + i df/dIm(x).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from .core import Box, Node, serial
from .recording import fitted


def vjp(f: Callable[..., Any], *xs: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """y = f(*xs) and pull: cotangent of y -> tuple with the cotangent of each x.

    f answers an array or a tuple of arrays; with a tuple, pull takes a tuple, where None stands for zero.  An x that does not
    influence y has a cotangent of zeros.  Raises TypeError where an x is an array of integers.
    """
    level = serial()
    xs = tuple(_differentiable(x, i) for i, x in enumerate(xs))
    roots = [Node() for _ in xs]
    out = f(*(Box(x, level, root) for x, root in zip(xs, roots, strict=True)))
    several = isinstance(out, tuple | list)
    outs = tuple(out) if several else (out,)
    if any(type(o) is Box and o.level > level for o in outs):
        raise ValueError("f answers a traced array of another derivative, which is over; return it from there, or stop(x)")
    ends = [o.node if type(o) is Box and o.level == level else None for o in outs]
    ys = tuple(o if end is None else o.value for o, end in zip(outs, ends, strict=True))
    order = _ancestors([end for end in ends if end is not None])

    def pull(g: Any) -> tuple[Any, ...]:
        gs = tuple(g) if several else (g,)
        if len(gs) != len(ys):
            raise ValueError(f"f has {len(ys)} outputs and got {len(gs)} cotangents")
        cotangent: dict[Node, Any] = {}

        def add(node: Node, g: Any) -> None:
            if g is not None:
                cotangent[node] = cotangent[node] + g if node in cotangent else g

        for y, g, end in zip(ys, gs, ends, strict=True):
            if end is not None and g is not None:
                add(end, _cotangent(g, y))
        for node in order:
            if node.pull is not None and node in cotangent:
                for parent, g in zip(node.parents, node.pull(cotangent.pop(node)), strict=True):
                    add(parent, g)
        return tuple(_own(cotangent.get(root, np.zeros(x.shape, x.dtype))) for root, x in zip(roots, xs, strict=True))

    return ys if several else ys[0], pull


def _ancestors(ends: Sequence[Node]) -> list[Node]:
    """Every node that the ends depend on, the youngest first: a call is younger than its arguments."""
    seen, stack = set(ends), list(ends)
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=attrgetter("serial"), reverse=True)


def _differentiable(x: Any, position: int) -> Any:
    if isinstance(x, int | float | list | tuple):
        x = np.asarray(x, dtype=float)
    x = x if isinstance(x, Box | np.ndarray) else np.asarray(x)
    if x.dtype.kind not in "fc":
        raise TypeError(f"argument {position} has dtype {x.dtype}; only float and complex arrays have derivatives, so "
                        "x.astype(float) it or keep it out of the traced arguments")
    return x


def _cotangent(g: Any, y: Any) -> Any:
    g = g if isinstance(g, Box | np.ndarray) else np.asarray(g)
    if g.shape != y.shape:
        raise ValueError(f"the cotangent has shape {g.shape}; it must have the output's, {y.shape}")
    return fitted(g, y)


def _own(g: Any) -> Any:
    """A cotangent may be a view, even a read-only one, of what the caller passed in: hand out an array of its own."""
    return g if type(g) is Box else np.array(g)


def jvp(f: Callable[..., Any], xs: Any, vs: Any) -> tuple[Any, Any]:
    """y = f(*xs) and dy = f'(xs) vs, the transpose of the linear map pull: <g, dy> = <pull(g), vs>.

    xs and vs are tuples of arrays of equal shapes, or one array each.
    """
    if not isinstance(xs, tuple | list):
        xs, vs = (xs,), (vs,)
    y, pull = vjp(f, *xs)
    if isinstance(y, tuple):
        return y, vjp(lambda *g: pull(g), *(np.zeros(np.shape(o), _dtype(o)) for o in y))[1](tuple(vs))
    return y, vjp(pull, np.zeros(np.shape(y), _dtype(y)))[1](tuple(vs))[0]


def _dtype(y: Any) -> Any:
    return np.result_type(y, np.float16)                # an output that does not vary may be an integer


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Any, Any]]:
    """(*xs, **options) -> (f, its gradient in argument `argnums`, or a tuple of gradients where argnums is a sequence).

    Raises ValueError where f is not a real scalar.
    """
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def call(*xs: Any, **options: Any) -> tuple[Any, Any]:
        def of_chosen(*values: Any) -> Any:
            given = list(xs)
            for i, value in zip(chosen, values, strict=True):
                given[i] = value
            return f(*given, **options)

        y, pull = vjp(of_chosen, *(xs[i] for i in chosen))
        if np.shape(y) != () or np.iscomplexobj(y):
            raise ValueError(f"f must be a real scalar to have a gradient; it has shape {np.shape(y)} and dtype "
                             f"{_dtype(y)}: sum it, or use vjp or jacobian")
        gradients = pull(np.ones(()))
        return y, gradients[0] if isinstance(argnums, int) else gradients

    return call


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """(*xs, **options) -> the gradient of the real scalar f in argument `argnums`; see value_and_grad."""
    call = value_and_grad(f, argnums)
    return lambda *xs, **options: call(*xs, **options)[1]


def hvp(f: Callable[[Any], Any], x: Any, v: Any) -> Any:
    """H v, H the Hessian of the real scalar f at x.  It is symmetric, so reverse over reverse gives it."""
    return vjp(grad(f), x)[1](v)[0]


def jacobian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """(*xs, **options) -> dy[i...]/dx[j...] as an array of shape y.shape + x.shape, one pull for each entry of y; real."""
    if not isinstance(argnum, int):
        raise TypeError(f"argnum is a {type(argnum).__name__}; jacobian(f) answers a function: write jacobian(f)(x)")

    def call(*xs: Any, **options: Any) -> Any:
        x = xs[argnum]
        y, pull = vjp(lambda v: f(*xs[:argnum], v, *xs[argnum + 1 :], **options), x)
        if isinstance(y, tuple) or np.iscomplexobj(y) or np.iscomplexobj(x):
            raise ValueError("jacobian is for one real array of one real array; use vjp")
        units = np.eye(np.size(y)).reshape(np.size(y), *np.shape(y))
        rows = [pull(unit)[0] for unit in units]
        shape = (*np.shape(y), *np.shape(x))
        return np.reshape(np.stack(rows), shape) if rows else np.zeros(shape)

    return call
