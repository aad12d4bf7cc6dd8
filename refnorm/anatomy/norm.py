"""Norm: the triple Area, Operation, Recovery (and a Population) made into a Method.

    x  --split-->  z (B, D, M)  --operation-->  zhat  --merge-->  xhat  --recovery-->  y

`@norm(...)` decorates a function of user arguments that answers one question: how are the axes laid out?
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .area import Area, Layout, Partition
from .kinds import KEPT, kinds, stand_ins
from .mask import masked, weights
from .method import FROM_DIALECT, Method, Normalization, P, publish
from .operation import Operation
from .population import JOINT, check_state, whole
from .precision import Box, wide
from .recovery import Recovery


@dataclass(frozen=True, eq=False)
class Norm:
    """The triple at work; `layout_of` reads the user's arguments."""

    area: Area
    operation: Operation
    recovery: Recovery
    layout_of: Callable[..., Layout]
    x: str = "x"
    state: Callable[..., Any] | None = None
    counts: Callable[[Mapping[str, Any], Layout], Any] = masked
    computed: Callable[[Mapping[str, Any], Layout], dict[str, Any]] = lambda arguments, layout: {}

    def compute(self, **arguments: Any) -> tuple:
        """y, saved; and the new state where there is a population."""
        call = self.call(**arguments)
        zhat, saved = (self._operated if self.operation.condition is None else self._inverted)(call, arguments)
        recover: Callable[..., Any] = self.recovery.forward
        y = recover(call.part.merge(zhat), *call.parameters, layout=call.layout, **call.recovery_options)
        y = call.layout.write(y)
        return (y, saved, self._updated(saved, call, arguments)) if self.state is not None else (y, saved)

    def _operated(self, call: Call, arguments: Mapping[str, Any]) -> tuple:
        """zhat, saved: by the statistics of z in training, of the state in evaluation."""
        if arguments.get("training", True):
            return self.operation.forward(call.z, **call.options, **call.weighted)
        saved = self.operation.from_population(**running_statistics(arguments["state"], call), **call.options)
        return self.operation.apply(call.z, saved), saved

    def _inverted(self, call: Call, arguments: Mapping[str, Any]) -> tuple:
        """The same for an operation that needs an inverse root: ValueError where there is none."""
        operation, training, (_, d, _) = self.operation, arguments.get("training", True), call.part.blocks
        m, shape = int(np.min(call.counted)), f"{self.x} has shape {call.layout.native}"
        samples = f"{shape}: {m} samples of {d} coordinates ({self.area.words})"
        if training and call.options["eps"] == 0 and operation.constraints and not operation.constraints.feasible(d, m):
            raise ValueError(
                f"{samples} have no inverse root at eps = 0, which takes {operation.constraints.feasible_when}; "
                "give more samples, whiten fewer coordinates together, or set eps"
            )
        singular = False
        try:
            zhat, saved = self._operated(call, arguments)
            if operation.condition is not None and not isinstance(call.z, Box):
                singular = bool(np.any(operation.condition(saved, **call.options) * d * 2.0**-52 >= 1))
        except ValueError:                          # of LAPACK, or of autodiff.matrix
            singular = True
        if singular:
            what = f"{samples} have" if training else "state keeps"
            raise ValueError(f"{what} a covariance that is singular to rounding, without an inverse root; set a larger eps")
        return zhat, saved

    def derive(self, dy: Any, saved: Any, **arguments: Any) -> tuple:
        """(dx, one gradient a parameter)."""
        call = self.call(**arguments)
        dy, xhat = call.layout.read(dy), call.part.merge(self.operation.apply(call.z, saved))
        recovered: Callable[..., tuple[Any, tuple]] = self.recovery.backward
        dxhat, parameters = recovered(dy, xhat, *call.parameters, layout=call.layout, **call.recovery_options)
        g = call.part.split(dxhat)
        if arguments.get("training", True):
            dz = self.operation.backward(g, call.z, saved, **call.options, **call.weighted)
        else:
            dz = self.operation.apply_backward(g, saved)
        return call.layout.write(call.part.merge(dz)), *parameters

    def shapes(self, **arguments: Any) -> dict[str, tuple[int, ...]]:
        right = self.recovery.shapes(self.layout_of(**arguments), **self._recovery_options(arguments))
        return dict(zip(self.recovery.parameters, right, strict=True))

    def partition(self, **arguments: Any) -> Partition:
        return self.area.partition(self.layout_of(**arguments), arguments.get("num_groups"))

    def blocks(self, **arguments: Any) -> np.ndarray:
        """For each entry of x, the number of its block; int64."""
        layout, part = self.layout_of(**arguments), self.partition(**arguments)
        return layout.write(part.labels() // part.blocks[1])

    def _recovery_options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {k: arguments[k] for k in self.recovery.options if k in arguments}

    def call(self, **arguments: Any) -> Call:
        """One call, taken apart and checked."""
        kind = kinds(arguments, (self.x, *self.recovery.parameters))
        plan = self.plan(**arguments) if kind is None else _planned(self, kind)
        layout, part = plan.layout, plan.part
        mask = self.counts(arguments, layout)
        weight, counted = (None, part.blocks[2]) if mask is None else weights(mask, layout, part)
        if arguments["dialect"].lone_value == "error" and arguments.get("training", True) and np.any(np.equal(counted, 1)):
            raise ValueError(
                f"{self.x} has shape {layout.native}: one value a statistic ({self.area.words}); this dialect asks for two"
            )
        return Call(
            **vars(plan),
            z=part.split(layout.read(arguments[self.x])),
            parameters=tuple(arguments[name] for name in self.recovery.parameters),
            weighted={} if weight is None else {"weight": weight},
            counted=counted,
        )

    def plan(self, **arguments: Any) -> Plan:
        """What shapes and options decide of a call, checked."""
        layout = self.layout_of(**arguments)
        part = self.area.partition(layout, arguments.get("num_groups"))
        b, d, m = part.blocks
        if m == 0 and b * d > 0:
            raise ValueError(f"{self.x} has shape {layout.native}: its statistics are over no entries ({self.area.words})")
        recovery_options = self._recovery_options(arguments)
        if self.state is not None and (arguments["state"] is not None or not arguments["training"]):
            check_state(arguments["state"], self._fresh(arguments), layout.lengths("c")[0], d)
        options = {k: _option(k, arguments) for k in self.operation.options} | self.computed(arguments, layout)
        return Plan(layout, part, options, recovery_options)

    def _fresh(self, arguments: Mapping[str, Any]) -> Any:
        make = arguments["dialect"].population.state or self.state
        return make() if make else None

    def _updated(self, saved: Any, call: Call, arguments: Mapping[str, Any]) -> Any:
        """The state after this batch; after each virtual batch in turn, where the batch is cut into several."""
        state = self._fresh(arguments) if arguments["state"] is None else arguments["state"]
        if not arguments["training"]:
            return state
        (channels,) = call.layout.lengths("c")
        names = [name for name in state._fields if name != "count"]
        d = call.part.blocks[1]
        shapes = {name: (channels // d, d, d) if name in JOINT else (channels,) for name in names}
        batch = {name: np.reshape(getattr(saved, name), (-1, *shapes[name])) for name in names}
        counted = np.broadcast_to(np.reshape(call.counted, (-1, 1)), call.part.blocks[:2]).reshape(-1, channels)
        if arguments["dialect"].conventions.get("virtual") == "averaged":
            batch, counted = ({k: np.mean(v, axis=0, keepdims=True) for k, v in batch.items()}, counted[:1])
        for i in range(len(counted)):
            statistics = {name: values[i] for name, values in batch.items()}
            state = arguments["dialect"].population.update(state, statistics, counted[i], arguments["momentum"])
        return state


@dataclass(frozen=True)
class Plan:
    """What shapes and options decide of a call; kept for the next one of its kind."""

    layout: Layout
    part: Partition
    options: dict[str, Any]
    recovery_options: dict[str, Any]


@functools.lru_cache(KEPT)
def _planned(norm: Norm, kind: tuple) -> Plan:
    """Of a call of this kind."""
    return norm.plan(**stand_ins(kind))


@dataclass(frozen=True)
class Call(Plan):
    """One call, taken apart."""

    z: Any
    parameters: tuple
    weighted: dict[str, Any]
    counted: Any                                  # how many samples a statistic has: M, or (B,) under a mask


def running_statistics(state: Any, call: Call) -> dict[str, Any]:
    """Running statistics as (B, D, 1), matrices as (B, D, D), by name."""
    b, d, _ = call.part.blocks
    (c,) = call.layout.lengths("c")
    named = {name: wide(getattr(state, name)) for name in state._fields if name != "count"}
    joint = {name: np.broadcast_to(whole(named.pop(name), d), (b, d, d)) for name in JOINT if name in named}
    return {name: np.broadcast_to(s, (b * d // max(c, 1), c)).reshape(b, d, 1) for name, s in named.items()} | joint


def _option(name: str, arguments: Mapping[str, Any]) -> Any:
    """An option of an operation: an argument, or a convention of the dialect."""
    if name not in arguments:
        return arguments["dialect"].conventions[name]
    return arguments[name]


def norm(
    area: Area,
    operation: Operation,
    recovery: Recovery,
    *,
    x: str = "x",
    state: Callable[..., Any] | None = None,
    counts: Callable[[Mapping[str, Any], Layout], Any] = masked,
    computed: Callable[[Mapping[str, Any], Layout], dict[str, Any]] = lambda arguments, layout: {},
    **declaration: Any,
) -> Callable[[Callable[P, Layout]], Normalization[P]]:
    """Declare the triple as a method; the decorated function takes the user's arguments and returns their Layout.

    state makes a fresh population; counts says which entries enter the statistics; computed gives options of the operation that
    follow from the arguments and the layout together.
    """

    def decorate(layout_of: Callable[P, Layout]) -> Normalization[P]:
        triple = Norm(area, operation, recovery, layout_of, x, state, counts, computed)
        declared = Method(
            name=layout_of.__name__,
            doc=layout_of.__doc__ or "",
            signature=inspect.signature(layout_of),
            arrays=(x, *recovery.parameters),
            compute=triple.compute,
            derive=triple.derive,
            shapes=triple.shapes,
            triple=triple,
            state=state,
            source=(operation.forward, operation.backward),
            formula=f"{operation.formula};  {recovery.formula}",
            **declaration,
        )
        return publish(declared, layout_of)

    return decorate


__all__ = ["FROM_DIALECT", "Area", "Layout", "Norm", "norm"]
