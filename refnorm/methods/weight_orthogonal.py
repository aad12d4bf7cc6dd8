"""Normalizations of a weight as a matrix, its rows together: towards an orthogonal matrix, the nearest one."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.arguments import finite_number, positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import ZCA, Constraints, Operation, on_unit_sphere
from refnorm.anatomy.recovery import Gain
from refnorm.operations import activation_gains, orthogonal_newton
from refnorm.operations import bjorck as bjorck_iteration

MATRIX = Area("(g k) i s -> g | k | i s")

GAINS = {"gains": activation_gains.exact}

NEWTON = Operation(
    "newton",
    "what = B_T (v - mean) / sqrt(n), B <- 3/2 B - 1/2 B^3 S, S = K / n",
    orthogonal_newton.forward,
    orthogonal_newton.backward,
    orthogonal_newton.apply,
    orthogonal_newton.apply_backward,
    ("T", "eps"),
    Constraints(orthogonal_newton.residuals, lambda d, m: d, lambda d, m: m >= 1, "mean 0", "always"),
    orthogonal_newton.identities,
    growth=orthogonal_newton.growth,
)

BJORCK = Operation(
    "bjorck",
    "what = W_T, W <- (1 + beta) W - beta W W' W, W_0 = v / c",
    bjorck_iteration.forward,
    bjorck_iteration.backward,
    bjorck_iteration.apply,
    bjorck_iteration.apply_backward,
    ("T", "beta", "scaling"),
    identities=bjorck_iteration.identities,
)

@norm(
    MATRIX,
    on_unit_sphere(ZCA, "what = ((v - mean) (v - mean)' + eps I)^(-1/2) (v - mean)", "sum 0, what what' = I - eps K^-1"),
    Gain("o"),
    x="v",
    acts_on="weights",
    cite=Citation(
        "L. Huang, X. Liu, B. Lang, A. W. Yu, Y. Wang, B. Li",
        "Orthogonal Weight Normalization: Solution to Optimization over Multiple Dependent Stiefel Manifolds in Deep Neural "
        "Networks",
        "AAAI",
        2018,
        "1709.06079",
    ),
    facts=invariances("yes no no yes no no no no"),
    dialects={"torch": Dialect({"eps": 0.0}, conventions=GAINS, spoken_by="the paper")},
    examples=({"shape": (3, 7)}, {"shape": (3, 2, 3)}, {"shape": (4, 3, 3), "num_groups": 2}),
)
def orthogonal_weight_norm(
    v: Any,
    g: Any = None,
    *,
    num_groups: int = 1,
    gain: float | str = 1.0,
    eps: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Orthogonal weight normalization: the rows of a group centred and made orthonormal, by the change that is least.

        w = gain g (vc vc' + eps I)^(-1/2) vc,      vc = v - mean over the fan-in

    Parameters
    ----------
    v : (out, in, *kernel), a kernel read as a matrix (out, in x kernel); float64, float32, float16 or bfloat16
    g : (out,), a scale for each row; None is 1
    num_groups : divides out; the rows of each group are orthonormal.  At eps 0 a group has at most fan-in - 1 rows
    gain : a number for all rows, or the name of the activation that follows, see `scaled_weight_standardization`
    eps : added to the diagonal of the Gram matrix

    Returns w; `.forward` returns (w, cache), `.backward(dw, cache)` (dv, dg).
    Raises ValueError, TypeError naming the argument.

    L. Huang et al., arXiv 1709.06079; the gradient is derived in operations/zca.py: it is ZCA whitening of a weight.
    """
    return Layout.weights(v, "v")


@norm(
    MATRIX,
    NEWTON,
    Gain("o"),
    x="v",
    acts_on="weights",
    cite=Citation(
        "L. Huang, L. Liu, F. Zhu, D. Wan, Z. Yuan, B. Li, L. Shao",
        "Controllable Orthogonalization in Training DNNs",
        "CVPR",
        2020,
        "2004.00887",
    ),
    facts=invariances("yes no no yes no no no no"),
    dialects={
        "paper": Dialect({"eps": 0.0}, conventions=GAINS, spoken_by="the paper"),
        "original": Dialect({"eps": 1e-5}, conventions=GAINS, spoken_by="the authors' code"),
    },
    examples=(
        {"shape": (3, 5)},
        {"shape": (3, 2, 3), "T": 3},
        {"shape": (4, 3), "num_groups": 2, "gain": "relu"},
        {"shape": (5, 3)},
    ),
)
def orthogonal_newton_iteration(
    v: Any,
    g: Any = None,
    *,
    T: int = 5,
    num_groups: int = 1,
    gain: float | str = 1.0,
    eps: float = FROM_DIALECT,
    dialect: str = "paper",
    backend: str = "numpy",
) -> Layout:
    """Orthogonalization by Newton's iteration (ONI): singular values raised towards 1, as far as T steps go.

        K = vc vc' + eps I,  n = ||K||_F,  B <- 3/2 B - 1/2 B^3 K / n (T times, from I),  w = gain g B vc / sqrt(n)

    Parameters
    ----------
    v : (out, in, *kernel), a kernel read as a matrix (out, in x kernel); float64, float32, float16 or bfloat16
    g : (out,), a scale for each row; None is 1
    T : how many steps, 1 or more; the more, the closer to orthogonal
    num_groups : divides out; the rows of each group together
    gain : a number for all rows (the authors take sqrt(2) before a ReLU), or the name of the activation that follows
    eps : added to the diagonal of the Gram matrix; the default is the dialect's

    Returns w; `.forward` returns (w, cache), `.backward(dw, cache)` (dv, dg).
    Raises ValueError, TypeError naming the argument.

    L. Huang et al., arXiv 2004.00887; the gradient is derived in operations/orthogonal_newton.py.
    """
    positive_integer("T", T, "the number of steps")
    return Layout.weights(v, "v")


@norm(
    MATRIX,
    BJORCK,
    Gain("o"),
    x="v",
    acts_on="weights",
    cite=Citation("C. Anil, J. Lucas, R. Grosse", "Sorting out Lipschitz Function Approximation", "ICML", 2019, "1811.05381"),
    facts=invariances("yes no no no no no no no"),
    dialects={
        "gram": Dialect({"scaling": "gram"}, conventions=GAINS, spoken_by="refnorm"),
        "original": Dialect({"scaling": "size"}, conventions=GAINS, spoken_by="the authors' code"),
    },
    examples=({"shape": (3, 4)}, {"shape": (3, 2, 2), "T": 3}, {"shape": (4, 3), "T": 4, "dialect": "original"}),
)
def bjorck(
    v: Any,
    g: Any = None,
    *,
    T: int = 20,
    beta: float = 0.5,
    scaling: str = FROM_DIALECT,
    num_groups: int = 1,
    gain: float | str = 1.0,
    dialect: str = "gram",
    backend: str = "numpy",
) -> Layout:
    """Bjorck's orthonormalization: the nearest orthogonal matrix, by products alone.

        W_0 = v / c,      W <- (1 + beta) W - beta W W' W (T times),      w = gain g W_T

    Parameters
    ----------
    v : (out, in, *kernel), a kernel read as a matrix (out, in x kernel); float64, float32, float16 or bfloat16
    g : (out,), a scale for each row; None is 1
    T : how many steps, 1 or more
    beta : 1/2 is quadratic convergence
    scaling : "gram", c = ||v v'||_F^(1/2), which bounds every singular value and is smooth; "size", c = sqrt(out fan-in), which
        bounds them where no entry of v passes 1 in size; "none", c = 1.  Convergence asks for singular values under sqrt(3)
    num_groups : divides out; the rows of each group together
    gain : a number for all rows, or the name of the activation that follows, see `scaled_weight_standardization`

    Returns w; `.forward` returns (w, cache), `.backward(dw, cache)` (dv, dg).
    Raises ValueError, TypeError naming the argument.

    A. Bjorck and C. Bowie, SIAM J. Numer. Anal. 8 (1971) 358; C. Anil et al., arXiv 1811.05381; the gradient is derived in
    operations/bjorck.py.
    """
    positive_integer("T", T, "the number of steps")
    finite_number("beta", beta)
    if scaling not in bjorck_iteration.SCALES:
        raise ValueError(f"scaling is {scaling!r}; it must be one of {', '.join(bjorck_iteration.SCALES)}")
    return Layout.weights(v, "v")
