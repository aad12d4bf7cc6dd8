"""ONNX models as candidates, run by ONNX Runtime's CPU provider or by ONNX's own evaluator; they have no gradients.

What a model fixes, the kit reads off it: the types of its inputs, lengths of axes, num_groups, training mode (cases that it
was not built for are reported as coverage); eps and momentum are found from behaviour.  An input with a name of its own
counts as the array that stands in its place: X, Scale, B as x, gamma, beta.  Scalar inputs named as options take them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
import onnx

from ..candidate import Candidate, Unusable
from ..cases import Case
from ..conventions import CONVENTIONS
from ..signature import contract_name

ENGINES = ("onnxruntime", "onnx")
OPTIONS = ("eps", "momentum")
Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


def candidate(
    model: onnx.ModelProto | bytes | str | Path, *, engine: str | None = None, results: Sequence[str] | None = None,
    **fields: Any,
) -> Candidate:  # fmt: skip
    """A Candidate from a model: a ModelProto, its bytes or its path.

    engine: "onnxruntime" or "onnx" (the reference evaluator); by default the first that is installed.
    results: the outputs to hand back, by name, y first; by default all.  Further fields are a Candidate's.
    """
    proto = _read(model)
    engine = engine or ("onnxruntime" if find_spec("onnxruntime") else "onnx")
    run = load(proto.SerializeToString(), engine)
    constants = {initializer.name for initializer in proto.graph.initializer}
    inputs = [v for v in proto.graph.input if v.name not in constants]
    names, types = [v.name for v in inputs], {v.name: _dtype(v) for v in inputs}
    order = [v.name for v in proto.graph.output]
    kept = [order.index(name) for name in (order if results is None else results)]

    def forward(*arrays: Any, **named: Any) -> Any:
        given = {**dict(zip(names, arrays, strict=False)), **named}
        absent = [name for name in names if given.get(name) is None]
        if absent:
            raise TypeError(f"the model requires its input {', '.join(absent)}")
        found = run({n: a if isinstance(a, np.ndarray) else np.asarray(a, types[n]) for n, a in given.items()})
        return tuple(found[k] for k in kept) if len(kept) > 1 else found[kept[0]]

    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    forward.__signature__ = inspect.Signature([inspect.Parameter(n, plain) for n in names])  # type: ignore[attr-defined]
    arrays = [v for v in inputs if contract_name(v.name, (), OPTIONS) is None]
    own = {"name": f"{proto.graph.name or 'model'}, {engine}", "dtypes": (_roles(arrays, proto.graph.output[kept[0]]),)}
    return Candidate(forward, **{**own, "supports": _built_for(proto, arrays), **fields})


def load(model: bytes, engine: str) -> Run:
    """A serialized model ready to run: arrays by input name -> outputs in order.  Raises Unusable."""
    if engine == "onnx":
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return lambda feeds: cast("list[np.ndarray]", evaluator.run(None, dict(feeds)))
    if engine != "onnxruntime":
        raise Unusable(f"engine {engine!r} is unknown; it must be one of {', '.join(ENGINES)}")
    try:
        import onnxruntime
    except ImportError as error:
        raise Unusable(f"onnxruntime is not installed ({error}): pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same order of sums in every run
    options.log_severity_level = 4  # what fails is raised as well
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, {name: np.ascontiguousarray(a) for name, a in feeds.items()})


def node(
    operator: str, opset: int, inputs: Sequence[str], outputs: Sequence[str], dtypes: Sequence[np.dtype],
    rank: int | None = None, domain: str = "", **attributes: Any,
) -> bytes:  # fmt: skip
    """A model of one node, serialized; dtypes of its inputs, then of its outputs.  rank: that of the first input."""
    kinds = [onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) for dtype in dtypes]
    values = [
        onnx.helper.make_tensor_value_info(name, kind, [None] * rank if name == inputs[0] and rank is not None else None)
        for name, kind in zip((*inputs, *outputs), kinds, strict=True)
        if name  # an output that is left out
    ]
    made = onnx.helper.make_node(operator, list(inputs), list(outputs), domain=domain, **attributes)
    graph = onnx.helper.make_graph([made], f"{operator}-{opset}", values[: len(inputs)], values[len(inputs) :])
    opsets = [onnx.helper.make_opsetid(domain, opset)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@lru_cache(maxsize=256)
def loaded(
    engine: str, operator: str, opset: int, inputs: tuple[str, ...], outputs: tuple[str, ...], dtypes: tuple[np.dtype, ...],
    rank: int, attributes: tuple[tuple[str, Any], ...],
) -> Run:  # fmt: skip
    """`load` of `node`, kept: loading takes longer than running."""
    return load(node(operator, opset, inputs, outputs, dtypes, rank, **dict(attributes)), engine)


def _read(model: Any) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    if isinstance(model, bytes):
        return onnx.load_from_string(model)
    if not Path(model).is_file():
        raise Unusable(f"there is no model {model}")
    return onnx.load(str(model))


def _dtype(value: onnx.ValueInfoProto) -> np.dtype:
    kind = value.type.tensor_type.elem_type
    return np.dtype(ml_dtypes.bfloat16) if kind == onnx.TensorProto.BFLOAT16 else onnx.helper.tensor_dtype_to_np_dtype(kind)


def _roles(arrays: Sequence[onnx.ValueInfoProto], y: onnx.ValueInfoProto) -> dict[str, str]:
    """The model's types by the kit's roles: x first, parameters after it, running statistics fourth and fifth."""
    types = [_dtype(v).name for v in arrays]
    params = (types[1:2] or types)[0]
    return {"x": types[0], "params": params, "out": _dtype(y).name, "state": types[3] if len(types) > 3 else params}


def _built_for(proto: onnx.ModelProto, arrays: Sequence[onnx.ValueInfoProto]) -> Callable[[Case], Any]:
    """A Candidate's `supports`: what the model's shapes and attributes allow."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for n in proto.graph.node for a in n.attribute}
    groups = attributes.get("num_groups")
    norms = [n.op_type for n in proto.graph.node]
    trains = bool(attributes.get("training_mode", 0)) if "BatchNormalization" in norms else None
    shape = arrays[0].type.tensor_type
    lengths = [d.dim_value or None for d in shape.shape.dim] if shape.HasField("shape") else None

    def supports(case: Case) -> Any:
        if lengths is not None and len(lengths) != case.x.ndim:
            return f"built for rank {len(lengths)}"
        if lengths is not None and any(d not in (None, n) for d, n in zip(lengths, case.x.shape, strict=True)):
            return f"built for shape {' x '.join('any' if d is None else str(d) for d in lengths)}"
        if groups is not None and case.arguments.get("num_groups", groups) != groups:
            return f"built for num_groups={groups}"
        if trains is not None and "training" in CONVENTIONS[case.norm].options and case.training != trains:
            return f"built for {'training' if trains else 'inference'}"
        if any(case.arguments[n] is None for n in case.convention.arrays[: len(arrays)]):
            return "every input of the model is required"
        return True

    return supports
