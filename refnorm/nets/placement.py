"""A declared norm as a layer: its options for an array of a given shape, its parameters, its state, its step on the tape.

The step is joint: forward and backward are the declared ones, so what trains here is what refnorm proves elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS, Method
from refnorm.autodiff import stop
from refnorm.autodiff.joint import joint

import refnorm.methods  # noqa: F401  isort: skip  fills NORMS

INITIAL = {"gamma": 1.0, "beta": 0.0, "g": 1.0, "v": 1.0, "tau": 0.0, "alpha": 0.5, "learned_eps": 1e-4,
           "mean_logits": 0.0, "var_logits": 0.0, "mean_weight": 1.0, "covariance_weight": 1.0}  # fmt: skip
"""What each parameter of a norm starts at: the identity, or what its paper has."""

OWN_ACTIVATION = ("evo_norm_b0", "evo_norm_s0", "filter_response_norm")
"""Norms that end in a nonlinearity of their own (FRN's is TLU), so that no activation follows them."""

CENTRED = ("centered_weight_norm", "scaled_weight_standardization")
"""Norms of weights whose rows have mean 0 and a gain g."""

SAMPLES = (3, 5)
"""Two sizes of a batch: an array of a norm whose shape differs between them belongs to the batch and is no parameter."""


OF_UPDATES = ("gradient_centralization", "tangent_projection", "sphere_retraction")
"""Methods that act on gradients and steps, not on a weight in its layer: optimizers use them."""


def method_named(name: str, acts_on: tuple[str, ...]) -> Method:
    if name not in NORMS or NORMS[name].acts_on not in acts_on or name in OF_UPDATES:
        right = ", ".join(n for n, m in NORMS.items() if m.acts_on in acts_on and n not in OF_UPDATES)
        raise ValueError(f"norm {name!r} is none of those that act on {' or '.join(acts_on)}: {right}")
    return NORMS[name]


def check_options(method: Method, options: Mapping[str, Any], supplied: tuple[str, ...] = ()) -> None:
    """Raise ValueError unless a method takes all the options and needs no others; `supplied` are the network's to give."""
    parameters = method.signature.parameters
    unknown = [name for name in options if name not in parameters]
    given = (*method.arrays, *supplied, *options)
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in given]
    if unknown or missing:
        wrong = f"does not know {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
        raise ValueError(f"the options are {dict(options)!r}; {method.name} {wrong}: it takes {', '.join(parameters)}")


def options_for(name: str, ndim: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given options, and the axes where the norm asks for them: an activation is (N, C, *spatial), N apart."""
    method, options = method_named(name, ("activations",)), dict(given)
    defaults = {"axis": 1, "channel_axis": 1, "axes": (0, *range(2, ndim))}
    for option, value in defaults.items():
        if option in method.signature.parameters:
            options.setdefault(option, value)
    check_options(method, options)
    return options


def parameters_of(name: str, shape: tuple[int, ...], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The norm's parameters at their initial values, for an activation of `shape` (its first axis, the batch, is ignored)."""
    method, options = method_named(name, ("activations",)), options_for(name, len(shape), given)
    required = {a: np.ones(()) for a in method.arrays[1:] if method.signature.parameters[a].default is method.signature.empty}
    shapes = [_shapes(method, (n, *shape[1:]), options, required) for n in SAMPLES]
    kept = [a for a in method.arrays[1:] if a in shapes[0] and shapes[0][a] == shapes[1][a] and a not in options]
    parameters = {a: np.full(shapes[0][a], INITIAL[a]) for a in kept}
    if name == "generalized_divisive_norm":
        parameters["gamma"] = 0.1 * np.eye(shape[1])          # J. Balle et al., arXiv 1511.06281: beta 1, gamma 0.1 I
        parameters["beta"] = np.ones(shape[1])
    return parameters


def _shapes(method: Method, shape: tuple[int, ...], options: Mapping[str, Any], required: Mapping[str, Any]) -> dict[str, Any]:
    bound = method.signature.bind(np.ones(shape), **required, **{k: v for k, v in options.items() if k != "backend"})
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    arguments["dialect"] = method.dialect(arguments.get("dialect", next(iter(method.dialects))))
    defaults = arguments["dialect"].defaults
    arguments = {k: defaults.get(k, v) if repr(v) == "<by dialect>" else v for k, v in arguments.items()}
    return dict(method.shapes(**arguments))


def normalized(
    name: str,
    x: Any,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any],
    states: dict[str, Any],
    key: str,
    training: bool,
) -> Any:
    """norm(x) as one step of the tape; reads its population from states[key] and leaves the new one there."""
    method, options = method_named(name, ("activations",)), options_for(name, np.ndim(x), options)
    backend = options.pop("backend", "numpy")
    if method.state is not None:
        options |= {"state": states.get(key), "training": training}

    def forward(x: Any, *values: Any) -> tuple[Any, Any]:
        given = dict(zip(parameters, values, strict=True))
        y, cache, *state = method.forward(x, **given, **options, backend=backend)
        if state and training:
            states[key] = _plain(state[0])
        return y, cache

    def backward(g: Any, cache: Any) -> list[Any]:
        gradients = dict(zip((*method.arrays, "state"), method.backward(g, cache, backend=backend), strict=False))
        if "state" in gradients and training:                 # power norm: its backward updates the population too
            states[key] = _plain(gradients["state"])
        return [gradients[a] for a in (method.arrays[0], *parameters)]

    return joint(forward, backward)(x, *parameters.values())


def normalized_weight(
    name: str, w: Any, g: Any, options: Mapping[str, Any], states: dict[str, Any], key: str, training: bool
) -> Any:
    """norm(w) as one step of the tape; g is its gain, or None."""
    method, options = method_named(name, ("weights",)), dict(options)
    check_options(method, options, ("u", "v"))
    if method.state is not None and "u" in method.signature.parameters:
        if key not in states and not training:
            raise ValueError(f"state has no {key!r}; with training=False it must hold the vectors that training left there")
        vectors = states[key] if key in states else method.state(stop(w))
        options |= {"u": vectors[0], "v": vectors[1], "training": training}

    arrays = (w,) if g is None else (w, g)

    def forward(w: Any, *gain: Any) -> tuple[Any, Any]:
        given = {"g": gain[0]} if gain else {}
        y, cache, *state = method.forward(w, **given, **options)
        if state and training:
            states[key] = _plain(state[0])
        return y, cache

    return joint(forward, lambda dy, cache: method.backward(dy, cache)[: len(arrays)])(*arrays)


def normalized_convolution(
    name: str, x: Any, w: Any, options: Mapping[str, Any], states: dict[str, Any], key: str, training: bool
) -> Any:
    """A norm that contains the convolution (ConvNorm), as one step of the tape; circular, so h keeps the size of x."""
    method = method_named(name, ("layer",))

    def forward(x: Any, w: Any) -> tuple[Any, Any]:
        y, cache, state = method.forward(x, w, state=states.get(key), training=training, **options)
        if training:
            states[key] = _plain(state)
        return y, cache

    return joint(forward, lambda dy, cache: method.backward(dy, cache)[:2])(x, w)


def _plain(state: Any) -> Any:
    """A population without the tape: running statistics are no function of the parameters."""
    return state._replace(**{field: stop(value) for field, value in zip(state._fields, state, strict=True)})
