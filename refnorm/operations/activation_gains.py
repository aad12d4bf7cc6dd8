"""Gains that keep the variance through an activation: gain = 1 / sqrt(Var f(z)), z ~ N(0, 1).

A. Brock, S. De, S. L. Smith, arXiv 2101.08692, section 4: a layer gain * f(W x) with rows of W standardized and divided by
sqrt(fan-in) hands on variance 1.  For relu, Var = 1/2 - 1/(2 pi), so the gain is sqrt(2 / (1 - 1/pi)).

    E h(z) = int h(z) phi(z) dz,    by Gauss-Legendre on panels of [-12, 12] that end where f has a kink;

each panel's integrand is analytic, so 64 nodes a panel leave nothing but rounding, and beyond 12 there is less than 1e-30.
The constants that NFNet ships (`PUBLISHED`) are Monte Carlo values, right to three digits.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

ERF = np.vectorize(math.erf, otypes=[np.float64])
ALPHA, LAMBDA = 1.6732632423543772848, 1.0507009873554804934        # selu, G. Klambauer et al., arXiv 1706.02515


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def elu(z: Any) -> Any:
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": elu,
    "celu": elu,                                                      # alpha = 1: the same function
    "selu": lambda z: LAMBDA * np.where(z > 0, z, ALPHA * np.expm1(np.minimum(z, 0))),
    "gelu": lambda z: z * (1 + ERF(z / math.sqrt(2))) / 2,
    "silu": lambda z: z * sigmoid(z),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": lambda z: np.logaddexp(z, 0),
    "log_sigmoid": lambda z: -np.logaddexp(-z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
}

PUBLISHED = {
    "identity": 1.0,
    "relu": 1.7139588594436646,
    "relu6": 1.7131484746932983,
    "leaky_relu": 1.70590341091156,
    "elu": 1.2716004848480225,
    "celu": 1.270926833152771,
    "selu": 1.0008515119552612,
    "gelu": 1.7015043497085571,
    "silu": 1.7881293296813965,
    "tanh": 1.5939117670059204,
    "sigmoid": 4.803835391998291,
    "softplus": 1.9203323125839233,
    "log_sigmoid": 1.9193484783172607,
    "softsign": 2.338853120803833,
}
"""As shipped with github.com/google-deepmind/deepmind-research, nfnets/base.py."""

PANELS = np.array([-12.0, -8, -4, 0, 4, 6, 8, 12])                   # relu6 has its second kink at 6
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)


def mean_under_normal(h: Callable[[Any], Any]) -> float:
    """E h(z), z ~ N(0, 1), for an h that is analytic between PANELS."""
    middle, half = (PANELS[1:] + PANELS[:-1])[:, None] / 2, np.diff(PANELS)[:, None] / 2
    z = middle + half * NODES
    return float(np.sum(half * WEIGHTS * h(z) * np.exp(-np.square(z) / 2))) / math.sqrt(2 * math.pi)


def exact(activation: str) -> float:
    """The gain of an activation, by quadrature; exact to rounding.  Raises ValueError that lists the known ones."""
    f = ACTIVATIONS[_known(activation)]
    mean = mean_under_normal(f)
    return 1 / math.sqrt(mean_under_normal(lambda z: np.square(f(z) - mean)))


def published(activation: str) -> float:
    """The gain of an activation, as NFNet ships it.  Raises ValueError that lists the known ones."""
    return PUBLISHED[_known(activation)]


def _known(activation: str) -> str:
    if activation not in ACTIVATIONS:
        raise ValueError(f"gain is {activation!r}; it must be a number, or one of {', '.join(ACTIVATIONS)}")
    return activation
