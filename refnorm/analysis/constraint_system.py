"""What a norm demands of its output: the equations, how many are independent, and whether anything can meet them.

Output z in blocks (B, D, M) (anatomy/area.py).  A standardized row has mean 0 and mean square 1, 2 equations each of the B D
rows; a whitened block has D means and D (D + 1) / 2 covariances, so

    zeta = 2 B D        or        zeta = B D (D + 3) / 2,        of B D M unknowns

(L. Huang et al., arXiv 2009.13333, who ask zeta <= B D M: counting).

Independence.  With Z a block, a multipliers of the means and S symmetric ones of the covariances (diagonal where rows are only
standardized), a dependence among the equations' gradients reads a 1' + S Z = 0.  Multiply by Z' from the right: Z 1 = 0 and
Z Z' = M I leave M S = 0, so S = 0 and a = 0.  The Jacobian has rank zeta at every point that meets the equations.

Feasibility.  Counting is not enough for whitening.  A centred block has rank at most M - 1, and Z Z'/M = I needs rank D:

    M >= D + 1,        while counting says M >= (D + 3) / 2.

Where M <= D the nearest that any centred block comes is |Z Z'/M - I|_F^2 = D - (M - 1): the closest matrix of rank M - 1 to I
is a projector, and Z = sqrt(M) times M - 1 orthonormal rows in the complement of 1 attains it.  At M = D + 1 what is left free,
D M - zeta = D (D - 1) / 2, is a rotation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method
from refnorm.autodiff import jacobian


@dataclass(frozen=True)
class ConstraintSystem:
    """B blocks of D coordinates and M samples, whitened together or each row standardized by itself."""

    blocks: int
    coordinates: int
    samples: int
    whitens: bool

    @property
    def unknowns(self) -> int:
        return self.blocks * self.coordinates * self.samples

    @property
    def count(self) -> int:
        """zeta."""
        a_block = self.coordinates * (self.coordinates + 3) // 2 if self.whitens else 2 * self.coordinates
        return self.blocks * a_block

    @property
    def allowed_by_counting(self) -> bool:
        return self.count <= self.unknowns

    @property
    def feasible(self) -> bool:
        return self.samples >= (self.coordinates + 1 if self.whitens else 2)

    @property
    def least_residual(self) -> float:
        """The minimum of |Z Z'/M - I|_F^2 (of the diagonal alone where rows are standardized), all blocks together."""
        if self.whitens:
            return float(self.blocks * max(0, self.coordinates - self.samples + 1))
        return 0.0 if self.samples > 1 else float(self.blocks * self.coordinates)

    def equations(self, z: Any) -> Any:
        """(zeta,), zero where z of shape (B, D, M) meets all; differentiable."""
        mean = np.mean(z, axis=2)
        if not self.whitens:
            return np.concatenate([np.ravel(mean), np.ravel(np.mean(np.square(z), axis=2) - 1)])
        covariance = z @ np.swapaxes(z, 1, 2) / self.samples - np.eye(self.coordinates)
        i, j = np.triu_indices(self.coordinates)
        return np.concatenate([np.ravel(mean), np.ravel(covariance[:, i, j])])

    def rank(self, z: Any) -> int:
        """Of the equations' Jacobian at z."""
        jac = jacobian(self.equations)(np.asarray(z, float))
        return int(np.linalg.matrix_rank(np.reshape(jac, (self.count, self.unknowns))))

    def residual(self, z: Any) -> float:
        """|Z Z'/M - I|_F^2 of the centred z, all blocks together."""
        centred = z - np.mean(z, axis=2, keepdims=True)
        covariance = centred @ np.swapaxes(centred, 1, 2) / self.samples
        gap = covariance - np.eye(self.coordinates)
        return float(np.sum(np.square(gap if self.whitens else gap * np.eye(self.coordinates))))

    def minimized(self, rng: np.random.Generator) -> float:
        """The least residual that L-BFGS finds from a random start, the formula unknown to it."""
        from scipy.optimize import minimize

        if self.blocks != 1 or not self.whitens:
            raise ValueError(f"{self.blocks} blocks, whitens {self.whitens}; this is for one block that is whitened")
        shape = (self.coordinates, self.samples)

        def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
            z = flat.reshape(shape)
            centred = z - z.mean(axis=1, keepdims=True)
            gap = centred @ centred.T / self.samples - np.eye(self.coordinates)
            slope = 4 * gap @ centred / self.samples                    # its rows sum to 0: centring changes nothing
            return float(np.sum(gap**2)), slope.ravel()

        options = {"maxiter": 5000, "ftol": 0.0, "gtol": 1e-12, "maxfun": 10_000}
        start = rng.normal(size=shape).ravel()
        return float(minimize(value_and_slope, start, jac=True, method="L-BFGS-B", options=options).fun)


def of(method: Method, **arguments: Any) -> ConstraintSystem:
    """The system of a declared norm on given arguments: of(rn.NORMS["group_norm"], x=x, num_groups=4)."""
    if method.triple is None or method.operation.name not in ("standardize", "zca", "pca", "cholesky"):
        raise ValueError(f"{method.name} neither standardizes rows nor whitens blocks, which is what is counted here")
    bound, _ = method.resolve(**arguments)
    blocks, coordinates, samples = method.triple.partition(**bound).blocks
    return ConstraintSystem(blocks, coordinates, samples, whitens=method.operation.name != "standardize")


def largest_group_count(d: float) -> tuple[float, float]:
    """(by counting, feasible) bounds on group whitening's g with d entries a sample: (sqrt(8d+9)-3)/2, and g(g+1) <= d."""
    return (math.sqrt(8 * d + 9) - 3) / 2, (math.sqrt(4 * d + 1) - 1) / 2
