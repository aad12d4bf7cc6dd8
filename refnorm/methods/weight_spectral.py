"""Normalization of a weight by its largest singular value: of the matrix, and of the convolution itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refnorm.anatomy.area import Area, Layout, Partition
from refnorm.anatomy.arguments import positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, method, spoken
from refnorm.anatomy.precision import dtype_of, narrow, wide
from refnorm.operations import conv_spectrum, power_iteration

MATRIX = Area("o i s -> | o | i s")


class SingularVectors(NamedTuple):
    """What spectral norm keeps: u of shape (out,), v of shape (fan-in,).  Never written to."""

    u: Any
    v: Any


def fresh(
    w: Any,
    rng: np.random.Generator | int = 0,
    *,
    dim: int = 0,
    n_power_iterations: int = 15,
    eps: float = 1e-12,
    dialect: str = "torch",
) -> SingularVectors:
    """u and v for a weight: drawn normal, normalized, and iterated 15 times, as PyTorch does when it registers the norm."""
    first = DIALECTS[dialect].conventions["first"]
    draws, part = np.random.default_rng(rng), partition(w, dim)
    _, d, m = part.blocks
    u, v = (power_iteration.unit(draws.normal(size=n), eps) for n in (d, m))
    u, v = power_iteration.iterated(part.split(wide(w))[0], u, v, n=n_power_iterations, eps=eps, first=first)
    return SingularVectors(narrow(u, w.dtype), narrow(v, w.dtype))


def partition(w: Any, dim: int) -> Partition:
    if dim is None:
        raise ValueError("dim is None; spectral norm is of a matrix: dim must be the axis of the outputs, an integer")
    return MATRIX.partition(Layout.weights(w, "w", dim))


DIALECTS = {
    "torch": Dialect({"eps": 1e-12}, conventions={"first": "u"}, spoken_by="PyTorch, torch.nn.utils.parametrizations"),
    "hook": Dialect({"eps": 1e-12}, conventions={"first": "v"}, spoken_by="PyTorch's older torch.nn.utils.spectral_norm"),
}


def spectral_backward(dy: Any, saved: power_iteration.Saved, *, w: Any, dim: int, **_: Any) -> tuple:
    part = partition(w, dim)
    return (part.merge(power_iteration.backward(part.split(dy)[0], part.split(w)[0], saved)),)


@method(
    backward=spectral_backward,
    arrays=("w",),
    shapes=lambda **_: {},
    acts_on="weights",
    state=fresh,
    stops=("u", "v"),
    formula="y = w / (u' W v), u and v by power iteration",
    cite=Citation(
        "T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida",
        "Spectral Normalization for Generative Adversarial Networks",
        "ICLR",
        2018,
        "1802.05957",
    ),
    facts=invariances("yes no no no no no no no"),
    dialects=DIALECTS,
    examples=(
        {"shape": (4, 5), "u": np.ones(4), "v": np.ones(5)},
        {"shape": (3, 2, 2), "u": np.arange(1.0, 4), "v": np.ones(4), "n_power_iterations": 3},
        {"shape": (4, 3), "u": np.ones(4), "v": np.ones(3), "dialect": "hook"},
        {"shape": (2, 4, 2), "u": np.ones(4), "v": np.arange(1.0, 5), "dim": 1},
    ),
)
def spectral_norm(
    w: Any,
    u: Any,
    v: Any,
    *,
    n_power_iterations: int = 1,
    eps: float = FROM_DIALECT,
    training: bool = True,
    dim: int = 0,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Any:
    """Spectral normalization: a weight, read as a matrix W, divided by an estimate of its largest singular value.

        u <- W v / ||W v||,  v <- W' u / ||W' u||      y = w / (u' W v)

    Of a convolution the matrix is the reshaped kernel, whose norm is not the operator norm: see `conv_spectral_norm`.

    Parameters
    ----------
    w : (out, in, *kernel), or as `dim` says; float64, float32, float16 or bfloat16
    u, v : (out,) and (fan-in,), the vectors of the last step; the first ones from `spectral_norm.state(w)`
    n_power_iterations : how often they are updated before they are used; dialect torch: u first, hook: v first
    eps : the least norm that a vector is divided by
    training : False: u and v are used as they are
    dim : the axis of the outputs

    Returns
    -------
    (y, (u, v)) in training, y in evaluation.  `.forward` returns (y, cache, (u, v)), `.backward(dy, cache)` (dw,).
    The gradient takes u and v as constants.

    Raises
    ------
    ValueError, TypeError naming the argument.

    T. Miyato et al., arXiv 1802.05957, algorithm 1; the gradient is derived in operations/power_iteration.py.
    """
    part = partition(w, dim)
    positive_integer("n_power_iterations", n_power_iterations)
    for name, vector, size in (("u", u, part.blocks[1]), ("v", v, part.blocks[2])):
        dtype_of(vector, name)
        if np.shape(vector) != (size,):
            raise ValueError(f"{name} has shape {np.shape(vector)}; w has shape {np.shape(w)}, so it must have shape ({size},)")
    n, first = n_power_iterations if training else 0, spoken(dialect).conventions["first"]
    y, saved = power_iteration.forward(part.split(w)[0], wide(u), wide(v), n=n, eps=eps, first=first)
    state = SingularVectors(narrow(saved.u, u.dtype), narrow(saved.v, v.dtype)) if training else SingularVectors(u, v)
    return part.merge(y), saved, state


def conv_spectral_backward(dy: Any, saved: conv_spectrum.Saved, *, w: Any, **_: Any) -> tuple:
    return (conv_spectrum.backward(dy, w, saved),)


@method(
    backward=conv_spectral_backward,
    arrays=("w",),
    shapes=lambda **_: {},
    acts_on="weights",
    formula="y = w / max over f of |F(f)|_2, F the kernel's transform",
    cite=Citation("H. Sedghi, V. Gupta, P. M. Long", "The Singular Values of Convolutional Layers", "ICLR", 2019, "1805.10408"),
    facts=invariances("yes no no no no no no no"),
    dialects={"circular": Dialect(spoken_by="the paper: circular padding, stride 1")},
    examples=(
        {"shape": (2, 3, 2, 2), "spatial": (3, 2)},
        {"shape": (3, 2, 3), "spatial": (7,)},        # drawn with its top at frequency 3, where the vectors are complex
        {"shape": (4, 3), "spatial": ()},
    ),
)
def conv_spectral_norm(w: Any, *, spatial: tuple[int, ...], dialect: str = "circular", backend: str = "numpy") -> Any:
    """Spectral normalization of a convolution itself: its kernel over the largest singular value that it has as a linear map.

        y = w / sigma,      sigma = max over the frequencies of the grid of |sum_k w[:, :, k] exp(-2 pi i <f, k / n>)|_2

    Exact for circular padding and stride 1.  With zeros around it a convolution is a part of the circular one on a grid larger
    by the kernel less 1, whose sigma bounds it.  sigma lies between the norm of the reshaped kernel (`spectral_norm`) and
    sqrt(number of its taps) times that.

    Parameters
    ----------
    w : (out, in, *kernel); float64, float32, float16 or bfloat16
    spatial : the size of the input's grid, one length for each axis of the kernel, none smaller than the kernel's

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dw,); `cache.saved` has sigma, its vectors and the
    gap to the next singular value: at gap 0 sigma has a kink, and the gradient is that of one side.
    Raises ValueError, TypeError naming the argument.

    H. Sedghi et al., arXiv 1805.10408, theorem 6; the gradient is derived in operations/conv_spectrum.py.
    """
    kernel = Layout.weights(w, "w").lengths("s")
    right = isinstance(spatial, tuple) and len(spatial) == len(kernel)
    if not right or any(not isinstance(n, (int, np.integer)) or n < k for n, k in zip(spatial, kernel, strict=True)):
        raise ValueError(
            f"spatial is {spatial!r}; w has shape {np.shape(w)}, so it must have {len(kernel)} integers, at least {kernel}"
        )
    return conv_spectrum.forward(w, spatial)
