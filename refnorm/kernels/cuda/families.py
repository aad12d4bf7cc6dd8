"""Which kernels read which form, and how they are launched: a kernel, a Grid (launch.py) and its arguments, on the caller's
stream."""

from __future__ import annotations

from typing import Any

from . import (
    columns,
    columns_backward,
    columns_parameters,
    columns_team,
    planes,
    planes_backward,
    planes_parts,
    rows,
    rows_backward,
    rows_long,
)
from . import launch as limits
from .arrays import Span
from .contract import Work
from .device import launch
from .launch import Grid, ceil, is_aligned, width_of
from .rows import number_of
from .statistics_of import table


class Launch:
    """What all launches of one call share."""

    def __init__(self, w: Work, *arrays: Span) -> None:
        self.w, self.code = w, w.recipe.code
        self.width, self.number = width_of(w.x.dtype.itemsize), number_of(w.x.dtype)
        self.kind = (self.width, self.number)     # of kernels
        self.addresses = all(is_aligned(a.pointer) for a in (w.x, *arrays))
        self.x = w.x.flat()
        self.gamma = (w.gamma.span.flat() if w.gamma.given else self.x, w.gamma.given)
        self.beta = (w.beta.span.flat() if w.beta.given else self.x, w.beta.given)
        self.scale = (w.offset, w.factor)
        self.parameters = all(is_aligned(p.span.pointer) for p in (w.gamma, w.beta) if p.given)

    def aligned(self, n: int) -> bool:
        """Can runs of n entries be read 16 bytes at a time?"""
        return self.addresses and n % self.width == 0

    def start(self, kernel: Any, grid: Grid, *arguments: Any) -> None:
        launch(kernel, grid, self.w.library, *arguments)

    def totals(self, *shape: int) -> Any:
        """Working memory of float64."""
        return self.w.empty(shape).flat().reshape(*shape)


def forward(w: Work, statistics: Span, y: Span) -> None:
    """y is written, and in training the statistics (3, B)."""
    FORWARD[w.form.family](Launch(w, y), table(statistics, w.statistics), y.flat())


def backward(w: Work, dy: Span, statistics: Span, dx: Span, dgamma: Span | None, dbeta: Span | None) -> None:
    """dx and the gradients of the parameters are written."""
    made = [x for span in (dgamma, dbeta) for x in (span is not None, (dx if span is None else span).flat())]
    BACKWARD[w.form.family](Launch(w, dy, dx), dy.flat(), table(statistics, w.statistics), dx.flat(), made)


def rows_forward(s: Launch, statistics: Any, y: Any) -> None:
    w, (r, n), period = s.w, s.w.form.shape, s.w.form.parameters[0]
    team, aligned = limits.row_team(n, s.width, "forward", limits.LIMITS), s.aligned(n) and s.parameters
    scale = (*s.gamma, *s.beta, *s.scale)
    if team is not None:
        kernel = rows.forward(s.width, team.vectors, s.number, team.bound)
        s.start(kernel, limits.row_grid(r, team), s.code, s.x, r, n, period, aligned, *scale, w.eps, y, statistics)
        return
    cut = limits.parts_of(n, s.width, limits.LIMITS)
    planes_statistics(s, (r, 1, 1, n), cut, statistics)
    parts = r * cut.chunks
    given = (s.x, parts, n, cut.length, period, aligned, statistics, *scale, y)
    s.start(rows_long.apply_to_parts(*s.kind), limits.block_each(parts, cut.threads), *given)


def rows_pull_back(s: Launch, dy: Any, statistics: Any, dx: Any, made: list[Any]) -> None:
    w, (r, n), period = s.w, s.w.form.shape, s.w.form.parameters[0]
    aligned, wanted = s.aligned(n) and s.parameters, made[0] or made[2]
    team, again = limits.backward_team(n, s.width, wanted, limits.LIMITS)
    teams = limits.long_teams(r, period) if team is None else limits.persistent_teams(r, period, team, limits.LIMITS)
    parts, read = s.totals(teams if wanted else 1, 2, n), (dy, s.x, r, n, period, teams, aligned, statistics)
    if team is not None:
        kernel = rows_backward.backward(s.width, team.vectors, s.number, team.bound, wanted, again)
        s.start(kernel, limits.row_grid(teams, team), s.code, *read, *s.gamma, *s.scale, w.eps, dx, parts)
    else:
        joint, across = long_rows_sums(s, dy, statistics, aligned), ceil(ceil(n, s.width), limits.LIMITS.block)
        grid = limits.block_each(teams * across, limits.LIMITS.block)
        s.start(rows_long.pull_back_teams(*s.kind, wanted), grid, *read, *s.gamma, *s.scale, joint, dx, parts)
    if wanted:
        blocks, deep = ceil(n, rows_backward.COLUMNS) * period, limits.strips_of_teams(teams // period, rows_backward.STRIPS)
        grid = Grid((blocks, 1), (rows_backward.COLUMNS, deep))
        s.start(rows_backward.add_teams, grid, parts, teams, n, period, w.factor, *made)


def long_rows_sums(s: Launch, dy: Any, statistics: Any, aligned: bool) -> Any:
    """a and c of each row, (2, R)."""
    (r, n), period = s.w.form.shape, s.w.form.parameters[0]
    cut = limits.parts_of(n, s.width, limits.LIMITS)
    parts = r * cut.chunks
    sums, joint = s.totals(2, parts), s.totals(2, r)
    given = (dy, s.x, parts, n, cut.length, period, aligned, statistics, *s.gamma, *s.scale, sums)
    s.start(rows_long.sums_of_parts(*s.kind), limits.block_each(parts, cut.threads), *given)
    planes_join(s, True, (r, 1, 1, n), cut.chunks, statistics, (s.x, False, (1, 0, 0, 0), 0.0, 1.0), sums, joint)
    return joint


def where(form: Any) -> tuple[int, int, int, int]:
    """(P, steps along b, m, c) of a piece's parameter."""
    p, m, c = form.parameters
    return p, m * c, c if m > 1 else 0, 1 if c > 1 else 0


def planes_statistics(s: Launch, shape: tuple[int, ...], cut: limits.Planes, statistics: Any) -> None:
    """In two stages: parts, and their sums in order."""
    (b, m, c, n), parts = shape, shape[0] * shape[1] * shape[2] * cut.chunks
    sums = s.totals(2, parts)
    given = (s.code, s.x, parts, m, c, n, cut.length, s.aligned(n), sums)
    s.start(planes_parts.squares_of_parts(*s.kind), cut.grid(parts), *given)
    grid = limits.adding_grid(b * c, m * cut.chunks, limits.LIMITS)
    s.start(planes_parts.settle, grid, s.code, s.x, m, c, n, cut.chunks, s.w.eps, sums, statistics)


def planes_join(
    s: Launch, training: bool, shape: tuple[int, ...], chunks: int, statistics: Any, scale: Any, sums: Any, joint: Any
) -> None:
    """a and c of each block, from its parts' sums in order."""
    b, m, c, n = shape
    given = (s.code, training, m, c, n, chunks, statistics, *scale, s.w.eps, sums, joint)
    s.start(planes_parts.join, limits.adding_grid(b * c, m * chunks, limits.LIMITS), *given)


def planes_forward(s: Launch, statistics: Any, y: Any) -> None:
    w, (b, m, c, n) = s.w, s.w.form.shape
    cut, aligned = limits.planes(m, n, s.width, 1, limits.LIMITS), s.aligned(n)
    scale = (*s.gamma, *s.beta, where(w.form), *s.scale)
    if w.training and cut.fused:
        kernel, given = planes.forward(*s.kind, cut.bound), (s.code, s.x, b * c, m, c, n, aligned, cut.by_warp)
        s.start(kernel, cut.grid(b * c), *given, *scale, w.eps, y, statistics)
        return
    cut = limits.parts_of(n, s.width, limits.LIMITS)
    if w.training:
        planes_statistics(s, (b, m, c, n), cut, statistics)
    parts = b * m * c * cut.chunks
    given = (s.x, parts, m, c, n, cut.length, aligned, statistics)
    s.start(planes_parts.apply_to_parts(*s.kind), cut.grid(parts), *given, *scale, y)


def planes_pull_back(s: Launch, dy: Any, statistics: Any, dx: Any, made: list[Any]) -> None:
    w, (b, m, c, n) = s.w, s.w.form.shape
    cut, aligned = limits.planes(m, n, s.width, 2, limits.LIMITS), s.aligned(n)
    scale = (*s.gamma, where(w.form), *s.scale)
    if w.training and cut.fused:
        sums, kernel = s.totals(2, b * m * c), planes_backward.backward(*s.kind, cut.bound)
        given = (s.code, dy, s.x, b * c, m, c, n, aligned, cut.by_warp, statistics)
        s.start(kernel, cut.grid(b * c), *given, *scale, w.eps, dx, sums)
    else:
        cut = limits.parts_of(n, s.width, limits.LIMITS)
        parts = b * m * c * cut.chunks
        sums, joint, read = s.totals(2, parts), s.totals(2, b * c), (dy, s.x, parts, m, c, n, cut.length, aligned, statistics)
        s.start(planes_parts.sums_of_parts(*s.kind), cut.grid(parts), *read, sums)
        planes_join(s, w.training, (b, m, c, n), cut.chunks, statistics, scale, sums, joint)
        s.start(planes_parts.pull_back_parts(*s.kind), cut.grid(parts), *read, *scale, joint, dx)
    if made[0] or made[2]:
        add_pieces(s, (b, m, c), cut.chunks, w.form.parameters, sums, made)


def add_pieces(s: Launch, shape: tuple[int, int, int], chunks: int, parameters: Any, sums: Any, made: list[Any]) -> None:
    (b, m, c), (p, own_m, own_c) = shape, parameters
    grid = limits.adding_grid(p * own_m * own_c, b // p * (m // own_m) * (c // own_c) * chunks, limits.LIMITS)
    s.start(planes_parts.add_pieces, grid, b, m, c, chunks, p, own_m > 1, own_c > 1, s.w.factor, sums, *made)


def columns_where(form: Any) -> tuple[int, int, int, int, int]:
    """(P, steps along b, m, c, R) of an entry's parameter: the parameters' own shape, down the columns or across them."""
    if form.family == "positions":
        return 1, 0, 1, 0, 1
    p, across = form.parameters
    return p, across, 0, 1, form.repeat


def columns_of(s: Launch, arrays: int) -> tuple[int, int, int, int, limits.Columns, limits.Columns | None]:
    """B, M, C, K, and how columns are read: in strips, and by a team where that can be."""
    (b, m, c), down = s.w.form.shape, s.w.form.family == "positions"
    k, strips = 1 if down else c // s.w.form.groups, limits.columns(m, c, s.width, limits.LIMITS)
    team = limits.columns_team(m, c, k, s.width, arrays, limits.LIMITS) if s.w.training and not down else None
    return b, m, c, k, strips, team


def columns_forward(s: Launch, statistics: Any, y: Any) -> None:
    w, (b, m, c, k, how, team) = s.w, columns_of(s, 1)
    aligned, scale = s.aligned(c), (*s.gamma, *s.beta, columns_where(w.form), *s.scale)
    if team is not None:
        given = (s.code, s.x, m, c, k, aligned, *scale, w.eps, y, s.totals(b, 1, 2, c), statistics)
        s.start(columns_team.forward(*s.kind), team.team_grid(b), *given)
        return
    if w.training:
        sums = s.totals(b, how.strips, 2, c)
        s.start(columns.squares_of_strips(*s.kind), how.grid(b), s.code, s.x, m, c, how.strips, aligned, sums)
        s.start(columns.settle_columns, limits.thread_each(b * c, limits.LIMITS), s.code, m, c, how.strips, sums)
        grid = limits.block_each(b * c // k)
        s.start(columns.settle_groups, grid, s.code, s.x, m, c, k, w.eps, sums, statistics)
    s.start(columns.apply_to_strips(*s.kind), how.grid(b), s.x, m, c, k, how.strips, aligned, statistics, *scale, y)


def columns_pull_back(s: Launch, dy: Any, statistics: Any, dx: Any, made: list[Any]) -> None:
    w, (b, m, c, k, how, team), back = s.w, columns_of(s, 2), columns_backward
    down, scale = w.form.family == "positions", (*s.gamma, columns_where(w.form), *s.scale)
    sums, joint = s.totals(b, how.strips if team is None else 1, 2, c), s.totals(2, w.statistics)
    if team is not None:
        given = (s.code, dy, s.x, m, c, k, s.aligned(c), statistics, *scale, w.eps, dx, sums, joint)
        s.start(columns_team.backward(*s.kind), team.team_grid(b), *given)
    else:
        read = (dy, s.x, m, c, k, how.strips, s.aligned(c), statistics)
        s.start(back.sums_of_strips(*s.kind), how.grid(b), *read, down, *scale, sums)
        s.start(back.add_strips, limits.thread_each(b * c, limits.LIMITS), c, how.strips, sums)
        joined = (s.code, w.training, m, c, k, statistics, down, *scale, w.eps, sums, joint)
        s.start(back.join, limits.block_each(w.statistics), *joined)
        s.start(back.pull_back_strips(*s.kind), how.grid(b), *read, *scale, joint, dx)
    if down and (made[0] or made[2]):
        along, grid = s.totals(2, b * m), limits.adding_grid(b * m, c, limits.LIMITS)
        s.start(columns_parameters.sums_along_rows, grid, dy, s.x, m, c, k, statistics, along)
        add_pieces(s, (b, m, 1), 1, (1, m, 1), along, made)
    elif made[0] or made[2]:
        p, across = w.form.parameters
        shares = (b, c, w.form.repeat, p, across, w.factor, sums)
        s.start(columns_parameters.add_columns, limits.block_each(p * across), *shares, *made)


FORWARD = {"rows": rows_forward, "planes": planes_forward, "columns": columns_forward, "positions": columns_forward}
BACKWARD = {"rows": rows_pull_back, "planes": planes_pull_back, "columns": columns_pull_back, "positions": columns_pull_back}
