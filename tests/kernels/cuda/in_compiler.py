"""Every kernel compiled for compute capability 9.0: types, registers, spills, 16-byte accesses.  test_without_a_gpu.py runs
this in a process of its own, without the simulator."""

import ml_dtypes
import numpy as np
import pytest
from numba.cuda import types

from refnorm.kernels.cuda import (
    columns,
    columns_backward,
    columns_parameters,
    columns_team,
    launch,
    matrices,
    planes,
    planes_backward,
    planes_parts,
    rows,
    rows_backward,
    rows_long,
    small,
    whitening,
    whitening_work,
)
from refnorm.kernels.cuda.launch import LIMITS, WARP, row_team, width_of
from refnorm.kernels.cuda.rows import number_of
from tests.kernels.cuda.compiler import compiled, flat, table

DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in ("float32", "bfloat16", "float16", "float64")}
REGISTERS = 65536                                # of a multiprocessor, and of a block at most
i, f, b = types.int64, types.float64, types.boolean


def where(n):
    return types.UniTuple(types.int64, n)


def launchable(kernel, threads):
    """A block of so many threads has the registers; no stack beyond what was spilled."""
    assert kernel.registers * threads <= REGISTERS, f"{kernel.registers} registers x {threads} threads"
    assert kernel.stack == 0 or kernel.spilled > 0, f"{kernel.stack} bytes of stack: a local array is not in registers"


def teams(kind, width):
    """Every (vectors, bound, threads) that the launch logic can choose."""
    found = {}
    for n in range(1, 40000, 7):
        team = row_team(n, width, kind)
        if team is not None:
            key = team.vectors, team.bound
            found[key] = max(found.get(key, 0), team.threads * team.teams)
    return found


def signature_forward(a):
    return (i, a, i, i, i, b, a, b, a, b, f, f, f, a, table())


def signature_backward(a):
    return (i, a, a, i, i, i, i, b, table(), a, b, f, f, f, a, table(3))


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_rows_in_registers(name):
    """Of the teams that can be chosen those with most entries a thread, for each bound on the threads."""
    width, a = width_of(DTYPES[name].itemsize), flat(name)
    chosen = teams("forward", width)
    for bound in sorted({bound for _, bound in chosen}):
        vectors = max(v for v, other in chosen if other == bound)
        kernel = compiled(rows.forward(width, vectors, types.float32, bound), *signature_forward(a))
        launchable(kernel, chosen[vectors, bound])
        assert kernel.spilled <= (96 if bound == 1024 else 0)
        assert kernel.count(r"ld\.global\.nc\.L1::no_allocate\.v4") == vectors
        assert kernel.count(r"ld\.global\.nc\.v4") >= 2 * vectors          # gamma and beta
        assert kernel.count(r"st\.global\.v4") == vectors


@pytest.mark.parametrize("kind", ["accumulate", "again", "backward"])
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_rows_in_registers_backward(name, kind):
    width, a = width_of(DTYPES[name].itemsize), flat(name)
    chosen = teams(kind, width)
    for bound in sorted({bound for _, bound in chosen if bound in (256, 512)}):
        vectors = max(v for v, other in chosen if other == bound)
        kernel = rows_backward.backward(width, vectors, types.float32, bound, kind != "backward", kind == "again")
        kernel = compiled(kernel, *signature_backward(a))
        launchable(kernel, chosen[vectors, bound])
        assert kernel.spilled <= (192 if bound == 512 else 0)
        once, kept = kernel.count(r"ld\.global\.nc\.L1::no_allocate\.v4"), kernel.count(r"ld\.global\.nc\.v4")
        assert (once == 0 and kept >= 2 * vectors) if kind == "again" else once == 2 * vectors
        assert kernel.count(r"st\.global\.v4") == (1 if kind == "again" else vectors)


@pytest.mark.parametrize("name", DTYPES)
def test_every_team_fits_into_16_bytes_and_registers(name):
    """What may be kept in registers is bounded by what was seen to be."""
    width = width_of(DTYPES[name].itemsize)
    for kind in ("forward", "accumulate", "backward"):
        for (vectors, bound), threads in teams(kind, width).items():
            assert vectors * width <= (16 if width == 8 else 32) and threads <= bound


def kernels(name):
    """name: (kernel, signature, threads), for entries of one type."""
    a, t, par = flat(name), table(), (flat(name), b, flat(name), b)
    width, number = width_of(DTYPES[name].itemsize), number_of(DTYPES[name])
    four, five = where(4), where(5)
    w, part, block = (width, number), LIMITS.block_of_parts, LIMITS.block
    yield "a thread a row", rows.forward_by_thread, (i, a, i, i, i, *par, f, f, f, a, t), block
    yield "a block a row", rows.forward_by_block, (i, a, i, i, i, *par, f, f, f, a, t), 1024
    yield "row forward", rows.forward(width, 1, number, 128), signature_forward(a), 128
    yield "row backward", rows_backward.backward(width, 1, number, 128, True, False), signature_backward(a), 128
    yield "add teams", rows_backward.add_teams, (table(3), i, i, i, f, b, a, b, a), WARP * rows_backward.STRIPS
    yield "long apply", rows_long.apply_to_parts(*w), (a, i, i, i, i, b, t, *par, f, f, a), part
    yield "long sums", rows_long.sums_of_parts(*w), (a, a, i, i, i, i, b, t, a, b, f, f, t), part
    pull = (a, a, i, i, i, i, b, t, a, b, f, f, t, a, table(3))
    yield "long pull back", rows_long.pull_back_teams(*w, True), pull, block
    yield "long pull back alone", rows_long.pull_back_teams(*w, False), pull, block
    yield "plane forward", planes.forward(*w, part), (i, a, i, i, i, i, b, b, *par, four, f, f, f, a, t), part
    yield "plane squares", planes_parts.squares_of_parts(*w), (i, a, i, i, i, i, i, b, t), part
    yield "settle", planes_parts.settle, (i, a, i, i, i, i, f, t, t), part
    yield "plane apply", planes_parts.apply_to_parts(*w), (a, i, i, i, i, i, b, t, *par, four, f, f, a), part
    yield "plane backward", planes_backward.backward(*w, part), (i, a, a, i, i, i, i, b, b, t, a, b, four, f, f, f, a, t), part
    yield "plane sums", planes_parts.sums_of_parts(*w), (a, a, i, i, i, i, i, b, t, t), part
    yield "join", planes_parts.join, (i, b, i, i, i, i, t, a, b, four, f, f, f, t, t), part
    yield "plane pull back", planes_parts.pull_back_parts(*w), (a, a, i, i, i, i, i, b, t, a, b, four, f, f, t, a), part
    yield "add pieces", planes_parts.add_pieces, (i, i, i, i, i, b, b, f, t, b, a, b, a), part
    given = (i, a, i, i, i, b, *par, five, f, f, f, a, table(4), t)
    yield "columns forward", columns_team.forward(*w), given, columns_team.TEAM
    given = (i, a, a, i, i, i, b, t, a, b, five, f, f, f, a, table(4), t)
    yield "columns backward", columns_team.backward(*w), given, columns_team.TEAM
    yield "column squares", columns.squares_of_strips(*w), (i, a, i, i, i, b, table(4)), part
    yield "settle columns", columns.settle_columns, (i, i, i, i, table(4)), block
    yield "settle groups", columns.settle_groups, (i, a, i, i, i, f, table(4), t), WARP
    yield "column apply", columns.apply_to_strips(*w), (a, i, i, i, i, b, t, *par, five, f, f, a), part
    yield "column sums", columns_backward.sums_of_strips(*w), (a, a, i, i, i, i, b, t, b, a, b, five, f, f, table(4)), part
    yield "add strips", columns_backward.add_strips, (i, i, table(4)), block
    yield "join columns", columns_backward.join, (i, b, i, i, i, t, b, a, b, five, f, f, f, table(4), t), WARP
    pull = columns_backward.pull_back_strips(*w)
    yield "column pull back", pull, (a, a, i, i, i, i, b, t, a, b, five, f, f, t, a), part
    yield "add columns", columns_parameters.add_columns, (i, i, i, i, i, f, table(4), b, a, b, a), WARP
    yield "sums along rows", columns_parameters.sums_along_rows, (a, a, i, i, i, t, t), part
    seven, one, square = where(7), table(1), matrices.TILE**2
    adding, each = whitening_work.THREADS, block
    yield "whitening means", whitening.means, (a, seven, one), adding
    yield "whitening totals", whitening.totals, (a, seven, four, t), adding
    yield "whitening products", whitening.products, (a, b, a, seven, four, one, i, t), square
    yield "whitening parts", whitening.add_parts, (t, i, four, i, i, a, b, f, one), each
    yield "whitening parameters", whitening.parameter_sums, (t, i, t, four, i, i, one, b, a, b, a), WARP
    yield "whitening apply", whitening.apply, (a, seven, one, one, four, *par, a), square
    yield "whitening shifts", whitening.shifts, (one, one, i, f, one), each
    yield "whitening pull back", whitening.pull_back, (a, one, four, a, b, a, seven, one, one, b, f, one, a), square
    yield "widen", small.widen, (a, i, i, one), each
    yield "cast", small.cast, (a, i, one), each
    yield "narrow", small.cast, (one, i, a), each
    yield "gather", small.gather, (a, i, where(3), where(3), i, a), block
    yield "stack", small.stack, (table(1), i, f, b, i, t), block
    yield "running statistics", small.spread_running, (i, a, i, a, i, i, i, f, t), block
    yield "update", small.update, (a, i, i, table(1), i, f, f, a), block


def kernels_of_matrices():
    """name: (kernel, signature, threads); float64 alone."""
    one, square, part, each = table(1), matrices.TILE**2, LIMITS.block_of_parts, LIMITS.block
    yield "multiply", matrices.multiply, (i, f, one, b, one, b, one, b, f, one), square
    yield "move", matrices.move, (one, i, f, f, one), each
    yield "regularize", matrices.regularize, (one, i, f, b, one, one), part
    yield "factorize", matrices.factorize, (one, i, one, one), part
    yield "invert lower", matrices.invert_lower, (one, i, i, one), WARP
    yield "mirror lower", matrices.mirror_lower, (one, i, one), each
    yield "scale by root", matrices.scale_by_root, (one, i, one, one), each
    yield "through trace", matrices.through_trace, (one, one, one, one, i, one, one), part
    yield "conditions", matrices.conditions, (one, one, i, one), part


def test_kernels_of_matrices():
    for what, kernel, signature, threads in kernels_of_matrices():
        found = compiled(kernel, *signature)
        launchable(found, threads)
        assert found.spilled == 0, what


READ_ONCE = {
    "row forward": 1, "row backward": 2, "long apply": 1, "long sums": 2, "long pull back": 2, "long pull back alone": 2,
    "plane forward": 2, "plane squares": 1, "plane sums": 2, "plane backward": 4, "plane pull back": 2, "column squares": 1,
    "column apply": 1, "column sums": 2,
}  # fmt: skip
"""How many 16-byte accesses there are at least, where entries are read; the compiler may unroll."""


@pytest.mark.parametrize("name", DTYPES)
def test_every_kernel_compiles_and_can_be_launched(name):
    """All in float32 and bfloat16; in the other types, which differ in their loads and stores alone, one of each form."""
    vector, few = "v2" if name == "float64" else "v4", {"row backward", "plane forward", "column pull back", "update"}
    for what, kernel, signature, threads in kernels(name):
        if name in ("float16", "float64") and what not in few:
            continue
        found = compiled(kernel, *signature)
        launchable(found, threads)
        assert found.spilled <= (256 if what.startswith("column") else 0), f"{what} spills {found.spilled} bytes"
        assert found.count(rf"ld\.global\.nc\S*\.{vector}") >= READ_ONCE.get(what, 0), what
        assert found.count(r"atom\.|red\.global") == 0


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_as_many_teams_as_a_cache_is_counted_on_for(name):
    """launch.stays: kernels that read a block twice have the registers for no more threads at once, and can be launched."""
    width, a, t, four = width_of(DTYPES[name].itemsize), flat(name), table(), where(4)
    par = (a, b, a, b)
    for bound in (LIMITS.block_of_parts, LIMITS.team):
        forward = compiled(planes.forward(width, types.float32, bound), i, a, i, i, i, i, b, b, *par, four, f, f, f, a, t)
        signature = (i, a, a, i, i, i, i, b, b, t, a, b, four, f, f, f, a, t)
        backward = compiled(planes_backward.backward(width, types.float32, bound), *signature)
        for kernel in (forward, backward):
            launchable(kernel, bound)
            assert kernel.spilled <= (192 if bound == LIMITS.team else 0)
            assert at_once(kernel, bound) <= LIMITS.at_once
    five, w = where(5), (width, types.float32)
    forward = compiled(columns_team.forward(*w), i, a, i, i, i, b, *par, five, f, f, f, a, table(4), t)
    backward = compiled(columns_team.backward(*w), i, a, a, i, i, i, b, t, a, b, five, f, f, f, a, table(4), t)
    for kernel in (forward, backward):
        assert at_once(kernel, LIMITS.team_of_columns) <= LIMITS.at_once and LIMITS.team_of_columns <= columns_team.TEAM
        assert kernel.count(r"ld\.global\.nc\.(v2\.)?f64") == 0   # what the block itself has written is not read as constant


def at_once(kernel, threads):
    """Threads of a multiprocessor, by registers."""
    return REGISTERS // (kernel.registers * threads) * threads


def test_parameters_of_another_type():
    """gamma in float64 beside x in bfloat16: several accesses a vector, each aligned."""
    a, wide = flat("bfloat16"), flat("float64")
    kernel = compiled(rows.forward(8, 1, types.float32, 128), i, a, i, i, i, b, wide, b, wide, b, f, f, f, a, table())
    assert kernel.count(r"ld\.global\.nc\.v2\.f64") >= 8


def test_the_check_sees_what_is_not_in_registers():
    """More entries a thread than the limits allow: loops are no longer unrolled, and the array is on the stack."""
    kernel = compiled(rows.forward(8, 4, types.float32, 512), *signature_forward(flat("bfloat16")))
    with pytest.raises(AssertionError, match="stack"):
        launchable(kernel, 512)
    assert launch.LIMITS.entries_of_16_bits < 32
