"""`refnorm bench`: measure, print, save.

JSON: {"machine": ..., "cells": [{"op", "pass", "shape", "threads", "ratio", "ratio_fresh", "ratio_call", "microseconds",
"copy_fraction", "ulp": {"1":, "1e3":, "1e6":}, "ulp_peer": {...}}]}.  Ratios are the peer's time over ours: `ratio` into
arrays that are there, `ratio_fresh` into new ones, `ratio_call` through the public function.  copy_fraction: what a copy of x
takes (copying.py), over what the forward takes.  ulp: the largest error of y (dx) as in accuracy.py.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import blas
from .accuracy import RATIOS, inputs, measure, ulp
from .cells import Cell, arrays, cells, ours, torchs
from .picture import draw
from .saved import markdown, mean_ratio
from .timing import medians

WIDTH = 132
"""Columns of the tables where there is no terminal."""

LABELS = {1.0: "1", 1e3: "1e3", 1e6: "1e6"}
MOST = 1 << 17
"""Entries on which accuracy is measured; larger shapes are cut along their first axis."""


def bench(
    backend: str = "numba", against: str = "torch", file: Path | None = None,
    threads: Sequence[int] = (1, 2), only: str = "", rounds: int = 9, picture: Path | None = None,
) -> int:  # fmt: skip
    """The command; `only` picks operations whose name contains it.  0, or 2 where there is nothing to measure with."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")      # before either library starts its threads
    from rich.console import Console
    from rich.progress import Progress

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    if backend == "cuda" and against == "torch":
        from . import cuda

        return cuda.bench(file, only, rounds)
    if backend != "numba" or against != "torch":
        console.print(f"refnorm: bench knows numba and cuda against torch, not {backend} against {against}", style="red")
        return 2
    try:
        import torch
    except ImportError:
        console.print("refnorm: torch is not installed: pip install 'refnorm[peers]'", style="red")
        return 2
    import numba

    chosen = [cell for cell in cells() if only in cell.op]
    config: Any = numba.config
    counts = [n for n in threads if n <= config.NUMBA_NUM_THREADS]
    found: list[dict[str, Any]] = []
    before = numba.get_num_threads(), torch.get_num_threads()
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=len(chosen) * len(counts))
            for cell in chosen:
                progress.update(task, description=f"{cell.op} {cell.shape}")
                errors = accuracy(cell, backend)
                for n in counts:
                    numba.set_num_threads(n)
                    torch.set_num_threads(n)
                    with blas.limited(n):
                        found += timed(cell, n, rounds, errors)
                    progress.advance(task)
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])
    report(console, found)
    if not blas.settable():
        console.print("BLAS has the threads that the environment gave it, maybe not as many as PyTorch (refnorm/bench/blas.py)")
    run = {"machine": machine(), "cells": found}
    if file is not None:
        file.write_text(json.dumps(run, indent=1) + "\n")
    if picture is not None:
        draw(run, picture)
    return 0


def show(file: Path, picture: Path | None = None) -> int:
    """A saved run: its picture, or on standard output its tables in Markdown."""
    run = json.loads(file.read_text())
    if picture is None:
        sys.stdout.write(markdown(run))
    else:
        draw(run, picture)
    return 0


def timed(cell: Cell, threads: int, rounds: int, errors: dict[str, Any]) -> list[dict[str, Any]]:
    """Two rows of the table: forward and backward."""
    a = arrays(cell)
    mine, peer = ours(cell, a), torchs(cell, a)
    rows = []
    for direction in ("forward", "backward"):
        t = medians({"peer": peer[direction], **mine[direction]}, rounds)
        row: dict[str, Any] = {"op": cell.op, "pass": direction, "shape": list(cell.shape), "threads": threads}
        row |= {"ratio": t["peer"] / t["preallocated"], "ratio_fresh": t["peer"] / t["fresh"]}
        row |= {"ratio_call": t["peer"] / t["call"], "microseconds": 1e6 * t["preallocated"]}
        row |= {"copy_fraction": t["copy"] / t["preallocated"] if "copy" in t else None, **errors[direction]}
        rows.append(row)
    return rows


def accuracy(cell: Cell, backend: str) -> dict[str, Any]:
    """By direction: the largest errors at each |mean|/std, ours and, for y, PyTorch's."""
    import torch

    shape = (max(1, min(cell.shape[0], MOST // math.prod(cell.shape[1:]))), *cell.shape[1:])
    errors: dict[str, Any] = {"forward": {"ulp": {}, "ulp_peer": {}}, "backward": {"ulp": {}}}
    for ratio in RATIOS:
        mine = measure(cell.method, shape, cell.options, ratio, backend)
        errors["forward"]["ulp"][LABELS[ratio]] = mine["y"]
        errors["backward"]["ulp"][LABELS[ratio]] = mine["dx"]
        errors["forward"]["ulp_peer"][LABELS[ratio]] = peers_error(cell, shape, ratio, torch)
    return errors


def peers_error(cell: Cell, shape: tuple[int, ...], ratio: float, torch: Any) -> float:
    from refnorm.anatomy.method import NORMS

    method = NORMS[cell.method]
    arguments, dy = inputs(method, shape, cell.options, ratio)
    eps = method.resolve(**arguments)[0]["eps"]
    exact = {k: v.astype(np.float64) if k in method.arrays else v for k, v in arguments.items()}
    right, *_ = method.forward(**exact, eps=eps)
    drawn = type(arrays(Cell("", cell.method, (2, *cell.shape[1:]), cell.options)))
    given = drawn(arguments["x"], dy, {k: v for k, v in arguments.items() if k in method.arrays and k != "x"})
    y = torchs(Cell(cell.op, cell.method, shape, cell.options), given)["forward"]().detach().numpy()
    last = cell.options.get("channel_axis") == -1
    return ulp(np.moveaxis(y, 1, -1) if last else y, right, 1.0)


def report(console: Any, found: list[dict[str, Any]]) -> None:
    """A table for each number of threads."""
    from rich.table import Table

    for threads in sorted({row["threads"] for row in found}):
        title = f"float32, {threads} thread{'s' * (threads > 1)}: PyTorch's time over ours; ulp at |mean|/std of 1, 1e3, 1e6"
        table = Table(title=title, padding=(0, 1), box=None)
        for column in ("operation", "pass", "shape", "ratio", "fresh", "call", "us", "of copy", "ulp", "PyTorch's ulp"):
            left = column in ("operation", "pass")
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
        for row in (r for r in found if r["threads"] == threads):
            fraction = "" if row["copy_fraction"] is None else f"{row['copy_fraction']:.0%}"
            table.add_row(
                row["op"], row["pass"][:4], "x".join(map(str, row["shape"])), f"{row['ratio']:.2f}",
                f"{row['ratio_fresh']:.2f}", f"{row['ratio_call']:.2f}", f"{row['microseconds']:.0f}", fraction,
                " ".join(f"{e:.1f}" for e in row["ulp"].values()),
                " ".join(f"{e:.2g}" for e in row.get("ulp_peer", {}).values()),
            )  # fmt: skip
        console.print(table)
        mine = [row for row in found if row["threads"] == threads]
        console.print(f"geometric mean of {len(mine)} ratios: {mean_ratio(mine):.2f}")


def machine() -> dict[str, Any]:
    """What ran, and on what."""
    import numba
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return {
        "processor": ", ".join(sorted(names)) or platform.processor(), "cores": os.cpu_count(), "system": platform.platform(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None, "python": platform.python_version(),
        "numpy": np.__version__, "numba": numba.__version__, "torch": torch.__version__, "blas": blas.described(),
    }  # fmt: skip
