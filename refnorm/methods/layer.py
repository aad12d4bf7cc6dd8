"""Normalizations over trailing axes, each row on its own: layer norm and RMS norm."""

from __future__ import annotations

from typing import Any

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import RMS, STANDARDIZE
from refnorm.anatomy.recovery import Affine, Scale

ROWS = Area("r f -> r | | f")


@norm(
    ROWS,
    STANDARDIZE,
    Affine("f"),
    cite=Citation("J. L. Ba, J. R. Kiros, G. E. Hinton", "Layer Normalization", "NIPS Deep Learning Symp.", 2016, "1607.06450"),
    facts=invariances("yes no dense no no yes no yes"),
    dialects={
        "torch": Dialect({"eps": 1e-5}, spoken_by="PyTorch, Equinox, Haiku"),
        "flax": Dialect({"eps": 1e-6}, spoken_by="Flax"),
        "keras": Dialect({"eps": 1e-3}, spoken_by="Keras 3"),
        "onnx": Dialect({"eps": 1e-5}, casts=2, spoken_by="ONNX opset 17, stash_type=1"),
    },
    examples=({"shape": (5, 4, 3), "axis": 1}, {"shape": (6, 5), "axis": -1}),
)
def layer_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    axis: int = -1,
    eps: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Layer normalization: each row standardized over its trailing axes.

        mu = mean over the axes from `axis` on      s2 = mean of (x - mu)^2      y = gamma (x - mu) / sqrt(s2 + eps) + beta

    Parameters
    ----------
    x : any shape; float64, float32, float16 or bfloat16
    gamma, beta : x.shape[axis:] or None
    axis : the first normalized axis (ONNX's convention; PyTorch's normalized_shape is x.shape[axis:])
    eps : added to the variance; the default is the dialect's

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma, dbeta).
    Raises ValueError, TypeError naming the argument.

    J. L. Ba et al., arXiv 1607.06450, equation 3; the gradient is derived in operations/standardize.py.
    """
    return Layout.trailing(x, axis)


@norm(
    ROWS,
    RMS,
    Scale("f"),
    cite=Citation("B. Zhang, R. Sennrich", "Root Mean Square Layer Normalization", "NeurIPS", 2019, "1910.07467"),
    facts=invariances("yes no no no no yes no yes"),
    dialects={
        "torch": Dialect({"eps": None, "offset": 0}, spoken_by="PyTorch: eps is the accumulation type's machine epsilon"),
        "flax": Dialect({"eps": 1e-6, "offset": 0}, spoken_by="Flax, Keras 3, tinygrad"),
        "onnx": Dialect({"eps": 1e-5, "offset": 0}, casts=1, spoken_by="ONNX opset 23, Haiku"),
        "llama": Dialect({"eps": 1e-6, "offset": 0}, casts=1, spoken_by="Llama: cast back before the product with the weight"),
        "gemma": Dialect({"eps": 1e-6, "offset": 1}, spoken_by="Gemma: all in float32, the weight is 1 + gamma"),
    },
    examples=({"shape": (5, 4, 3), "axis": 1}, {"shape": (6, 5), "axis": -1, "offset": 1}),
)
def rms_norm(
    x: Any,
    gamma: Any = None,
    *,
    axis: int = -1,
    eps: float | None = FROM_DIALECT,
    offset: float = FROM_DIALECT,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Root mean square normalization: each row divided by its root mean square over the trailing axes.

        y = (offset + gamma) x / sqrt(mean(x^2) + eps)

    Parameters
    ----------
    x : any shape; float64, float32, float16 or bfloat16
    gamma : x.shape[axis:] or None
    axis : the first normalized axis
    eps : added to the mean square; None (the torch dialect's default): the machine epsilon of the type that x is accumulated
        in, float64's for float64 and float32's for all shorter types
    offset : added to gamma; 1 under the gemma dialect

    Returns y; `.forward` returns (y, cache), `.backward(dy, cache)` (dx, dgamma).
    Raises ValueError, TypeError naming the argument.

    B. Zhang and R. Sennrich, arXiv 1910.07467, equation 4; the gradient is derived in operations/rms.py.
    """
    return Layout.trailing(x, axis)
