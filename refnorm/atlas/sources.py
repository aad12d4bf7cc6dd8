"""The source of a method as one reads it: forward, backward, and what they call in the room of operations."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from refnorm.anatomy.method import Method
from refnorm.anatomy.operation import Operation

from .equations import statements

MOST = 8
"""Functions shown besides forward and backward."""


@dataclass(frozen=True)
class Listing:
    """One function: where it stands, and its rows of (code as HTML, equation as MathML)."""

    where: str
    title: str
    rows: tuple[tuple[str, str], ...]


def listings(method: Method) -> tuple[list[Listing], list[Listing]]:
    """Forward and backward; and what they call."""
    chief, inner, called = _functions(method)
    return [listing(f) for f in chief], [listing(f) for f in [*inner, *called][:MOST]]


def _functions(method: Method) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]], list[Callable[..., Any]]]:
    """Forward and backward; those of an operation inside them; what all of these call, and what that calls."""
    chief = [f for f in method.source if f is not None]
    inner = list(dict.fromkeys(f for function in chief for f in _enclosed(function)))
    called: list[Callable[..., Any]] = []
    for function in [*chief, *inner, *[f for g in chief + inner for f in _called(g)]]:
        called += [f for f in _called(function) if f not in (*chief, *inner, *called)]
    return chief, inner, called


def derivation(method: Method) -> str:
    """What the file of the mathematics says before its code."""
    every = [f for part in _functions(method) for f in part]
    mathematics = [f for f in every if inspect.unwrap(f).__module__.startswith("refnorm.operations.")]
    module = inspect.getmodule(inspect.unwrap((mathematics or every)[0]))
    return inspect.cleandoc((module.__doc__ if module else "") or "")


@cache
def listing(function: Callable[..., Any]) -> Listing:
    source, lines = statements(function)
    coloured = highlighted(source)
    rows, reached = [], 0
    for line in lines:
        rows.append(("\n".join(coloured[reached : line.last]), line.equation))
        reached = line.last
    if rest := "\n".join(coloured[reached:]).strip("\n"):
        rows.append((rest, ""))
    bare = inspect.unwrap(function)
    return Listing(f"{bare.__module__}.{bare.__name__}", bare.__name__, tuple(rows))


def highlighted(source: str) -> list[str]:
    """Source as lines of HTML."""
    return highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip("\n").split("\n")


def _enclosed(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Of an operation that was made from another one, the other one's."""
    for value in inspect.getclosurevars(function).nonlocals.values():
        if isinstance(value, Operation):
            yield from (value.forward, value.backward)


def _called(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Functions of the same file, or of the operations' room, that a function names, in the order of its text."""
    bare: Any = inspect.unwrap(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(bare)))
    seen = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = getattr(bare.__globals__.get(node.value.id), node.attr, None)
        else:
            found = bare.__globals__.get(node.id) if isinstance(node, ast.Name) else None
        if not isinstance(found, FunctionType) or found in seen or found is bare or hasattr(found, "declaration"):
            continue
        if found.__module__ == bare.__module__ or found.__module__.startswith("refnorm.operations."):
            seen.add(found)
            yield found
