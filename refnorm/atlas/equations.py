"""Source, statement by statement, with the equation that each line computes beside it, read off the line itself.

A line that is no mathematics (a check, a loop, a call of something large) has no equation.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from . import mathml as m

ALONE = {"saved", "cache", "np", "math", "self", "call"}             # whose attributes go by their own name
TAKEN = {"mean": "mu", "var": "s2", "rstd": "r"}                     # statistics that were saved
TRANSPOSES = {"swapaxes", "matrix_transpose", "transpose"}
OPERATORS = {ast.Add: "+", ast.Sub: "\u2212"}
COMPARISONS: dict[type, str] = {
    ast.Gt: ">", ast.GtE: "\u2265", ast.Lt: "<", ast.LtE: "\u2264", ast.Eq: "=", ast.NotEq: "\u2260",
}  # fmt: skip
FUNCTIONS = ("mean", "var", "sign", "tanh", "exp", "log", "sigmoid", "clip")
LONG = 110                                                       # characters of source: no equation is read beside these


class Unreadable(Exception):
    """No equation."""


@dataclass(frozen=True)
class Line:
    """A statement, or the head of one that has others inside, and its equation."""

    first: int
    last: int
    equation: str


def statements(function: Callable[..., Any]) -> tuple[str, list[Line]]:
    """A function's source from its def on, without its docstring, and its statements by line number (from 1)."""
    function = inspect.unwrap(function)
    source = _bare(textwrap.dedent(inspect.getsource(function)))
    known = {k: v._fields for k, v in function.__globals__.items() if isinstance(v, type) and hasattr(v, "_fields")}
    return source, list(_lines(ast.parse(source).body, known))


def _bare(source: str) -> str:
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    kept = source.splitlines()
    first = definition.body[0]
    if ast.get_docstring(definition) is not None and len(definition.body) > 1:
        del kept[first.lineno - 1 : first.end_lineno]
    return "\n".join(kept[definition.lineno - 1 :]) + "\n"


def _lines(body: list[ast.stmt], known: Mapping[str, tuple[str, ...]]) -> Iterator[Line]:
    for statement in body:
        inner = [s for part in ("body", "orelse", "finalbody") for s in getattr(statement, part, [])]
        if inner:
            yield Line(statement.lineno, max(statement.lineno, inner[0].lineno - 1), "")
            yield from _lines(inner, known)
        else:
            yield Line(statement.lineno, statement.end_lineno or statement.lineno, equation(statement, known))


def equation(statement: ast.stmt, known: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> str:
    """A statement's equation, or nothing.  known: the fields of named tuples, Saved(mean, var, 1 / sqrt(var + eps)) say."""
    text = ast.unparse(statement)
    if len(text) > LONG:
        return ""
    try:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in known:
                fields = zip(known[value.func.id], value.args, strict=False)
                made = [_named(TAKEN.get(f, f)) + m.operator("=") + read(a) for f, a in fields if _computes(a)]
                return m.math(_separated(made), text) if made else ""
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                pairs = zip(target.elts, value.elts, strict=True)
                return m.math(_separated([_equals(t, v) for t, v in pairs]), text)
            return m.math(_equals(target, value), text)
        if isinstance(statement, ast.Return) and statement.value is not None and _computes(statement.value):
            return m.math(m.operator("=") + read(statement.value), text)
    except Unreadable:
        pass
    return ""


def _computes(value: ast.expr) -> bool:
    """Is there arithmetic, or does it only hand on what there is?"""
    return any(isinstance(n, ast.BinOp | ast.UnaryOp) for n in ast.walk(value)) or isinstance(value, ast.Call)


def _equals(target: ast.expr, value: ast.expr) -> str:
    if isinstance(target, ast.Tuple) or not _computes(value):
        raise Unreadable
    return read(target) + m.operator("=") + read(value)


def _separated(parts: list[str]) -> str:
    return (m.operator(",") + '<mspace width="0.6em"></mspace>').join(parts)


def read(node: ast.expr) -> str:
    """An expression as MathML."""
    match node:
        case ast.Constant(value=bool() | str() | None):
            raise Unreadable
        case ast.Constant(value=value):
            return m.number(f"{value:g}" if isinstance(value, float) else str(value))
        case ast.Name(id=text):
            return _named(TAKEN.get(text, text))
        case ast.Attribute(value=ast.Name(id=owner), attr="T" | "mT"):
            return m.power(_named(owner), m.operator("\u22a4"))
        case ast.Attribute(value=ast.Name(id=owner), attr=attribute) if owner in ALONE:
            taken = TAKEN.get(attribute, attribute) if owner in ("saved", "cache") else attribute
            return _named(taken)
        case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
            return m.index(_named(owner), _named(attribute))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return m.operator("\u2212") + _factor(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(left, op, right)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
            return read(left) + m.operator(COMPARISONS[type(op)]) + read(right)
        case ast.Call(func=function, args=arguments):
            return _call(function, arguments)
        case ast.Subscript(value=value, slice=ast.Constant(value=int()) | ast.Name() as where):
            return m.index(read(value), read(where))
    raise Unreadable


def _named(text: str) -> str:
    base, _, below = text.strip("_").partition("_")
    return m.index(m.name(base), m.name(below)) if below and len(base) > 0 else m.name(base)


def _binary(left: ast.expr, op: ast.operator, right: ast.expr) -> str:
    if type(op) in OPERATORS:
        tail = m.fenced(read(right)) if isinstance(op, ast.Sub) and _sums(right) else read(right)
        return read(left) + m.operator(OPERATORS[type(op)]) + tail
    if isinstance(op, ast.Mult | ast.MatMult):
        numbers = isinstance(right, ast.Constant) or (isinstance(right, ast.BinOp) and _starts_with_number(right))
        between = m.operator("\u22c5") if numbers else '<mspace width="0.17em"></mspace>'
        return _factor(left) + between + _factor(right)
    if isinstance(op, ast.Div):
        return m.fraction(read(left), read(right))
    if isinstance(op, ast.Pow):
        return m.power(_base(left), read(right))
    raise Unreadable


def _starts_with_number(node: ast.expr) -> bool:
    while isinstance(node, ast.BinOp):
        node = node.left
    return isinstance(node, ast.Constant)


def _sums(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and type(node.op) in OPERATORS


def _factor(node: ast.expr) -> str:
    return m.fenced(read(node)) if _sums(node) or isinstance(node, ast.UnaryOp) else read(node)


def _call(function: ast.expr, arguments: list[ast.expr]) -> str:
    called = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    if isinstance(function, ast.Attribute) and not isinstance(function.value, ast.Name):
        raise Unreadable
    if not arguments or any(isinstance(a, ast.Starred) for a in arguments):
        raise Unreadable
    first = arguments[0]
    known: dict[str, Callable[[], str]] = {
        "sqrt": lambda: m.root(read(first)),
        "square": lambda: m.power(_base(first), m.number("2")),
        "abs": lambda: m.fenced(read(first), "|", "|"),
        "absolute": lambda: m.fenced(read(first), "|", "|"),
        "sum": lambda: m.operator("\u2211") + _factor(first),
        "total": lambda: m.operator("\u2211") + _factor(first),
        "average": lambda: m.applied("mean", read(first)),
        "expand_dims": lambda: read(first),
        "asarray": lambda: read(first),
        "maximum": partial(_applied, "max", arguments),
        "minimum": partial(_applied, "min", arguments),
        "trace": lambda: m.applied("tr", read(first)),
        **{name: partial(_applied, name, arguments) for name in FUNCTIONS},
    }
    if called in known:
        return known[called]()
    if called in TRANSPOSES:
        return m.power(_base(first), m.operator("\u22a4"))
    raise Unreadable


def _base(node: ast.expr) -> str:
    """What an exponent stands behind: in brackets, unless it is a name."""
    return read(node) if isinstance(node, ast.Name | ast.Attribute) else m.fenced(read(node))


def _applied(called: str, arguments: list[ast.expr]) -> str:
    return m.row(_named(called), m.operator("\u2061"), m.fenced(m.operator(",").join(map(read, arguments))))
