"""How many bits are lost as the mean grows against the deviation: of refnorm, of its text in float32, of one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method
from refnorm.proofs.problem import draw

from .plots import drawing, inline

KAPPAS = 2.0 ** np.arange(15)
DRAWS, UNIT, ALL = 8, 2.0**-24, 24.0


@dataclass(frozen=True)
class Curves:
    """Bits lost of 24 at each |mean|/std, by whom; the worst of `DRAWS` draws of this shape."""

    shape: tuple[int, ...]
    bits: Mapping[str, np.ndarray]


def measure(method: Method, draws: int = DRAWS) -> Curves:
    """Bits lost in y on float32 inputs, against float64 all the way."""
    example = next((e for e in method.examples if "mask" not in e), method.examples[0])
    rng = np.random.default_rng(3)
    errors: dict[str, list[float]] = {}
    for kappa in KAPPAS:
        worst: dict[str, float] = {}
        for _ in range(draws):
            arrays, options = draw(method, example, rng)
            first = method.arrays[0]
            arrays[first] = _offset(method, arrays, options, kappa, rng)
            single = {k: v.astype(np.float32) for k, v in arrays.items()}
            with_eps = _options(method, single, options)
            right = method.forward(**{k: v.astype(np.float64) for k, v in single.items()}, **with_eps)[0]
            for name, y in _answers(method, single, with_eps).items():
                error = float(np.max(np.abs(y - right)) / (np.max(np.abs(right)) * UNIT))
                worst[name] = max(worst.get(name, 0.0), error) if np.isfinite(error) else np.inf
        for name, error in worst.items():
            errors.setdefault(name, []).append(error)
    with np.errstate(divide="ignore"):
        return Curves(tuple(example["shape"]), {k: np.clip(np.log2(v), 0, ALL) for k, v in errors.items()})


def _offset(method: Method, arrays: Mapping[str, Any], options: Mapping[str, Any], kappa: float, rng: Any) -> np.ndarray:
    """Rows of deviation 1 and mean +- kappa, one sign for each block that shares statistics."""
    first = method.arrays[0]
    x = rng.normal(size=arrays[first].shape)
    if method.triple is None:
        return x + kappa
    blocks = method.triple.blocks(**method.resolve(**{**arrays, first: x}, **options)[0])
    return x + kappa * rng.choice([-1.0, 1.0], size=int(blocks.max()) + 1)[blocks]


def _options(method: Method, single: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """With the eps that float32 has by default, for float64 too."""
    arguments, _ = method.resolve(**single, **options)
    return {**options, **({"eps": arguments["eps"]} if "eps" in arguments else {})}


def _answers(method: Method, single: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arguments, _ = method.resolve(**single, **options)
    found = {"refnorm: float64 inside, rounded once": method.forward(**single, **options)[0]}
    with np.errstate(all="ignore"):
        try:
            y = method.compute(**arguments)[0]
        except (ValueError, np.linalg.LinAlgError):
            return found                            # float32 has lost what this needs
        if y.dtype == np.float32:
            found["the same text, float32 throughout"] = y
        weighted = method.triple is not None and method.triple.call(**arguments).weighted
        if method.operation is not None and method.operation.name == "standardize" and not weighted:
            found["E[x²] − E[x]², float32"] = _one_pass(method, arguments)
    return found


def _one_pass(method: Method, arguments: Mapping[str, Any]) -> np.ndarray:
    call = method.triple.call(**arguments)
    mean = np.mean(call.z, axis=2, keepdims=True)
    var = np.maximum(np.mean(call.z * call.z, axis=2, keepdims=True) - mean * mean, 0)
    zhat = (call.z - mean) / np.sqrt(var + np.float32(call.options["eps"]))
    xhat = call.part.merge(zhat)
    return call.layout.write(method.recovery.forward(xhat, *call.parameters, layout=call.layout, **call.recovery_options))


def plot(curves: Curves, name: str) -> str:
    with drawing(6.4, 3.2) as (figure, axes):
        for label, bits in curves.bits.items():
            if len(bits) == len(KAPPAS):
                axes.plot(np.log2(KAPPAS), bits, "o-", ms=3, label=label)
        axes.set(xlabel="|mean| / std", ylabel="bits lost, of 24", ylim=(-0.5, 24.5), yticks=range(0, 25, 6))
        axes.set_xticks(range(0, 15, 2), [f"{2**k:,}" for k in range(0, 15, 2)])
        axes.legend(loc="upper left")
        return inline(figure, f"Bits that {name} loses against the mean over the deviation", "accuracy")
