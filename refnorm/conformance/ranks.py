"""The numbers of axes that a candidate takes: nn.BatchNorm2d knows four and says so, many a layer norm normalizes one."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import values
from .conventions import TRAILING
from .plan import Plan
from .shapes import Shape, shaped
from .taken import Taken, Wanted
from .trial import Fault

if TYPE_CHECKING:
    from .session import Session

OF_RANK = re.compile(r"\b\d\s?-?d\b|\bn?dims?\b|dimension|\brank\b|\bax[ei]s\b|unpack|tuple index|\.shape\[", re.IGNORECASE)
"""Words about the number of axes, in what is raised or in the line that raises it ..."""
OF_SIZE = re.compile(r"broadcast|size of tensor|singleton|divisible|divide", re.IGNORECASE)
"""... and about their lengths: those are no excuse."""


def normalized(session: Session) -> int | None:
    """How many trailing axes it normalizes: as it says, or one where it raises on a gamma of two axes and takes one of one."""
    c = session.candidate
    if c.normalized_ndim is not None or session.norm not in TRAILING or session.offers("normalized_shape"):
        return c.normalized_ndim
    fused: Any = {"prologue": c.prologue, "epilogue": c.epilogue, "absent": session.absent}
    plan = Plan(session.method, session.main, 1e-3, session.seed, c.channel_axis, **fused)
    words = []
    for count in (1, 2):
        case = plan.rows("ordinary", f"{count} normalized axes", values.ordinary, 4, 16, spatial=count)
        if session.declined(case):
            return None
        fault = session.caller_of(case).forward(case).fault("raises")
        words.append("" if fault is None else fault.message.partition(":")[0])
    if words[0] or not words[1]:
        return None
    session.skipped[f"several normalized axes are not offered: {words[1]}"] = 1
    return 1


def raises_on(session: Session) -> dict[int, str]:
    """Numbers of axes that it refuses, while it answers others, with what it says; {} where it refuses none."""
    if not session.has_rows():
        return {}
    c = session.candidate
    fused: Any = {"prologue": c.prologue, "epilogue": c.epilogue, "absent": session.absent}
    plan = Plan(session.method, session.main, 1e-3, session.seed, c.channel_axis, session.normalized_ndim, **fused)
    said: dict[int, str] = {}
    for shape in _of_each_rank(session, plan):
        case = plan.case("ordinary", "a shape of another rank", values.ordinary, shape)
        if len(shape.x) in said or session.declined(case):
            continue
        fault = session.caller_of(case).forward(case).fault("raises")
        said[len(shape.x)] = "" if fault is None else fault.message if _is_of_rank(fault) else "another"
    if "" not in said.values() or "another" in said.values():
        return {}
    return {rank: words for rank, words in said.items() if words}


def _of_each_rank(session: Session, plan: Plan) -> Iterator[Shape]:
    supported = Taken(lambda case: not session.declined(case)) if session.candidate.supports is not None else None
    last = session.norm in TRAILING
    for k in range(4):
        spatial = plan.normalized_ndim or 1 if last else k
        shape = shaped(plan.method, 4, 16, "even" if k else "first", spatial, leading=1 + k if last else 1)
        yield shape if supported is None else supported.nearest(plan, shape, Wanted(4, 16, "even", spatial))


def _is_of_rank(fault: Fault) -> bool:
    """Is it about the number of axes?  An assert without words is judged by its line: assert x.ndim == 4."""
    words = fault.message
    trace = fault.error.__traceback__ if fault.error is not None else None
    while trace is not None:
        line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
        if trace is None and isinstance(fault.error, AssertionError | IndexError):
            words += " " + line
    return bool(OF_RANK.search(words)) and not OF_SIZE.search(words)
