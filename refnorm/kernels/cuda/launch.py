"""How kernels are launched: grids, teams, parts and alignment, as plain functions of shapes.  No CUDA is needed to read or
test them.

What a row's or a block's own result depends on follows from its own length and type alone, never from how many there are:
batch invariance.  What is summed over rows follows from the shape alone, never from the device: the same bits everywhere.
The limits are sized for a chip of 132 multiprocessors of 2048 threads and 65,536 registers; they are right on any.
"""

from __future__ import annotations

from typing import NamedTuple

WARP = 32
BYTES = 16
"""The widest access of one thread."""


class Limits(NamedTuple):
    forward: tuple[tuple[int, int], ...] = ((512, 32), (1024, 16))          # threads of a row, with at most so many entries
    accumulate: tuple[tuple[int, int], ...] = ((256, 16), (512, 8))         # the same backward, with sums for the parameters
    again: tuple[tuple[int, int], ...] = ((512, 16),)                       # these sums in registers, the row read again
    backward: tuple[tuple[int, int], ...] = ((512, 16),)                    # without sums
    entries_of_16_bits: int = 16                  # of a row, a thread: more are not kept in registers
    block: int = 128                              # threads of a block that several teams share
    block_of_parts: int = 256                     # threads that read one part of a long piece
    team: int = 1024                              # most threads that share a block of statistics
    team_of_columns: int = 512                    # and of columns
    part: int = 16384                             # entries of a part
    resident: int = 132 * 640                     # threads of a persistent grid
    strips: int = 1024                            # of columns, in all
    processors: int = 132
    at_once: int = 1024                           # threads of a multiprocessor that these kernels' registers leave room for
    cache: int = 24 << 20                         # bytes of the second cache, 50 MiB in two halves, that are counted on


LIMITS = Limits()


class Team(NamedTuple):
    """Threads that share a row, each with `vectors` vectors of it; `teams` of them in a block of at most `bound` threads."""

    threads: int
    vectors: int
    teams: int
    bound: int


class Grid(NamedTuple):
    blocks: tuple[int, int]
    threads: tuple[int, int]


def width_of(itemsize: int) -> int:
    """Entries in one access."""
    return BYTES // itemsize


def ceil(a: int, b: int) -> int:
    return -(-a // b)


def row_team(n: int, width: int, kind: str, limits: Limits = LIMITS) -> Team | None:
    """The team for rows of n entries in a kernel of the kind forward, accumulate or backward, as Limits names them; None where
    no block has the registers.

    Of all that fit, one with few idle lanes, and a thread with about 16 entries forward, 8 backward: fewer, and a row's square
    root costs more than its entries; more, and too few threads are resident to keep memory busy.
    """
    vectors, aim = ceil(n, width), 16 if kind == "forward" else 8
    best, least = None, float("inf")
    for bound, most in getattr(limits, kind):
        most = min(most, limits.entries_of_16_bits) if width == BYTES // 2 else most
        for threads in (1, 2, 4, 8, 16, *range(WARP, bound + 1, WARP)):
            each = ceil(vectors, threads)
            entries = each * width
            if entries > most:
                continue
            idle = threads * entries / max(n, 1)
            cost = idle * (1 + 0.1 * max(entries / aim, aim / entries))
            if cost < least:
                teams = limits.block // threads if threads <= WARP else 1
                best, least = Team(threads, each, teams, bound_of(threads * teams)), cost
    return best


def bound_of(threads: int) -> int:
    """The most threads that a kernel is compiled for, which decides how many registers a thread may have."""
    return max(128, 1 << (threads - 1).bit_length())


def row_grid(rows: int, team: Team) -> Grid:
    """A team a row."""
    return Grid((ceil(rows, team.teams), 1), (team.threads, team.teams))


def persistent_teams(rows: int, period: int, team: Team, limits: Limits = LIMITS) -> int:
    """How many teams walk through the rows: a multiple of `period`, no more than rows ask for, about as many as are
    resident."""
    most = max(1, limits.resident // team.threads)
    return min(ceil(most, period) * period, rows)


def long_teams(rows: int, period: int) -> int:
    """How many teams share the rows where only the parameters' sums are wanted: a multiple of `period`."""
    return min(rows, ceil(64, period) * period)


def stays(size: int, threads: int, limits: Limits = LIMITS) -> bool:
    """Are `size` bytes still in the second cache when a team of `threads` reads them again?  As many teams as can be resident
    read as much at the same time."""
    return size * limits.processors * max(1, limits.at_once // threads) <= limits.cache


def backward_team(n: int, width: int, wanted: bool, limits: Limits = LIMITS) -> tuple[Team | None, bool]:
    """The team for rows of n entries backward, with sums for parameters where `wanted`; and does it read its row again?"""
    kept = row_team(n, width, "accumulate" if wanted else "backward", limits)
    again = row_team(n, width, "again", limits) if wanted and kept is None else None
    if again is not None and not stays(2 * n * BYTES // width, again.threads, limits):
        again = None
    return kept or again, again is not None


def block_threads(entries: int, width: int, limits: Limits = LIMITS) -> int:
    """Threads of a team that reads `entries` one after the other: a warp, or more of them for more than 8 vectors a thread."""
    warps = min(limits.block_of_parts // WARP, max(1, ceil(entries, width * 8 * WARP)))
    return WARP * (1 << (warps - 1).bit_length())


def teams_of(threads: int, limits: Limits = LIMITS) -> int:
    """How many teams of `threads` threads share a block."""
    return max(1, limits.block // WARP) if threads == WARP else 1


class Planes(NamedTuple):
    """How blocks of `pieces` pieces of n entries are read."""

    fused: bool                                   # one team a block, which reads it again from a cache; otherwise parts
    by_warp: bool                                 # fused: each warp of the team takes pieces of its own
    threads: int
    teams: int
    length: int                                   # of a part
    chunks: int                                   # parts of a piece

    @property
    def bound(self) -> int:
        """The most threads that a kernel is compiled for: few, for each is a compilation."""
        return max(256, bound_of(self.threads * self.teams))

    def grid(self, count: int) -> Grid:
        """A team for each of `count` blocks, or parts."""
        return Grid((ceil(count, self.teams), 1), (self.threads, self.teams))


def planes(pieces: int, n: int, width: int, arrays: int, limits: Limits = LIMITS) -> Planes:
    """For kernels that read so many arrays of x's size: a team a block where it stays in a cache; otherwise parts."""
    size, threads = pieces * n * arrays * BYTES // width, block_threads(pieces * n, width, limits)
    while threads < limits.team and not stays(size, threads, limits):
        threads *= 2
    if not stays(size, threads, limits):
        return parts_of(n, width, limits)
    by_warp = pieces >= max(4, threads // WARP)
    return Planes(True, by_warp, threads, teams_of(threads, limits), n, 1)


def parts_of(n: int, width: int, limits: Limits = LIMITS) -> Planes:
    """Pieces in parts, whatever the block."""
    length = max(width, min(limits.part, ceil(n, width) * width))
    threads = block_threads(length, width, limits)
    return Planes(False, False, threads, teams_of(threads, limits), length, ceil(n, length))


class Columns(NamedTuple):
    lanes: int                                    # vectors of columns side by side in a block
    deep: int                                     # rows at a time
    across: int                                   # blocks side by side
    strips: int                                   # of a block's rows

    def grid(self, blocks: int) -> Grid:
        return Grid((blocks * self.strips, self.across), (self.lanes, self.deep))

    def team_grid(self, blocks: int) -> Grid:
        """All blocks side by side: there may be more than 65,535 tiles."""
        return Grid((blocks * self.across, 1), (self.lanes, self.deep))


def columns(rows: int, columns: int, width: int, limits: Limits = LIMITS) -> Columns:
    vectors = ceil(columns, width)
    lanes = min(WARP, 1 << max(0, (vectors - 1).bit_length()))
    deep, across = limits.block_of_parts // lanes, ceil(vectors, lanes)
    return Columns(lanes, deep, across, max(1, min(limits.strips // across, ceil(rows, deep * 4))))


def columns_team(
    rows: int, columns: int, k: int, width: int, arrays: int, limits: Limits = LIMITS
) -> Columns | None:
    """A thread block for all rows of whole groups of k columns, in kernels that read so many arrays of x's size: 128 bytes of a
    row side by side, or as much as a group takes.  None where that does not stay in a cache."""
    vectors = ceil(columns, width)
    lanes = min(8, 1 << max(0, (vectors - 1).bit_length()))
    while lanes < min(vectors, WARP) and lanes * width % k:
        lanes *= 2
    tile = min(columns, lanes * width)
    if tile % k or not stays(rows * tile * arrays * BYTES // width, limits.team_of_columns, limits):
        return None
    return Columns(lanes, limits.team_of_columns // lanes, ceil(vectors, lanes), 1)


def gathered(threads_wanted: int, limits: Limits = LIMITS) -> int:
    """Threads of a block that adds up so many numbers: a power of two of warps, enough for one number each up to a block's
    size."""
    warps = max(1, min(limits.block_of_parts, threads_wanted) // WARP)
    return WARP * (1 << (warps.bit_length() - 1))


def thread_each(count: int, limits: Limits = LIMITS) -> Grid:
    """A thread for each of `count`."""
    return Grid((ceil(count, limits.block), 1), (limits.block, 1))


def block_each(count: int, threads: int = WARP) -> Grid:
    """A block for each of `count`, a warp unless more is said."""
    return Grid((count, 1), (threads, 1))


def adding_grid(count: int, numbers: int, limits: Limits = LIMITS) -> Grid:
    """A block for each of `count`, with threads to add up so many numbers."""
    return block_each(count, gathered(numbers, limits))


def is_aligned(address: int) -> bool:
    return address % BYTES == 0


def strips_of_teams(teams: int, most: int) -> int:
    """Into how many strips the teams' parts are cut where they are added: a power of two, so that any number of them works."""
    return min(most, 1 << max(0, teams.bit_length() - 1))
