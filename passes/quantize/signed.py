"""Unsigned 8-bit activations become signed ones: x - 128 with the zero point moved alike, exactly.

Graph inputs and outputs keep their types: there the top bit is flipped, which is the same.
"""

import math

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp
from lepton_cc.ir.ops.movement import Concat, Gather, Pad
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.reduce import ArgReduce, Reduce, ReduceFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule

_FLIP = Binary(BinaryFunction.XOR)
_TOP_BIT = -128


def as_unsigned(rewriter: Rewriter, x: Value) -> Value:
    """x + 128 as u8, of an i8 tensor; what was made by `as_signed` is unmade."""
    made = _made_signed(rewriter, x)
    if made is not None:
        return made
    flipped = rewriter.emit(_FLIP, x, rewriter.constant(np.asarray(_TOP_BIT, np.int8)))
    return rewriter.emit(Cast(DType.U8), flipped)


def as_signed(rewriter: Rewriter, x: Value) -> Value:
    """x - 128 as i8, of a u8 tensor; what was made by `as_unsigned` is unmade."""
    array = rewriter.constant_array(x)
    if array is not None:
        return rewriter.constant((array.astype(np.int16) - 128).astype(np.int8))
    found = made_unsigned(rewriter, x)
    if found is not None:
        return found
    wrapped = rewriter.emit(Cast(DType.I8), x)
    return rewriter.emit(_FLIP, wrapped, rewriter.constant(np.asarray(_TOP_BIT, np.int8)))


def made_unsigned(rewriter: Rewriter, x: Value | None) -> Value | None:
    """y if x is `as_unsigned(y)`."""
    cast = rewriter.producer(x)
    if cast is None or cast.kind != Cast(DType.U8):
        return None
    flip = rewriter.producer(cast.inputs[0])
    if flip is None or flip.kind != _FLIP or flip.result.type.dtype is not DType.I8:
        return None
    mask = rewriter.uniform(flip.inputs[1])
    return flip.inputs[0] if mask is not None and int(mask) == _TOP_BIT else None


def _made_signed(rewriter: Rewriter, x: Value) -> Value | None:
    """y if x is `as_signed(y)`."""
    flip = rewriter.producer(x)
    if flip is None or flip.kind != _FLIP or flip.result.type.dtype is not DType.I8:
        return None
    cast, mask = rewriter.producer(flip.inputs[0]), rewriter.uniform(flip.inputs[1])
    if cast is None or cast.kind != Cast(DType.I8) or mask is None or int(mask) != _TOP_BIT:
        return None
    return cast.inputs[0] if cast.inputs[0].type.dtype is DType.U8 else None


def _moved_zero_point(rewriter: Rewriter, op: Op) -> Value | None:
    """The zero point less 128; None if it is not known."""
    shape = op.inputs[1].type.dims
    value = op.operands[2] if len(op.operands) > 2 else None
    if value is None:
        return rewriter.constant(np.full(shape, _TOP_BIT, np.int8), name="zero_point")
    array = rewriter.constant_array(value)
    if array is None:
        return None
    return rewriter.constant((array.astype(np.int16) - 128).astype(np.int8), name=value.name)


@rule("quantize_u8(x, z) = quantize_i8(x, z - 128) + 128", Quantize)
def quantize_signed(op: Op, rewriter: Rewriter) -> Replacement:
    if op.result.type.dtype is not DType.U8:
        return None
    zero_point = _moved_zero_point(rewriter, op)
    if zero_point is None:
        return None
    y = rewriter.emit(Quantize(DType.I8), op.inputs[0], op.inputs[1], zero_point)
    return (as_unsigned(rewriter, y),)


@rule("dequantize_u8(x, z) = dequantize_i8(x - 128, z - 128)", Dequantize)
def dequantize_signed(op: Op, rewriter: Rewriter) -> Replacement:
    x, scale = op.inputs[:2]
    if x.type.dtype is not DType.U8:
        return None
    zero_point = _moved_zero_point(rewriter, op)
    if zero_point is None:
        return None
    return (rewriter.emit(op.kind, as_signed(rewriter, x), scale, zero_point),)


def keeps_order(kind: OpKind) -> bool:
    """True for ops that only move elements or pick the largest or smallest of several."""
    if isinstance(kind, Reduce):
        return kind.function in (ReduceFunction.MAX, ReduceFunction.MIN)
    return Trait.MOVEMENT in kind.traits or isinstance(kind, MaxPool)


@rule("move(x + 128) = move(x) + 128", OpKind)
def shift_after_movement(op: Op, rewriter: Rewriter) -> Replacement:
    """Also of max pools and of the largest or smallest elements."""
    if not keeps_order(op.kind) or isinstance(op.kind, Constant) or len(op.results) != 1:
        return None
    if op.result.type.dtype is not DType.U8:
        return None
    num_moved = len(op.operands) if isinstance(op.kind, Concat | Pad) else 1
    moved = [_signed_part(rewriter, value) for value in op.operands[:num_moved]]
    if any(value is None for value in moved) or made_unsigned(rewriter, op.operands[0]) is None:
        return None
    if isinstance(op.kind, Pad) and len(moved) == 1:
        moved.append(rewriter.constant(np.asarray(_TOP_BIT, np.int8)))
    others = op.operands[num_moved:] if isinstance(op.kind, Gather) else ()
    return (as_unsigned(rewriter, rewriter.emit(op.kind, *moved, *others)),)


def _signed_part(rewriter: Rewriter, value: Value | None) -> Value | None:
    if value is None:
        return None
    if rewriter.constant_array(value) is not None:
        return as_signed(rewriter, value)
    return made_unsigned(rewriter, value)


@rule("argmax(x + 128) = argmax(x)", ArgReduce)
def shift_before_argument(op: Op, rewriter: Rewriter) -> Replacement:
    x = made_unsigned(rewriter, op.inputs[0])
    return None if x is None else (rewriter.emit(op.kind, x),)


@rule("clamp(x + 128, a, b) = clamp(x, a - 128, b - 128) + 128", Clamp)
def shift_after_clamp(op: Op, rewriter: Rewriter) -> Replacement:
    x = made_unsigned(rewriter, op.inputs[0])
    if x is None or not isinstance(op.kind, Clamp):
        return None
    given = (op.kind.low, op.kind.high)
    # Bounds outside of the type wrap.
    if not all(math.isinf(bound) or 0 <= bound <= 255 for bound in given):
        return None
    bounds = Clamp(op.kind.low + _TOP_BIT, op.kind.high + _TOP_BIT)
    return (as_unsigned(rewriter, rewriter.emit(bounds, x)),)


@rule("(x + 128) - 128 = x, the top bit flipped twice", Binary)
def flip_twice(op: Op, rewriter: Rewriter) -> Replacement:
    if op.kind != _FLIP or op.result.type.dtype is not DType.I8:
        return None
    mask = rewriter.uniform(op.inputs[1])
    cast = rewriter.producer(op.inputs[0])
    if mask is None or int(mask) != _TOP_BIT or cast is None or cast.kind != Cast(DType.I8):
        return None
    x = made_unsigned(rewriter, cast.inputs[0])
    return (x,) if x is not None and x.type == op.result.type else None


RULES: tuple[Rule, ...] = (
    quantize_signed,
    dequantize_signed,
    shift_after_movement,
    shift_before_argument,
    shift_after_clamp,
    flip_twice,
)
