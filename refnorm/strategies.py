"""Hypothesis strategies for users: inputs that suit a method, drawn from its declaration.

    from hypothesis import given
    from refnorm import strategies

    @given(strategies.arguments("group_norm"))
    def test_my_group_norm(arguments):
        assert_close(my_group_norm(**arguments), refnorm.group_norm(**arguments))

Hypothesis draws shapes, groups, dtypes, layouts and conditioning, all of which shrink: to the fewest and shortest axes, one
group, float64, a contiguous layout, mean 0 and deviation 1.  A generator whose seed is drawn fills the values, so that a
large array costs one integer of Hypothesis's choice sequence.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from refnorm.anatomy.method import NORMS, Method

DTYPES = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
LAYOUTS = ("contiguous", "fortran", "reversed", "strided", "offset", "read-only")


@dataclass(frozen=True)
class Condition:
    """What makes statistics hard: the mean in units of the deviation, the scale of everything, and the shape of the values."""

    mean: float = 0.0
    scale: float = 1.0
    kind: str = "normal"


KINDS = ("normal", "constant", "nearly constant", "spike", "two values", "sorted", "subnormal")


def arrays_for(name: str, *, dtypes: Sequence[Any] = DTYPES, max_side: int = 6) -> st.SearchStrategy[np.ndarray]:
    """Arrays that a method takes as its first argument: right rank, right divisibility, well conditioned, any layout.

    Raises ValueError for an unknown method.
    """
    return arguments(name, dtypes=dtypes, max_side=max_side).map(lambda drawn: drawn[_method(name).arrays[0]])


def arguments(name: str, *, dtypes: Sequence[Any] = DTYPES, max_side: int = 6) -> st.SearchStrategy[dict[str, Any]]:
    """Keyword arguments for a call of a method: arrays, parameters (given or None) and options, well conditioned."""
    return _drawn(_method(name), tuple(np.dtype(d) for d in dtypes), max_side, st.just(Condition()))


def adversarial(name: str, *, dtypes: Sequence[Any] = DTYPES, max_side: int = 33) -> st.SearchStrategy[dict[str, Any]]:
    """Keyword arguments that break naive implementations: offset, tiny, huge, constant, nearly constant and spiked rows,
    lengths that are no power of two, eps from 0 to 1, gamma with zeros and signs."""
    condition = st.builds(
        Condition,
        mean=st.sampled_from([0.0, 1.0, 10.0, 100.0, 1e3, 1e4]),
        scale=st.sampled_from([1.0, 1e-3, 1e3, 1e-12, 1e12]),
        kind=st.sampled_from(KINDS),
    )
    eps = st.sampled_from([None, 1e-5, 1e-3, 1.0, 0.0])
    return _drawn(_method(name), tuple(np.dtype(d) for d in dtypes), max_side, condition, eps)


def _method(name: str) -> Method:
    if name not in NORMS:
        raise ValueError(f"no method is called {name!r}; there are {', '.join(NORMS)}")
    return NORMS[name]


@st.composite
def _drawn(
    draw: st.DrawFn,
    method: Method,
    dtypes: tuple[np.dtype, ...],
    max_side: int,
    conditions: st.SearchStrategy[Condition],
    eps: st.SearchStrategy[float | None] | None = None,
) -> dict[str, Any]:
    example = draw(st.sampled_from(method.examples))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype, condition, layout = draw(st.sampled_from(dtypes)), draw(conditions), draw(st.sampled_from(LAYOUTS))
    shape = draw(_shapes_like(example, max_side))
    optional = [n for n in method.arrays[1:] if method.signature.parameters[n].default is not inspect.Parameter.empty]
    omitted = {n for n in optional if not draw(st.booleans())}
    value = draw(eps) if eps is not None and "eps" in method.signature.parameters else None
    changed = {} if value is None else {"eps": value}
    attempts: list[tuple[Any, set[str], dict[str, Any]]] = [(shape, omitted, changed), (example["shape"], omitted, changed)]
    for sides, without, options in (*attempts, (example["shape"], set(), {})):
        arguments = _arguments(method, example, sides, without, options, condition, layout, rng, dtype)
        if _accepts(method, arguments):             # what does not go together (groups, shards, m < d + 1) falls back
            return arguments
    raise AssertionError(f"{method.name} refuses its own example {example}")


def _arguments(
    method: Method,
    example: Mapping[str, Any],
    shape: tuple[int, ...],
    omitted: set[str],
    changed: Mapping[str, Any],
    condition: Condition,
    layout: str,
    rng: np.random.Generator,
    dtype: np.dtype,
) -> dict[str, Any]:
    first, *others = method.arrays
    options = {k: v for k, v in example.items() if k not in ("shape", *others)} | dict(changed)
    if options.get("mask") is not None:
        options["mask"] = _mask_like(options["mask"], shape, rng)
    arrays: dict[str, Any] = {first: _laid_out(_filled(shape, condition, rng, dtype), layout)}
    try:
        shapes = method.shapes(**method.resolve(**arrays, **dict.fromkeys(others), **options)[0])
    except ValueError:                              # the shape does not go with the options: _accepts will say so
        return {**arrays, **dict.fromkeys(others), **options}
    for name in others:
        if name in omitted or example.get(name, ...) is None:
            arrays[name] = None
            continue
        values = rng.uniform(0.5, 2, shapes[name]) if name in method.positive else rng.normal(size=shapes[name])
        if name not in method.positive and np.size(values) > 1:
            values = np.where(rng.random(shapes[name]) < 1 / 8, 0.0, values)
        arrays[name] = np.asarray(values).astype(dtype)
    return {**arrays, **options}


def _accepts(method: Method, arguments: Mapping[str, Any]) -> bool:
    try:
        method.forward(**arguments)
    except ValueError:
        return False
    return True


@st.composite
def _shapes_like(draw: st.DrawFn, example: Mapping[str, Any], max_side: int) -> tuple[int, ...]:
    """A shape of the example's rank; channels that come in groups stay a multiple of their number."""
    shape = [draw(st.integers(2, max_side)) for _ in example["shape"]]
    groups = example.get("num_groups")
    if groups is not None:
        axis = example.get("channel_axis", 1)
        shape[axis] = groups * draw(st.integers(2, max(2, max_side // groups)))
    return tuple(shape)


def _mask_like(mask: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A mask that broadcasts to the new shape as the example's did to its own; every statistic keeps two entries."""
    sides = [1 if n == 1 else shape[len(shape) - np.ndim(mask) + i] for i, n in enumerate(np.shape(mask))]
    drawn = rng.random(sides) < 0.7
    drawn[:2] = True
    return drawn


def _filled(shape: tuple[int, ...], condition: Condition, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    x = rng.normal(size=shape)
    if condition.kind == "constant":
        x = np.zeros(shape)
    elif condition.kind == "nearly constant":
        x = x * 1e-6
    elif condition.kind == "spike":
        x = np.where(rng.random(shape) < 1 / 8, 1e3, x)
    elif condition.kind == "two values":
        x = np.sign(x)
    elif condition.kind == "sorted":
        x = np.sort(x, axis=None).reshape(shape)
    elif condition.kind == "subnormal":
        x = x * float(ml_dtypes.finfo(dtype).smallest_normal) / 4
    limit = float(ml_dtypes.finfo(dtype).max) ** 0.4
    scale = condition.scale if condition.kind != "subnormal" else 1.0
    return np.clip((x + condition.mean) * scale, -limit, limit).astype(dtype)


def _laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another memory layout."""
    if layout == "fortran":
        return np.asfortranarray(x)
    if layout == "reversed":
        return np.ascontiguousarray(np.flip(x))[tuple(slice(None, None, -1) for _ in x.shape)]
    if layout == "strided":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "offset":
        wide = np.zeros((*x.shape[:-1], x.shape[-1] + 1), x.dtype)
        wide[..., 1:] = x
        return wide[..., 1:]
    if layout == "read-only":
        x.flags.writeable = False
    return x
