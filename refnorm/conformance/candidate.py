"""Candidate: an implementation under test, and what it says of itself."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

from .tolerance_arithmetic import NAMES, Arithmetic

PROLOGUES = (None, "residual")
EPILOGUES = (None, "relu", "silu", "gelu")


class Unusable(Exception):
    """Nothing can be judged: no such candidate, norm, dialect or dtype.  One line that says what exists; exit code 2."""


@dataclass(frozen=True)
class Candidate:
    """forward and backward under the contract's calling convention (`refnorm.conformance.conventions`), and its fields.

    saves         forward returns (outputs, saved), backward is called (dy, saved, <arguments>)
    saved_as      names of what is saved, in order: "mean", "var", "rstd" are judged, others are not
    dtypes        names, or one mapping by role: x, params, out, dx, grads, state, saved, compute; or a tuple of these
    compute       the precision that it accumulates in: float32 for storage of 16 bits unless said.  Checked
    supports      case -> True, or a reason why it is not run; reported as coverage, never as failure
    factory       case -> Candidate, for modules that are built for one shape
    channel_axis  1 or -1.  normalized_ndim: number of trailing axes that layer_norm and rms_norm are asked to normalize
    parameters    names that it accepts, where no signature can be read
    mutates       arguments that it may write to; running statistics among them are read back from there
    prologue      "residual": forward (x, residual, ...) -> (y, h), backward (dy, dh, ...) -> (dx, dresidual, ...)
    epilogue      "relu", "silu", "gelu": fused after the recovery
    needs_grad    which gradients backward returns: ("x", "gamma")
    outputs       ("y_q", "scale") is reserved for quantized outputs; no checks yet
    origin        how a reproduction imports it: "path/to/file.py:name" or "package.module:name"; found where it can be
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any] | None = None
    _: KW_ONLY
    name: str | None = None
    saves: bool = False
    saved_as: Sequence[str] = ()
    dtypes: Any = ("float64", "float32")
    compute: str | None = None
    supports: Callable[[Any], Any] | None = None
    factory: Callable[[Any], Candidate] | None = None
    channel_axis: int = 1
    normalized_ndim: int | None = None
    parameters: Sequence[str] | None = None
    mutates: Sequence[str] = ()
    prologue: str | None = None
    epilogue: str | None = None
    needs_grad: Sequence[str] | None = None
    outputs: Sequence[str] | None = None
    origin: str | None = None
    convert: str | None = field(default=None, repr=False)  # "torch", "jax": what an adapter turns arrays into
    by_name: bool = field(default=False, repr=False)  # an adapter's forward, called with the contract's names
    prepare: Callable[..., Any] | None = field(default=None, repr=False)  # called before it, likewise: compiles for the shape

    def __post_init__(self) -> None:
        if self.forward is None and self.factory is None:
            raise TypeError("forward is None; it must be a callable, or factory must say how to build one")
        for role in ("forward", "backward", "supports", "factory"):
            value = getattr(self, role)
            if value is not None and not callable(value):
                raise TypeError(f"{role} is a {type(value).__name__}; it must be callable")
        if self.channel_axis not in (1, -1):
            raise ValueError(f"channel_axis is {self.channel_axis!r}; it must be 1 or -1")
        if self.prologue not in PROLOGUES:
            raise ValueError(f"prologue is {self.prologue!r}; it must be None or 'residual'")
        if self.epilogue not in EPILOGUES:
            raise ValueError(f"epilogue is {self.epilogue!r}; it must be None, 'relu', 'silu' or 'gelu'")
        for name in ("mutates", "saved_as", "parameters", "needs_grad"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is {getattr(self, name)!r}; it must be a tuple of names")
        self.arithmetics()

    @property
    def title(self) -> str:
        return self.name or getattr(self.forward, "__name__", None) or type(self.forward).__name__

    def arithmetics(self) -> list[Arithmetic]:
        """One Arithmetic per dtype that it declares.  Raises TypeError, ValueError for what is none."""
        declared = (self.dtypes,) if isinstance(self.dtypes, str | Mapping) else tuple(self.dtypes)
        if not declared:
            raise ValueError(f"dtypes is empty; it must name at least one of {', '.join(NAMES)}")
        for entry in declared:
            for role, name in entry.items() if isinstance(entry, Mapping) else (("x", entry),):
                if role not in Arithmetic.__dataclass_fields__ or role == "mode":
                    raise ValueError(
                        f"dtypes names a role {role!r}; roles are x, params, out, dx, grads, state, saved, compute"
                    )
                if isinstance(name, str) and name not in NAMES:
                    raise ValueError(f"dtypes names {name!r}; it must be one of {', '.join(NAMES)}")
        return [_classed(Arithmetic.of(entry, compute=self.compute)) for entry in declared]

    @staticmethod
    def from_torch(target: Any, **fields: Any) -> Candidate:
        """A PyTorch function, nn.Module or autograd.Function; gradients by torch.autograd."""
        from .adapters.torch import candidate

        return candidate(target, **fields)

    @staticmethod
    def from_jax(target: Any, **fields: Any) -> Candidate:
        """A JAX function; gradients by jax.vjp."""
        from .adapters.jax import candidate

        return candidate(target, **fields)

    @staticmethod
    def from_onnx(model: Any, **fields: Any) -> Candidate:
        """An ONNX model (path, bytes or ModelProto), run by ONNX Runtime, or by ONNX's own evaluator."""
        try:
            from .adapters.onnx import candidate
        except ImportError as error:
            raise Unusable(f"onnx is not installed ({error}): pip install onnx onnxruntime") from error

        return candidate(model, **fields)

    @staticmethod
    def from_dlpack(forward: Callable[..., Any], backward: Callable[..., Any] | None = None, **fields: Any) -> Candidate:
        """Functions over any library's arrays; from_dlpack= is its importer."""
        from .adapters.dlpack import candidate

        return candidate(forward, backward, **fields)

    @staticmethod
    def from_command(command: str, **fields: Any) -> Candidate:
        """Any program: it is given inputs.npz and writes outputs.npz."""
        from .adapters.command import candidate

        return candidate(command, **fields)


def _classed(arithmetic: Arithmetic) -> Arithmetic:
    """Statistics saved in a shorter type than that of the arithmetic: the class that goes with it is declared as well."""
    if (
        arithmetic.saved is not None
        and arithmetic.compute is not None
        and arithmetic.saved.itemsize < arithmetic.compute.itemsize
    ):
        return replace(arithmetic, mode="saved")
    return arithmetic


def as_candidate(target: Any) -> Candidate:
    """A Candidate, a bare callable (a forward alone), an nn.Module, a torch.autograd.Function, or an ONNX ModelProto."""
    if isinstance(target, Candidate):
        return target
    torch, onnx = sys.modules.get("torch"), sys.modules.get("onnx")
    if onnx is not None and isinstance(target, onnx.ModelProto):
        return Candidate.from_onnx(target)
    if _is_function(target, torch) or (torch is not None and isinstance(target, torch.nn.Module)):
        return Candidate.from_torch(target)
    if callable(target):
        return Candidate(target, origin=origin_of(target))
    raise Unusable(f"{target!r} is no candidate; it must be a Candidate, a callable, 'path/to/file.py:name' or 'model.onnx'")


def _is_function(target: Any, torch: Any) -> bool:
    return torch is not None and inspect.isclass(target) and issubclass(target, torch.autograd.Function)


def origin_of(target: Any) -> str | None:
    """Where a function is, as "path/to/file.py:name": one that a reproduction can import; None for lambdas and closures."""
    name = getattr(target, "__qualname__", "<lambda>")
    if "<" in name:
        return None
    try:
        path = inspect.getsourcefile(target)
    except TypeError:
        return None
    module = getattr(target, "__module__", None)
    if module and module != "__main__" and importlib.util.find_spec(module.partition(".")[0]) is not None:
        return f"{module}:{name}"
    return f"{path}:{name}" if path else None


def load_candidate(text: str) -> Candidate:
    """A Candidate from "path/to/file.py:name", "package.module:Name", "model.onnx" or "exec:./program".

    Raises Unusable, in one line.
    """
    if text.startswith("exec:"):
        return Candidate.from_command(text[5:])
    if text.endswith(".onnx"):
        return Candidate.from_onnx(text, origin=text)
    where, colon, name = text.rpartition(":")
    if not colon or not where or not name:
        raise Unusable(f"{text!r} is no candidate; it must read path/to/file.py:name, package.module:Name or model.onnx")
    try:
        module = _load_file(where) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:
        raise Unusable(f"cannot import {where}: {type(error).__name__}: {error}") from error
    target: Any = module
    for part in name.split("."):
        if not hasattr(target, part):
            raise Unusable(f"{where} has no {name}; it has {', '.join(_callables(module)) or 'no callables'}")
        target = getattr(target, part)
    if inspect.isclass(target) and not _is_function(target, sys.modules.get("torch")):
        try:
            target = target()
        except Exception as error:
            raise Unusable(f"cannot make a {name}(): {type(error).__name__}: {error}; name an object or a function") from error
    found = as_candidate(target)
    return replace(found, origin=text, name=found.name or name)


def _load_file(where: str) -> Any:
    path = Path(where)
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickles look their module up
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)  # a script finds its neighbours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _callables(module: Any) -> list[str]:
    own = (n for n, v in vars(module).items() if not n.startswith("_") and (callable(v) or isinstance(v, Candidate)))
    return [n for n in own if getattr(vars(module)[n], "__module__", module.__name__) == module.__name__
            or isinstance(vars(module)[n], Candidate)]  # fmt: skip
