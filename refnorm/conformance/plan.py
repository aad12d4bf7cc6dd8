"""Plan: turns what a stratum asks for (values on rows, parameters, options) into a Case that a candidate can be given."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from refnorm.anatomy.method import Method

from . import drawn
from .cases import Case, stored
from .conventions import Convention, convention_of
from .shapes import Shape, Spread, shaped
from .taken import Taken, Wanted
from .tolerance_arithmetic import FORMATS, Arithmetic

Values = Callable[[np.random.Generator, int, int], np.ndarray]
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
MOMENTA = (0.1, 0.3, 0.9, 0.01, 0.75)


@dataclass(frozen=True)
class Plan:
    """What all cases of one candidate at one arithmetic have in common.

    fixed: options that the candidate does not take, at the values that it was found to use.
    absent: arrays that it does not take.  heavy: is this the arithmetic in which the largest cases run?
    stateless: may running statistics be None?  brief: cases that are not quick are not wanted, and not drawn: `unwanted`
    stands in their place.  taken: the shapes that the candidate takes; a case of another shape is drawn
    at the nearest of them.
    """

    method: Method
    arithmetic: Arithmetic
    eps: float
    seed: int = 0
    channel_axis: int = 1
    normalized_ndim: int | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    heavy: bool = True
    dialect: str | None = None
    prologue: str | None = None
    epilogue: str | None = None
    masked: bool = False
    sharded: bool = False
    stateless: bool = False
    brief: bool = False
    taken: Taken | None = None

    @cached_property
    def convention(self) -> Convention:
        return convention_of(self.method)

    @property
    def unit(self) -> float:
        """Unit roundoff of the arithmetic."""
        return FORMATS[self.arithmetic.compute].unit

    @property
    def storage_unit(self) -> float:
        return FORMATS[self.arithmetic.x].unit

    @property
    def is_rms(self) -> bool:
        return self.method.triple is not None and self.method.triple.operation.name == "rms"

    def rng(self, *names: Any) -> np.random.Generator:
        """A generator of its own for each case: adding a case changes no other."""
        return np.random.default_rng([self.seed, zlib.crc32(repr(names).encode())])

    def rows(
        self, stratum: str, label: str, values: Values, rows: int, length: int, *, spread: Spread = "even",
        spatial: int = 1, **asked: Any,
    ) -> Case:  # fmt: skip
        """A case whose statistics are those of values(rng, rows, length)."""
        if self.brief and not asked.get("quick"):
            return self.unwanted
        if self.normalized_ndim is not None and self.convention.norm in ("layer_norm", "rms_norm"):
            spatial = self.normalized_ndim
        shape = shaped(self.method, rows, length, spread, spatial)
        if self.taken is not None:
            wanted = Wanted(rows, length, spread, spatial, rows_fixed=stratum == "many rows", length_fixed=stratum == "lengths")
            shape = self.taken.nearest(self, shape, wanted, training=bool(asked.get("training", True)))
        return self.case(stratum, label, values, shape, **asked)

    def at(self, stratum: str, label: str, values: Values, shape: Shape, **asked: Any) -> Case:
        """A case of a shape of its own: of that shape with its axes lengthened, where the candidate takes no other."""
        if self.brief and not asked.get("quick"):
            return self.unwanted
        if self.taken is not None:
            shape = self.taken.lengthened(self, shape)
        return self.case(stratum, label, values, shape, **asked)

    @cached_property
    def unwanted(self) -> Case:
        """An empty case."""
        whole, nothing = replace(self, brief=False, taken=None), shaped(self.method, 0, 1)
        return whole.case("", "not wanted", lambda rng, r, n: np.zeros((r, n)), nothing)

    def case(
        self, stratum: str, label: str, values: Values, shape: Shape, *, eps: float | None = None, gamma: str = "drawn",
        beta: str = "drawn", dy: str = "drawn", running: str = "drawn", quick: bool = False, layout: str = "contiguous",
        kappa: float | None = None, **options: Any,
    ) -> Case:  # fmt: skip
        """gamma, beta, running, dy: kinds of `drawn`, or none."""
        rng = self.rng(stratum, label, shape.x)
        given: dict[str, Any] = dict.fromkeys(self.convention.arrays)
        first = self.convention.arrays[0]
        known = self.method.signature.parameters
        eps = self.eps if eps is None else eps
        asked = {**shape.options, **({"eps": eps} if "eps" in self.convention.options else {}), **options, **self.fixed}
        given |= self.options_of(asked, label)
        reference = {k: v for k, v in given.items() if k in known and k not in self.convention.arrays}
        if "axis" in known:
            reference["axis"] = -shape.normalized_ndim
        if "channel_axis" in known:
            reference["channel_axis"] = 1
        arguments, _ = self.method.resolve(np.zeros(shape.x), **reference)  # channels at axis 1 while it is drawn
        part = self.method.triple.partition(**arguments)
        b, d, m = part.blocks
        z = values(rng, b * d, m)
        given[first] = self._placed(part.merge(z.reshape(part.blocks)), "x")
        shapes = self.method.shapes(**arguments)
        for name, kind in (("gamma", gamma), ("beta", beta)):
            if name in shapes and name not in self.absent and kind != "none":
                value = drawn.parameter(rng, kind, shapes[name])
                laid = self._placed(value, "params") if value.ndim == len(shape.x) and value.ndim > 1 else value
                given[name] = stored(laid, self.dtype("params"))
        if self.convention.state and running != "none":
            kept = drawn.running(rng, running, shape.x[1], FORMATS[self.dtype("state")].largest)
            given |= {n: stored(v, self.dtype("state")) for n, v in zip(self.convention.state, kept, strict=True)}
        up = part.merge(drawn.cotangent(rng, dy, z).reshape(part.blocks))
        return Case(
            self.method.name, stratum, label, given, self._placed(up, "out"), self.arithmetic, self.channel_axis,
            shape.normalized_ndim, layout, kappa, quick, self.prologue, self.epilogue,
        )  # fmt: skip

    def options_of(self, asked: Mapping[str, Any], label: str = "") -> dict[str, Any]:
        """Every option of the convention: what is asked, a value that no kernel can have hard-coded, or the default."""
        turn = zlib.crc32(label.encode())
        varied = {"momentum": MOMENTA[turn % len(MOMENTA)], "training": True, "offset": (turn >> 4) % 2}
        known = self.method.signature.parameters
        spoken = self.method.dialects[self.dialect or next(iter(self.method.dialects))].defaults
        plain = {n: spoken.get(n, None if p.default is p.empty else p.default) for n, p in known.items()}
        return {name: asked.get(name, varied.get(name, plain.get(name))) for name in self.convention.options}

    def example(
        self, stratum: str, label: str, example: Mapping[str, Any], *, shape: tuple[int, ...] | None = None,
        draw: Draw | None = None, dy: str = "drawn", quick: bool = False,
        layout: str = "contiguous", without: tuple[str, ...] = (), **options: Any,
    ) -> Case | None:  # fmt: skip
        """A case from a declared example, at another shape where one is given; None where the method refuses it."""

        if self.brief and not quick:
            return None

        def at(x: tuple[int, ...]) -> Case | None:
            return self._example(stratum, label, example, x, draw, dy, quick, layout, without, options)

        asked = example["shape"] if shape is None else shape
        return at(asked) if self.taken is None else self.taken.example(self, asked, at)

    def _example(
        self, stratum: str, label: str, example: Mapping[str, Any], shape: tuple[int, ...], draw: Draw | None, dy: str,
        quick: bool, layout: str, without: tuple[str, ...], options: Mapping[str, Any],
    ) -> Case | None:  # fmt: skip
        rng = self.rng(stratum, label)
        asked = {k: v for k, v in example.items() if k not in ("shape", "dialect", "channel_axis", "mask")}
        given: dict[str, Any] = {
            **dict.fromkeys(self.convention.arrays),
            **self.options_of({**asked, **options, **self.fixed}, label),
        }
        first = self.convention.arrays[0]
        x = 0.5 + rng.normal(size=shape) if draw is None else draw(rng, shape)
        given[first] = stored(x, self.dtype("x"))
        case = Case(
            self.method.name, stratum, label, given, given[first], self.arithmetic, self.channel_axis, 1, layout, None, quick
        )
        try:
            arguments, _ = self.method.resolve(
                **case.reference(), **({} if self.dialect is None else {"dialect": self.dialect})
            )
            for name, size in self.method.shapes(**arguments).items():
                if name not in without and name not in self.absent and asked.get(name, 0) is not None:
                    value = 0.3 + rng.normal(size=size)
                    given[name] = stored(np.abs(value) + 0.1 if name in self.method.positive else value, self.dtype("params"))
            for name in self.convention.state:
                value = self._kept(name, asked, given, rng)
                given[name] = stored(value, self.dtype("state"))
            for name, value in asked.items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name not in self.convention.state:
                    given[name] = stored(value, self.dtype("params"))
            arguments, _ = self.method.resolve(
                **case.reference(), **({} if self.dialect is None else {"dialect": self.dialect})
            )
            wide = {k: v.astype(float) if isinstance(v, np.ndarray) and v.dtype != bool else v for k, v in arguments.items()}
            with np.errstate(all="ignore"):
                y = self.method.compute(**wide)[0]
        except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
            return None
        rows = np.asarray(y, float).reshape(1, -1)
        return replace(case, dy=stored(drawn.cotangent(rng, dy, rows).reshape(np.shape(y)), self.dtype("out")))

    def _kept(
        self, name: str, asked: Mapping[str, Any], given: Mapping[str, Any], rng: np.random.Generator
    ) -> np.ndarray:  # fmt: skip
        """What is kept from call to call: the example's; of another shape or axis, near a fresh one; without any, drawn."""
        x = given[self.convention.arrays[0]]
        if name not in asked:
            return rng.uniform(0.5, 2, x.shape[self.channel_axis % x.ndim])
        assert self.method.state is not None
        along = {"dim": given["dim"]} if "dim" in given else {}
        fresh = np.asarray(getattr(self.method.state(x.astype(float), **along), name))
        near = fresh + 0.3 / np.sqrt(max(fresh.size, 1)) * rng.normal(size=fresh.shape)
        return asked[name] if fresh.shape == asked[name].shape else near

    def _placed(self, array: np.ndarray, role: str) -> np.ndarray:
        if self.channel_axis == -1 and "channel_axis" in self.method.signature.parameters:
            array = np.moveaxis(array, 1, -1)
        return stored(array, self.dtype(role))

    def dtype(self, role: str) -> np.dtype:
        """What a role is stored in."""
        return getattr(self.arithmetic, role)
