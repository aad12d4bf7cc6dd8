"""The catalogue, a row a method, and one method's portrait."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable

from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from refnorm.anatomy.facts import TRANSFORMATIONS
from refnorm.anatomy.method import Method
from refnorm.display import console

STYLES = {"yes": "green", "forward": "yellow", "dense": "yellow", "no": "red"}
MARK = {cell: Text(cell, style) for cell, style in STYLES.items()}


def catalogue(methods: Iterable[Method]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "shares statistics", "operation", "recovery", "acts on", "of"):
        table.add_column(column, no_wrap=True, overflow="ellipsis", max_width=34)
    for m in methods:
        cite = f"{m.cite.authors.split(',')[0]} {m.cite.year}"
        triple = (m.area.words, m.operation.name, type(m.recovery).__name__.lower()) if m.triple else ("", m.formula, "")
        table.add_row(Text(m.name, "cyan"), *triple, m.acts_on, Text(cite, "dim"))
    console().print(table)


def portrait(m: Method) -> None:
    out = console()
    out.print(Text(m.name, "bold cyan"), Text(str(m.cite)), sep="\n")
    out.print()
    rows = Table(box=None, show_header=False, pad_edge=False)
    rows.add_column(style="bold")
    rows.add_row("formula", m.formula)
    if m.triple:
        rows.add_row("area", f"{m.area.pattern}      ({m.area.words})")
        if m.operation.constraints:
            rows.add_row("constraints", m.operation.constraints.words)
    for name, d in m.dialects.items():
        rows.add_row(f"dialect {name}", f"{', '.join(f'{k}={v}' for k, v in d.defaults.items())}   {d.spoken_by}")
    if m.stops:
        rows.add_row("constants of the gradient", ", ".join(m.stops))
    out.print(rows)
    out.print()
    cells = Table(title="invariances (eps = 0, scales > 0)", title_justify="left", box=None, pad_edge=False)
    for name, t in TRANSFORMATIONS.items():
        cells.add_column(f"{name}\n{t.words}", justify="left")
    cells.add_row(*(MARK[m.facts.invariances[name]] for name in TRANSFORMATIONS))
    out.print(cells)
    out.print()
    doc = inspect.cleandoc(m.doc)
    out.print(Panel(Text(doc), title=f"refnorm.{m.name}{_short_signature(m)}", title_align="left"))
    for function in m.source:
        where = f"{function.__module__}.{function.__name__}"
        code = textwrap.dedent(inspect.getsource(function))
        out.print(Panel(Syntax(code, "python", theme="ansi_dark", background_color="default"), title=where, title_align="left"))


def _short_signature(m: Method) -> str:
    return "(" + ", ".join(m.signature.parameters) + ")"
