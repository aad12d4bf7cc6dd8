"""An orthogonal weight by Cayley's transform: not the nearest one, but exact and smooth."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import Constraints, Operation
from refnorm.anatomy.recovery import Gain
from refnorm.operations import cayley as cayley_transform

from .weight_orthogonal import GAINS, MATRIX

CAYLEY = Operation(
    "cayley",
    "what = [(I - A) R; -2 V R], R = (I + A)^-1, A = U - U' + V' V",
    cayley_transform.forward,
    cayley_transform.backward,
    cayley_transform.apply,
    cayley_transform.apply_backward,
    ("form",),
    Constraints(
        cayley_transform.residuals,
        lambda d, m: min(d, m) * (min(d, m) + 1) // 2,
        lambda d, m: True,
        "what what' = I, or what' what = I where it is tall",
        "always",
    ),
)


@norm(
    MATRIX,
    CAYLEY,
    Gain("o"),
    x="v",
    acts_on="weights",
    cite=Citation(
        "A. Trockman, J. Z. Kolter",
        "Orthogonalizing Convolutional Layers with the Cayley Transform",
        "ICLR",
        2021,
        "2104.07167",
    ),
    facts=invariances("no no no no no no no no"),
    dialects={
        "original": Dialect(conventions={"form": "blocks", **GAINS}, spoken_by="the authors' code"),
        "torch": Dialect(conventions={"form": "triangle", **GAINS}, spoken_by="PyTorch, orthogonal(orthogonal_map='cayley')"),
    },
    examples=(
        {"shape": (3, 5)},
        {"shape": (3, 2, 2)},
        {"shape": (4, 3)},
        {"shape": (4, 3), "dialect": "torch"},
        {"shape": (2, 2, 2), "dialect": "torch"},
        {"shape": (4, 3), "num_groups": 2},
    ),
)
def cayley(
    v: Any,
    g: Any = None,
    *,
    num_groups: int = 1,
    gain: float | str = 1.0,
    dialect: str = "original",
    backend: str = "numpy",
) -> Layout:
    """Cayley's transform: exactly orthonormal rows (columns, where there are more rows), smooth in every entry of v.

        original     A = U - U' + V' V,  R = (I + A)^-1      w = [(I - A) R; -2 V R]      U over V the tall one of v and v'
        torch        A = tril(X) - tril(X)', padded      w = (I - A/2)^-1 (I + A/2), the columns of X      X the tall one

    Parameters
    ----------
    v : (out, in, *kernel), a kernel read as a matrix (out, in x kernel); float64, float32, float16 or bfloat16
    g : (out,), a scale for each row; None is 1
    num_groups : divides out; the rows of each group together
    gain : a number for all rows, or the name of the activation that follows, see `scaled_weight_standardization`

    Returns w; `.forward` returns (w, cache), `.backward(dw, cache)` (dv, dg).
    Raises ValueError, TypeError naming the argument.

    A. Trockman and J. Z. Kolter, arXiv 2104.07167; the gradient is derived in operations/cayley.py.
    """
    return Layout.weights(v, "v")
