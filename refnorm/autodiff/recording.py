"""Recording a call: which rules it will need, and how a cotangent of its result is pulled back to its arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .core import TABLE, Box, Entry, Node, name_of, parameters_of, position_of_out


def defvjp(fun: Callable[..., Any], *rules: Callable[..., Any] | None, each: Callable[..., Any] | None = None) -> None:
    """Give `fun` its derivative: rules[i](g, ans, *args, **kwargs) is the cotangent of args[i].

    None says that the result does not vary with that argument, to first order.  `each(i, g, ans, *args, **kwargs)` stands
    for the arguments after the last rule, for a function of any number of them.  Where `ans` is a tuple, so is `g`, with
    None in the place of each output that was not used.
    """
    parameters = parameters_of(each, 3) if each else parameters_of(next(filter(None, rules)), 2)
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    most = float("inf") if many else sum(p.kind is not p.KEYWORD_ONLY for p in parameters)
    numeric = isinstance(fun, np.ufunc)

    def rule_of(i: int) -> Callable[..., Any] | None:
        if i < len(rules):
            return rules[i]
        if each is None:
            raise NotImplementedError(f"{name_of(fun)} has no derivative rule for its argument number {i + 1}")
        return functools.partial(each, i)

    def call(args: tuple, kwargs: dict) -> Any:
        if kwargs:
            args, kwargs = _admitted(fun, args, kwargs, parameters)
        if len(args) > most:
            raise NotImplementedError(f"{name_of(fun)} of a traced array takes {most} arguments by position, not {len(args)}")
        level, where = -1, []
        for i, a in enumerate(args):
            if type(a) is Box:
                if a.level > level:
                    level, where = a.level, [i]
                elif a.level == level:
                    where.append(i)
        if not where:
            raise NotImplementedError(f"{name_of(fun)} got a traced array inside a list; make it an array with np.stack")
        raw = [np.asarray(a) if numeric and type(a) is list else a for a in args]       # rules calculate with it
        for i in where:
            raw[i] = args[i].value
        ans = fun(*raw, **kwargs)
        used = [(i, rule) for i in where if (rule := rule_of(i)) is not None]
        if not used:
            return ans

        def pull(g: Any) -> list[Any]:
            return [fitted(rule(g, ans, *raw, **kwargs), raw[i]) for i, rule in used]

        node = Node([args[i].node for i, _ in used], pull)
        return _parts(ans, level, node) if isinstance(ans, tuple) else _boxed(ans, level, node)

    TABLE[fun] = Entry("rule", call, (*rules, each) if each else rules, parameters, position_of_out(parameters))


def _admitted(fun: Any, args: tuple, kwargs: dict, parameters: Sequence[inspect.Parameter]) -> tuple[tuple, dict]:
    """The same call with each traced keyword argument in its position, where its rule is; raises where there is none."""
    left = dict(kwargs)
    for p in parameters[len(args):]:
        if p.kind is not p.POSITIONAL_OR_KEYWORD or not any(type(a) is Box for a in left.values()):
            break
        args = (*args, left.pop(p.name, p.default))
    traced = {k for k, a in left.items() if type(a) is Box}
    if unknown := traced | left.keys() - {p.name for p in parameters}:
        raise NotImplementedError(f"{name_of(fun)} of a traced array has no rule for {', '.join(sorted(unknown))}=")
    return args, left


def fitted(g: Any, x: Any) -> Any:
    """g as a cotangent of x: summed over the axes that x was broadcast along, real where x is, in x's dtype.

    Each is the adjoint of what the forward did silently: broadcasting of summing, embedding R in C of Re, rounding of itself.
    """
    if g is None:
        return None
    if type(g) is float or type(g) is complex:          # 1j * np.float64(2) is a Python number
        g = np.asarray(g)
    if g.shape != x.shape:
        lead = g.ndim - x.ndim
        if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, g.shape[lead:], strict=True)):
            raise ValueError(f"a rule answered a cotangent of shape {g.shape} for an argument of shape {x.shape}")
        stretched = tuple(lead + i for i, n in enumerate(x.shape) if n == 1)
        g = np.reshape(np.sum(g, axis=(*range(lead), *stretched)), x.shape)
    if g.dtype != x.dtype:
        g = np.real(g) if g.dtype.kind == "c" and x.dtype.kind != "c" else g
        g = np.astype(g, x.dtype)
    return g


def _boxed(ans: Any, level: int, node: Node) -> Any:
    ans = ans if isinstance(ans, Box | np.ndarray | np.generic) else np.asarray(ans)
    if ans.dtype.kind in "fc":
        return Box(ans, level, node)
    if ans.dtype.kind in "biu":                         # integers and truth values do not vary
        return ans
    raise TypeError(f"{ans.dtype} cannot be traced; compute in float64, and round what comes out")


class _Parts(dict):
    """The cotangent of a tuple: {index of output: its cotangent}, those that are not there being zero."""

    def __add__(self, other: _Parts) -> _Parts:
        return _Parts({**self, **{i: self[i] + g if i in self else g for i, g in other.items()}})


def _parts(ans: Any, level: int, node: Node) -> Any:
    """One Box for each output of a call with several; each pulls its part of the one node's cotangent."""
    pull, count = node.pull, len(ans)
    node.pull = lambda g: pull(tuple(map(g.get, range(count))))  # type: ignore[misc]

    def part(i: int) -> Node:
        return Node([node], lambda g: [_Parts({i: g})])

    boxes = [_boxed(a, level, part(i)) for i, a in enumerate(ans)]
    return type(ans)._make(boxes) if hasattr(ans, "_make") else tuple(boxes)
