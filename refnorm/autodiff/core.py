"""The tape: a Box around an array, and the table that says what a traced call of a NumPy function does.

A Box goes wherever an array goes; NumPy hands the calls over through `__array_ufunc__` (NEP 13) and `__array_function__`
(NEP 18).  The table holds one entry for each function:

    rule        defvjp(fun, *rules)     the call is recorded, with one rule for each argument
    composite   composite(fun)(body)    the call becomes that of `body`, which is made of functions that have rules
    constant    constant(fun)           the result carries no derivative: shapes, indices, comparisons, steps
    refusal     refuse(fun, why)        NotImplementedError that says why and what to write instead

A rule is (g, ans, *args, **kwargs) -> the cotangent of its argument, in the inner product <a, b> = Re sum(conj(a) b).  It may
leave three things to the tape: to sum over the axes that the argument was broadcast along, to take the real part where the
argument is real, and to round to the argument's dtype.  Rules are made of functions that have rules, hence any order.

Levels.  Each `vjp` opens a level, a number larger than all before.  A Box wraps an array or a Box of a lower level; a call
belongs to the highest level among its arguments, and what is lower is constant there.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn


class Entry(NamedTuple):
    """What the table says of a function."""

    kind: str                                               # "rule", "composite", "constant" or "refusal"
    call: Callable[[tuple, dict], Any]                      # what a traced call does
    texts: tuple[Callable[..., Any] | None, ...] = ()       # the rules, or the body
    parameters: tuple[inspect.Parameter, ...] = ()          # that the texts take, of the function's own
    out: int = sys.maxsize                                  # the position of its argument out, where it has one


TABLE: dict[Any, Entry] = {}

serial = itertools.count().__next__
"""Numbers levels and nodes in the order of their creation."""


class Node:
    """One recorded call: the nodes of its arguments, and how a cotangent of its result is pulled back to them."""

    __slots__ = ("parents", "pull", "serial")

    def __init__(self, parents: Sequence[Node] = (), pull: Callable[[Any], Sequence[Any]] | None = None) -> None:
        self.parents, self.pull, self.serial = parents, pull, serial()


class Box:
    """A traced array.  What ndarray has and a traced array can answer is added by `box`."""

    __slots__ = ("level", "node", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, level: int, node: Node) -> None:
        self.value, self.level, self.node = value, level, node

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            raise NotImplementedError(f"{name_of(ufunc)}.{method} of a traced array has no rule; np.sum, np.prod, np.max, "
                                      "np.min, np.cumsum and broadcasting say the same and have one")
        if kwargs:
            raise NotImplementedError(f"{name_of(ufunc)} of a traced array takes no {', '.join(kwargs)}=; say it with "
                                      "np.where, .astype, or a new name for the result")
        return dispatch(ufunc, inputs, kwargs)

    def __array_function__(self, fun: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        entry = TABLE.get(fun)
        if kwargs.get("out") is not None or (entry and len(args) > entry.out and args[entry.out] is not None):
            raise NotImplementedError(f"{name_of(fun)} cannot write a traced array to out=; use what it returns")
        return dispatch(fun, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError("a traced array reached np.asarray, or code that calls it, where its derivative would be lost; "
                        "use functions that have a rule, np.stack for a list, or refnorm.autodiff.stop for a constant")

    def __repr__(self) -> str:
        return f"Box({self.value!r})"


def dispatch(fun: Any, args: tuple, kwargs: dict) -> Any:
    """The call fun(*args, **kwargs), some argument being a Box."""
    entry = TABLE.get(fun)
    if entry is None:
        raise NotImplementedError(f"{name_of(fun)} has no derivative rule; give it one with refnorm.autodiff.defvjp")
    return entry.call(args, kwargs)


def primitive(fun: Callable[..., Any]) -> Callable[..., Any]:
    """fun as one step of the tape: what it does inside is not traced.  Give it rules with `defvjp`."""

    @functools.wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        for a in args:
            if type(a) is Box:
                return dispatch(call, args, kwargs)
        if kwargs and any(type(a) is Box for a in kwargs.values()):
            return dispatch(call, args, kwargs)
        return fun(*args, **kwargs)

    return call


def composite(*funs: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a body that takes the arguments of `funs` and is made of functions that have rules: a traced call of
    `funs` is a call of the body."""

    def register(body: Callable[..., Any]) -> Callable[..., Any]:
        parameters = parameters_of(body, 0)
        out = position_of_out(parameters)
        for fun in funs:
            TABLE[fun] = Entry("composite", lambda args, kwargs: body(*args, **kwargs), (body,), parameters, out)
        return body

    return register


def constant(*funs: Callable[..., Any]) -> None:
    """The results of these carry no derivative: they are locally constant, or no numbers."""
    for fun in funs:
        TABLE[fun] = Entry("constant", functools.partial(_of_plain, fun))


def refuse(why: str, *funs: Callable[..., Any]) -> None:
    """A traced call of these raises NotImplementedError with the name and `why`."""
    for fun in funs:
        TABLE[fun] = Entry("refusal", functools.partial(_refused, fun, why))


def _of_plain(fun: Any, args: tuple, kwargs: dict) -> Any:
    return fun(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()})


def _refused(fun: Any, why: str, args: tuple, kwargs: dict) -> NoReturn:
    raise NotImplementedError(f"{name_of(fun)} of a traced array: {why}")


def plain(a: Any) -> Any:
    """a without its boxes, inside lists and tuples too."""
    while type(a) is Box:
        a = a.value
    if type(a) in (list, tuple):
        return type(a)(plain(x) for x in a)
    return a


def parameters_of(text: Callable[..., Any], skipped: int) -> tuple[inspect.Parameter, ...]:
    """What a rule or a body takes, after the g and ans that a rule begins with."""
    return tuple(inspect.signature(text).parameters.values())[skipped:]


def position_of_out(parameters: Sequence[inspect.Parameter]) -> int:
    return next((i for i, p in enumerate(parameters) if p.name == "out" and p.kind is p.POSITIONAL_OR_KEYWORD), sys.maxsize)


def name_of(fun: Any) -> str:
    module = getattr(fun, "__module__", None)       # a ufunc of scipy.special has none
    return f"{module}.{fun.__name__}" if module else f"the ufunc {fun.__name__}"
