"""`refnorm bench --backend cuda`: our kernels, PyTorch eager and compiled, and Liger's where installed, on one GPU.

Times are the device's, by events around many calls in a row, the median over rounds in which all take turns; inputs rotate
among sets that together exceed the second cache.  `ours` writes into arrays that are there; `call` is the public function,
Python included.

JSON, written after every cell: {"machine": ..., "cells": [{"op", "pass", "shape", "dtype", "microseconds": {who: median},
"ratio": {peer: its time over ours}, "copy": bytes a second, "copy_fraction", "moved", "ulp", "ulp_peer",
"failed": {who: why}}]}.  copy_fraction: the bytes that must move, over our time, over what a copy of x of the same run moves;
moved: how many tensors of x's size our plan moves (kernels/cuda/traffic.py).  ulp: the largest error of y (dx) in float32 as
bench/accuracy.py has it, ours and, for y, PyTorch's.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .accuracy import RATIOS, measure

Calls = dict[str, Callable[[int], Any]]
"""By who computes: a call on the k-th set of inputs."""

LARGE = 1 << 28
"""Bytes of x: 256 MiB, past any cache."""
CALLS_IN_A_ROW = 10
SECONDS = 270.0
"""After which no further cell is begun; after half of it torch.compile, which takes seconds a cell, is left out."""
SMALL_ROWS = {"layer_norm": (64, 1024), "rms_norm": (64, 1024), "batch_norm": (8, 16, 14, 14), "group_norm": (8, 64, 14, 14),
              "instance_norm": (8, 16, 28, 28)}  # fmt: skip
"""Shapes on which accuracy is measured."""


@dataclass(frozen=True)
class Cell:
    """One operation on one shape; passes: how often x, dy, y and dx, in all, must cross the memory bus, forward and
    backward."""

    op: str
    method: str
    shape: tuple[int, ...]
    dtype: str
    options: Mapping[str, Any] = field(default_factory=dict)
    passes: tuple[int, int] = (2, 3)

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * (4 if self.dtype == "float32" else 2)


class Prepared(NamedTuple):
    """A cell's calls, by direction and by who computes; moved: tensors that our plan moves, by direction; failed: why a peer is
    not here."""

    calls: dict[str, Calls]
    moved: dict[str, int]
    failed: dict[str, str]


def cells(large: int = LARGE) -> Iterator[Cell]:
    """One shape of every operation first, then the others: a run that is cut short has seen them all."""
    sizes = {"float32": 4, "bfloat16": 2}
    for n in (4096, 1024, 8192):
        for dtype, size in sizes.items():
            entries = large // size
            yield Cell("layer norm", "layer_norm", (entries // n, n), dtype)
            yield Cell("rms norm", "rms_norm", (entries // n, n), dtype)
            if n != 4096:
                continue
            image = (entries // (64 * 56 * 56), 64, 56, 56)
            yield Cell("batch norm", "batch_norm", image, dtype, passes=(3, 5))        # a channel does not fit into a cache
            last = (image[0], *image[2:], image[1])
            yield Cell("batch norm NHWC", "batch_norm", last, dtype, {"channel_axis": -1}, (3, 5))
            yield Cell("group norm 32", "group_norm", (entries // (256 * 28 * 28), 256, 28, 28), dtype, {"num_groups": 32})
            yield Cell("instance norm", "instance_norm", image, dtype)


def sets_of_inputs(bytes_of_x: int, cache: int) -> int:
    """How many sets of inputs rotate: together at least four times the second cache, and at least two."""
    return max(2, math.ceil(4 * cache / max(bytes_of_x, 1)))


def medians(calls: Calls, sets: int, event: Callable[[], Any], synchronize: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Seconds a call on the device, by who computes.

    event() makes one that has record() and elapsed_time(other) in milliseconds, as torch.cuda.Event(enable_timing=True).
    """
    for call in calls.values():
        for k in range(sets):
            call(k)                                  # compiled, tuned, allocated
    synchronize()
    times: dict[str, list[float]] = {who: [] for who in calls}
    for turn in range(rounds):
        for who, call in calls.items():
            start, end = event(), event()
            call(turn % sets)
            start.record()
            for k in range(CALLS_IN_A_ROW):
                call((turn + k) % sets)
            end.record()
            synchronize()
            times[who].append(start.elapsed_time(end) / 1e3 / CALLS_IN_A_ROW)
    return {who: statistics.median(found) for who, found in times.items()}


def missing() -> str:
    """What this machine lacks, in one line; nothing where there is something to measure on."""
    from refnorm.kernels.cuda.device import unavailable

    found = unavailable()
    if found:
        return f"backend 'cuda' cannot run here: {found}"
    try:
        import torch
    except ImportError:
        return "torch, which is measured against and holds the arrays, is not installed: pip install torch"
    if not torch.cuda.is_available():
        build = torch.version.cuda or "a build for the CPU"
        return f"PyTorch {torch.__version__} ({build}) sees no GPU: pip install torch, from an index with CUDA"
    return ""


def bench(
    file: Path | None = None, only: str = "", rounds: int = 9, large: int = LARGE, seconds: float = SECONDS
) -> int:
    """The command.  0; 1 where a cell failed, 2 where there is nothing to measure, or nothing to measure on."""
    from rich.console import Console

    console = Console()
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    lacks = missing()
    chosen = [cell for cell in cells(large) if only in cell.op]
    if lacks or not chosen:
        known = ", ".join(dict.fromkeys(cell.op for cell in cells(large)))
        say(f"refnorm: {lacks or f'no operation has {only!r} in its name; there are: {known}'}", style="red")
        return 2
    import torch

    start, found = time.monotonic(), list[dict[str, Any]]()
    for number, cell in enumerate(chosen):
        spent = time.monotonic() - start
        if spent > seconds:
            say(f"{len(chosen) - number} of {len(chosen)} cells were left out after {spent:.0f} s")
            break
        try:
            rows = measured(cell, rounds, spent < seconds / 2)
        except Exception as error:                   # of one cell: the others are measured all the same
            rows = [{"op": cell.op, "shape": list(cell.shape), "dtype": cell.dtype, "failed": {"ours": said(error)}}]
        for row in rows:
            found.append(row)
            say(line_of(row))
        torch.cuda.empty_cache()
        if file is not None:
            file.write_text(json.dumps({"machine": machine(), "cells": found}, indent=1) + "\n")
    say(summary(found))
    return int(any("ours" in row["failed"] for row in found))


def measured(cell: Cell, rounds: int, compiled: bool) -> list[dict[str, Any]]:
    """Forward and backward of one cell."""
    import torch

    from .cuda_cells import copy_of, prepared

    sets = sets_of_inputs(cell.bytes, getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20))
    event = partial(torch.cuda.Event, enable_timing=True)
    errors, ready, rows = accuracy(cell), prepared(cell, sets, compiled), []
    for direction, calls in ready.calls.items():
        times = medians({"copy": copy_of(cell, sets), **calls}, sets, event, torch.cuda.synchronize, rounds)
        rows.append(row_of(cell, direction, times, errors[direction], ready))
    return rows


def said(error: Exception) -> str:
    """One line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def accuracy(cell: Cell) -> dict[str, dict[str, dict[str, float]]]:
    """float32: the largest errors in ulp at |mean|/std of 1, 1e3, 1e6, by direction; PyTorch's of y beside ours."""
    from .cuda_cells import on_host

    shape, last = SMALL_ROWS[cell.method], cell.options.get("channel_axis") == -1
    shape = (shape[0], *shape[2:], shape[1]) if last else shape
    given = (cell.method, shape, cell.options)
    ours = {f"{ratio:g}": measure(*given, ratio, backend="cuda") for ratio in RATIOS}
    peer = {f"{ratio:g}": measure(*given, ratio, forward=on_host(cell, shape))["y"] for ratio in RATIOS}
    y, dx = ({ratio: errors[what] for ratio, errors in ours.items()} for what in ("y", "dx"))
    return {"forward": {"ulp": y, "ulp_peer": peer}, "backward": {"ulp": dx}}


def row_of(
    cell: Cell, direction: str, seconds: Mapping[str, float], errors: Mapping[str, Any], ready: Prepared
) -> dict[str, Any]:
    must = cell.passes[direction == "backward"] * cell.bytes
    copied = 2 * cell.bytes / seconds["copy"]
    peers = {who: s for who, s in seconds.items() if who not in ("ours", "call", "copy")}
    return {
        "op": cell.op, "pass": direction, "shape": list(cell.shape), "dtype": cell.dtype,
        "microseconds": {who: 1e6 * s for who, s in seconds.items()},
        "ratio": {who: s / seconds["ours"] for who, s in peers.items()},
        "copy": copied, "copy_fraction": must / seconds["ours"] / copied, "moved": ready.moved[direction], **errors,
        "failed": ready.failed,
    }  # fmt: skip


def line_of(row: Mapping[str, Any]) -> str:
    shape, failed = "x".join(map(str, row["shape"])), "  ".join(f"{who} failed: {why}" for who, why in row["failed"].items())
    if "ours" in row["failed"]:
        return f"{row['op']:<16} {shape:<18} {row['dtype']:<8} {failed}"
    peers = "  ".join(f"{who} {ratio:.2f}x" for who, ratio in row["ratio"].items())
    errors = [" ".join(f"{e:.2g}" for e in row.get(kind, {}).values()) for kind in ("ulp", "ulp_peer")]
    left = f"{row['op']:<16} {row['pass']:<8} {shape:<18} {row['dtype']:<8}"
    right = f"ulp {errors[0]}" + (f" (torch {errors[1]})" if errors[1] else "")
    moved = f"{row['microseconds']['ours']:8.0f} us  {row['copy_fraction']:4.0%} of copy, moves {row['moved']}"
    return "  ".join(part for part in (f"{left} {moved}", peers, right, failed) if part)


def summary(rows: list[dict[str, Any]]) -> str:
    """Geometric means of the peers' times over ours, and where we are behind."""
    lines, timed = [], [row for row in rows if "ratio" in row]
    for who in sorted({who for row in timed for who in row["ratio"]}):
        ratios = [row["ratio"][who] for row in timed if who in row["ratio"]]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines.append(f"{who}: geometric mean of {len(ratios)} ratios {mean:.2f}, behind in {sum(r < 1 for r in ratios)}")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    import platform
    from importlib import metadata

    import torch

    properties = torch.cuda.get_device_properties(0)
    versions = {name: metadata.version(name) for name in ("numba", "numba-cuda", "numpy")}
    return {
        "gpu": properties.name, "multiprocessors": properties.multi_processor_count,
        "l2": getattr(properties, "L2_cache_size", None), "python": platform.python_version(), **versions,
        "torch": torch.__version__,
    }  # fmt: skip
