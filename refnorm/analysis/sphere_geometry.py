"""The spheres that normalizations put their outputs on, and steps along them.

With eps = 0 a standardized row of n entries has mean 0 and mean square 1: it lies on the sphere of radius sqrt(n) in the
complement of 1, of dimension n - 2.  Normalized weights lie on the unit sphere (J. Sun et al., arXiv 2006.09104).  The maps are
z -> r z / |z|, with

    d(z / |z|)/dz = (I - zz'/|z|^2) / |z|,

a projector over the length: a gradient through it is tangent, <z, dL/dz> = 0, and shrinks as 1 / |z|.  A gradient step is then
a right angle, and the length can only grow:

    |w - eta g|^2 = |w|^2 + eta^2 |g|^2,        while along the sphere it stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refnorm.autodiff import jacobian


def radii(rows: Any) -> np.ndarray:
    """|row| / sqrt(n) for rows (..., n): 1 on the sphere of radius sqrt(n)."""
    return np.sqrt(np.mean(np.square(rows), axis=-1))


def projector_defect(normalize: Callable[[Any], Any], z: np.ndarray, radius: float, centred: bool) -> float:
    """How far the Jacobian of a map onto a sphere is from radius/|zc| times the projector along it; z one row (n,).

    centred: the map takes the mean away first, so that the projector also removes 1.
    """
    n = len(z)
    zc = z - np.mean(z) if centred else z
    length = float(np.linalg.norm(zc))
    projector = np.eye(n) - np.outer(zc, zc) / length**2 - (np.ones((n, n)) / n if centred else 0)
    return float(np.max(np.abs(jacobian(normalize)(z) - radius / length * projector)))


def growth(w: np.ndarray, g: np.ndarray, rate: float) -> float:
    """|w - rate g|^2 over |w|^2 + rate^2 |g|^2: 1 for a tangent gradient."""
    moved = w - rate * g
    return float(np.sum(moved**2) / (np.sum(w**2) + rate**2 * np.sum(g**2)))
