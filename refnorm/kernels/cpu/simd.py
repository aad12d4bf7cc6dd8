"""Sixteen lanes as one value: LLVM vectors in Numba, all low-level types of this package in one file.

    v = load(a, i)            a[i : i + 16], float32 or float64; any alignment
    store(a, i, v)            stream(a, i, v) goes past the cache: a's address and i must be multiples of 64 bytes
    splat(s)  widen(v)  narrow(v)  add  sub  mul  fma  total(v)

LLVM turns a vector of 16 into whatever registers there are: one of AVX-512, two of AVX2, four of NEON.  Additions keep the
order in which they are written; only `total`, the sum of the lanes, may take them in any order.  a is contiguous; i counts
entries and is not checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import models, register_model

from .jit import intrinsic

LANES = 16
SCALARS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
VECTORS = {name: ir.VectorType(scalar, LANES) for name, scalar in SCALARS.items()}
I32 = ir.IntType(32)


class Lanes(types.Type):
    """Numba's type of one vector."""

    def __init__(self, scalar: str) -> None:
        self.scalar = scalar
        super().__init__(name=f"lanes_{scalar}")


F32, F64 = Lanes("f32"), Lanes("f64")
OF: dict[Any, Any] = {types.float32: F32, types.float64: F64}
BACK: dict[str, Any] = {"f32": types.float32, "f64": types.float64}


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Any) -> None:
        super().__init__(manager, lanes, VECTORS[lanes.scalar])


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


@intrinsic
def load(typing, array, index):
    signature = OF[array.dtype](array, types.intp)

    def generate(context, builder, signature, arguments):
        vector = VECTORS[signature.return_type.scalar]
        value = builder.load(_address(context, builder, signature.args[0], arguments[0], arguments[1], vector))
        value.align = 4
        return value

    return signature, generate


def _storing(streaming: bool) -> Any:
    def typed(typing, array, index, value):
        signature = types.void(array, types.intp, value)

        def generate(context, builder, signature, arguments):
            array, index, value = arguments
            address = _address(context, builder, signature.args[0], array, index, VECTORS[signature.args[2].scalar])
            stored = builder.store(value, address)
            stored.align = 64 if streaming else 4
            if streaming:
                stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(I32, 1)]))
            return context.get_dummy_value()

        return signature, generate

    return typed


store = intrinsic(_storing(False))
stream = intrinsic(_storing(True))


@intrinsic
def fence(typing):
    """After streaming stores: what was streamed is seen by all that comes later."""

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def splat(typing, scalar):
    def generate(context, builder, signature, arguments):
        vector = VECTORS[signature.return_type.scalar]
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[0], ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

    return OF[scalar](scalar), generate


@intrinsic
def widen(typing, lanes):
    def generate(context, builder, signature, arguments):
        return builder.fpext(arguments[0], VECTORS["f64"])

    return F64(lanes), generate


@intrinsic
def narrow(typing, lanes):
    def generate(context, builder, signature, arguments):
        return builder.fptrunc(arguments[0], VECTORS["f32"])

    return F32(lanes), generate


def _binary(instruction: str) -> Any:
    def typed(typing, left, right):
        def generate(context, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments)

        return left(left, right), generate

    return typed


add = intrinsic(_binary("fadd"))
sub = intrinsic(_binary("fsub"))
mul = intrinsic(_binary("fmul"))


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        scalar = signature.return_type.scalar
        vector = VECTORS[scalar]
        kind = ir.FunctionType(vector, [vector] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v16{scalar}"), arguments)

    return a(a, b, c), generate


@intrinsic
def total(typing, lanes):
    def generate(context, builder, signature, arguments):
        name = signature.args[0].scalar
        scalar = SCALARS[name]
        kind = ir.FunctionType(scalar, [scalar, VECTORS[name]])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v16{name}")
        return builder.call(function, [ir.Constant(scalar, -0.0), arguments[0]], fastmath=("reassoc",))

    return BACK[lanes.scalar](lanes), generate
