"""The launch logic, as properties of plain functions: nothing is left out, nothing is done twice, everything can be
launched."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from refnorm.kernels.cpu.form import Form
from refnorm.kernels.cuda import launch, traffic
from refnorm.kernels.cuda.launch import LIMITS, WARP

WIDTHS = st.sampled_from([2, 4, 8])
LENGTHS = st.one_of(st.integers(1, 300), st.integers(1, 40_000), st.integers(1, 10**7))
ROWS = st.one_of(st.integers(1, 40), st.integers(60_000, 70_000), st.integers(1, 2**33))
KINDS = st.sampled_from(["forward", "accumulate", "again", "backward"])
GRID = 2**31 - 1, 65535


@given(LENGTHS, WIDTHS, KINDS)
def test_a_team_covers_its_row_and_can_be_launched(n, width, kind):
    team = launch.row_team(n, width, kind)
    if team is None:
        assert n > max(threads * min(most, LIMITS.entries_of_16_bits) for threads, most in getattr(LIMITS, kind)) - WARP * width
        return
    assert team.threads * team.vectors * width >= n
    assert team.threads in (1, 2, 4, 8, 16) or team.threads % WARP == 0
    assert team.threads * team.teams <= team.bound <= 1024
    assert team.teams == 1 or (team.threads <= WARP and team.threads * team.teams % WARP == 0)
    bounds = [most for threads, most in getattr(LIMITS, kind) if team.threads <= threads]
    assert team.vectors * width <= max(bounds) and (width < 8 or team.vectors * width <= LIMITS.entries_of_16_bits)


@given(st.integers(1, 16384), WIDTHS)
def test_few_lanes_are_idle(n, width):
    team = launch.row_team(n, width, "forward")
    assert team.threads * team.vectors * width <= 2 * (n + width)


@given(ROWS, st.integers(1, 8192), WIDTHS)
def test_every_row_has_a_team(rows, n, width):
    team = launch.row_team(n, width, "forward")
    grid = launch.row_grid(rows, team)
    assert 0 <= grid.blocks[0] * team.teams - rows < team.teams
    if rows < 2**31:
        assert grid.blocks[0] <= GRID[0]


@given(st.integers(1, 10**5), st.integers(1, 500), st.integers(1, 8192), WIDTHS)
def test_a_persistent_grid_walks_over_every_row_once(groups, period, n, width):
    rows = groups * period
    team = launch.row_team(n, width, "backward")
    teams = launch.persistent_teams(rows, period, team)
    assert 1 <= teams <= rows and teams % period == 0
    steps = -(-rows // teams)
    assert (steps - 1) * teams < rows <= steps * teams
    assert teams <= max(period, LIMITS.resident // team.threads + period)


@given(st.integers(1, 10**5), st.integers(1, 500))
def test_the_teams_of_long_rows(groups, period):
    teams = launch.long_teams(groups * period, period)
    assert teams % period == 0 and 1 <= teams <= groups * period


@given(st.integers(1, 500), LENGTHS, WIDTHS, st.integers(1, 2))
def test_planes(pieces, n, width, arrays):
    how = launch.planes(pieces, n, width, arrays)
    assert how.threads % WARP == 0 and how.threads & (how.threads - 1) == 0 and how.threads <= LIMITS.team
    assert how.teams == 1 or how.threads == WARP
    size = pieces * n * arrays * 16 // width
    assert how.fused == launch.stays(size, LIMITS.team)
    if how.fused:
        assert launch.stays(size, how.threads)
        assert size * LIMITS.processors * LIMITS.at_once // how.threads <= 50 << 20
    if how.by_warp:
        assert how.fused and how.threads // WARP <= pieces
    if not how.fused:
        parts_cover(how, n, width)
        assert how.threads <= LIMITS.block_of_parts
    parts_cover(launch.parts_of(n, width), n, width)


@given(LENGTHS, WIDTHS, st.booleans())
def test_rows_backward(n, width, wanted):
    """Rows are read again only where their parameters' sums take the registers, and only where they stay in a cache."""
    team, again = launch.backward_team(n, width, wanted)
    assert not again or (wanted and launch.row_team(n, width, "accumulate") is None)
    if again:
        assert launch.stays(2 * n * 16 // width, team.threads)
    if team is None:
        assert n > 4096 - 16 * WARP


@given(st.integers(0, 2), st.integers(1, 10**4), st.integers(1, 10**5), st.sampled_from([2, 4, 8]), st.booleans())
def test_bytes_moved_are_the_least_where_it_stays_and_one_reading_more_where_not(family, blocks, n, itemsize, wanted):
    word, shape, one = (("rows", (blocks, n), n), ("planes", (blocks, 1, 1, n), n), ("columns", (1, blocks, n), 0))[family]
    form = Form(word, shape, (), (), (), (1,), n if word == "columns" else 1, 1, (), ())
    tensor = math.prod(shape) * itemsize
    forward, backward = (traffic.bytes_moved(form, itemsize, back, wanted) for back in (False, True))
    assert forward in (2 * tensor, 3 * tensor) and backward in (3 * tensor, 5 * tensor)
    if one == 0:
        one = blocks * min(n, 128 // itemsize)       # all rows of 128 bytes
    if one <= 4096:
        assert (forward, backward) == (2 * tensor, 3 * tensor)
    elif one * itemsize > LIMITS.cache // LIMITS.processors:
        assert (forward, backward) == (3 * tensor, 5 * tensor)


def parts_cover(how, n, width):
    assert how.length % width == 0 or how.length >= n
    assert (how.chunks - 1) * how.length < n <= how.chunks * how.length


@given(st.integers(1, 10**6), st.integers(1, 70_000), WIDTHS)
def test_columns(rows, columns, width):
    how = launch.columns(rows, columns, width)
    assert how.lanes * how.deep == LIMITS.block_of_parts and how.lanes <= WARP
    assert (how.across - 1) * how.lanes * width < columns <= how.across * how.lanes * width
    assert 1 <= how.strips <= rows
    bounds = [rows * s // how.strips for s in range(how.strips + 1)]
    assert bounds[0] == 0 and bounds[-1] == rows and all(a < b for a, b in pairwise(bounds))
    assert how.across <= GRID[1]


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 64), WIDTHS, st.integers(1, 2))
def test_teams_of_columns(rows, groups, k, width, arrays):
    columns = groups * k
    team = launch.columns_team(rows, columns, k, width, arrays)
    if team is None:
        tile = min(columns, 8 * width)
        assert tile % k or not launch.stays(rows * tile * arrays * 16 // width, LIMITS.team_of_columns)
        return
    tile = team.lanes * width
    assert team.lanes * team.deep == LIMITS.team_of_columns and team.lanes <= WARP and team.deep & (team.deep - 1) == 0
    assert (team.across - 1) * tile < columns <= team.across * tile
    assert tile % k == 0 or tile >= columns          # whole groups


@given(st.integers(0, 10**6))
def test_blocks_that_add_up(count):
    threads = launch.gathered(count)
    assert threads % WARP == 0 and threads & (threads - 1) == 0 and WARP <= threads <= LIMITS.block_of_parts


@given(st.integers(1, 10**5), st.integers(1, 10**5), LENGTHS, WIDTHS)
def test_a_row_s_own_launch_does_not_depend_on_the_batch(few, many, n, width):
    """Batch invariance: none of these functions has the number of rows as an argument, but for those of sums over rows."""
    team = launch.row_team(n, width, "forward")
    if team is not None:
        assert launch.row_grid(few, team).threads == launch.row_grid(many, team).threads


@given(st.integers(0, 10**6))
def test_alignment(address):
    assert launch.is_aligned(address) == (address % 16 == 0)


@given(st.integers(1, 10**6))
def test_strips_of_teams(teams):
    strips = launch.strips_of_teams(teams, 8)
    assert 1 <= strips <= min(8, teams)
