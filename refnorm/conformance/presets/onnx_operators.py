"""ONNX's normalization operators as models of one node: what the presets onnx and onnxruntime share.

The contract's arguments become a node's inputs and attributes.  Attributes are float32, eps and momentum among them: a
float64 candidate could not be told 1e-5, so float64 is not declared.  ONNX rounds to the storage type before scale and
bias (stash_type=1), which is the dialect `onnx`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..adapters.onnx import loaded
from ..candidate import Candidate
from ..cases import Case

HALVES = ("float16", "bfloat16")
Supports = Callable[[Case], Any]


@dataclass(frozen=True)
class Operators:
    """engine: "onnx" or "onnxruntime".  Methods are called as the contract says."""

    engine: str

    def _run(
        self, operator: str, opset: int, inputs: dict[str, Any], outputs: dict[str, Any] | None = None, **attributes: Any
    ) -> Any:  # fmt: skip
        """One node on arrays.  outputs: names and dtypes; by default Y in the type of the first input."""
        given = {name: array for name, array in inputs.items() if array is not None}
        first = next(iter(given.values()))
        outputs = outputs or {"Y": first.dtype}
        dtypes = (*(a.dtype for a in given.values()), *outputs.values())
        fixed = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in attributes.items())
        run = loaded(self.engine, operator, opset, tuple(given), tuple(outputs), dtypes, first.ndim, fixed)
        found = run(given)
        return found[0] if len(outputs) == 1 else tuple(found)

    def _batch(self, opset: int, x, gamma, beta, mean, var, momentum, eps, training) -> Any:
        inputs = {"X": x, "scale": gamma, "B": beta, "input_mean": mean, "input_var": var}
        if not training:
            return self._run("BatchNormalization", opset, inputs, epsilon=eps)
        outputs = {"Y": x.dtype, "running_mean": mean.dtype, "running_var": var.dtype}
        return self._run("BatchNormalization", opset, inputs, outputs, epsilon=eps, momentum=momentum, training_mode=1)

    def batch_norm_15(self, x, gamma, beta, running_mean, running_var, *, momentum=0.9, eps=1e-5, training=False) -> Any:
        return self._batch(15, x, gamma, beta, running_mean, running_var, momentum, eps, training)

    def batch_norm_14(self, x, gamma, beta, running_mean, running_var, *, momentum=0.9, eps=1e-5, training=False) -> Any:
        return self._batch(14, x, gamma, beta, running_mean, running_var, momentum, eps, training)

    def batch_norm_9(self, x, gamma, beta, running_mean, running_var, *, momentum=0.9, eps=1e-5, training=False) -> Any:
        """One output: inference.  Training had statistics of its own before opset 14, and no attribute that says so."""
        inputs = {"X": x, "scale": gamma, "B": beta, "mean": running_mean, "var": running_var}
        return self._run("BatchNormalization", 9, inputs, epsilon=eps, momentum=momentum)

    def layer_norm_17(self, x, gamma, beta=None, *, eps=1e-5, normalized_ndim: int = 1) -> Any:
        return self._run("LayerNormalization", 17, {"X": x, "Scale": gamma, "B": beta}, axis=-normalized_ndim, epsilon=eps)

    def rms_norm_23(self, x, gamma, *, eps=1e-5, normalized_ndim: int = 1) -> Any:
        outputs = {"Y": gamma.dtype}
        return self._run("RMSNormalization", 23, {"X": x, "scale": gamma}, outputs, axis=-normalized_ndim, epsilon=eps)

    def group_norm_21(self, x, gamma, beta, *, num_groups: int, eps=1e-5) -> Any:
        return self._run("GroupNormalization", 21, {"X": x, "scale": gamma, "bias": beta}, num_groups=num_groups, epsilon=eps)

    def group_norm_18(self, x, *, num_groups: int, eps=1e-5) -> Any:
        """Scale and bias are one number a group, not a channel: no dialect of today, so that they are left at 1 and 0."""
        scale, bias = np.ones(num_groups, x.dtype), np.zeros(num_groups, x.dtype)
        return self._run("GroupNormalization", 18, {"X": x, "scale": scale, "bias": bias}, num_groups=num_groups, epsilon=eps)

    def instance_norm_6(self, x, gamma, beta, *, eps=1e-5) -> Any:
        return self._run("InstanceNormalization", 6, {"input": x, "scale": gamma, "B": beta}, epsilon=eps)

    def instance_norm_22(self, x, gamma, beta, *, eps=1e-5) -> Any:
        return self._run("InstanceNormalization", 22, {"input": x, "scale": gamma, "B": beta}, epsilon=eps)

    def mean_variance_norm_13(self, x, *, axes: tuple[int, ...]) -> Any:
        return self._run("MeanVarianceNormalization", 13, {"X": x}, axes=list(axes))

    def skip_layer_norm_1(self, x, residual, gamma, beta=None, *, eps=1e-12) -> Any:
        """com.microsoft: (y, h), h = x + residual."""
        return self._skip("SkipLayerNormalization", {"input": x, "skip": residual, "gamma": gamma, "beta": beta}, eps)

    def skip_rms_norm_1(self, x, residual, gamma, *, eps=1e-12) -> Any:
        """com.microsoft: (y, h), h = x + residual."""
        return self._skip("SkipSimplifiedLayerNormalization", {"input": x, "skip": residual, "gamma": gamma}, eps)

    def _skip(self, operator: str, inputs: dict[str, Any], eps: float) -> Any:
        given = {name: array for name, array in inputs.items() if array is not None}
        outputs, x = ("output", "", "", "sum"), given["input"]
        fixed = (("domain", "com.microsoft"), ("epsilon", eps))
        dtypes = (*(a.dtype for a in given.values()), *(x.dtype for _ in outputs))
        return tuple(loaded(self.engine, operator, 1, tuple(given), outputs, dtypes, x.ndim, fixed)(given))

    def lp_norm_1(self, x, *, p: int = 2, axis: int = -1) -> Any:
        return self._run("LpNormalization", 1, {"input": x}, p=p, axis=axis)

    def lp_norm_22(self, x, *, p: int = 2, axis: int = -1) -> Any:
        return self._run("LpNormalization", 22, {"input": x}, p=p, axis=axis)

    def local_response_norm_13(self, x, *, size: int = 5, alpha=1e-4, beta=0.75, k=1.0) -> Any:
        """The operator takes four axes; any other number of positions is laid along one."""
        y = self._run("LRN", 13, {"X": x.reshape(*x.shape[:2], -1, 1)}, size=size, alpha=alpha, beta=beta, bias=k)
        return y.reshape(x.shape)


def mixed(halves: Sequence[str], **roles: str) -> tuple[dict[str, str], ...]:
    """Each 16-bit type for x and y, the roles named in another type."""
    return tuple({"x": half, "out": half, **roles} for half in halves)


def requires(*names: str, least_rank: int = 1, training: bool | None = None) -> Supports:
    """Inputs that the operator's schema requires, and what else it excludes."""

    def supports(case: Case) -> Any:
        missing = [name for name in names if case.arguments[name] is None]
        if missing:
            return f"{' and '.join(missing)} must be given: the operator requires its inputs"
        if case.x.ndim < least_rank:
            return f"the operator takes {least_rank} axes and more"
        if training is not None and case.training != training:
            return "training mode is another opset's"
        return True

    return supports


def _one_axis(case: Case) -> Any:
    if case.arguments["p"] not in (1, 2):
        return "the operator knows p = 1 and p = 2"
    return isinstance(case.arguments["axis"], int) or "the operator takes one axis"


def _odd(case: Case) -> Any:
    return case.arguments["size"] % 2 == 1 or "the kernel takes odd sizes alone"


def operators(engine: str) -> Iterator[tuple[str, str, Any, Supports]]:
    """(norm, method of Operators, dtypes, supports) of every operator and opset that the kit has a dialect for.

    onnxruntime: the types for which its CPU provider has kernels, none of bfloat16.
    """
    reference = engine == "onnx"
    halves = HALVES if reference else HALVES[:1]
    same = ("float32", *halves)
    both, positions = requires("gamma", "beta"), requires("gamma", "beta", least_rank=3)
    yield "batch_norm", "batch_norm_15", ("float32", *mixed(halves, params="float32")), both
    yield "batch_norm", "batch_norm_14", ("float32", *mixed(HALVES[:1], params="float16", state="float32")), both
    yield "batch_norm", "batch_norm_9", ("float32",), requires("gamma", "beta", training=False)
    yield "layer_norm", "layer_norm_17", same, requires("gamma")
    wider = mixed(HALVES[:1], params="float32", out="float32") if reference else ()
    yield "rms_norm", "rms_norm_23", (*same, *wider), requires("gamma")
    yield "group_norm", "group_norm_21", same, positions
    yield "group_norm", "group_norm_18", same, requires(least_rank=3)
    yield "instance_norm", "instance_norm_6", ("float32", "float16"), positions
    yield "instance_norm", "instance_norm_22", same, positions
    yield "mean_variance_norm", "mean_variance_norm_13", ("float32",), requires()
    for opset in (1, 22):
        yield "lp_norm", f"lp_norm_{opset}", ("float32", *halves) if opset == 22 else ("float32",), _one_axis
    yield "local_response_norm", "local_response_norm_13", ("float32",), requires() if reference else _odd


def candidate(
    operators: Operators, method: str, dtypes: Any, supports: Supports, version: str, module: str, **fields: Any
) -> Candidate:
    operator, _, opset = method.rpartition("_")
    return Candidate(
        getattr(operators, method), name=f"{version} {operator}, opset {opset}", dtypes=dtypes, supports=supports,
        origin=f"{module}:OPERATORS.{method}", **fields,
    )  # fmt: skip
