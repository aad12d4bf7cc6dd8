"""Global memory: how a kernel reads and writes entries, one at a time and in 16-byte accesses.

Storage is float64, float32, or 16 bits: an array of uint16 holds bfloat16, one of int16 float16, as on the CPU.  What is read
is float32, or float64 from float64; what is written is rounded once, to nearest, ties to even.

Numba turns a loop over entries into scalar accesses, so runs of entries are loaded by intrinsics, into a small local array
that the compiler keeps in registers.  `streamed` leaves the first cache alone: what is read once must not push out the
parameters, which every row reads and which `kept` leaves there.

Indices are those of arrays in one dimension, 64 bits wide.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import cuda
from numba.cuda import extending

intrinsic: Any = extending.intrinsic
types: Any = cuda.types
BYTES = 16
I16, I32, I64 = (ir.IntType(n) for n in (16, 32, 64))
FLOAT, DOUBLE = ir.FloatType(), ir.DoubleType()
BITS = (2, I32, "r", "b32")
STORAGE: dict[str, Any] = {"float64": (8, DOUBLE, "d", "f64"), "float32": (4, FLOAT, "f", "f32"), "int16": BITS, "uint16": BITS}


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _global_address(builder: Any, data: Any, index: Any, name: str) -> Any:
    """The address of an entry as an integer."""
    return builder.add(builder.ptrtoint(data, I64), builder.mul(index, ir.Constant(I64, STORAGE[name][0])))


def _assembly(builder: Any, result: Any, text: str, constraints: str, arguments: Any) -> Any:
    return builder.call(ir.InlineAsm(ir.FunctionType(result, [a.type for a in arguments]), text, constraints), arguments)


def _widen_16(builder: Any, name: str, bits: Any) -> Any:
    """float32 of the 16 bits in an i16."""
    if name == "uint16":
        return builder.bitcast(builder.shl(builder.zext(bits, I32), ir.Constant(I32, 16)), FLOAT)
    return _assembly(builder, FLOAT, "cvt.f32.f16 $0, $1;", "=f,h", [bits])


def _narrow_16(builder: Any, name: str, value: Any) -> Any:
    """The i16 that holds a float32."""
    if name == "int16":
        return _assembly(builder, I16, "cvt.rn.f16.f32 $0, $1;", "=h,f", [value])
    bits = builder.bitcast(value, I32)
    c = lambda n: ir.Constant(I32, n)  # noqa: E731
    even = builder.and_(builder.lshr(bits, c(16)), c(1))
    # half of the last kept place, less one bit where that place is even: ties go to even
    near = builder.lshr(builder.add(bits, builder.add(even, c(0x7FFF))), c(16))
    nan = builder.icmp_unsigned(">", builder.and_(bits, c(0x7FFFFFFF)), c(0x7F800000))
    return builder.trunc(builder.select(nan, c(0x7FC0), near), I16)


def _cast(builder: Any, value: Any, target: Any) -> Any:
    if value.type == target:
        return value
    return builder.fpext(value, target) if target == DOUBLE else builder.fptrunc(value, target)


@intrinsic
def read(typing, x, i):
    """x[i] as float32, or as float64 from float64."""
    name = str(x.dtype)
    result = types.float64 if name == "float64" else types.float32

    def generate(context, builder, signature, arguments):
        value = builder.load(builder.gep(_data(context, builder, signature.args[0], arguments[0]), [arguments[1]]))
        return _widen_16(builder, name, value) if STORAGE[name][0] == 2 else value

    return result(x, types.int64), generate


@intrinsic
def write(typing, y, i, value):
    """y[i] = value, rounded once."""
    name = str(y.dtype)

    def generate(context, builder, signature, arguments):
        value = _cast(builder, arguments[2], DOUBLE if name == "float64" else FLOAT)
        value = _narrow_16(builder, name, value) if STORAGE[name][0] == 2 else value
        builder.store(value, builder.gep(_data(context, builder, signature.args[0], arguments[0]), [arguments[1]]))
        return context.get_dummy_value()

    return types.void(y, types.int64, value), generate


def _pieces(name: str, count: int) -> tuple[int, int]:
    """How many accesses `count` entries take, and of how many registers each."""
    size, _, _, _ = STORAGE[name]
    register = max(size, 4)
    piece = min(BYTES, count * size)
    return count * size // piece, piece // register


def _load(count: int, how: str) -> Any:
    @intrinsic
    def load(typing, entry, k, x, i):
        name = str(x.dtype)
        size, register, letter, suffix = STORAGE[name]
        target = DOUBLE if str(entry.dtype) == "float64" else FLOAT

        def generate(context, builder, signature, arguments):
            out = _data(context, builder, signature.args[0], arguments[0])
            address = _global_address(builder, _data(context, builder, signature.args[2], arguments[2]), arguments[3], name)
            accesses, registers = _pieces(name, count)
            values = []
            for a in range(accesses):
                at = builder.add(address, ir.Constant(I64, BYTES * a))
                outs = ", ".join(f"${r}" for r in range(registers))
                shape, outs = (f".v{registers}", f"{{{outs}}}") if registers > 1 else ("", outs)
                text = f"ld.global.nc{how}{shape}.{suffix} {outs}, [${registers}];"
                result = ir.LiteralStructType([register] * registers) if registers > 1 else register
                got = _assembly(builder, result, text, ",".join([f"={letter}"] * registers + ["l"]), [at])
                words = [builder.extract_value(got, r) for r in range(registers)] if registers > 1 else [got]
                for word in words:
                    if size != 2:
                        values.append(word)
                        continue
                    halves = (word, builder.lshr(word, ir.Constant(I32, 16)))
                    values += [_widen_16(builder, name, builder.trunc(half, I16)) for half in halves]
            for j, value in enumerate(values):
                place = builder.gep(out, [builder.add(arguments[1], ir.Constant(I64, j))])
                builder.store(_cast(builder, value, target), place)
            return context.get_dummy_value()

        return types.void(entry, types.int64, x, types.int64), generate

    return load


@cache
def streamed(count: int) -> Callable[..., None]:
    """load(entry, k, x, i): entry[k : k + count] = x[i : i + count], x read once; i a multiple of count, x aligned."""
    return _load(count, ".L1::no_allocate")


@cache
def kept(count: int) -> Callable[..., None]:
    """The same for what is read again and again."""
    return _load(count, "")


@cache
def stored(count: int) -> Callable[..., None]:
    """store(y, i, entry, k): y[i : i + count] = entry[k : k + count]."""

    @intrinsic
    def store(typing, y, i, entry, k):
        name = str(y.dtype)
        size, register, _, _ = STORAGE[name]

        def generate(context, builder, signature, arguments):
            source = _data(context, builder, signature.args[2], arguments[2])
            address = _global_address(builder, _data(context, builder, signature.args[0], arguments[0]), arguments[1], name)
            accesses, registers = _pieces(name, count)
            values = [builder.load(builder.gep(source, [builder.add(arguments[3], ir.Constant(I64, j))])) for j in range(count)]
            values = [_cast(builder, v, DOUBLE if name == "float64" else FLOAT) for v in values]
            if size == 2:
                bits = [builder.zext(_narrow_16(builder, name, v), I32) for v in values]
                pairs = zip(bits[::2], bits[1::2], strict=True)
                values = [builder.or_(a, builder.shl(b, ir.Constant(I32, 16))) for a, b in pairs]
            for a in range(accesses):
                vector = ir.Constant(ir.VectorType(register, registers), ir.Undefined)
                for r in range(registers):
                    vector = builder.insert_element(vector, values[a * registers + r], ir.Constant(I32, r))
                at = builder.inttoptr(builder.add(address, ir.Constant(I64, BYTES * a)), ir.PointerType(vector.type, 1))
                builder.store(vector, at, align=min(BYTES, count * size))
            return context.get_dummy_value()

        return types.void(y, types.int64, entry, types.int64), generate

    return store
