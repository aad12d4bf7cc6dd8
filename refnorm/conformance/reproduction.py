"""A counterexample as source: NumPy, ml_dtypes where a type needs it, and an import of the candidate; nothing of refnorm."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from . import fused
from .memory import layout_of
from .memory import source as layout_source
from .reduction import PATTERNS

if TYPE_CHECKING:
    from .candidate import Candidate
    from .cases import Case
    from .findings import Finding

WHOLE = 64
"""Entries up to which an expected array is written out; of a larger one, the entry that fails is."""
PACKED = 512
"""Entries beyond which an array without a pattern is packed: exact still, but not to be read."""
TEXT = {
    "zeros": "np.zeros({n})", "ones": "np.ones({n})", "first": "(np.arange({n}) == 0) * 1.0",
    "last": "(np.arange({n}) == {n} - 1) * 1.0", "signs": "1.0 - 2.0 * (np.arange({n}) % 2)",
    "steps": "np.arange({n}) % 3 - 1.0", "ramp": "np.arange({n}) % 7 - 3.0",
}  # fmt: skip


def source(finding: Finding, candidate: Candidate) -> str:
    """A script that ends in an assertion which fails while the fault is there."""
    case = finding.case
    arrays = arrays_of(case)
    lines = [f"# {finding.check}, {case.norm}: {' '.join(finding.message.split())}", "import numpy as np"]
    if "bfloat16" in {a.dtype.name for a in (*arrays.values(), case.dy)}:
        lines.append("from ml_dtypes import bfloat16")
    if any(_is_packed(a) for a in (*arrays.values(), case.dy)):
        lines.insert(1, "import base64, zlib")
    lines += ["", *_import(candidate), ""]
    lines += [f"{name} = {array_source(a)}" for name, a in arrays.items()]
    if case.layout != "contiguous":
        laid = [n for n, a in arrays.items() if a.ndim]
        lines += [f"{n} = {layout_source(case.layout, n)}      # {layout_of(case.layout, n)}" for n in laid]
    backward = finding.name.startswith("d") or finding.facts.get("kind") == "saved" or finding.facts.get("stage") == "backward"
    if backward:
        lines.append(f"dy = {array_source(case.dy)}")
        if case.layout != "contiguous":
            lines.append(f"dy = {layout_source(case.layout, 'dy')}")
        if case.prologue is not None:
            lines.append("dh = np.roll(dy.ravel(), 1).reshape(dy.shape)")
    call = _Call(finding, candidate)
    kind = finding.facts.get("kind", "oracle")
    if kind == "writes":
        name = finding.facts["argument"]
        lines += [f"before = {name}.copy()", *call.lines(backward), f"assert np.array_equal({name}, before, equal_nan=True)"]
    elif kind == "raises":
        lines += call.lines(finding.message.startswith("backward"))
    elif kind == "twice":
        first, again = f"first_{finding.name}", finding.name
        lines += [*call.lines(backward), f"{first} = {again}.copy()"]
        lines += [*call.lines(backward), f"assert np.array_equal({first}, {again}, equal_nan=True)"]
    else:
        lines += [*call.lines(backward), *_verdict(finding)]
    return "\n".join(lines) + "\n"


def arrays_of(case: Case) -> dict[str, np.ndarray]:
    """The arrays that a candidate is given, by name; behind a residual x and residual, whose sum is the case's x."""
    given = {n: case.arguments[n] for n in case.convention.arrays if case.arguments.get(n) is not None}
    if case.prologue is None:
        return given
    first = case.convention.arrays[0]
    x, residual = fused.parts(given.pop(first))
    return {first: x, "residual": residual, **given}


class _Call:
    """The call as the kit makes it, in source."""

    def __init__(self, finding: Finding, candidate: Candidate) -> None:
        from .caller import Caller

        self.case, self.candidate, self.caller = finding.case, candidate, Caller(candidate)

    def _arguments(self, stage: str, leading: list[str]) -> str:
        binding = self.caller.binding(self.case, stage)
        arrays = arrays_of(self.case)
        given = {**self.case.derived(), **self.case.arguments, **arrays}

        def text(name: str) -> str:
            return name if name in arrays else repr(given[name])

        by_name = [f"{own}={text(name)}" for name, own in binding.keywords.items() if name in given]
        return ", ".join([*leading, *(text(n) for n in binding.positional), *by_name])

    def lines(self, backward: bool) -> list[str]:
        c, convention = self.candidate, self.case.convention
        names = convention.outputs if c.prologue is None else ("y", "h", *convention.outputs[1:])
        if convention.state and set(convention.state) <= set(c.mutates):
            names = tuple(n for n in names if n not in convention.state)
        outputs = ", ".join(names)
        if len(names) > 1 and c.saves:
            outputs = f"({outputs})"
        outputs = f"{outputs}, saved" if c.saves else outputs
        lines = [f"{outputs} = forward({self._arguments('forward', [])})"]
        if backward and c.backward is not None:
            leading = ["dy", *(["dh"] if c.prologue is not None else []), *(["saved"] if c.saves else [])]
            first, *others = convention.gradients
            every = [first, *([] if c.prologue is None else ["residual"]), *others]
            left = [n.removeprefix("d") if n not in convention.gradients else n for n in c.needs_grad or every]
            lines.append(f"{', '.join('d' + n for n in left)} = backward({self._arguments('backward', leading)})")
        return lines


def _verdict(finding: Finding) -> list[str]:
    if finding.observed is None or finding.expected is None or finding.index is None or finding.tolerance is None:
        return [f"# {finding.message}"]
    name, index = finding.name, finding.index
    if name not in (*finding.case.convention.outputs, "h") and not name.startswith("d"):
        return [f"# {name} comes out as {finding.observed.tolist()}, expected {finding.expected.tolist()}"]
    if finding.expected.size <= WHOLE:
        expected, tolerance = _exact_list(finding.expected), _exact_list(np.nan_to_num(finding.tolerance, nan=np.inf))
        return [
            f"observed = np.asarray({name}, float)",
            f"expected = np.array({expected})",
            f"tolerance = np.array({tolerance})",
            "print(observed, expected, tolerance, sep='\\n')",
            "assert np.all(np.isfinite(observed) & (np.abs(observed - expected) <= tolerance))",
        ]
    at = ", ".join(map(str, index))
    return [
        f"observed = float({name}[{at}])      # of {finding.expected.size} entries, the one that is worst",
        f"expected, tolerance = {float(finding.expected[index])!r}, {float(finding.tolerance[index])!r}",
        "print(observed, expected, tolerance)",
        "assert abs(observed - expected) <= tolerance",
    ]


def array_source(array: np.ndarray) -> str:
    """The array, exactly: a pattern, a repetition, or its entries."""
    dtype = "bfloat16" if array.dtype.name == "bfloat16" else f"np.{array.dtype.name}"
    flat = array.astype(np.float64).ravel()
    n, shape = flat.size, f"({array.shape[0]},)" if array.ndim == 1 else str(array.shape)
    fold = "" if array.ndim == 1 else f".reshape({shape})"
    if n and np.all(flat == flat[0]):
        if flat[0] in (0.0, 1.0):
            return f"np.{'ones' if flat[0] else 'zeros'}({shape}, {dtype})"
        return f"np.full({shape}, {_number(flat[0], array.dtype)}, {dtype})"
    for name, draw in PATTERNS:
        if n > 8 and np.array_equal(flat, draw(n)) and not (name == "ramp" and n <= 64):
            return f"({TEXT[name].format(n=n)}){fold}.astype({dtype})"
    if n == 0:
        return f"np.zeros({shape}, {dtype})"
    if n > PACKED:
        packed = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()
        return f"np.frombuffer(zlib.decompress(base64.b64decode('{packed}')), {dtype}).reshape({shape}).copy()"
    body = f"np.array({_exact_list(array)}"
    return f"{body}).astype(bfloat16)" if dtype == "bfloat16" else f"{body}, {dtype})"


def _is_packed(array: np.ndarray) -> bool:
    return "b64decode" in array_source(array)


def _exact_list(array: np.ndarray) -> str:
    if array.ndim > 1 and array.size:
        return "[" + ", ".join(_exact_list(row) for row in array) + "]"
    return "[" + ", ".join(_number(v, array.dtype) for v in array.ravel()) + "]"


def _number(value: Any, dtype: np.dtype) -> str:
    """The shortest decimal that is read back as this number of this type, by way of float64."""
    wide = float(value)
    if not np.isfinite(wide):
        return "np.nan" if np.isnan(wide) else "-np.inf" if wide < 0 else "np.inf"
    for digits in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        short = f"{wide:.{digits}g}"
        if np.array(float(short)).astype(dtype) == value:
            return repr(float(short))
    return repr(wide)


def _import(candidate: Candidate) -> list[str]:
    """Lines that make `forward` and `backward`."""
    if candidate.origin is None:
        return _functions(candidate)
    if candidate.origin.startswith("exec:"):
        return [f"# run: {candidate.origin[5:]} inputs.npz outputs.npz, with the arrays below saved by np.savez"]
    if candidate.origin.endswith(".onnx"):
        return ["from refnorm.conformance import Candidate", f"forward = Candidate.from_onnx({candidate.origin!r}).forward"]
    lines, name = _module(candidate.origin)
    if candidate.convert is not None:
        return [*lines, "from refnorm.conformance import Candidate", f"target = module.{name}",
                f"target = target if isinstance(target, Candidate) else Candidate.from_{candidate.convert}(target)",
                "forward, backward = target.forward, target.backward"]  # fmt: skip
    return [
        *lines, f"target = module.{name}",
        "forward, backward = getattr(target, 'forward', target), getattr(target, 'backward', None)",
    ]  # fmt: skip


def _functions(candidate: Candidate) -> list[str]:
    from .candidate import origin_of

    lines = []
    for name, function in (("forward", candidate.forward), ("backward", candidate.backward)):
        origin = None if function is None else origin_of(function)
        if origin is not None:
            load, own = _module(origin)
            lines += [*load, f"{name} = module.{own}"]
        elif function is not None:
            lines.append(f"# {name}: the candidate's own function, which has no name that could be imported")
    return lines


def _module(origin: str) -> tuple[list[str], str]:
    where, _, name = origin.rpartition(":")
    if not where.endswith(".py"):
        return ["import importlib", f"module = importlib.import_module({where!r})"], name
    return [
        "import importlib.util", f"spec = importlib.util.spec_from_file_location('candidate', {where!r})",
        "module = importlib.util.module_from_spec(spec)", "spec.loader.exec_module(module)",
    ], name  # fmt: skip
