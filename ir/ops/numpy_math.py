"""NumPy semantics of the pointwise functions and of casts; `ir.ops.elementwise` applies them.

Functions of float types narrower than binary32 are computed in binary32 and rounded once.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.tensor import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: Array) -> Array:
    """The error function, computed in binary64 and rounded to x's dtype."""
    return np.asarray(_erf(x.astype(np.float64))).astype(x.dtype).reshape(x.shape)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow, in binary64, rounded to x's dtype."""
    wide = x.astype(np.float64)
    e = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def gelu(x: Array) -> Array:
    """0.5 x (1 + erf(x / sqrt 2)), in binary64, rounded to x's dtype."""
    wide = x.astype(np.float64)
    cumulative: Array = 0.5 * (1 + np.asarray(_erf(wide / math.sqrt(2))).reshape(x.shape))
    return (wide * cumulative).astype(x.dtype)


def _wide(x: Array) -> Array:
    dtype = DType.from_numpy(x.dtype)
    return x.astype(np.float32) if dtype.is_float and dtype.bits < 32 else x


def _computed(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: np.asarray(function(_wide(x))).astype(x.dtype)


def _tested(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: np.asarray(function(_wide(x))).astype(np.bool_)


UNARY_NUMPY: Mapping[U, Callable[[Array], Array]] = {
    U.ABS: _computed(np.abs),
    U.NEG: _computed(lambda x: np.negative(x)),
    U.SIGN: _computed(np.sign),
    U.CEIL: _computed(np.ceil),
    U.FLOOR: _computed(np.floor),
    U.ROUND: _computed(np.rint),
    U.TRUNC: _computed(np.trunc),
    U.RECIPROCAL: _computed(np.reciprocal),
    U.SQRT: _computed(np.sqrt),
    U.RSQRT: _computed(lambda x: np.reciprocal(np.sqrt(x))),
    U.EXP: _computed(np.exp),
    U.LOG: _computed(np.log),
    U.LOG1P: _computed(np.log1p),
    U.SIN: _computed(np.sin),
    U.COS: _computed(np.cos),
    U.TAN: _computed(np.tan),
    U.ASIN: _computed(np.arcsin),
    U.ACOS: _computed(np.arccos),
    U.ATAN: _computed(np.arctan),
    U.SINH: _computed(np.sinh),
    U.COSH: _computed(np.cosh),
    U.TANH: _computed(np.tanh),
    U.ASINH: _computed(np.arcsinh),
    U.ACOSH: _computed(np.arccosh),
    U.ATANH: _computed(np.arctanh),
    U.ERF: _computed(erf),
    U.SIGMOID: _computed(sigmoid),
    U.GELU: _computed(gelu),
    U.IS_NAN: _tested(np.isnan),
    U.IS_INF_POSITIVE: _tested(np.isposinf),
    U.IS_INF_NEGATIVE: _tested(np.isneginf),
    U.NOT: lambda x: np.logical_not(x) if x.dtype == np.bool_ else np.invert(x).astype(x.dtype),
}


def _divide(lhs: Array, rhs: Array) -> Array:
    if not np.issubdtype(lhs.dtype, np.integer):
        return np.asarray(np.divide(lhs, rhs))
    safe = np.where(rhs == 0, 1, rhs)
    remainder = np.fmod(lhs, safe)
    return np.where(rhs == 0, 0, (lhs - remainder) // safe).astype(lhs.dtype)


def _modulo(lhs: Array, rhs: Array) -> Array:
    if not np.issubdtype(lhs.dtype, np.integer):
        return np.asarray(np.mod(lhs, rhs))
    return np.where(rhs == 0, 0, np.mod(lhs, np.where(rhs == 0, 1, rhs))).astype(lhs.dtype)


def _fmodulo(lhs: Array, rhs: Array) -> Array:
    if not np.issubdtype(lhs.dtype, np.integer):
        return np.asarray(np.fmod(lhs, rhs))
    return np.where(rhs == 0, 0, np.fmod(lhs, np.where(rhs == 0, 1, rhs))).astype(lhs.dtype)


def _power(lhs: Array, rhs: Array) -> Array:
    if np.issubdtype(lhs.dtype, np.integer):
        return np.power(lhs.astype(np.float64), rhs.astype(np.float64)).astype(lhs.dtype)
    return np.asarray(np.power(lhs, rhs))


def _shift(lhs: Array, rhs: Array, *, left: bool) -> Array:
    bits = lhs.dtype.itemsize * 8
    amount = np.minimum(rhs, np.asarray(bits - 1, rhs.dtype))
    if left:
        return np.where(rhs >= bits, 0, np.left_shift(lhs, amount)).astype(lhs.dtype)
    far = np.where(lhs < 0, -1, 0).astype(lhs.dtype)
    return np.where(rhs >= bits, far, np.right_shift(lhs, amount)).astype(lhs.dtype)


_BINARY_NUMPY: Mapping[B, Callable[[Array, Array], Array]] = {
    B.ADD: np.add,
    B.SUB: np.subtract,
    B.MUL: np.multiply,
    B.DIV: _divide,
    B.MOD: _modulo,
    B.FMOD: _fmodulo,
    B.POW: _power,
    B.MIN: np.minimum,
    B.MAX: np.maximum,
    B.AND: np.bitwise_and,
    B.OR: np.bitwise_or,
    B.XOR: np.bitwise_xor,
    B.SHIFT_LEFT: lambda x, y: _shift(x, y, left=True),
    B.SHIFT_RIGHT: lambda x, y: _shift(x, y, left=False),
    B.EQUAL: np.equal,
    B.NOT_EQUAL: np.not_equal,
    B.LESS: np.less,
    B.LESS_EQUAL: np.less_equal,
    B.GREATER: np.greater,
    B.GREATER_EQUAL: np.greater_equal,
}


def binary_numpy(function: B, lhs: Array, rhs: Array) -> Array:
    """function(lhs, rhs) in the operands' dtype (bool for comparisons)."""
    result = np.asarray(_BINARY_NUMPY[function](_wide(lhs), _wide(rhs)))
    return result if result.dtype == np.bool_ else result.astype(lhs.dtype)


def cast_array(x: Array, dtype: DType, *, saturate: bool) -> Array:
    """x converted as `Cast` defines it."""
    source = DType.from_numpy(x.dtype)
    if dtype is source:
        return x
    if dtype is DType.BOOL:
        return np.asarray(_wide(x) != 0)
    if source.is_float and dtype.is_integer:
        wide = np.trunc(x.astype(np.float64))
        wide = np.where(np.isfinite(wide), wide, 0)
        if dtype is DType.U64:
            return wide.astype(np.uint64)
        return wrap_integers(wide.astype(np.int64), dtype)
    if dtype.is_integer:
        return wrap_integers(x.astype(np.int64) if source.bits < 64 else x, dtype)
    if dtype.bits <= 8:
        return _to_small_float(x, dtype, saturate=saturate)
    return _wide(x).astype(dtype.numpy) if source.is_float else x.astype(dtype.numpy)


def wrap_integers(x: Array, dtype: DType) -> Array:
    """Integers reduced modulo 2^bits into dtype's range (two's complement)."""
    if dtype.bits >= 8:
        return x.astype(dtype.numpy)
    low_bits = x.astype(np.int64) & ((1 << dtype.bits) - 1)
    if dtype.is_signed_integer:
        sign = 1 << (dtype.bits - 1)
        low_bits = (low_bits ^ sign) - sign
    return low_bits.astype(dtype.numpy)


def _to_small_float(x: Array, dtype: DType, *, saturate: bool) -> Array:
    wide = np.asarray(x, np.float32)
    rounded = wide.astype(dtype.numpy)
    if not saturate or dtype is DType.F8E8M0FNU:
        return rounded
    largest = _LARGEST[dtype]
    clipped = np.clip(wide, -largest, largest).astype(dtype.numpy)
    return np.where(np.isnan(wide), rounded, clipped)


_LARGEST = {
    DType.F8E4M3FN: 448.0,
    DType.F8E4M3FNUZ: 240.0,
    DType.F8E5M2: 57344.0,
    DType.F8E5M2FNUZ: 57344.0,
    DType.F4E2M1FN: 6.0,
}
