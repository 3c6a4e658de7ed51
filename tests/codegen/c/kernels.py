"""Kernels that together hold every statement, expression and type: what emitters are tested on."""

from collections.abc import Sequence

import numpy as np

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import (
    BinaryOp,
    Const,
    Expr,
    Unary,
    UnaryOp,
    Var,
    binary,
    index,
    load,
    mul_add,
    select,
)
from lepton_cc.codegen.kernel.integer_expr import Dot, DotShape, LoadWord, PackedWord
from lepton_cc.codegen.kernel.ir import For, If, Kernel, Let, LoopKind, Store
from lepton_cc.codegen.kernel.types import INDEX, Buffer, ScalarType, Space
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction, accepts
from tests.codegen.kernel.expression_evaluator import Value, numpy_type

LENGTH = 256
COMPUTED = tuple(dtype for dtype in DType if kernel_math.compute_type(dtype) is dtype)


def elementwise(name: str, operands: Sequence[Buffer], value: Expr, at: Var) -> Kernel:
    """result[i] = value for all i."""
    assert isinstance(value.type, DType)
    result = Buffer("result", value.type, LENGTH, written=True)
    body = (For(at, index(0), index(LENGTH), (Store(result, at, value),)),)
    return Kernel(name, (*operands, result), (), body)


def function_kernels() -> list[Kernel]:
    """Every function of every type that it accepts."""
    kernels = []
    for dtype in COMPUTED:
        for function in (*UnaryFunction, *BinaryFunction):
            if not accepts(function, dtype):
                continue
            x, y = Buffer("x", dtype, LENGTH), Buffer("y", dtype, LENGTH)
            at = Var(INDEX, "i")
            if isinstance(function, UnaryFunction):
                value = kernel_math.unary(function, load(x, at))
            else:
                value = kernel_math.binary(function, load(x, at), load(y, at))
            kernels.append(elementwise(f"{function.value}_{dtype.value}", (x, y), value, at))
    return kernels


def primitive_kernels() -> list[Kernel]:
    """Arithmetic of each type without the guards that functions put around it; casts, literals."""
    kernels = []
    for dtype in COMPUTED:
        x, y, at = Buffer("x", dtype, LENGTH), Buffer("y", dtype, LENGTH), Var(INDEX, "i")
        a, b = load(x, at), load(y, at)
        if dtype.is_integer and dtype.bits >= 8:
            shifted = (a << (b & (dtype.bits - 1))) ^ (a >> (b & (dtype.bits - 1)))
            lowest = -(1 << (dtype.bits - 1)) if dtype.is_signed_integer else (1 << dtype.bits) - 1
            mixed = (a + b) * (a - b) + Unary(dtype, UnaryOp.NEG, a * b) + ~a
            divided = binary(BinaryOp.DIV, a, (b & 7) + 3) + a % ((b & 7) + 3)
            value = mixed ^ shifted ^ divided ^ Const(dtype, lowest)
            kernels.append(elementwise(f"mixed_{dtype.value}", (x, y), value, at))
        if dtype.is_float:
            special = select(a > b, Const(dtype, -np.inf), Const(dtype, 0.1))
            value = mul_add(a, b, special) / (b - 1.5) + Const(dtype, 1e30) * a
            kernels.append(elementwise(f"mixed_{dtype.value}", (x, y), value, at))
        for target in COMPUTED:
            if target is not dtype:
                converted = kernel_math.convert(a, dtype, target)
                name = f"{dtype.value}_to_{target.value}"
                kernels.append(elementwise(name, (x, y), converted, at))
    return kernels


def conversion_kernels() -> list[Kernel]:
    """Narrow floats to and from binary32."""
    kernels = []
    for dtype in DType:
        storage = kernel_math.storage_type(dtype)
        if storage is dtype:
            continue
        at = Var(INDEX, "i")
        codes, wide = Buffer("codes", storage, LENGTH), Buffer("wide", DType.F32, LENGTH)
        decoded = kernel_math.decode(load(codes, at), dtype)
        encoded = kernel_math.encode(load(wide, at), dtype)
        kernels.append(elementwise(f"decode_{dtype.value}", (codes,), decoded, at))
        kernels.append(elementwise(f"encode_{dtype.value}", (wide,), encoded, at))
    return kernels


def word_kernels() -> list[Kernel]:
    """Words of small integers and their products."""
    kernels = []
    shapes = ((DotShape.QUADS, DType.U8, DType.I8), (DotShape.PAIRS, DType.I16, DType.I16))
    for shape, left, right in shapes:
        at, count = Var(INDEX, "i"), 4 // left.size_bytes
        x, y = Buffer("x", left, LENGTH * count), Buffer("y", right, LENGTH * count)
        z = Buffer("z", DType.I32, LENGTH)
        words = [LoadWord(DType.I32, buffer, at * count) for buffer in (x, y)]
        value = Dot(DType.I32, shape, words[0], words[1], load(z, at))
        kernels.append(elementwise(f"dot_{shape.name.lower()}", (x, y, z), value, at))
    for dtype in (DType.U8, DType.I8):
        at = Var(INDEX, "i")
        x = Buffer("x", dtype, LENGTH * 3)
        bytes_ = tuple(load(x, at + LENGTH * row) for row in range(3))
        packed = PackedWord(DType.I32, (*bytes_, Const(dtype, 7)))
        kernels.append(elementwise(f"pack_{dtype.value}", (x,), packed, at))
    return kernels


def statement_kernels() -> list[Kernel]:
    """Each kind of statement and loop."""
    return [_tiles(), _branches(), _parallel_sum(), _names()]


def _tiles() -> Kernel:
    """A sum of products in registers: vector, unrolled and serial loops, a local array."""
    x, y = Buffer("x", DType.F32, 64), Buffer("y", DType.F32, 64)
    result = Buffer("result", DType.F32, 8, written=True)
    sums = Buffer("sums", DType.F32, 8, Space.REGISTERS)
    row, lane, lane2, lane3, depth = (Var(INDEX, n) for n in ("r", "lane", "lane", "lane", "k"))
    at = row * 4
    product = mul_add(load(x, depth), load(y, depth * 4 + lane2), load(sums, at + lane2))
    body = (
        For(row, index(0), index(2), (
            For(lane, index(0), index(4), (Store(sums, at + lane, Const(DType.F32, 0.0)),),
                LoopKind.VECTOR),
        ), LoopKind.UNROLL),
        For(depth, index(0), index(16), (
            For(row, index(0), index(2), (
                For(lane2, index(0), index(4), (Store(sums, at + lane2, product),),
                    LoopKind.VECTOR),
            ), LoopKind.UNROLL),
        )),
        For(lane3, index(0), index(8), (Store(result, lane3, load(sums, lane3)),)),
    )  # fmt: skip
    return Kernel("tiles", (x, y, result), (sums,), body)


def _branches() -> Kernel:
    """If with and without else, Let of each scope, bounds that are expressions, bool buffers."""
    x, flags = Buffer("x", DType.I32, 16), Buffer("flags", DType.BOOL, 16)
    unused = Buffer("unused", DType.F64, 4)
    result = Buffer("result", DType.I32, 16, written=True)
    marks = Buffer("marks", DType.BOOL, 16, written=True)
    i, j = Var(INDEX, "i"), Var(INDEX, "j")
    value, ignored = Var(DType.I32, "int"), Var(DType.F32, "never")
    longest = select(i > 12, index(3), index(5)) + i % 2
    body = (
        For(i, index(0), index(16), (
            Let(value, load(x, i) * 3),
            Let(ignored, Const(DType.F32, 2.0)),
            Store(result, i, Const(DType.I32, -(2**31))),
            If(load(flags, i), (Store(result, i, value),),
               (For(j, index(0), longest, (
                   Store(result, i, load(result, i) + value + j.cast(DType.I32)),)),)),
            If(value > 0, (Store(marks, i, value.equals(load(result, i)) | load(flags, i)),)),
        )),
    )  # fmt: skip
    return Kernel("branches", (x, flags, unused, result, marks), (), body)


def _parallel_sum() -> Kernel:
    """A parallel loop, which takes its range."""
    x = Buffer("x", DType.U8, 64)
    result = Buffer("result", DType.U32, 8, written=True)
    i, j = Var(INDEX, "i"), Var(INDEX, "j")
    add = Store(result, i, load(result, i) + load(x, i * 8 + j).cast(DType.U32))
    body = (
        Store(result, i, Const(DType.U32, 0)),
        For(j, index(0), index(8), (add,)),
    )
    loop = For(i, index(0), index(8), body, LoopKind.PARALLEL)
    return Kernel("parallel_sum", (x, result), (), (loop,))


def _names() -> Kernel:
    """Names that C has taken, that collide, or that are no names."""
    first, second = Buffer("float", DType.F32, 4), Buffer("a-b", DType.F32, 4)
    third, result = Buffer("a_b", DType.F32, 4), Buffer("t1", DType.F32, 4, written=True)
    i = Var(INDEX, "for")
    total = load(first, i) + load(second, i)
    body = (For(i, index(0), index(4), (Store(result, i, total * total + load(third, i)),)),)
    return Kernel("names", (first, second, third, result), (), body)


def sample(type_: ScalarType, size: int, seed: int) -> Value:
    """Random elements of a type: small ones, any bits, edges."""
    rng = np.random.default_rng(seed)
    if type_ is DType.BOOL:
        return rng.integers(0, 2, size).astype(np.bool_)
    assert isinstance(type_, DType)
    dtype = numpy_type(type_)
    word = np.dtype(f"u{dtype.itemsize}")
    if type_.is_integer and type_.bits < 8:
        low = -(1 << (type_.bits - 1)) if type_.is_signed_integer else 0
        return rng.integers(low, low + (1 << type_.bits), size).astype(dtype)
    values = rng.integers(0, 2**64 - 1, size, dtype=np.uint64).astype(word).view(dtype)
    half = size // 2
    if type_.is_float:
        values[:half] = rng.normal(size=half) * 10
        edges = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5], dtype)
        values[-8:] = edges[: min(8, size)][-min(8, size) :]
    else:
        values[:half] = rng.integers(0, 8, half)
        values[-4:] = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
    return values
