"""Normalizations of each sample on its own: partial RMS, heads of queries and keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.arguments import finite_number
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import RMS, STANDARDIZE
from refnorm.anatomy.recovery import Affine, Scale

from .layer import ROWS

HEADS = Area("r h d -> r h | | d")


def _first_entries(arguments: Mapping[str, Any], layout: Layout) -> np.ndarray:
    """True for the first entries of each row, as many as `partial` says."""
    shape, partial = layout.lengths("f"), arguments["partial"]
    words = "in 0..1 and not 0, the share of a row that is looked at"
    if not 0 < finite_number("partial", partial, words) <= 1:
        raise ValueError(f"partial is {partial!r}; it must be a finite number, {words}")
    n = math.prod(shape)
    # 0.1 * 30 is 3.0000000000000004, which is meant as 3
    k = {"ceil": math.ceil, "floor": math.floor}[arguments["dialect"].conventions["k"]](round(n * partial, 9))
    if n and k == 0:
        raise ValueError(f"partial is {partial!r}; of {n} entries that is none at all, so it must be {1 / n:.3g} or more")
    return (np.arange(n) < k).reshape(shape)


@norm(
    ROWS,
    RMS,
    Scale("f"),
    counts=_first_entries,
    cite=Citation("B. Zhang, R. Sennrich", "Root Mean Square Layer Normalization", "NeurIPS", 2019, "1910.07467"),
    facts=invariances("yes no no no no yes no yes"),
    dialects={
        "paper": Dialect({"eps": 1e-8}, conventions={"k": "ceil"}, spoken_by="the paper: k = ceil(n p)"),
        "repo": Dialect({"eps": 1e-8}, conventions={"k": "floor"}, spoken_by="the authors' code: k = int(n p), eps aside"),
    },
    examples=(
        {"shape": (5, 4, 3), "axis": 1, "partial": 0.25},
        {"shape": (6, 5), "partial": 0.5},
        {"shape": (6, 5), "partial": 0.5, "dialect": "repo"},
    ),
)
def partial_rms_norm(
    x: Any,
    gamma: Any = None,
    *,
    partial: float = 0.0625,
    axis: int = -1,
    eps: float = FROM_DIALECT,
    dialect: str = "paper",
    backend: str = "numpy",
) -> Layout:
    """Partial root mean square normalization (pRMSNorm): the root mean square of the first entries of a row stands for all.

        y = gamma x / sqrt(mean of the first k x^2 + eps),    k = ceil(n partial) of the row's n entries

    Parameters
    ----------
    x : any shape; float64, float32, float16 or bfloat16
    gamma : x.shape[axis:] or None
    partial : the share p of a row that is looked at, in 0..1; the paper's is 6.25 %
    axis : the first normalized axis; several axes are read as one row, last axis fastest
    eps : added to the mean square (the authors' code adds it to the root)

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma).
    Raises ValueError, TypeError naming the argument; also where k would be 0.

    B. Zhang and R. Sennrich, arXiv 1910.07467, section 3.3; the gradient, weighted, is derived in operations/rms.py.
    """
    return Layout.trailing(x, axis)


@norm(
    HEADS,
    RMS,
    Scale("d"),
    cite=Citation(
        "A. Henry, P. R. Dachapally, S. Pawar, Y. Chen",
        "Query-Key Normalization for Transformers",
        "EMNLP Findings",
        2020,
        "2010.04245",
    ),
    facts=invariances("yes no no no yes yes no yes"),
    dialects={
        "torch": Dialect({"eps": 1e-6, "offset": 0}, spoken_by="Qwen 3: RMS over each head, one gamma for all heads"),
        "gemma": Dialect({"eps": 1e-6, "offset": 1}, spoken_by="Gemma 3: the weight is 1 + gamma"),
    },
    examples=(
        {"shape": (3, 6, 4), "num_heads": 2, "axis": 1},
        {"shape": (5, 6), "num_heads": 2},
        {"shape": (2, 3, 6), "num_heads": 3, "offset": 1},
    ),
)
def query_key_norm(
    x: Any,
    gamma: Any = None,
    *,
    num_heads: int,
    axis: int = -1,
    eps: float = FROM_DIALECT,
    offset: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Query-key normalization: each head of the queries (in another call, of the keys) divided by its root mean square.

        y_hd = (offset + gamma_d) x_hd / sqrt(mean over d of x_h^2 + eps)

    So attention logits are bounded by a temperature that gamma learns.  Henry et al. divide by the length, gamma being one
    number: the same up to a factor sqrt(d).

    Parameters
    ----------
    x : any shape, the heads' features side by side along `axis`, as a projection gives them; any of the four dtypes
    gamma : (d,), shared by all heads, or None
    num_heads : divides x.shape[axis]; d is what it leaves
    axis : the axis of heads and features; where they have an axis each, use rms_norm(axis=-1)
    eps : added to the mean square
    offset : added to gamma; 1 under the gemma dialect

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma).
    Raises ValueError, TypeError naming the argument.

    A. Henry et al., arXiv 2010.04245; the gradient is derived in operations/rms.py.
    """
    return Layout.heads(x, num_heads, axis)


@norm(
    HEADS,
    STANDARDIZE,
    Affine("d"),
    cite=Citation("M. Dehghani et al.", "Scaling Vision Transformers to 22 Billion Parameters", "ICML", 2023, "2302.05442"),
    facts=invariances("yes no yes no yes yes no yes"),
    dialects={
        "torch": Dialect({"eps": 1e-5}, spoken_by="PyTorch's layer norm on each head"),
        "flax": Dialect({"eps": 1e-6}, spoken_by="Flax"),
    },
    examples=(
        {"shape": (3, 6, 4), "num_heads": 2, "axis": 1},
        {"shape": (5, 6), "num_heads": 2},
        {"shape": (2, 3, 8), "num_heads": 2},
    ),
)
def query_key_layer_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    num_heads: int,
    axis: int = -1,
    eps: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Query-key normalization by layer norm: each head of the queries or keys standardized.

        y_hd = gamma_d (x_hd - mu_h) / sqrt(s2_h + eps) + beta_d

    Parameters
    ----------
    x : any shape, the heads' features side by side along `axis`; float64, float32, float16 or bfloat16
    gamma, beta : (d,), shared by all heads, or None
    num_heads, axis, eps : as query_key_norm

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    M. Dehghani et al., arXiv 2302.05442, section 2; the gradient is derived in operations/standardize.py.
    """
    return Layout.heads(x, num_heads, axis)
