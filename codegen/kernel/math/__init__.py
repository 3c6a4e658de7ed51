"""Our own math: kernel expressions in, kernel expressions out, one source for every target.

Nothing branches (Select), so that everything vectorizes. `docs/numerics.md` gives methods, ranges
and measured bounds.
"""

import math
from collections.abc import Callable, Mapping

from lepton_cc.codegen.kernel.expr import (
    Binary,
    BinaryOp,
    Compare,
    CompareOp,
    Expr,
    Unary,
    UnaryOp,
    literal,
    select,
)
from lepton_cc.codegen.kernel.math import integer
from lepton_cc.codegen.kernel.math.conversion import compute_type, convert
from lepton_cc.codegen.kernel.math.error_function import erf, gelu
from lepton_cc.codegen.kernel.math.exponential import exp, sigmoid
from lepton_cc.codegen.kernel.math.float_format import is_nan, square_root
from lepton_cc.codegen.kernel.math.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from lepton_cc.codegen.kernel.math.inverse_trigonometry import acos, asin, atan
from lepton_cc.codegen.kernel.math.logarithm import log, log1p
from lepton_cc.codegen.kernel.math.narrow_float import decode, encode, storage_type
from lepton_cc.codegen.kernel.math.power import pow as float_power
from lepton_cc.codegen.kernel.math.remainder import fmod
from lepton_cc.codegen.kernel.math.remainder import modulo as float_modulo
from lepton_cc.codegen.kernel.math.trigonometry import cos, sin, tan
from lepton_cc.codegen.kernel.types import is_float, is_unsigned
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U

__all__ = [
    "binary",
    "compute_type",
    "convert",
    "decode",
    "encode",
    "storage_type",
    "unary",
]


def unary(function: U, x: Expr) -> Expr:
    """function(x) for x in its compute type (see `compute_type`): of x's type, or bool.

    Raises:
        InternalError: the function is not defined for the type, or the type is storage only.
    """
    dtype = _checked(x)
    if is_float(dtype):
        return _FLOAT_UNARY[function](x)
    if dtype is DType.BOOL and function is U.NOT:
        return x ^ 1
    if dtype.is_integer and function in _INTEGER_UNARY:
        inner = x.cast(integer.byte_type(dtype))
        return integer.wrapped(_INTEGER_UNARY[function](inner), dtype)
    raise InternalError(f"{function.value} is not defined for {dtype.value}")


def binary(function: B, x: Expr, y: Expr) -> Expr:
    """function(x, y) for operands of one type, in its compute type: of that type, or bool.

    Raises:
        InternalError: the function is not defined for the type, or the type is storage only.
    """
    dtype = _checked(x)
    if function in _COMPARES:
        return Compare(DType.BOOL, _COMPARES[function], x, y)
    if is_float(dtype) and function in _FLOAT_BINARY:
        return _FLOAT_BINARY[function](x, y)
    if dtype is DType.BOOL and function in _BITWISE:
        return Binary(DType.BOOL, _BITWISE[function], x, y)
    if dtype.is_integer and function in _INTEGER_BINARY:
        inner = integer.byte_type(dtype)
        result = _INTEGER_BINARY[function](x.cast(inner), y.cast(inner))
        return integer.wrapped(result, dtype)
    raise InternalError(f"{function.value} is not defined for {dtype.value}")


def _checked(x: Expr) -> DType:
    if not isinstance(x.type, DType) or compute_type(x.type) is not x.type:
        raise InternalError(f"no arithmetic in {x.type}")
    return x.type


def _rounding(op: UnaryOp) -> Callable[[Expr], Expr]:
    return lambda x: Unary(x.type, op, x)


def _arithmetic(op: BinaryOp) -> Callable[[Expr, Expr], Expr]:
    return lambda x, y: Binary(x.type, op, x, y)


def _reciprocal(x: Expr) -> Expr:
    return literal(1.0, x.type) / x


def _float_sign(x: Expr) -> Expr:
    one, minus_one = literal(1.0, x.type), literal(-1.0, x.type)
    signed = select(x > 0.0, one, select(x < 0.0, minus_one, 0.0))
    return select(is_nan(x), x, signed)


def _absolute(x: Expr) -> Expr:
    return x if is_unsigned(x.type) else Unary(x.type, UnaryOp.ABS, x)


def _least(x: Expr, y: Expr) -> Expr:
    first = x < y
    return select(first | is_nan(x) if is_float(x.type) else first, x, y)


def _greatest(x: Expr, y: Expr) -> Expr:
    first = x > y
    return select(first | is_nan(x) if is_float(x.type) else first, x, y)


_FLOAT_UNARY: Mapping[U, Callable[[Expr], Expr]] = {
    U.ABS: _absolute,
    U.NEG: lambda x: -x,
    U.SIGN: _float_sign,
    U.CEIL: _rounding(UnaryOp.CEIL),
    U.FLOOR: _rounding(UnaryOp.FLOOR),
    U.ROUND: _rounding(UnaryOp.ROUND_EVEN),
    U.TRUNC: _rounding(UnaryOp.TRUNC),
    U.RECIPROCAL: _reciprocal,
    U.SQRT: square_root,
    U.RSQRT: lambda x: _reciprocal(square_root(x)),
    U.EXP: exp,
    U.LOG: log,
    U.LOG1P: log1p,
    U.SIN: sin,
    U.COS: cos,
    U.TAN: tan,
    U.ASIN: asin,
    U.ACOS: acos,
    U.ATAN: atan,
    U.SINH: sinh,
    U.COSH: cosh,
    U.TANH: tanh,
    U.ASINH: asinh,
    U.ACOSH: acosh,
    U.ATANH: atanh,
    U.ERF: erf,
    U.SIGMOID: sigmoid,
    U.GELU: gelu,
    U.IS_NAN: is_nan,
    U.IS_INF_POSITIVE: lambda x: x.equals(math.inf),
    U.IS_INF_NEGATIVE: lambda x: x.equals(-math.inf),
}
_INTEGER_UNARY: Mapping[U, Callable[[Expr], Expr]] = {
    U.ABS: _absolute,
    U.NEG: lambda x: -x,
    U.SIGN: integer.sign,
    U.NOT: lambda x: ~x,
}
_FLOAT_BINARY: Mapping[B, Callable[[Expr, Expr], Expr]] = {
    B.ADD: _arithmetic(BinaryOp.ADD),
    B.SUB: _arithmetic(BinaryOp.SUB),
    B.MUL: _arithmetic(BinaryOp.MUL),
    B.DIV: _arithmetic(BinaryOp.DIV),
    B.MOD: float_modulo,
    B.FMOD: fmod,
    B.POW: float_power,
    B.MIN: _least,
    B.MAX: _greatest,
}
_BITWISE: Mapping[B, BinaryOp] = {
    B.AND: BinaryOp.AND,
    B.OR: BinaryOp.OR,
    B.XOR: BinaryOp.XOR,
}
_INTEGER_BINARY: Mapping[B, Callable[[Expr, Expr], Expr]] = {
    B.ADD: _arithmetic(BinaryOp.ADD),
    B.SUB: _arithmetic(BinaryOp.SUB),
    B.MUL: _arithmetic(BinaryOp.MUL),
    B.DIV: integer.divide,
    B.MOD: integer.modulo,
    B.FMOD: integer.remainder,
    B.POW: integer.power,
    B.MIN: _least,
    B.MAX: _greatest,
    B.SHIFT_LEFT: integer.shift_left,
    B.SHIFT_RIGHT: integer.shift_right,
    **{function: _arithmetic(op) for function, op in _BITWISE.items()},
}
_COMPARES: Mapping[B, CompareOp] = {
    B.EQUAL: CompareOp.EQ,
    B.NOT_EQUAL: CompareOp.NE,
    B.LESS: CompareOp.LT,
    B.LESS_EQUAL: CompareOp.LE,
    B.GREATER: CompareOp.GT,
    B.GREATER_EQUAL: CompareOp.GE,
}
