"""Which kernels read which form, and how they are launched."""

from __future__ import annotations

from typing import Any

from . import columns, columns_backward, planes, planes_backward, rows, rows_backward, rows_long
from . import launch as limits
from .arrays import Span
from .contract import Work
from .device import launch
from .launch import WARP, ceil, is_aligned, width_of
from .rows import number_of
from .statistics_of import table


class Launch:
    """What all launches of one call share."""

    def __init__(self, w: Work, *arrays: Span) -> None:
        self.w, self.library = w, w.library
        self.width, self.number = width_of(w.x.dtype.itemsize), number_of(w.x.dtype)
        self.addresses = all(is_aligned(a.pointer) for a in (w.x, *arrays))
        self.x = w.x.flat()
        self.gamma = (w.gamma.span.flat() if w.gamma.given else self.x, w.gamma.given)
        self.beta = (w.beta.span.flat() if w.beta.given else self.x, w.beta.given)
        self.parameters = all(is_aligned(p.span.pointer) for p in (w.gamma, w.beta) if p.given)

    def aligned(self, n: int) -> bool:
        """Can runs of n entries be read 16 bytes at a time?"""
        return self.addresses and n % self.width == 0

    def start(self, kernel: Any, grid: tuple[int, int], threads: tuple[int, int], *arguments: Any) -> None:
        launch(kernel, grid, threads, self.library, *arguments)

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
    team = limits.row_team(n, s.width, "forward", limits.LIMITS)
    aligned = s.aligned(n) and s.parameters
    scale = (*s.gamma, *s.beta, w.offset, w.factor)
    if team is not None:
        kernel = rows.forward(s.width, team.vectors, s.number, team.bound)
        grid = limits.row_grid(r, team)
        s.start(kernel, grid.blocks, grid.threads, w.recipe.code, s.x, r, n, period, aligned, *scale, w.eps, y, statistics)
        return
    cut = limits.parts_of(n, s.width, limits.LIMITS)
    planes_statistics(s, r, 1, 1, n, cut, statistics)
    kernel = rows_long.apply_to_parts(s.width, s.number)
    parts = r * cut.chunks
    s.start(kernel, (parts, 1), (cut.threads, 1), s.x, parts, n, cut.length, period, aligned, statistics, *scale, y)


def rows_pull_back(s: Launch, dy: Any, statistics: Any, dx: Any, made: list[Any]) -> None:
    w, (r, n), period = s.w, s.w.form.shape, s.w.form.parameters[0]
    aligned, wanted = s.aligned(n) and s.parameters, made[0] or made[2]
    team, again = limits.backward_team(n, s.width, wanted, limits.LIMITS)
    teams = limits.persistent_teams(r, period, team, limits.LIMITS) if team is not None else limits.long_teams(r, period)
    parts, scale = s.totals(teams if wanted else 1, 2, n), (*s.gamma, w.offset, w.factor)
    if team is not None:
        kernel = rows_backward.backward(s.width, team.vectors, s.number, team.bound, wanted, again)
        given = (w.recipe.code, dy, s.x, r, n, period, teams, aligned, statistics, *scale, w.eps)
        grid = limits.row_grid(teams, team)
        s.start(kernel, grid.blocks, grid.threads, *given, dx, parts)
    else:
        joint = long_rows_sums(s, dy, statistics, aligned)
        across, threads = ceil(ceil(n, s.width), limits.LIMITS.block), limits.LIMITS.block
        kernel = rows_long.pull_back_teams(s.width, s.number, wanted)
        given = (dy, s.x, r, n, period, teams, aligned, statistics, *scale, joint)
        s.start(kernel, (teams * across, 1), (threads, 1), *given, dx, parts)
    if wanted:
        blocks, deep = ceil(n, rows_backward.COLUMNS) * period, limits.strips_of_teams(teams // period, rows_backward.STRIPS)
        given = (parts, teams, n, period, w.factor)
        s.start(rows_backward.add_teams, (blocks, 1), (rows_backward.COLUMNS, deep), *given, *made)


def long_rows_sums(s: Launch, dy: Any, statistics: Any, aligned: bool) -> Any:
    """a and c of each row, (2, R)."""
    w, (r, n), period = s.w, s.w.form.shape, s.w.form.parameters[0]
    cut = limits.parts_of(n, s.width, limits.LIMITS)
    parts = r * cut.chunks
    sums, joint = s.totals(2, parts), s.totals(2, r)
    given = (dy, s.x, parts, n, cut.length, period, aligned, statistics, *s.gamma, w.offset, w.factor)
    s.start(rows_long.sums_of_parts(s.width, s.number), (parts, 1), (cut.threads, 1), *given, sums)
    planes_join(s, True, r, 1, 1, n, cut.chunks, statistics, (s.x, False), (1, 0, 0, 0), (0.0, 1.0), sums, joint)
    return joint


def where(form: Any) -> tuple[int, int, int, int]:
    """(P, steps along b, m, c) of a piece's parameter."""
    p, m, c = form.parameters
    return p, m * c, c if m > 1 else 0, 1 if c > 1 else 0


def planes_statistics(s: Launch, b: int, m: int, c: int, n: int, cut: limits.Planes, statistics: Any) -> None:
    """In two stages: parts, and their sums in order."""
    w, parts = s.w, b * m * c * cut.chunks
    sums = s.totals(2, parts)
    grid = limits.team_grid(parts, cut.threads, cut.teams)
    given = (w.recipe.code, s.x, parts, m, c, n, cut.length, s.aligned(n), sums)
    s.start(planes.squares_of_parts(s.width, s.number), grid.blocks, grid.threads, *given)
    threads = (limits.gathered(m * cut.chunks, limits.LIMITS), 1)
    s.start(planes.settle, (b * c, 1), threads, w.recipe.code, s.x, m, c, n, cut.chunks, w.eps, sums, statistics)


def planes_forward(s: Launch, statistics: Any, y: Any) -> None:
    w, (b, m, c, n) = s.w, s.w.form.shape
    cut, aligned = limits.planes(m, n, s.width, 1, limits.LIMITS), s.aligned(n)
    scale = (*s.gamma, *s.beta, where(w.form), w.offset, w.factor)
    if w.training and cut.fused:
        grid = limits.team_grid(b * c, cut.threads, cut.teams)
        blocks = (w.recipe.code, s.x, b * c, m, c, n, aligned, cut.by_warp)
        kernel = planes.forward(s.width, s.number, limits.bound_of(grid.size))
        s.start(kernel, grid.blocks, grid.threads, *blocks, *scale, w.eps, y, statistics)
        return
    cut = limits.parts_of(n, s.width, limits.LIMITS)
    if w.training:
        planes_statistics(s, b, m, c, n, cut, statistics)
    parts = b * m * c * cut.chunks
    grid = limits.team_grid(parts, cut.threads, cut.teams)
    given = (s.x, parts, m, c, n, cut.length, aligned, statistics)
    s.start(planes.apply_to_parts(s.width, s.number), grid.blocks, grid.threads, *given, *scale, y)


def planes_join(
    s: Launch, training: bool, b: int, m: int, c: int, n: int, chunks: int, statistics: Any, gamma: Any, place: Any, scale: Any,
    sums: Any, joint: Any,
) -> None:  # fmt: skip
    threads = (limits.gathered(m * chunks, limits.LIMITS), 1)
    given = (s.w.recipe.code, training, m, c, n, chunks, statistics, *gamma, place, *scale, s.w.eps, sums, joint)
    s.start(planes_backward.join, (b * c, 1), threads, *given)


def planes_pull_back(s: Launch, dy: Any, statistics: Any, dx: Any, made: list[Any]) -> None:
    w, (b, m, c, n) = s.w, s.w.form.shape
    cut, aligned = limits.planes(m, n, s.width, 2, limits.LIMITS), s.aligned(n)
    place, scale = where(w.form), (w.offset, w.factor)
    if w.training and cut.fused:
        sums = s.totals(2, b * m * c)
        grid = limits.team_grid(b * c, cut.threads, cut.teams)
        given = (w.recipe.code, dy, s.x, b * c, m, c, n, aligned, cut.by_warp, statistics, *s.gamma, place, *scale, w.eps)
        kernel = planes_backward.backward(s.width, s.number, limits.bound_of(grid.size))
        s.start(kernel, grid.blocks, grid.threads, *given, dx, sums)
    else:
        cut = limits.parts_of(n, s.width, limits.LIMITS)
        parts = b * m * c * cut.chunks
        sums, joint = s.totals(2, parts), s.totals(2, b * c)
        grid = limits.team_grid(parts, cut.threads, cut.teams)
        read = (dy, s.x, parts, m, c, n, cut.length, aligned, statistics)
        s.start(planes_backward.sums_of_parts(s.width, s.number), grid.blocks, grid.threads, *read, sums)
        planes_join(s, w.training, b, m, c, n, cut.chunks, statistics, s.gamma, place, scale, sums, joint)
        kernel = planes_backward.pull_back_parts(s.width, s.number)
        s.start(kernel, grid.blocks, grid.threads, *read, *s.gamma, place, *scale, joint, dx)
    if made[0] or made[2]:
        add_pieces(s, (b, m, c), cut.chunks, w.form.parameters, sums, made)


def add_pieces(s: Launch, shape: tuple[int, int, int], chunks: int, parameters: Any, sums: Any, made: list[Any]) -> None:
    (b, m, c), (p, own_m, own_c) = shape, parameters
    terms = b // p * (m // own_m) * (c // own_c) * chunks
    given = (b, m, c, chunks, p, own_m > 1, own_c > 1, s.w.factor, sums)
    threads = (limits.gathered(terms, limits.LIMITS), 1)
    s.start(planes_backward.add_pieces, (p * own_m * own_c, 1), threads, *given, *made)


def columns_where(form: Any) -> tuple[int, int, int, int, int]:
    """(P, steps along b, m, c, R) of an entry's parameter: the parameters' own shape, down the columns or across them."""
    if form.family == "positions":
        return 1, 0, 1, 0, 1
    p, across = form.parameters
    return p, across, 0, 1, form.repeat


def columns_of(s: Launch) -> tuple[int, int, int, int, limits.Columns, int]:
    b, m, c = s.w.form.shape
    k = 1 if s.w.form.family == "positions" else c // s.w.form.groups
    how = limits.columns(m, c, s.width, limits.LIMITS)
    return b, m, c, k, how, ceil(b * c, limits.LIMITS.block)


def columns_forward(s: Launch, statistics: Any, y: Any) -> None:
    w, (b, m, c, k, how, each) = s.w, columns_of(s)
    grid, aligned, one = how.grid(b), s.aligned(c), (limits.LIMITS.block, 1)
    if w.training:
        sums = s.totals(b, how.strips, 2, c)
        given = (w.recipe.code, s.x, m, c, how.strips, aligned, sums)
        s.start(columns.squares_of_strips(s.width, s.number), grid.blocks, grid.threads, *given)
        s.start(columns.settle_columns, (each, 1), one, w.recipe.code, m, c, how.strips, sums)
        s.start(columns.settle_groups, (b * c // k, 1), (WARP, 1), w.recipe.code, s.x, m, c, k, w.eps, sums, statistics)
    scale = (*s.gamma, *s.beta, columns_where(w.form), w.offset, w.factor)
    given = (s.x, m, c, k, how.strips, aligned, statistics)
    s.start(columns.apply_to_strips(s.width, s.number), grid.blocks, grid.threads, *given, *scale, y)


def columns_pull_back(s: Launch, dy: Any, statistics: Any, dx: Any, made: list[Any]) -> None:
    w, (b, m, c, k, how, each) = s.w, columns_of(s)
    grid, aligned, one, back = how.grid(b), s.aligned(c), (limits.LIMITS.block, 1), columns_backward
    down, place = w.form.family == "positions", columns_where(w.form)
    scale = (*s.gamma, place, w.offset, w.factor)
    sums, joint = s.totals(b, how.strips, 2, c), s.totals(2, w.statistics)
    read = (dy, s.x, m, c, k, how.strips, aligned, statistics)
    s.start(back.sums_of_strips(s.width, s.number), grid.blocks, grid.threads, *read, down, *scale, sums)
    s.start(back.add_strips, (each, 1), one, c, how.strips, sums)
    given = (w.recipe.code, w.training, m, c, k, statistics, down, *scale, w.eps, sums, joint)
    s.start(back.join, (w.statistics, 1), (WARP, 1), *given)
    s.start(back.pull_back_strips(s.width, s.number), grid.blocks, grid.threads, *read, *scale, joint, dx)
    if not (made[0] or made[2]):
        return
    if down:
        along = s.totals(2, b * m)
        s.start(back.sums_along_rows, (b * m, 1), (limits.gathered(c, limits.LIMITS), 1), dy, s.x, m, c, k, statistics, along)
        add_pieces(s, (b, m, 1), 1, (1, m, 1), along, made)
    else:
        p, across = w.form.parameters
        shares = (b, c, w.form.repeat, p, across, w.factor, sums)
        s.start(back.add_columns, (p * across, 1), (WARP, 1), *shares, *made)


FORWARD = {"rows": rows_forward, "planes": planes_forward, "columns": columns_forward, "positions": columns_forward}
BACKWARD = {"rows": rows_pull_back, "planes": planes_pull_back, "columns": columns_pull_back, "positions": columns_pull_back}
