"""Problem: a method at one of its declared examples, with arrays drawn, ready to be questioned by the proofs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method

from .finding import rounding


@dataclass(frozen=True)
class Problem:
    """A method, its array arguments (float64, by name and in order) and its other arguments."""

    method: Method
    names: tuple[str, ...]
    arrays: tuple[np.ndarray, ...]
    options: Mapping[str, Any]
    label: str

    def call(self, *arrays: Any) -> Any:
        """y as a function of the arrays."""
        return self.forward(*arrays)[0]

    def forward(self, *arrays: Any) -> tuple:
        return self.method.forward(**dict(zip(self.names, arrays, strict=True)), **self.options)

    def gradient(self, dy: Any, *arrays: Any) -> tuple:
        """The explicit backward at these arrays, one gradient for each."""
        cache = self.forward(*arrays)[1]
        gradients = dict(zip(self.method.arrays, self.method.backward(dy, cache)[: len(self.method.arrays)], strict=True))
        return tuple(gradients[name] for name in self.names)

    def arguments(self) -> dict[str, Any]:
        """Every argument of the method as the problem has it, the dialect's defaults filled in."""
        return self.method.resolve(**dict(zip(self.names, self.arrays, strict=True)), **self.options)[0]

    def rounding(self) -> float:
        """What two right evaluations may differ by: rounding, times what the operation's own factors add to it."""
        if self.method.operation is None:
            return rounding(self.arrays[0].size)
        saved, call = self.forward(*self.arrays)[1].saved, self.method.triple.call(**self.arguments())
        return rounding(self.arrays[0].size, self.method.operation.amplifies(saved, **call.options))

    def with_options(self, **options: Any) -> Problem:
        return replace(self, options={**self.options, **options})

    @property
    def training(self) -> bool:
        return bool(self.options.get("training", True))

    def rng(self) -> np.random.Generator:
        """A generator of its own for each proof, so that a proof's draw does not depend on which proofs ran before."""
        return np.random.default_rng([len(self.arrays), *self.arrays[0].shape])


def problems(method: Method, seed: int = 0) -> Iterator[Problem]:
    """Each declared example, in training and evaluation where the method has both, with the default eps and a large one."""
    rng = np.random.default_rng(seed)
    for example in method.examples:
        arrays, options = draw(method, example, rng)
        shape = "x".join(map(str, example["shape"]))
        label = shape + "".join(f" {_said(k, v)}" for k, v in example.items() if k != "shape")
        for problem in _modes(Problem(method, tuple(arrays), tuple(arrays.values()), options, label), rng):
            yield problem
            if "eps" in method.signature.parameters and "eps" not in options:
                yield replace(problem.with_options(eps=0.3), label=f"{problem.label} eps=0.3")


def draw(method: Method, example: Mapping[str, Any], rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Array arguments by name, the first of the example's shape, the others as the declaration says; and the other arguments.

    An array that the example sets to None is left out.
    """
    first, *others = method.arrays
    given = [name for name in others if example.get(name, ...) is not None]
    options = {k: v for k, v in example.items() if k not in ("shape", *others)}
    arrays = {first: 0.5 + rng.normal(size=example["shape"])}
    shapes = method.shapes(**method.resolve(**arrays, **dict.fromkeys(others), **options)[0])
    for name in given:
        positive = name in method.positive
        drawn = rng.uniform(0.5, 2, shapes[name]) if positive else 0.3 + rng.normal(size=shapes[name])
        arrays[name] = np.asarray(drawn)            # a parameter of shape () is an array too
    return arrays, options


def _said(name: str, value: Any) -> str:
    return f"no {name}" if value is None else name if isinstance(value, np.ndarray) else f"{name}={value}"


def _modes(problem: Problem, rng: np.random.Generator) -> Iterator[Problem]:
    """In training from a fresh state and from a drawn one, and in evaluation, where the method knows them."""
    yield problem
    if problem.method.state is None:
        return
    state = problem.forward(*problem.arrays)[2]
    vectors = (rng.uniform(0.5, 2, np.shape(s)) if np.ndim(s) == 1 else s for s in state)        # a matrix stays as it came
    drawn = type(state)(*vectors)
    for training in (True, False):
        label = f"{problem.label} {'from a state' if training else 'evaluation'}"
        whole = "state" in problem.method.signature.parameters            # or field by field
        given = {"state": drawn} if whole else drawn._asdict()
        yield replace(problem.with_options(**given, training=training), label=label)
