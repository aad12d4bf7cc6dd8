"""How many bytes a call moves: what follows from the launch plan (launch.py), as plain functions of shapes.

Counted in tensors of x's size.  `moved` cross the memory's bus; `again` are read a second time by the thread block that has
just read them, while they are in a cache (launch.stays).  What fits on the chip moves twice forward (x, y) and three times
backward (dy, x, dx); what does not is read once more, 3 and 5, the least there is without keeping it.

    rows         forward 2 in registers, 3 in parts          backward 3 in registers, or read again from a cache; 5 in parts
    planes       forward 2 by a team, 3 in parts             backward 3 by a team, 5 in parts
    columns      forward 2 by a team, 3 in strips            backward 3 by a team, 5 in strips
    positions    forward 3                                   backward 5, 7 with the parameters' gradients

In evaluation nothing is summed forward (2); backward the sums are those of the parameters' gradients.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .launch import BYTES, LIMITS, Limits, backward_team, columns_team, planes, row_team

if TYPE_CHECKING:
    from refnorm.kernels.cpu.form import Form


class Traffic(NamedTuple):
    """In tensors of x's size."""

    moved: int
    again: int = 0


KEPT, SPILLED = (Traffic(2), Traffic(3)), (Traffic(3), Traffic(5))
"""Forward and backward: what stays in registers, and what is read twice."""
STAYS = (Traffic(2, 1), Traffic(3, 2))


def traffic(form: Form, width: int, backward: bool, wanted: bool = True, limits: Limits = LIMITS) -> Traffic:
    """Of a call in training, with entries `width` to an access; wanted: are there parameters with gradients?"""
    if form.family == "rows":
        n = form.shape[1]
        team, again = backward_team(n, width, wanted, limits) if backward else (row_team(n, width, "forward", limits), False)
        return (SPILLED if team is None else STAYS if again else KEPT)[backward]
    if form.family == "planes":
        _, pieces, _, n = form.shape
        return (STAYS if planes(pieces, n, width, 1 + backward, limits).fused else SPILLED)[backward]
    if form.family == "positions":
        return Traffic(7) if backward and wanted else SPILLED[backward]
    _, m, c = form.shape
    return (SPILLED if columns_team(m, c, c // form.groups, width, 1 + backward, limits) is None else STAYS)[backward]


def bytes_moved(form: Form, itemsize: int, backward: bool, wanted: bool = True, limits: Limits = LIMITS) -> int:
    """x, dy, y and dx over the bus; parameters, statistics and partial sums are small beside them."""
    return traffic(form, BYTES // itemsize, backward, wanted, limits).moved * math.prod(form.shape) * itemsize
