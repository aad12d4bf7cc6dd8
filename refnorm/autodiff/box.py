"""What a traced array answers as an ndarray does: operators, attributes, methods.  And what it refuses."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from .core import Box, dispatch, plain, primitive

getitem = primitive(operator.getitem)
power = primitive(operator.pow)
"""x ** p, not np.power(x, p): ndarray takes other paths for a scalar p of 2 or 0.5, and a traced value keeps its bits."""

BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "divmod": np.divmod, "matmul": np.matmul, "pow": power,
}  # fmt: skip
COMPARISON = {
    "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute}
ATTRIBUTES = {"T": np.transpose, "mT": np.matrix_transpose, "real": np.real, "imag": np.imag}
METHODS = (
    "all any argmax argmin argpartition argsort astype clip conj conjugate copy cumprod cumsum diagonal dot max mean min "
    "nonzero prod ravel repeat round searchsorted squeeze std sum swapaxes take trace var"
).split()
IN_PLACE = frozenset("byteswap fill partition put resize setfield setflags sort".split())


def _forward(fun: Any) -> Callable[..., Any]:
    return lambda self, *others: dispatch(fun, (self, *others), {})


def _reflected(fun: Any) -> Callable[..., Any]:
    return lambda self, other: dispatch(fun, (other, self), {})


def _method(fun: Any) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: fun(self, *args, **kwargs)     # through NumPy's dispatch, which sees to out=


def _value(name: str) -> property:
    return property(lambda self: getattr(self.value, name))


def _getattr(self: Box, name: str) -> NoReturn:
    why = "it cannot be written in place" if name in IN_PLACE else "use the function of NumPy, or stop(x) for its value"
    raise AttributeError(f"a traced array has no .{name}: {why}")


def _setitem(self: Box, index: Any, value: Any) -> NoReturn:
    raise TypeError("a traced array cannot be written in place: build x[i] = v with np.where, np.concatenate or np.stack")


def _number(self: Box) -> NoReturn:
    raise TypeError("float(), int() and complex() of a traced array would lose its derivative; keep it an array, or take "
                    "refnorm.autodiff.stop(x)")


def _iter(self: Box) -> Iterator[Any]:
    if self.value.ndim == 0:
        raise TypeError("iteration over a 0-d array")
    return (self[i] for i in range(len(self.value)))  # type: ignore[index]


def _reshape(self: Box, *shape: Any, order: Any = "C") -> Any:
    return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)


def _transpose(self: Box, *axes: Any) -> Any:
    return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)


SPECIAL: dict[str, Any] = {
    "__getitem__": lambda self, index: getitem(self, index),
    "__setitem__": _setitem,
    "__getattr__": _getattr,
    "__len__": lambda self: len(self.value),
    "__iter__": _iter,
    "__contains__": lambda self, item: plain(item) in plain(self),
    "__bool__": lambda self: bool(self.value),          # a comparison with 0, and like all comparisons a constant
    "__float__": _number,
    "__int__": _number,
    "__complex__": _number,
    "__index__": _number,
    "reshape": _reshape,
    "transpose": _transpose,
    "flatten": lambda self, order="C": np.ravel(self, order),
}
MEMBERS: dict[str, Any] = {
    **SPECIAL,
    **{f"__{name}__": _forward(fun) for name, fun in {**BINARY, **COMPARISON, **UNARY}.items()},
    **{f"__r{name}__": _reflected(fun) for name, fun in BINARY.items()},
    **{name: property(_forward(fun)) for name, fun in ATTRIBUTES.items()},
    **{name: _value(name) for name in ("dtype", "itemsize", "nbytes", "ndim", "shape", "size")},
    **{name: _method(getattr(np, name)) for name in METHODS},
}
for _name, _member in MEMBERS.items():
    setattr(Box, _name, _member)
