"""`refnorm bench --backend cuda`: our kernels, PyTorch eager and compiled, and Liger's where installed, on one GPU.

Times are the device's, by events around many calls in a row, the median over rounds in which all take turns; inputs rotate
among sets that together exceed the second cache.  `ours` writes into arrays that are there; `call` is the public function,
Python included.

JSON: {"machine": ..., "copy": bytes a second, "cells": [{"op", "pass", "shape", "dtype", "microseconds": {who: median},
"ratio": {peer: its time over ours}, "copy_fraction", "ulp", "ulp_peer"}]}.  copy_fraction: the bytes that must move, over our
time, over what a copy of x of the same run moves.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refnorm.anatomy.method import NORMS

from .accuracy import RATIOS, measure

Calls = dict[str, Callable[[int], Any]]
"""By who computes: a call on the k-th set of inputs."""

LARGE = 1 << 28
"""Bytes of x: 256 MiB, past any cache."""
CALLS_IN_A_ROW = 10
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


def cells(large: int = LARGE) -> Iterator[Cell]:
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        entries = large // size
        for n in (1024, 4096, 8192):
            yield Cell("layer norm", "layer_norm", (entries // n, n), dtype)
            yield Cell("rms norm", "rms_norm", (entries // n, n), dtype)
        image = (entries // (64 * 56 * 56), 64, 56, 56)
        yield Cell("batch norm", "batch_norm", image, dtype, passes=(3, 5))            # a channel does not fit into a cache
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


def bench(file: Path | None = None, only: str = "", rounds: int = 9, large: int = LARGE) -> int:
    """The command.  0, or 2 where there is nothing to measure on."""
    from rich.console import Console

    from refnorm.kernels.cuda.device import unavailable

    console = Console()
    missing = unavailable()
    try:
        import torch
    except ImportError:
        missing = missing or "torch is not installed: pip install torch"
    else:
        missing = missing or ("" if torch.cuda.is_available() else "PyTorch here sees no GPU (a CPU build?)")
    if missing:
        console.print(f"refnorm: {missing}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    from .cuda_cells import calls_of, copy_of

    cache = torch.cuda.get_device_properties(0).L2_cache_size
    found = []
    for cell in (c for c in cells(large) if only in c.op):
        sets = sets_of_inputs(cell.bytes, cache)
        made: Callable[[], Any] = lambda: torch.cuda.Event(enable_timing=True)  # noqa: E731
        errors = accuracy(cell.method, cell.options)
        for direction, calls in calls_of(cell, sets).items():
            all_calls = {"copy": copy_of(cell, sets), **calls}
            seconds = medians(all_calls, sets, made, torch.cuda.synchronize, rounds)
            found.append(row_of(cell, direction, seconds, errors[direction]))
            console.print(line_of(found[-1]), highlight=False, soft_wrap=True)
        torch.cuda.empty_cache()
    console.print(summary(found), highlight=False)
    if file is not None:
        file.write_text(json.dumps({"machine": machine(), "cells": found}, indent=1) + "\n")
    return 0


def accuracy(method: str, options: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """float32: the largest errors in ulp at |mean|/std of 1, 1e3, 1e6, as bench/accuracy.py has them."""
    shape = SMALL_ROWS[method]
    shape = (shape[0], *shape[2:], shape[1]) if options.get("channel_axis") == -1 else shape
    found = {ratio: measure(method, shape, options, ratio, backend="cuda") for ratio in RATIOS}
    return {
        direction: {f"{ratio:g}": errors[what] for ratio, errors in found.items()}
        for direction, what in (("forward", "y"), ("backward", "dx"))
    }


def row_of(cell: Cell, direction: str, seconds: Mapping[str, float], ulp: Mapping[str, float]) -> dict[str, Any]:
    moved = cell.passes[direction == "backward"] * cell.bytes
    copied = 2 * cell.bytes / seconds["copy"]
    peers = {who: s for who, s in seconds.items() if who not in ("ours", "call", "copy")}
    return {
        "op": cell.op, "pass": direction, "shape": list(cell.shape), "dtype": cell.dtype,
        "microseconds": {who: 1e6 * s for who, s in seconds.items()},
        "ratio": {who: s / seconds["ours"] for who, s in peers.items()},
        "copy": copied, "copy_fraction": moved / seconds["ours"] / copied, "ulp": dict(ulp),
    }  # fmt: skip


def line_of(row: Mapping[str, Any]) -> str:
    peers = "  ".join(f"{who} {ratio:.2f}x" for who, ratio in row["ratio"].items())
    shape, errors = "x".join(map(str, row["shape"])), " ".join(f"{e:.1f}" for e in row["ulp"].values())
    left = f"{row['op']:<16} {row['pass']:<8} {shape:<18} {row['dtype']:<8}"
    return f"{left} {row['microseconds']['ours']:8.0f} us  {row['copy_fraction']:4.0%} of copy  {peers}  ulp {errors}"


def summary(rows: list[dict[str, Any]]) -> str:
    """Geometric means of the peers' times over ours, and where we are behind."""
    lines = []
    for who in sorted({who for row in rows for who in row["ratio"]}):
        ratios = [row["ratio"][who] for row in rows if who in row["ratio"]]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines.append(f"{who}: geometric mean of {len(ratios)} ratios {mean:.2f}, behind in {sum(r < 1 for r in ratios)}")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    import platform

    import numba
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name, "multiprocessors": properties.multi_processor_count, "l2": properties.L2_cache_size,
        "python": platform.python_version(), "numba": numba.__version__, "torch": torch.__version__,
        "methods": sorted({cell.method for cell in cells()} & set(NORMS)),
    }  # fmt: skip
