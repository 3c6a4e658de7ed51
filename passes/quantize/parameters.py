"""What a value stands for: the integers, scales and zero points behind a dequantized value.

The vocabulary of the rules that raise QDQ patterns; every rule file of this folder builds on it.
"""

from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.integer import Range
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.rewrite import Rewriter
from lepton_cc.ir.tensor import Array


@dataclass(frozen=True, slots=True)
class Dequantized:
    """real = (x - zero_points) * scales, in binary32.

    scales (binary32) and zero_points (i64) are of one shape, which broadcasts to x and has size 1
    wherever nothing varies; of rank 0 when nothing varies at all.
    """

    x: Value
    scales: Array
    zero_points: Array

    @property
    def is_per_tensor(self) -> bool:
        """True if one scale and one zero point serve all elements."""
        return self.scales.size == 1

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that has one."""
        return np.float32(self.scales.reshape(()))

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor that has one."""
        return int(self.zero_points.reshape(()))


@dataclass(frozen=True, slots=True)
class Quantized:
    """The reals that a per-tensor Quantize takes, and what it makes of them."""

    real: Value
    scale: np.float32
    range: Range

    def integer(self, real: float) -> int:
        """What a number becomes, as Quantize defines it."""
        with np.errstate(all="ignore"):
            ratio = np.float32(real) / self.scale
        inner = np.clip(
            ratio, self.range.low - self.range.zero_point, self.range.high - self.range.zero_point
        )
        return int(np.rint(inner)) + self.range.zero_point


def compressed(array: Array) -> Array:
    """The array with size 1 wherever it does not vary; of rank 0 if it does not vary at all."""
    for axis in range(array.ndim):
        first = np.take(array, [0], axis=axis)
        if array.shape[axis] > 1 and np.array_equal(array, np.broadcast_to(first, array.shape)):
            array = first
    return array.reshape(()) if array.size == 1 else array


def _parameters(rewriter: Rewriter, op: Op) -> tuple[Array, Array] | None:
    """Scales and zero points of a Quantize or Dequantize that are known and make sense."""
    scales = rewriter.constant_array(op.operands[1])
    zero_value = op.operands[2] if len(op.operands) > 2 else None
    zeros = rewriter.constant_array(zero_value)
    if scales is None or scales.dtype != np.float32 or scales.size == 0:
        return None
    if zero_value is not None and zeros is None:
        return None
    if not np.all(np.isfinite(scales) & (scales > 0)):
        return None
    wide = np.zeros(scales.shape, np.int64) if zeros is None else zeros.astype(np.int64)
    small_scales, small_zeros = compressed(scales), compressed(wide)
    if small_scales.shape != small_zeros.shape:
        shape = np.broadcast_shapes(small_scales.shape, small_zeros.shape)
        small_scales = np.broadcast_to(small_scales, shape)
        small_zeros = np.broadcast_to(small_zeros, shape)
    return small_scales, small_zeros


def dequantized(rewriter: Rewriter, value: Value | None) -> Dequantized | None:
    """The integers behind a value, if a Dequantize to binary32 with known parameters made it."""
    op = rewriter.producer(value)
    if op is None or op.kind != Dequantize(DType.F32) or not op.inputs[0].type.dtype.is_integer:
        return None
    found = _parameters(rewriter, op)
    return None if found is None else Dequantized(op.inputs[0], *found)


def narrow(rewriter: Rewriter, value: Value | None) -> Dequantized | None:
    """Like `dequantized`, of per-tensor integers of at most 16 bits: an activation."""
    found = dequantized(rewriter, value)
    if found is None or not found.is_per_tensor or found.x.type.dtype.bits > 16:
        return None
    return found


def known(rewriter: Rewriter, value: Value | None) -> Array | None:
    """The content of a value that hangs on constants alone: moved, dequantized, added to others."""
    op = rewriter.producer(value)
    if value is None or op is None:
        return None
    if isinstance(op.kind, Constant):
        return op.kind.value.array
    if len(op.results) > 1 or op.kind.traits.isdisjoint({Trait.POINTWISE, Trait.MOVEMENT}):
        return None
    operands: list[Array | None] = []
    for operand in op.operands:
        array = known(rewriter, operand)
        if operand is not None and array is None:
            return None
        operands.append(array)
    return op.kind.evaluate(operands)[0]


def quantized(rewriter: Rewriter, op: Op) -> Quantized | None:
    """What a Quantize to integers does, if one known scale and zero point serve all elements."""
    kind = op.kind
    if not isinstance(kind, Quantize) or not kind.dtype.is_integer:
        return None
    found = _parameters(rewriter, op)
    if found is None or found[0].size != 1 or op.inputs[0].type.dtype is not DType.F32:
        return None
    scale, zero_point = np.float32(found[0].reshape(())), int(found[1].reshape(()))
    return Quantized(op.inputs[0], scale, Range.whole(kind.dtype, zero_point))


def emit_or_fold(rewriter: Rewriter, kind: OpKind, *operands: Value | None) -> Value:
    """Adds an op; of constants it gives the constant."""
    arrays = [None if v is None else rewriter.constant_array(v) for v in operands]
    if any(v is not None and array is None for v, array in zip(operands, arrays, strict=True)):
        return rewriter.emit(kind, *operands)
    (array,) = kind.evaluate(arrays)
    return rewriter.constant(array)


def emit_dequantize(rewriter: Rewriter, x: Value, scales: Array, zero_points: Array) -> Value:
    """The reals of x; zero points that are all 0 are left out."""
    operands = [x, rewriter.constant(np.asarray(scales, np.float32), name="scale")]
    if np.any(zero_points):
        typed = np.asarray(zero_points).astype(x.type.dtype.numpy)
        operands.append(rewriter.constant(typed, name="zero_point"))
    return rewriter.emit(Dequantize(DType.F32), *operands)


def emit_quantize(rewriter: Rewriter, real: Value, by: Quantized) -> Value:
    """`real` quantized with the parameters of `by`."""
    dtype = by.range.dtype
    zero_point = np.asarray(by.range.zero_point).astype(dtype.numpy)
    return rewriter.emit(
        Quantize(dtype),
        real,
        rewriter.constant(np.asarray(by.scale), name="scale"),
        rewriter.constant(zero_point, name="zero_point"),
    )
