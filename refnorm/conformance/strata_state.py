"""Strata of statistics that outlive a call, of entries that do not count, and of batches in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import drawn, values
from .cases import Case
from .plan import Plan
from .tolerance_arithmetic import FORMATS


def momentum(plan: Plan) -> Iterator[Case]:
    if "momentum" not in plan.convention.options:
        return
    for k, m in enumerate((0.1, 0.9, 0.3, 0.01, 0.99, 0.0, 1.0)):
        yield plan.rows("momentum", f"momentum {m:g}", values.ordinary, 3, 4 + k, momentum=m, quick=k < 3 or m in (0.0, 1.0))
    yield plan.rows("momentum", "two values a channel", values.ordinary, 3, 2, momentum=0.3, spread="first", quick=True)
    yield plan.rows("momentum", "the fresh state", values.ordinary, 3, 6, momentum=0.3, running="fresh", quick=True)
    if plan.stateless:
        yield plan.rows("momentum", "no running statistics", values.ordinary, 3, 6, momentum=0.3, running="none", quick=True)


def evaluation(plan: Plan) -> Iterator[Case]:
    """Running statistics as they come out of training: dead and huge channels, a mean far from 0, those of a fresh module."""
    if not plan.convention.state or "training" not in plan.convention.options:
        return
    for eps in (1e-5, 1e-3):
        asked: Any = {"eps": eps, "training": False}
        label = f"variances of 0 to 1e6, eps {eps:g}"
        yield plan.rows("evaluation", label, values.ordinary, 8, 6, running="extreme", quick=eps == 1e-5, **asked)
        far = values.scaled(1.0, 1e4)
        yield plan.rows("evaluation", f"a mean of 1e4, eps {eps:g}", far, 3, 8, running="large mean", **asked)
        for var in drawn.RUNNING_VAR:
            deviation = min(float(np.sqrt(var + eps)), FORMATS[plan.arithmetic.x].largest / 100)
            label = f"a variance of {var:g}, eps {eps:g}"
            yield plan.rows("evaluation", label, values.scaled(deviation), 3, 7, running=f"{var:g}", **asked)
    yield plan.rows("evaluation", "the fresh state", values.ordinary, 3, 8, running="fresh", training=False, quick=True)


def mask(plan: Plan) -> Iterator[Case]:
    """Entries that do not count, for candidates that take a mask."""
    if not plan.masked or "mask" not in plan.method.signature.parameters:
        return
    for rows, n in ((3, 12), (2, 40), (4, 129)):
        case = plan.rows("mask", f"two thirds count, rows of {n}", values.ordinary, rows, n, quick=n == 12)
        counts = plan.rng("mask", n).random(case.x.shape) < 2 / 3
        yield case.replaced(mask=np.where(np.ones_like(counts).cumsum(axis=0) <= 2, True, counts))


def shards(plan: Plan) -> Iterator[Case]:
    """A batch cut into uneven shards gives what the whole gives, for candidates that take num_shards."""
    for count in (2, 3, 5) if plan.sharded and "num_shards" not in plan.convention.options else ():
        for n in (7, 31):
            label = f"{n} samples in {count} shards"
            yield plan.rows("shards", label, values.ordinary, 3, n, spread="first", quick=n == 7).replaced(num_shards=count)
