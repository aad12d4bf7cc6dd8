"""Sharpness-aware minimization: the gradient is taken where the loss nearby is worst, to first order.

    SAM       eps = rho g / ||g||                        P. Foret et al., arXiv 2010.01412
    ASAM, 2   eps = rho T^2 g / ||T g||                  J. Kwon et al., arXiv 2102.11600
    ASAM, inf eps = rho T sign(g)

T is diagonal: elementwise |w| + eta, layerwise ||w|| (1 + eta) on all of a weight (as M. Mueller et al.'s code has it), and 1
on what is no weight or gain.  SAM-ON (M. Mueller et al., arXiv 2306.04226) perturbs the parameters of norms only, those whose
name contains "norm" or "bn", and the norm in the denominator runs over them alone; no_norm is the complement.  All parameters
then step with the gradient at the perturbed point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .gradients import Evaluation
from .network import Parameters
from .optimizers import SGD, Evaluate


def is_norm(name: str) -> bool:
    """Does SAM-ON perturb a parameter of this name?"""
    return "norm" in name or "bn" in name


@dataclass(frozen=True)
class SAM:
    """rho: the radius; adaptive: None, "elementwise" or "layerwise"; p: 2 or inf; only: "all", "norm" (SAM-ON) or "no_norm"."""

    rho: float = 0.05
    base: SGD = field(default_factory=SGD)
    adaptive: Literal["elementwise", "layerwise"] | None = None
    p: float = 2
    only: Literal["all", "norm", "no_norm"] = "all"
    eta: float = 0.01
    normalize_bias: bool = False                              # T of biases (beta among them) too

    def __post_init__(self) -> None:
        if self.adaptive not in (None, "elementwise", "layerwise"):
            raise ValueError(f"adaptive is {self.adaptive!r}; it must be None, 'elementwise' or 'layerwise'")
        if self.p not in (2, np.inf):
            raise ValueError(f"p is {self.p!r}; it must be 2 or numpy.inf")
        if self.only not in ("all", "norm", "no_norm"):
            raise ValueError(f"only is {self.only!r}; it must be 'all', 'norm' or 'no_norm'")

    def perturbed_names(self, parameters: Parameters) -> tuple[str, ...]:
        return tuple(n for n in parameters if self.only == "all" or is_norm(n) == (self.only == "norm"))

    def scaling(self, name: str, w: Any) -> Any:
        """The diagonal of T, in w's shape or as a number."""
        if self.adaptive is None or (name.rpartition(".")[2] in ("bias", "beta") and not self.normalize_bias):
            return 1.0
        return np.abs(w) + self.eta if self.adaptive == "elementwise" else np.linalg.norm(w) * (1 + self.eta)

    def perturbation(self, parameters: Parameters, gradients: Parameters) -> Parameters:
        """eps of each perturbed parameter; zeros where all gradients are zero."""
        names = self.perturbed_names(parameters)
        T = {n: self.scaling(n, parameters[n]) for n in names}
        if self.p == np.inf:
            return {n: self.rho * T[n] * np.sign(gradients[n]) for n in names}
        length = np.sqrt(sum(float(np.sum(np.square(T[n] * gradients[n]))) for n in names))
        return {n: self.rho * np.square(T[n]) * gradients[n] / (length or 1.0) for n in names}

    def ascended(self, parameters: Parameters, gradients: Parameters) -> Parameters:
        """The parameters at the perturbed point; those that are not perturbed are the same arrays."""
        return {**parameters, **{n: parameters[n] + e for n, e in self.perturbation(parameters, gradients).items()}}

    def evaluated(self, parameters: Parameters, evaluate: Evaluate) -> Evaluation:
        """Loss and population at the parameters, gradient at the perturbed point (whose pass leaves no population behind)."""
        here = evaluate(parameters)
        return here._replace(gradients=evaluate(self.ascended(parameters, here.gradients)).gradients)

    def start(self, parameters: Parameters) -> Parameters:
        return self.base.start(parameters)

    def update(
        self, parameters: Parameters, gradients: Parameters, memory: Parameters, step: int = 0
    ) -> tuple[Parameters, Parameters]:
        return self.base.update(parameters, gradients, memory, step)


def SAM_ON(rho: float = 0.05, base: SGD | None = None, **options: Any) -> SAM:
    """SAM that perturbs the parameters of norms only."""
    return SAM(rho, base or SGD(), only="norm", **options)


def ASAM(rho: float = 0.5, base: SGD | None = None, adaptive: Literal["elementwise", "layerwise"] = "elementwise",
         **options: Any) -> SAM:
    """Adaptive SAM: the radius is measured in units of the weights."""
    return SAM(rho, base or SGD(), adaptive, **options)
