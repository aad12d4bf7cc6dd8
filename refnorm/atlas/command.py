"""`refnorm atlas OUT` and `refnorm check exercise.py`: options turned into calls, and answers into exit codes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .site import Progress, Unbuildable, build


def write(options: argparse.Namespace) -> int:
    """0 written, 2 unusable.  options: out, claims, only."""
    start = time.perf_counter()
    try:
        with _progress() as tick:
            site = build(options.out, options.claims, options.only.split(",") if options.only else None, tick)
    except (Unbuildable, ValueError) as error:
        print(f"refnorm: {error}", file=sys.stderr)
        return 2
    print(f"{len(site.pages)} pages in {time.perf_counter() - start:.0f} s; open {options.out / 'index.html'}")
    return 0


def exercise(options: argparse.Namespace) -> int:
    """0 right, 1 not yet, 2 no exercise.  options: target."""
    from .exercise import NoExercise, judge

    try:
        right, words = judge(options.target)
    except NoExercise as error:
        print(f"refnorm: {error}", file=sys.stderr)
        return 2
    print(words)
    return 0 if right else 1


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
