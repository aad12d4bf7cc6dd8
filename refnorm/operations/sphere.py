"""The sphere on which a row of a weight lies: its tangent space, and the way back to it after a step.

Two maps of a row w of length r = ||w|| and a second row of its size:

    tangent       t = g - w (w.g) / r^2 = P g             the part of g along the sphere of radius r about 0, P a projector
    retraction    y = r p / ||p||,  p = w - step t        a step along t, and back onto that sphere

(P.-A. Absil, R. Mahony, R. Sepulchre, Optimization Algorithms on Matrix Manifolds, 2008, sections 3.6 and 4.1.)  A weight whose
scale does not matter has <w, dL/dw> = 0: its gradient is tangent as it is, P only removes what rounding, weight decay or
momentum add, and the step alone leads off the sphere, by ||w - step t||^2 = r^2 + step^2 ||t||^2.

The gradients.  Of the tangent, with dt given: P is symmetric, and
d(w (w.g) / r^2) = dw (w.g)/r^2 + w (dw.g)/r^2 - 2 w (w.g)(w.dw)/r^4, so

    dL/dg = P dt        dL/dw = -((w.g) dt + (w.dt) g) / r^2 + 2 (w.g) (w.dt) w / r^4.

Of the retraction, with dy given and n = p / ||p||: y = r n, dn = (dp - n (n.dp)) / ||p||, dr = (w.dw) / r,

    dL/dp = (r / ||p||) (dy - n (n.dy))        dL/dw = dL/dp + (n.dy) w / r        dL/dt = -step dL/dp.

Shapes: every array (B, 1, M); inner products (B, 1, 1).
"""

from typing import Any

import numpy as np

from .standardize import total


def tangent(g: Any, w: Any) -> Any:
    return g - w * (total(w * g) / total(np.square(w)))


def tangent_backward(dt: Any, g: Any, w: Any) -> tuple[Any, Any]:
    """dL/dg, dL/dw."""
    squared = total(np.square(w))
    along, back = total(w * g) / squared, total(w * dt) / squared
    return dt - w * back, 2 * along * back * w - along * dt - back * g


def retraction(w: Any, t: Any, *, step: float) -> Any:
    p = w - step * t
    return length(w) * p / length(p)


def retraction_backward(dy: Any, w: Any, t: Any, *, step: float) -> tuple[Any, Any]:
    """dL/dw, dL/dt."""
    p = w - step * t
    n = p / length(p)
    along = total(n * dy)
    dp = length(w) / length(p) * (dy - n * along)
    return dp + along * w / length(w), -step * dp


def length(w: Any) -> Any:
    return np.sqrt(total(np.square(w)))
