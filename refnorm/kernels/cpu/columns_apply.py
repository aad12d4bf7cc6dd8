"""The last step down columns: y from x, dx from dy and x.  A plain loop, and one for float32 in vector lanes.

Each column has its own factors, which are as many loads as the entries themselves: in lanes four rows share them.
"""

from __future__ import annotations

from typing import Any

from numba import types

from .jit import elementwise, kernel, overload
from .simd import fence, fma, load, mul, sub
from .storage import read, write
from .streaming import put


def apply_rows(first: Any, last: Any, x: Any, high: Any, slope: Any, shift: Any, y: Any, streaming: Any) -> Any:
    """y = slope (x - high) + shift in rows first..last of x, y (M, C); factors (C,), as in row.apply_one."""


def pull_back_rows(
    first: Any, last: Any, dy: Any, x: Any, high: Any, slope: Any, a: Any, b: Any, dx: Any, streaming: Any
) -> Any:
    """dx = slope dy - a - b (x - high) in rows first..last; factors (C,), as in row.pull_back_one."""


@overload(apply_rows)
def _apply_rows(first, last, x, high, slope, shift, y, streaming):
    return _apply_in_lanes if x.dtype == types.float32 else _apply


@overload(pull_back_rows)
def _pull_back_rows(first, last, dy, x, high, slope, a, b, dx, streaming):
    return _pull_back_in_lanes if x.dtype == types.float32 else _pull_back


def _apply(first, last, x, high, slope, shift, y, streaming):
    for m in range(first, last):
        apply_row(x[m], high, slope, shift, y[m])


@elementwise
def apply_row(x: Any, high: Any, slope: Any, shift: Any, y: Any) -> None:
    for j in range(x.size):
        write(y, j, (read(x, j) - high[j]) * slope[j] + shift[j])


def _pull_back(first, last, dy, x, high, slope, a, b, dx, streaming):
    for m in range(first, last):
        pull_back_row(dy[m], x[m], high, slope, a, b, dx[m])


@elementwise
def pull_back_row(dy: Any, x: Any, high: Any, slope: Any, a: Any, b: Any, dx: Any) -> None:
    for j in range(dy.size):
        write(dx, j, read(dy, j) * slope[j] - a[j] - (read(x, j) - high[j]) * b[j])


def _apply_in_lanes(first, last, x, high, slope, shift, y, streaming):
    columns = x.shape[1]
    xs, out, full = x.reshape(-1), y.reshape(-1), columns // 16 * 16
    m = first
    while m + 4 <= last:
        apply_four_rows(xs, m * columns, columns, full, high, slope, shift, out, streaming)
        m += 4
    for r in range(first if full < columns else m, last):
        done = full if r < m else 0
        apply_row(x[r, done:], high[done:], slope[done:], shift[done:], y[r, done:])
    if streaming:
        fence()


@kernel
def apply_four_rows(
    x: Any, o: Any, columns: Any, full: Any, high: Any, slope: Any, shift: Any, y: Any, streaming: Any
) -> None:
    for j in range(0, full, 16):
        h, s, t = load(high, j), load(slope, j), load(shift, j)
        for r in range(4):
            i = o + r * columns + j
            put(y, i, fma(sub(load(x, i), h), s, t), streaming)


def _pull_back_in_lanes(first, last, dy, x, high, slope, a, b, dx, streaming):
    columns = x.shape[1]
    ds, xs, out, full = dy.reshape(-1), x.reshape(-1), dx.reshape(-1), columns // 16 * 16
    m = first
    while m + 4 <= last:
        pull_back_four_rows(ds, xs, m * columns, columns, full, high, slope, a, b, out, streaming)
        m += 4
    for r in range(first if full < columns else m, last):
        done = full if r < m else 0
        pull_back_row(dy[r, done:], x[r, done:], high[done:], slope[done:], a[done:], b[done:], dx[r, done:])
    if streaming:
        fence()


@kernel
def pull_back_four_rows(
    dy: Any, x: Any, o: Any, columns: Any, full: Any, high: Any, slope: Any, a: Any, b: Any, dx: Any,
    streaming: Any,
) -> None:  # fmt: skip
    for j in range(0, full, 16):
        h, s, t, q = load(high, j), load(slope, j), load(a, j), load(b, j)
        for r in range(4):
            i = o + r * columns + j
            centred = mul(sub(load(x, i), h), q)
            put(dx, i, sub(sub(mul(load(dy, i), s), t), centred), streaming)
