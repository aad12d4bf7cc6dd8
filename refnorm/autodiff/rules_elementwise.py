"""Rules of elementwise functions.  Where a function has a kink, the rule takes the mean of the two slopes: |x| has 0 at 0, and
maximum and minimum of equal numbers share the cotangent evenly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .box import power
from .core import composite, plain
from .recording import defvjp

LN2, LN10 = float(np.log(2)), float(np.log(10))
DEGREE = float(np.pi / 180)


def conj(d: Any) -> Any:
    """The conjugate, at no cost where d is real."""
    return np.conj(d) if (d.dtype.kind == "c" if hasattr(d, "dtype") else isinstance(d, complex)) else d


def pointwise(fun: Any, *slopes: Callable[..., Any]) -> None:
    """dy = sum_i slopes[i](y, *args) dx_i, hence the cotangents g conj(slope_i): Re(conj(g) s dx) = Re(conj(g conj(s)) dx)."""
    defvjp(fun, *(_rule(slope) for slope in slopes))


def _rule(slope: Callable[..., Any]) -> Callable[..., Any]:
    if slope.__code__.co_argcount == 2:
        return lambda g, y, x: g * conj(slope(y, x))
    return lambda g, y, a, b: g * conj(slope(y, a, b))


def ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    return a / np.where(np.equal(b, 0), 1, b) * np.not_equal(b, 0)


# arithmetic

defvjp(np.add, lambda g, y, a, b: g, lambda g, y, a, b: g)
defvjp(np.subtract, lambda g, y, a, b: g, lambda g, y, a, b: -g)
defvjp(np.positive, lambda g, y, x: g)
defvjp(np.negative, lambda g, y, x: -g)
pointwise(np.multiply, lambda y, a, b: b, lambda y, a, b: a)
defvjp(np.divide, lambda g, y, a, b: g / conj(b), lambda g, y, a, b: -g * conj(y / b))
pointwise(np.reciprocal, lambda y, x: -y * y)
pointwise(np.square, lambda y, x: 2 * x)
pointwise(np.remainder, lambda y, a, b: 1.0, lambda y, a, b: -np.floor(a / b))
pointwise(np.fmod, lambda y, a, b: 1.0, lambda y, a, b: -np.trunc(a / b))


def _slope_in_base(y: Any, a: Any, p: Any) -> Any:
    """p a^(p-1); 0 where p is 0, also at a = 0."""
    if isinstance(p, int | float):
        return p * a ** (p - 1) if p else 0.0
    return p * a ** np.where(np.equal(p, 0), 1, p - 1)


def _slope_in_exponent(y: Any, a: Any, p: Any) -> Any:
    """a^p log(a); 0 at a = 0, its limit for p > 0."""
    return y * np.log(np.where(np.equal(a, 0), 1, a))


for _power in (np.power, np.float_power, power):
    pointwise(_power, _slope_in_base, _slope_in_exponent)

# exponentials, logarithms, roots

pointwise(np.exp, lambda y, x: y)
pointwise(np.exp2, lambda y, x: LN2 * y)
pointwise(np.expm1, lambda y, x: y + 1)
defvjp(np.log, lambda g, y, x: g / conj(x))
pointwise(np.log2, lambda y, x: 1 / (LN2 * x))
pointwise(np.log10, lambda y, x: 1 / (LN10 * x))
pointwise(np.log1p, lambda y, x: 1 / (1 + x))
pointwise(np.logaddexp, lambda y, a, b: np.exp(a - y), lambda y, a, b: np.exp(b - y))
pointwise(np.logaddexp2, lambda y, a, b: np.exp2(a - y), lambda y, a, b: np.exp2(b - y))
pointwise(np.sqrt, lambda y, x: 0.5 / y)
pointwise(np.cbrt, lambda y, x: 1 / (3 * y * y))
pointwise(np.hypot, lambda y, a, b: ratio(a, y), lambda y, a, b: ratio(b, y))

# trigonometric and hyperbolic

pointwise(np.sin, lambda y, x: np.cos(x))
pointwise(np.cos, lambda y, x: -np.sin(x))
pointwise(np.tan, lambda y, x: 1 + y * y)
pointwise(np.arcsin, lambda y, x: 1 / np.sqrt(1 - x * x))
pointwise(np.arccos, lambda y, x: -1 / np.sqrt(1 - x * x))
pointwise(np.arctan, lambda y, x: 1 / (1 + x * x))
pointwise(np.arctan2, lambda y, a, b: b / (a * a + b * b), lambda y, a, b: -a / (a * a + b * b))
pointwise(np.sinh, lambda y, x: np.cosh(x))
pointwise(np.cosh, lambda y, x: np.sinh(x))
pointwise(np.tanh, lambda y, x: 1 - y * y)
pointwise(np.arcsinh, lambda y, x: 1 / np.sqrt(x * x + 1))
pointwise(np.arccosh, lambda y, x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)))
pointwise(np.arctanh, lambda y, x: 1 / (1 - x * x))
for _degrees in (np.degrees, np.rad2deg):
    pointwise(_degrees, lambda y, x: 1 / DEGREE)
for _radians in (np.radians, np.deg2rad):
    pointwise(_radians, lambda y, x: DEGREE)

# kinks

defvjp(np.where, None, lambda g, ans, condition, x, y: np.where(condition, g, 0),
       lambda g, ans, condition, x, y: np.where(condition, 0, g))
composite(np.sign)(lambda x: ratio(x, np.abs(x)) if np.iscomplexobj(x) else np.sign(plain(x)))
pointwise(np.fabs, lambda y, x: np.sign(x))
defvjp(np.absolute, lambda g, y, x: g * np.sign(x))
defvjp(np.copysign, lambda g, y, a, b: g * np.sign(a) * np.copysign(1.0, plain(b)), None)
defvjp(np.heaviside, None, lambda g, y, x, h: np.where(np.equal(x, 0), g, 0))


def _share(y: Any, a: Any, b: Any) -> Any:
    """The slope of y, which is a or b, in a: 1 or 0, and 1/2 where they are equal."""
    return np.equal(a, y) * (1 - 0.5 * np.equal(a, b))


for _extremum in (np.maximum, np.minimum, np.fmax, np.fmin):
    pointwise(_extremum, _share, lambda y, a, b: _share(y, b, a))


@composite(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    for bound, fun in ((a_min, np.maximum), (min, np.maximum), (a_max, np.minimum), (max, np.minimum)):
        a = a if bound is None else fun(a, bound)
    return a


# complex numbers

defvjp(np.conjugate, lambda g, y, z: np.conj(g))
defvjp(np.real, lambda g, y, val: g)
defvjp(np.imag, lambda g, y, val: 1j * g)
defvjp(np.angle, lambda g, y, z, deg=False: 1j * ratio(z, np.real(z * np.conj(z))) * (g / DEGREE if deg else g))

# several outputs, steps, floating-point parts

defvjp(np.modf, lambda g, y, x: g[0])
defvjp(np.frexp, lambda g, y, x: None if g[0] is None else np.ldexp(g[0], -y[1]))
defvjp(np.ldexp, lambda g, y, x, e: np.ldexp(g, e))
defvjp(np.divmod, lambda g, y, a, b: g[1], lambda g, y, a, b: None if g[1] is None else -g[1] * y[0])
defvjp(np.nan_to_num, lambda g, y, x, copy=True, nan=0.0, posinf=None, neginf=None: g * np.isfinite(x))
