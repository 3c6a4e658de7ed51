"""Integer ops of quantized models: requantize, add, multiply, tables, softmax.

Their formulas are normative (docs/numerics.md): every target gives the same bits as `evaluate`.
Scales are binary32 throughout; RNE is round half to even, fl rounds to binary32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.op_kind import OpKind, Trait, arrays, present
from lepton_cc.ir.ops.elementwise import broadcast_shapes
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.ir.types import TensorType

_POINTWISE = frozenset({Trait.POINTWISE})


@dataclass(frozen=True, slots=True)
class Range:
    """The integers of a result: type, zero point, and the bounds that it is clamped to.

    Bounds are inside the type; a fused activation narrows them (relu: low = zero_point).
    """

    dtype: DType
    zero_point: int
    low: int
    high: int

    @staticmethod
    def whole(dtype: DType, zero_point: int) -> "Range":
        """The range of a type that nothing narrows."""
        low, high = integer_bounds(dtype)
        return Range(dtype, zero_point, low, high)

    def check(self) -> None:
        """Raises TypeInferenceError if the bounds or the zero point leave the type."""
        low, high = integer_bounds(self.dtype)
        if self.dtype.bits > 16 or not low <= self.low <= self.high <= high:
            raise TypeInferenceError(f"bounds {self.low}..{self.high} leave {self.dtype.value}")
        if not low <= self.zero_point <= high:
            raise TypeInferenceError(f"zero point {self.zero_point} leaves {self.dtype.value}")

    def finish(self, real: Array) -> Array:
        """clamp(low, high, RNE(real) + zero_point); real is binary32."""
        # Clamping first changes nothing, since bounds are integers, and avoids overflow.
        inner = np.clip(real, self.low - self.zero_point, self.high - self.zero_point)
        rounded = np.asarray(np.rint(inner), dtype=np.int32)
        return np.asarray(rounded + self.zero_point).astype(self.dtype.numpy)


@dataclass(frozen=True, slots=True)
class Requantize(OpKind):
    """y = clamp(low, high, RNE(f32(x - input_zero_point) * scale) + zero_point).

    x is i32 (an accumulator) or narrower, or i64 below 2^47; scale is f32 and broadcasts to x (one,
    or one for each channel). f32(...) rounds the integer to binary32, the product rounds once.
    """

    MNEMONIC: ClassVar[str] = "requantize"
    TRAITS: ClassVar[frozenset[Trait]] = _POINTWISE
    OPERANDS: ClassVar[tuple[str, ...]] = ("x", "scale")
    range: Range
    input_zero_point: int = 0

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, scale = present(operands, 2)
        self.range.check()
        fits = x.dtype.is_integer and (x.dtype.bits <= 32 or x.dtype is DType.I64)
        if not fits or scale.dtype is not DType.F32:
            raise TypeInferenceError(f"cannot requantize {x} by {scale}")
        if broadcast_shapes(x.shape, scale.shape) != x.shape:
            raise TypeInferenceError(f"scale {scale} does not broadcast to {x}")
        return (TensorType(self.range.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale = arrays(operands, 2)
        wide = x if x.dtype == np.int64 else x.astype(np.int32)
        centered = np.asarray(wide - wide.dtype.type(self.input_zero_point)).astype(np.float32)
        return (self.range.finish(centered * scale.astype(np.float32)),)


def fused_multiply_add(lhs: Array, rhs: Array, addend: Array) -> Array:
    """lhs * rhs + addend of binary32 with a single rounding.

    The product is exact in binary64; the sum is rounded to odd there, so that the last rounding
    to binary32 is the only one that counts (Boldo, Melquiond: Emulation of FMA, 2008).
    """
    product = lhs.astype(np.float64) * rhs.astype(np.float64)
    product, addend = np.broadcast_arrays(product, addend.astype(np.float64))
    total = np.asarray(product + addend)
    virtual = total - product
    error = (product - (total - virtual)) + (addend - virtual)
    bits = np.atleast_1d(total).view(np.int64).reshape(total.shape)
    inexact_even = (error != 0) & (bits & 1 == 0)
    away = (error > 0) == (total > 0)
    step = np.where(inexact_even, np.where(away, 1, -1), 0)
    odd = np.atleast_1d(bits + step).view(np.float64).reshape(total.shape)
    return odd.astype(np.float32)


def _binary32(value: float) -> Array:
    return np.asarray(value, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class QuantizedAdd(OpKind):
    """y = clamp(low, high, RNE(fma(lhs, lhs_scale, fma(rhs, rhs_scale, offset)))).

    lhs, rhs are integers of up to 16 bits as they are stored; the scales are the operands' over
    the result's; offset carries all zero points. `of` computes them from quantization parameters.
    ONNX Runtime's QLinearAdd on machines with fused multiply-add.
    """

    MNEMONIC: ClassVar[str] = "quantized_add"
    TRAITS: ClassVar[frozenset[Trait]] = _POINTWISE
    OPERANDS: ClassVar[tuple[str, ...]] = ("lhs", "rhs")
    lhs_scale: float
    rhs_scale: float
    offset: float
    range: Range

    @staticmethod
    def of(
        lhs: tuple[float, int], rhs: tuple[float, int], result_scale: float, range_: Range
    ) -> "QuantizedAdd":
        """The op for (scale, zero point) of the operands and the result's scale.

        a = fl(sa / sc), b = fl(sb / sc), offset = fl(zc - fma(a, za, fl(b zb))), in binary32.
        """
        a = np.float32(lhs[0]) / np.float32(result_scale)
        b = np.float32(rhs[0]) / np.float32(result_scale)
        points = fused_multiply_add(
            np.asarray(a), _binary32(lhs[1]), np.asarray(b * np.float32(rhs[1]))
        )
        offset = np.float32(range_.zero_point) - np.float32(points)
        return QuantizedAdd(float(a), float(b), float(offset), range_)

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        lhs, rhs = present(operands, 2)
        self.range.check()
        if any(not x.dtype.is_integer or x.dtype.bits > 16 for x in (lhs, rhs)):
            raise TypeInferenceError(f"quantized_add of {lhs} and {rhs}")
        return (TensorType(self.range.dtype, broadcast_shapes(lhs.shape, rhs.shape)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        lhs, rhs = arrays(operands, 2)
        inner = fused_multiply_add(
            rhs.astype(np.float32), _binary32(self.rhs_scale), _binary32(self.offset)
        )
        total = fused_multiply_add(lhs.astype(np.float32), _binary32(self.lhs_scale), inner)
        # The zero point is in the offset already.
        return (Range(self.range.dtype, 0, self.range.low, self.range.high).finish(total),)


@dataclass(frozen=True, slots=True)
class QuantizedMul(OpKind):
    """y = clamp(low, high, RNE(fl(fl(f32(product) * scale) + zero_point))).

    product = (lhs - lhs_zero_point) * (rhs - rhs_zero_point), exact in i32 and below 2^24 for
    8-bit operands; scale = fl(fl(sa * sb) / sc); every step is rounded to binary32. Here, as in
    sums, the zero point is added before the last rounding: ONNX Runtime's QLinearMul.
    """

    MNEMONIC: ClassVar[str] = "quantized_mul"
    TRAITS: ClassVar[frozenset[Trait]] = _POINTWISE
    OPERANDS: ClassVar[tuple[str, ...]] = ("lhs", "rhs")
    lhs_zero_point: int
    rhs_zero_point: int
    scale: float
    range: Range

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        lhs, rhs = present(operands, 2)
        self.range.check()
        if any(not x.dtype.is_integer or x.dtype.bits > 16 for x in (lhs, rhs)):
            raise TypeInferenceError(f"quantized_mul of {lhs} and {rhs}")
        return (TensorType(self.range.dtype, broadcast_shapes(lhs.shape, rhs.shape)),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        lhs, rhs = arrays(operands, 2)
        left = lhs.astype(np.int32) - np.int32(self.lhs_zero_point)
        right = rhs.astype(np.int32) - np.int32(self.rhs_zero_point)
        scaled = (left * right).astype(np.float32) * np.float32(self.scale)
        total = np.asarray(scaled + np.float32(self.range.zero_point))
        return (Range(self.range.dtype, 0, self.range.low, self.range.high).finish(total),)


@dataclass(frozen=True, slots=True)
class Table(OpKind):
    """y = entries[x - lowest value of x's type]: any function of one 8-bit tensor.

    x is i8 or u8; `entries` has 256 elements of any type, which is the result's.
    """

    MNEMONIC: ClassVar[str] = "table"
    TRAITS: ClassVar[frozenset[Trait]] = _POINTWISE
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    entries: Tensor

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        if x.dtype not in (DType.I8, DType.U8) or self.entries.type.shape != (256,):
            raise TypeInferenceError(f"table {self.entries.type} for {x}")
        return (TensorType(self.entries.type.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        low, _ = integer_bounds(DType.from_numpy(x.dtype))
        return (self.entries.array[x.astype(np.int64) - low],)


@dataclass(frozen=True, slots=True)
class QuantizedSoftmax(OpKind):
    """Softmax of 8-bit integers along an axis, in a fixed order of binary32 operations.

    e_i = exponentials[max - x_i]; total = sum of e_i in index order (one accumulator);
    r = fl(1 / fl(total * scale)); y_i = clamp(RNE(fl(e_i * r)) + zero_point).
    `exponentials` holds f32(exp(-d * input scale)) for d in 0..255, made at compile time.
    """

    MNEMONIC: ClassVar[str] = "quantized_softmax"
    TRAITS: ClassVar[frozenset[Trait]] = frozenset({Trait.REDUCTION})
    OPERANDS: ClassVar[tuple[str, ...]] = ("x",)
    axis: int
    scale: float
    range: Range
    exponentials: Tensor

    def infer(self, operands: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = present(operands, 1)
        self.range.check()
        if x.dtype.bits != 8 or not x.dtype.is_integer or not 0 <= self.axis < x.rank:
            raise TypeInferenceError(f"quantized_softmax of {x} on axis {self.axis}")
        if self.exponentials.type != TensorType(DType.F32, (256,)):
            raise TypeInferenceError(f"exponentials {self.exponentials.type}")
        return (TensorType(self.range.dtype, x.shape),)

    def evaluate(self, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        (x,) = arrays(operands, 1)
        rows = np.moveaxis(x.astype(np.int64), self.axis, -1)
        distances = rows.max(axis=-1, keepdims=True) - rows
        terms = self.exponentials.array[distances].astype(np.float32)
        # NumPy's cumulative sum adds in index order, one element after the other.
        total = np.cumsum(terms, axis=-1, dtype=np.float32)[..., -1:]
        reciprocal = np.float32(1) / (total * np.float32(self.scale))
        y = self.range.finish(terms * reciprocal)
        return (np.ascontiguousarray(np.moveaxis(y, -1, self.axis)),)
