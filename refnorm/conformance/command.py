"""`refnorm check TARGET`: the command line's options turned into library calls, and reports into exit codes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from . import backends
from .candidate import Candidate, Unusable, load_candidate
from .presets import PRESETS, run_each, run_preset
from .records import as_dict, junit
from .report import Report
from .verdict import check, replay


def judge(options: argparse.Namespace) -> int:
    """0 right, 1 wrong, 2 unusable.  options: target, norm, dialect, dtype, backend, quick, seed, json, junit, replay,
    verbose."""
    try:
        reports = _reports(options)
    except Unusable as error:
        print(f"refnorm: {error}", file=sys.stderr)
        return 2
    if options.json:
        records = [as_dict(report) for report in reports]
        options.json.write_text(json.dumps(records[0] if len(records) == 1 else {"reports": records}, indent=1) + "\n")
    if options.junit:
        options.junit.write_text(junit(reports) + "\n")
    if options.plot:
        from .plot import draw

        try:
            draw(reports, options.plot)
        except Unusable as error:
            print(f"refnorm: {error}", file=sys.stderr)
            return 2
    if all(report.passed for report in reports):
        return 0
    return 1 if any(report.failures for report in reports) else 2  # 2: nothing was judged, as where every case is refused


def write(options: argparse.Namespace) -> int:
    """`refnorm vectors OUT`: 0 written, 2 unusable.  options: out, norm, format, dialect, dtype, seed, quick."""
    from .vectors import write_vectors

    dtypes = tuple(options.dtype.split(",")) if options.dtype else None
    try:
        with _progress() as tick:
            summary = write_vectors(
                options.out, options.norm, options.format, options.dialect, dtypes, options.seed, options.quick, tick
            )
    except Unusable as error:
        print(f"refnorm: {error}", file=sys.stderr)
        return 2
    print(summary)
    return 0


def _reports(options: argparse.Namespace) -> list[Report]:
    if options.replay:
        reports = replay(options.replay, options.target)
        for report in reports:
            report.print()
        return reports
    dtypes = tuple(options.dtype.split(",")) if options.dtype else None
    with _progress() as tick:
        asked: Any = {"quick": options.quick, "seed": options.seed, "dtypes": dtypes, "progress": tick}
        shown = Report.print if options.verbose else _brief
        if options.backend is not None:
            if options.target is not None:
                raise Unusable(f"--backend judges refnorm's own kernels and takes no target; it was given {options.target!r}")
            found = backends.candidates(options.backend, options.norm, options.dialect)
            return run_each(found, on_report=shown, patience=backends.PATIENCE, **asked)
        if options.target in PRESETS:
            return run_preset(options.target, options.norm, on_report=shown, **asked)
        if options.norm is None:
            from refnorm.anatomy.method import NORMS

            raise Unusable(f"--norm is missing; it must be one of {', '.join(NORMS)}")
        report = check(placed(options), options.norm, options.dialect, **asked)
    report.print()
    return [report]


def placed(options: argparse.Namespace) -> Candidate:
    """The target, with what the command line says of its axes."""
    said = {"normalized_ndim": options.normalized_ndim, "channel_axis": options.channel_axis}
    return replace(load_candidate(options.target), **{name: value for name, value in said.items() if value is not None})


def _brief(report: Report) -> None:
    """Norms of a preset or a backend one by one: a line each, and the failures in full."""
    if report.passed:
        from rich.console import Console
        from rich.markup import escape

        Console().print(f"[bold]{escape(report.candidate.title)}[/] as {report.norm}: [green]{escape(report.headline)}[/]")
    else:
        report.print()


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None] | None]:
    """A bar on a terminal, nothing elsewhere: reports are lines already."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("first call", total=None)

        def tick(done: int, total: int, stratum: str) -> None:
            bar.update(task, completed=done, total=total, description=stratum)

        yield tick
