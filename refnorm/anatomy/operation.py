"""Operation: what is done to z of shape (B, D, M), with an explicit backward, and what holds of the result exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnorm.operations import center, cholesky, deviation, newton, newton_uncoupled, pca, rms, standardize, zca


@dataclass(frozen=True)
class Constraints:
    """What the output satisfies, exactly, for any input and any eps."""

    residuals: Callable[..., Any]                 # (zhat, saved, eps) -> (B, number), zero where the constraints are met
    count: Callable[[int, int], int]              # (D, M) -> how many a block, all independent
    feasible: Callable[[int, int], bool]          # (D, M) -> can any zhat meet them at eps = 0
    words: str
    feasible_when: str


@dataclass(frozen=True)
class Operation:
    """An operation's mathematics (one file under operations/) under one name."""

    name: str
    formula: str
    forward: Callable[..., tuple]                 # (z, **options, weight) -> zhat, saved
    backward: Callable[..., Any]                  # (g, z, saved, **options, weight) -> dz
    apply: Callable[..., Any]                     # (z, saved) -> zhat
    apply_backward: Callable[..., Any]            # (g, saved) -> dz, statistics held constant
    options: tuple[str, ...] = ("eps",)
    constraints: Constraints | None = None
    identities: Callable[..., Any] | None = None  # (dz, g, zhat, saved, eps) -> (B, D, number), zero by algebra
    from_population: Any = None                   # (mean, var, **options) -> saved
    condition: Callable[..., Any] | None = None   # (saved, eps) -> (B,), of what it inverts; refused where that is singular
    growth: Callable[..., Any] | None = None      # (saved, **options) -> (B,), what its factors add to a rounding; or condition

    def amplifies(self, saved: Any, **options: Any) -> float:
        """What a rounding inside may grow by, in the worst block; 1 where nothing is inverted and nothing iterated."""
        measure = self.growth or self.condition
        return 1.0 if measure is None else float(np.max(measure(saved, **options)))


def on_unit_sphere(operation: Operation, formula: str, words: str) -> Operation:
    """An operation at radius 1 in the place of radius sqrt(M): zhat / sqrt(M), with eps added to sums in the place of means.

    Activations are put onto a sphere of radius sqrt(M), weights onto the unit sphere, and nothing else differs
    (J. Sun et al., arXiv 2006.09104).
    """

    def scaled(eps: float, z: Any) -> dict[str, float]:
        return {"eps": eps / np.shape(z)[2]}

    def root(z: Any) -> float:
        return math.sqrt(np.shape(z)[2])

    def forward(z: Any, *, eps: float, **weighted: Any) -> tuple:
        zhat, saved = operation.forward(z, **scaled(eps, z), **weighted)
        return zhat / root(z), saved

    def backward(g: Any, z: Any, saved: Any, *, eps: float, **weighted: Any) -> Any:
        return operation.backward(g / root(z), z, saved, **scaled(eps, z), **weighted)

    constraints, holds = operation.constraints, operation.identities
    assert constraints is not None and holds is not None

    def residuals(zhat: Any, saved: Any, *, eps: float, **weighted: Any) -> Any:
        return constraints.residuals(zhat * root(zhat), saved, **scaled(eps, zhat), **weighted)

    def identities(dz: Any, g: Any, zhat: Any, saved: Any, *, eps: float) -> Any:
        return holds(dz, g / root(zhat), zhat * root(zhat), saved, **scaled(eps, zhat))

    return Operation(
        f"{operation.name} / sqrt(M)",
        formula,
        forward,
        backward,
        lambda z, saved: operation.apply(z, saved) / root(z),
        lambda g, saved: operation.apply_backward(g / root(g), saved),
        operation.options,
        replace(constraints, residuals=residuals, words=words),
        identities,
        condition=operation.condition,              # of S + eps in the place of S + eps / M: an upper bound
    )


STANDARDIZE = Operation(
    "standardize",
    "xhat = (x - mean) / sqrt(var + eps)",
    standardize.forward,
    standardize.backward,
    standardize.apply,
    standardize.apply_backward,
    constraints=Constraints(
        standardize.residuals, lambda d, m: 2 * d, lambda d, m: m >= 2, "mean 0, variance s2 / (s2 + eps)", "M >= 2"
    ),
    identities=standardize.identities,
    from_population=standardize.from_population,
)

RMS = Operation(
    "rms",
    "xhat = x / sqrt(mean(x^2) + eps)",
    rms.forward,
    rms.backward,
    rms.apply,
    rms.apply_backward,
    constraints=Constraints(rms.residuals, lambda d, m: d, lambda d, m: m >= 1, "mean square q / (q + eps)", "always"),
    identities=rms.identities,
)

CENTER = Operation(
    "center",
    "xhat = x - mean",
    center.forward,
    center.backward,
    center.apply,
    center.apply_backward,
    options=(),
    constraints=Constraints(center.residuals, lambda d, m: d, lambda d, m: m >= 1, "mean 0", "always"),
    identities=center.identities,
)

DEVIATION = Operation(
    "deviation",
    "xhat = (x - mean) / (sqrt(var) + eps)",
    deviation.forward,
    deviation.backward,
    deviation.apply,
    deviation.apply_backward,
    constraints=Constraints(
        deviation.residuals, lambda d, m: 2 * d, lambda d, m: m >= 2, "mean 0, variance s2 / (s + eps)^2", "M >= 2"
    ),
    identities=deviation.identities,
)


def _whitens(words: str, residuals: Callable[..., Any]) -> Constraints:
    return Constraints(residuals, _joint, lambda d, m: m >= d + 1, f"mean 0, covariance {words}", "M >= D + 1")


def _joint(d: int, m: int) -> int:
    """D (D + 3) / 2; fewer where M <= D, since a centred zhat of rank r = M - 1 has a covariance of that rank already."""
    r = min(d, m - 1)
    return d + d * r - r * (r - 1) // 2


ZCA = Operation(
    "zca",
    "xhat = S^(-1/2) (x - mean), S = covariance + eps I",
    zca.forward,
    zca.backward,
    zca.apply,
    zca.apply_backward,
    constraints=_whitens("I - eps S^-1", zca.residuals),
    identities=zca.identities,
    from_population=zca.from_population,
    condition=zca.condition,
)

PCA = Operation(
    "pca",
    "xhat = Lambda^(-1/2) U' (x - mean), U Lambda U' = covariance + eps I",
    pca.forward,
    pca.backward,
    pca.apply,
    pca.apply_backward,
    constraints=_whitens("I - eps Lambda^-1", pca.residuals),
    identities=pca.identities,
    from_population=pca.from_population,
    condition=pca.condition,
    growth=pca.growth,
)

CHOLESKY = Operation(
    "cholesky",
    "xhat = L^-1 (x - mean), L L' = covariance + eps I",
    cholesky.forward,
    cholesky.backward,
    cholesky.apply,
    cholesky.apply_backward,
    constraints=_whitens("I - eps (L'L)^-1", cholesky.residuals),
    identities=cholesky.identities,
    from_population=cholesky.from_population,
    condition=cholesky.condition,
)

NEWTON = Operation(
    "newton",
    "xhat = P_T (x - mean) / sqrt(tr S), T coupled Newton-Schulz steps P_t -> (S / tr S)^(-1/2), S = covariance + eps I",
    newton.forward,
    newton.backward,
    newton.apply,
    newton.apply_backward,
    options=("eps", "T"),
    constraints=_whitens("I - E_T - eps W^2, E_0 = I - S / tr S, E <- (3 E^2 + E^3) / 4", newton.residuals),
    identities=newton.identities,
    from_population=newton.from_population,
)

NEWTON_UNCOUPLED = replace(
    NEWTON,
    name="newton_uncoupled",
    forward=newton_uncoupled.forward,
    backward=newton_uncoupled.backward,
    from_population=newton_uncoupled.from_population,
)
