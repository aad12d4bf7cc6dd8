"""What scales do in a network with norms: of weights, of what flows forward, of what flows back; and where they come to rest.

Scaled weights W_k -> a_k W_k, k = 1..K, in a chain x_k = f(norm(W_k x_{k-1})) with f(t x) = t f(x) for t > 0, the gradient at
x_K held fixed.  Without norms x_k = prod_{i<=k} a_i (its old value); h_K's gradient stays and each layer further back meets one
more a_i; with norms of eps 0 each layer forgets its own a_k, forward by 1 and backward by 1 / a_k:

                     x_k                 dL/dh_k             dL/dW_k
    un-normalized    prod_{i<=k} a_i     prod_{i>k} a_i      prod_{i!=k} a_i
    normalized       1                   1 / a_k             1 / a_k

(L. Huang et al., arXiv 2009.12836, section 4.)  Where L(a w) = L(w), Euler's identity <w, dL/dw> = 0, hence without decay

    ||w - eta g||^2 = ||w||^2 + eta^2 ||g||^2,

and with it, for SGD with momentum a in the convention v <- a v + g + lambda w, w <- w - eta v (R. Wan et al., Spherical Motion
Dynamics, arXiv 2006.08419), at rest with L = E ||g||^2 ||w||^2

    (E ||w||^4)^(1/4) = (eta L / (lambda (1 - a) (2 - lambda eta / (1 + a))))^(1/4)      angle = sqrt(2 lambda eta / (1 + a)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refnorm.autodiff import vjp
from refnorm.nets import Network, Signals, Step


@dataclass(frozen=True)
class Flow:
    """What flows through one layer: its output's activation x, the gradient of its output h, the gradient of its weight."""

    x: np.ndarray
    dh: np.ndarray
    dw: np.ndarray


def flows(network: Network, parameters: Mapping[str, Any], x: Any, cotangent: Any, layers: Sequence[str]) -> dict[str, Flow]:
    """The Flow of each layer, for the loss <cotangent, outputs>; layers in order, the next one being the network's next."""
    record: dict[str, Signals] = {}
    clean: dict[str, Signals] = {}
    network.apply(parameters, x, record=clean)
    names = list(clean)
    zeros = {name: np.zeros(np.shape(clean[name].output)) for name in layers}

    def loss(*arrays: Any) -> Any:
        weights = {f"{n}.weight": w for n, w in zip(layers, arrays[: len(layers)], strict=True)}
        offsets = dict(zip(layers, arrays[len(layers) :], strict=True))
        y, _ = network.apply({**parameters, **weights}, x, record=record, offsets=offsets)
        return np.sum(y * cotangent)

    _, pull = vjp(loss, *(parameters[f"{n}.weight"] for n in layers), *zeros.values())
    gradients = pull(np.ones(()))
    following = {n: names[names.index(n) + 1] for n in layers}
    return {n: Flow(clean[following[n]].input, gradients[len(layers) + i], gradients[i]) for i, n in enumerate(layers)}


def scaled_flows(
    network: Network, parameters: Mapping[str, Any], x: Any, cotangent: Any, scales: Mapping[str, float]
) -> dict[str, dict[str, tuple[float, float]]]:
    """{layer: {"x", "dh", "dw": (the factor that scaling brings, how far the scaled array is from that multiple)}}.

    scales : a_k by layer name.  The factor is the least-squares one, the distance relative to the array's norm.
    """
    layers = list(scales)
    scaled = {**parameters, **{f"{n}.weight": a * parameters[f"{n}.weight"] for n, a in scales.items()}}
    before, after = (flows(network, p, x, cotangent, layers) for p in (parameters, scaled))
    return {n: {k: multiple(getattr(before[n], k), getattr(after[n], k)) for k in ("x", "dh", "dw")} for n in layers}


def multiple(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The t that brings t a nearest to b, and ||b - t a|| / ||b||."""
    t = float(np.sum(a * b) / np.sum(a * a))
    return t, float(np.linalg.norm(b - t * a) / np.linalg.norm(b))


def predicted_factors(scales: Sequence[float], normalized: bool) -> list[dict[str, float]]:
    """The table above: for each layer the factor of x, dh and dw."""
    if normalized:
        return [{"x": 1.0, "dh": 1 / a, "dw": 1 / a} for a in scales]
    a = np.asarray(scales, float)
    return [
        {"x": float(np.prod(a[: k + 1])), "dh": float(np.prod(a[k + 1 :])), "dw": float(np.prod(a) / a[k])}
        for k in range(len(a))
    ]


def radial(w: np.ndarray, g: np.ndarray, per: str) -> float:
    """The largest |<w, g>|: over the rows of w (per="neuron"), or of all of it (per="matrix")."""
    if per not in ("neuron", "matrix"):
        raise ValueError(f"per is {per!r}; it must be 'neuron' or 'matrix'")
    axes = tuple(range(1, np.ndim(w))) if per == "neuron" else None
    return float(np.max(np.abs(np.sum(w * g, axis=axes))))


@dataclass
class Motion:
    """Hears of every step and keeps, of one weight: its norm, g's norm times it, the angle that it turns by."""

    name: str
    norm: list[float] = field(default_factory=list)
    tangential: list[float] = field(default_factory=list)  # ||g|| ||w||
    angle: list[float] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        w, g, after = step.parameters[self.name], step.gradients[self.name], step.updated[self.name]
        length = float(np.linalg.norm(w))
        self.norm.append(length)
        self.tangential.append(float(np.linalg.norm(g)) * length)
        self.angle.append(turned(w, after))

    def at_rest(self) -> dict[str, float]:
        """Over the second half: the RMS angle, (E ||w||^4)^(1/4), and L = E ||g||^2 ||w||^2."""
        half = slice(len(self.norm) // 2, None)
        norm, tangential, angle = (np.asarray(a)[half] for a in (self.norm, self.tangential, self.angle))
        return {
            "angle": float(np.sqrt(np.mean(angle**2))),
            "norm": float(np.mean(norm**4) ** 0.25),
            "L": float(np.mean(tangential**2)),
        }


def turned(w: np.ndarray, v: np.ndarray) -> float:
    """The angle between two arrays, in radians; accurate where it is small: 2 atan2(|u - t|, |u + t|) of the unit vectors."""
    u, t = w / np.linalg.norm(w), v / np.linalg.norm(v)
    return float(2 * np.arctan2(np.linalg.norm(u - t), np.linalg.norm(u + t)))


def equilibrium(lr: float, weight_decay: float, momentum: float, L: float) -> dict[str, float]:
    """What the formulas above give for the angle and the norm at rest."""
    angle = np.sqrt(2 * weight_decay * lr / (1 + momentum))
    norm = (lr * L / (weight_decay * (1 - momentum) * (2 - weight_decay * lr / (1 + momentum)))) ** 0.25
    return {"angle": float(angle), "norm": float(norm)}
