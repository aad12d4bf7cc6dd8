"""Rows of a given length: p-norm normalization and scale norm."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Layout
from refnorm.anatomy.arguments import finite_number
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import Constraints, Operation
from refnorm.anatomy.recovery import Identity, Scale
from refnorm.operations import lp

from .layer import ROWS

LP = Operation(
    "p-norm",
    "xhat = x / ||x||_p",
    lp.forward,
    lp.backward,
    lp.apply,
    lp.apply_backward,
    options=("p", "eps", "floor"),
    constraints=Constraints(lp.residuals, lambda d, m: d, lambda d, m: m >= 1, "p-norm n / den", "always"),
    identities=lp.identities,
)
NORM_DIALECTS = {
    "torch": Dialect({"eps": 1e-12}, conventions={"floor": "max"}, spoken_by="PyTorch normalize: x / max(n, eps)"),
    "keras": Dialect({"eps": 1e-7}, conventions={"floor": "max"}, spoken_by="Keras 3 ops.normalize: x / max(n, eps)"),
    "chainer": Dialect({"eps": 1e-5}, conventions={"floor": "plus"}, spoken_by="Chainer normalize: x / (n + eps)"),
    "haiku": Dialect({"eps": 1e-12}, conventions={"floor": "inside"}, spoken_by="Haiku: x rsqrt(sum(x^2) + eps)"),
    "onnx": Dialect({"eps": 0.0}, conventions={"floor": "zero"}, spoken_by="ONNX LpNormalization: a zero vector gives 0"),
}


def _checked_p(p: Any) -> None:
    if finite_number("p", p, "1 or more") < 1:
        raise ValueError(f"p is {p!r}; it must be a finite number, 1 or more")


@norm(
    ROWS,
    LP,
    Identity(),
    cite=Citation("ONNX", "Operator specification, LpNormalization", "onnx.ai", 2023),
    facts=invariances("yes no no no no yes no yes"),
    dialects=NORM_DIALECTS,
    examples=(
        {"shape": (3, 4, 5), "axis": 1},
        {"shape": (5, 4), "p": 1},
        {"shape": (5, 4), "p": 1, "dialect": "chainer"},
        {"shape": (3, 4, 2), "axis": (1, 2), "dialect": "haiku"},
        {"shape": (5, 4), "p": 3, "dialect": "onnx"},
    ),
)
def lp_norm(
    x: Any,
    *,
    p: float = 2,
    axis: int | tuple[int, ...] = -1,
    eps: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """p-norm normalization: each row divided by its p-norm.

        y = x / ||x||_p,     ||x||_p = (sum |x|^p)^(1/p)

    How a row of length 0 is met is the dialect's: max(n, eps), n + eps, (n^p + eps)^(1/p), or 0 for a zero row.

    Parameters
    ----------
    x : any shape; float64, float32, float16 or bfloat16
    p : 1 or more; ONNX has 1 and 2
    axis : the axis, or axes, of a row
    eps : the default is the dialect's

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx,).  Raises ValueError, TypeError naming the argument.

    ONNX operator LpNormalization, PyTorch's normalize; the gradient is derived in operations/lp.py.
    """
    _checked_p(p)
    return Layout.over(x, axis if isinstance(axis, tuple) else (axis,), "axis")


@norm(
    ROWS,
    LP,
    Scale("", ("g",)),
    cite=Citation(
        "T. Q. Nguyen, J. Salazar",
        "Transformers without Tears: Improving the Normalization of Self-Attention",
        "IWSLT",
        2019,
        "1910.05895",
    ),
    facts=invariances("yes no no no no yes no yes"),
    dialects={
        "torch": Dialect({"eps": 1e-5}, conventions={"floor": "max", "p": 2}, spoken_by="the authors' code: g x / max(n, eps)")
    },
    examples=({"shape": (3, 4, 5), "axis": 1}, {"shape": (5, 4)}),
)
def scale_norm(
    x: Any, g: Any = None, *, axis: int = -1, eps: float = FROM_DIALECT, dialect: str = "torch", backend: str = "numpy"
) -> Layout:
    """Scale normalization: each row on a sphere whose radius g, one number for all, is learned.

        y = g x / ||x||_2

    Parameters
    ----------
    x : any shape; float64, float32, float16 or bfloat16
    g : () or None, which is 1; the authors start at sqrt(d)
    axis : the axis of a row
    eps : the least length that is divided by

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dg).
    Raises ValueError, TypeError naming the argument.

    T. Q. Nguyen and J. Salazar, arXiv 1910.05895, equation 5; the gradient is derived in operations/lp.py.
    """
    return Layout.over(x, (axis,), "axis")
