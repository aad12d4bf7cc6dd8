"""A network: a frozen description; its parameters and states are dicts of arrays by name, and nothing is written in place.

    network = MLP((64, 32, 32, 10), norm="batch_norm")
    parameters = network.parameters(rng)                        {"layer1.weight": (32, 64), "norm1.gamma": (32,), ...}
    logits, state = network.apply(parameters, x)                training: batch statistics, new running ones
    logits, _ = network.apply(parameters, x, state, training=False)

Names: "layer<k>.weight", "layer<k>.bias", "layer<k>.g" (the gain of a weight norm), "norm<k>.<parameter>", "output.weight",
"output.bias".  Names of the parameters of norms, and no others, contain "norm".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from refnorm.operations.activation_gains import exact

from . import placement
from .layers import ACTIVATIONS, GAINS, convolve, dense

Parameters = dict[str, Any]
States = dict[str, Any]


class Signals(NamedTuple):
    """What passed a layer: its input x and its output h, before any norm or activation."""

    input: Any
    output: Any


@dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """What all networks share: which norm, where, with what options."""

    residual: ClassVar[bool] = False                          # layers add to a stream, and no norm follows them at once
    norm: str | None = None                                   # of activations: a name in refnorm.NORMS
    norm_options: Mapping[str, Any] = field(default_factory=dict)
    place: Literal["pre", "post"] = "pre"                     # the norm stands before the activation, or after it
    last_norm: bool = False                                   # one more before the output layer
    affine: bool = True                                       # norms have their parameters
    weight_norm: str | None = None                            # of weights, or conv_norm: on every layer but the output
    weight_norm_options: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "relu"
    gain: float | None = None                                 # of initial weights N(0, gain^2 / fan-in); None: the activation's
    bias: bool | None = None                                  # of layers but the output; None: where no norm follows at once

    def __post_init__(self) -> None:
        if self.norm is not None:
            placement.method_named(self.norm, ("activations",))
        if self.weight_norm is not None:
            placement.method_named(self.weight_norm, ("weights", "layer"))
        if self.place not in ("pre", "post"):
            raise ValueError(f"place is {self.place!r}; it must be 'pre' or 'post': the norm before or after the activation")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}")

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""

    @abstractmethod
    def body(self, run: Pass, x: Any) -> Any:
        """The network, written once: `run` makes the parameters, or uses them."""

    def parameters(self, rng: np.random.Generator | int) -> Parameters:
        """Initial parameters, by a generator or a seed: weights N(0, gain^2 / fan-in), biases 0, norms the identity."""
        building = Building(self, np.random.default_rng(rng))
        self.body(building, np.zeros((2, *self.input_shape)))
        return building.parameters

    def apply(
        self,
        parameters: Mapping[str, Any],
        x: Any,
        state: Mapping[str, Any] | None = None,
        training: bool = True,
        *,
        record: dict[str, Signals] | None = None,
        offsets: Mapping[str, Any] | None = None,
    ) -> tuple[Any, States]:
        """Outputs (N, ...) and the new state.

        record : receives the Signals of each layer, by its name
        offsets : arrays by layer name, added to its output; the cotangent of such an offset is that of the layer's output
        """
        if np.shape(x)[1:] != self.input_shape:
            raise ValueError(f"x has shape {np.shape(x)}; this network takes (N, {', '.join(map(str, self.input_shape))})")
        run = Pass(self, parameters, dict(state or {}), training, record, offsets or {})
        return self.body(run, x), run.states

    @property
    def hidden_gain(self) -> float:
        return GAINS[self.activation] if self.gain is None else self.gain


class Pass:
    """One pass through a network with given parameters."""

    def __init__(
        self,
        network: Network,
        parameters: Mapping[str, Any],
        states: States,
        training: bool,
        record: dict[str, Signals] | None,
        offsets: Mapping[str, Any],
    ) -> None:
        self.network, self.given, self.states, self.training = network, parameters, states, training
        self.record, self.offsets = record, offsets

    def layer(self, name: str, x: Any, units: int, kernel: tuple[int, ...] = (), *, hidden: bool = True) -> Any:
        """A dense layer, or a convolution where there is a kernel; `hidden` ones have the network's weight norm and gain."""
        net, w = self.network, self.given[f"{name}.weight"]
        norm = net.weight_norm if hidden else None
        if norm is None:
            h = convolve(x, w) if kernel else dense(x, w)
        elif placement.NORMS[norm].acts_on == "weights":
            g = self.given.get(f"{name}.g")
            w = placement.normalized_weight(norm, w, g, net.weight_norm_options, self.states, name, self.training)
            h = convolve(x, w) if kernel else dense(x, w)
        elif kernel:
            h = placement.normalized_convolution(norm, x, w, net.weight_norm_options, self.states, name, self.training)
        else:
            raise ValueError(f"weight_norm is {norm!r}, which contains a convolution; the layer {name!r} is dense")
        if f"{name}.bias" in self.given:
            h = h + np.reshape(self.given[f"{name}.bias"], (1, units, *(1 for _ in kernel)))
        if name in self.offsets:
            h = h + self.offsets[name]
        if self.record is not None:
            self.record[name] = Signals(x, h)
        return h

    def normalize(self, name: str, x: Any) -> Any:
        net, mark = self.network, f"{name}."
        if net.norm is None:
            raise ValueError(f"{name} asks for a norm, and the network has none; give norm=, or last_norm=False")
        values = {key.removeprefix(mark): v for key, v in self.given.items() if key.startswith(mark)}
        return placement.normalized(net.norm, x, values, net.norm_options, self.states, name, self.training)

    def scale(self, name: str, x: Any) -> Any:
        """x times a learned number that starts at 0 (SkipInit; S. De and S. L. Smith, arXiv 2002.10444)."""
        return x * self.given[name]

    def activated(self, name: str, x: Any) -> Any:
        """Norm and activation, in the network's order."""
        net = self.network
        if net.norm is None:
            return ACTIVATIONS[net.activation](x)
        if net.norm in placement.OWN_ACTIVATION:
            return self.normalize(name, x)
        if net.place == "pre":
            return ACTIVATIONS[net.activation](self.normalize(name, x))
        return self.normalize(name, ACTIVATIONS[net.activation](x))


class Building(Pass):
    """A pass that draws the parameters as it meets them; its activations are zeros of the right shapes."""

    def __init__(self, network: Network, rng: np.random.Generator) -> None:
        super().__init__(network, {}, {}, True, None, {})
        self.rng = rng
        self.parameters: Parameters = {}

    def layer(self, name: str, x: Any, units: int, kernel: tuple[int, ...] = (), *, hidden: bool = True) -> Any:
        net, inputs = self.network, np.shape(x)[1]
        shape = (units, inputs, *kernel)
        gain = net.hidden_gain if hidden else 1.0
        w = self.rng.normal(size=shape) * (gain / np.sqrt(inputs * np.prod(kernel)))
        self.parameters[f"{name}.weight"] = w
        weight_norm = placement.NORMS[net.weight_norm] if hidden and net.weight_norm is not None else None
        if weight_norm is not None and "g" in weight_norm.arrays:
            self.parameters[f"{name}.g"] = np.full(units, self.row_gain(gain))
        followed = net.norm is not None and net.place == "pre" and not net.residual     # beta takes the bias's place
        if (not followed if net.bias is None else net.bias) or not hidden:
            self.parameters[f"{name}.bias"] = np.zeros(units)
        return np.zeros((2, units, *np.shape(x)[2:]))

    def row_gain(self, gain: float) -> float:
        """The initial length of a normalized row: it keeps second moments as rows of N(0, gain^2 / fan-in) do, or, where the
        rows are centred and so do not see the mean of what comes in, variances."""
        if "gain" in self.network.weight_norm_options:
            return 1.0
        return exact(self.network.activation) if self.network.weight_norm in placement.CENTRED else gain

    def normalize(self, name: str, x: Any) -> Any:
        net = self.network
        if net.norm is not None and net.affine:
            made = placement.parameters_of(net.norm, np.shape(x), net.norm_options)
            self.parameters |= {f"{name}.{key}": value for key, value in made.items()}
        return x

    def scale(self, name: str, x: Any) -> Any:
        self.parameters[name] = np.zeros(())
        return x
