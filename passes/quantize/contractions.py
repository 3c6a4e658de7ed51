"""Contractions of dequantized tensors: integer sums of products, scaled once.

conv(dequantize(x), dequantize(w), b) = dequantize(conv(x, w, b / step), step), where
step[c] = f32(x_scale * w_scale[c]); quantizing that result requantizes the accumulator.
"""

from dataclasses import dataclass, replace

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.pattern import either_order
from lepton_cc.passes.quantize.accumulator_bound import (
    LIMIT,
    Contraction,
    Integers,
    accumulator_bound,
)
from lepton_cc.passes.quantize.parameters import (
    Dequantized,
    dequantized,
    emit_dequantize,
    narrow,
)

# Converters compute the scale of a bias with other roundings than f32(x_scale * w_scale).
_SAME_SCALE = 1e-5
_FOUR_BITS = (DType.I4, DType.U4)


@dataclass(frozen=True, slots=True)
class Weights:
    """Constant weights as integers without zero point; scales: one, or one for each output."""

    integers: Array
    scales: Array


def constant_weights(rewriter: Rewriter, value: Value, kind: Contraction) -> Weights | None:
    """Scales may vary along the last axis, which is that of the outputs (of a group)."""
    found = dequantized(rewriter, value)
    array = None if found is None else rewriter.constant_array(found.x)
    if found is None or array is None or found.x.type.dtype.bits > 16:
        return None
    columns = array.shape[-1]
    if found.scales.size != 1 and (found.scales.size, found.scales.shape[-1]) != (columns, columns):
        return None
    integers = _without_zero_point(found, array)
    scales = found.scales.reshape(-1)
    if isinstance(kind, ConvTranspose) and scales.size > 1:
        scales = np.tile(scales, kind.groups)
    return None if integers is None else Weights(integers, scales)


def _without_zero_point(found: Dequantized, array: Array) -> Array | None:
    """The differences to the zero point in the narrowest type; one byte more at most."""
    if not np.any(found.zero_points) and found.x.type.dtype.is_signed_integer:
        return array
    differences = array.astype(np.int64) - found.zero_points
    smallest = (DType.I4,) if found.x.type.dtype in _FOUR_BITS else ()
    for dtype in (*smallest, DType.I8, DType.I16):
        low, high = integer_bounds(dtype)
        if low <= differences.min(initial=0) and differences.max(initial=0) <= high:
            return differences.astype(dtype.numpy)
    return None


def product_step(x_scale: np.float32, scales: Array) -> Array:
    """f32(x_scale * w_scale): one, or one for each output."""
    step = np.asarray(x_scale * scales.astype(np.float32), np.float32)
    return step.reshape(()) if step.size == 1 else step.reshape(-1)


def bias_in_steps(rewriter: Rewriter, value: Value, step: Array) -> Array | None:
    """A constant bias [O] as i32 multiples of `step`; None if it is not known or too large.

    Integers that were dequantized by this very step come back as they were; others are rounded
    half to even, as ONNX Runtime quantizes a float bias.
    """
    found = dequantized(rewriter, value)
    if found is None:
        reals = rewriter.constant_array(value)
        return None if reals is None or reals.dtype != np.float32 else in_steps(reals, step)
    integers = rewriter.constant_array(found.x)
    if integers is None:
        return None
    steps = (integers.astype(np.int64) - found.zero_points).astype(np.float64)
    if not np.allclose(found.scales, step, rtol=_SAME_SCALE, atol=0):
        steps = np.rint(steps * (found.scales.astype(np.float64) / step.astype(np.float64)))
    return _as_i32(steps)


def in_steps(reals: Array, step: Array) -> Array | None:
    """Reals as i32 multiples of `step`, rounded half to even; None if one is too large."""
    return _as_i32(np.rint(reals.astype(np.float64) / step.astype(np.float64)))


def _as_i32(steps: Array) -> Array | None:
    fits = np.all(np.isfinite(steps)) and np.abs(steps).max(initial=0) < LIMIT
    return steps.astype(np.int32) if fits else None


def _raised(
    rewriter: Rewriter,
    op: Op,
    kind: Contraction,
    operands: tuple[Value, Value | Array],
    step: Array,
) -> Replacement:
    """The integer contraction with its result dequantized; None if a law of integers forbids it."""
    x, weights = operands
    bias_value = op.operands[2] if len(op.operands) > 2 else None
    bias = None if bias_value is None else bias_in_steps(rewriter, bias_value, step)
    if bias_value is not None and bias is None:
        return None
    content = Integers.of(weights.type) if isinstance(weights, Value) else weights
    if accumulator_bound(kind, Integers.of(x.type), content, bias) >= LIMIT:
        return None
    if not isinstance(weights, Value):
        weights = rewriter.constant(weights, name=op.inputs[1].name)
    offsets = () if bias is None else (rewriter.constant(bias, name="bias"),)
    total = rewriter.emit(kind, x, weights, *offsets, name="accumulator")
    return (emit_dequantize(rewriter, total, step, np.zeros((), np.int64)),)


@rule("conv(dequantize(x), dequantize(w), b) = dequantize(conv(x, w, b))", Conv, ConvTranspose)
def convolution(op: Op, rewriter: Rewriter) -> Replacement:
    kind = op.kind
    assert isinstance(kind, Conv | ConvTranspose)
    x, weights = narrow(rewriter, op.operands[0]), constant_weights(rewriter, op.inputs[1], kind)
    if x is None or weights is None:
        return None
    centered = replace(kind, zero_point=x.zero_point)
    step = product_step(x.scale, weights.scales)
    return _raised(rewriter, op, centered, (x.x, weights.integers), step)


@rule("matmul(dequantize(x), dequantize(w), b) = dequantize(matmul(x, w, b))", MatMul)
def product_with_weights(op: Op, rewriter: Rewriter) -> Replacement:
    x, weights = (
        narrow(rewriter, op.operands[0]),
        constant_weights(rewriter, op.inputs[1], MatMul()),
    )
    if x is None or weights is None:
        return None
    step = product_step(x.scale, weights.scales)
    kind = MatMul(lhs_zero_point=x.zero_point)
    return _raised(rewriter, op, kind, (x.x, weights.integers), step)


@rule("matmul(dequantize(x), dequantize(y), b) = dequantize(matmul(x, y, b))", MatMul)
def product_of_activations(op: Op, rewriter: Rewriter) -> Replacement:
    lhs, rhs = narrow(rewriter, op.operands[0]), narrow(rewriter, op.operands[1])
    if lhs is None or rhs is None:
        return None
    kind = MatMul(lhs.zero_point, rhs.zero_point)
    return _raised(rewriter, op, kind, (lhs.x, rhs.x), product_step(lhs.scale, rhs.scales))


@rule("dequantize(contraction) + b = dequantize(contraction + b / step)", Binary)
def bias_of_accumulator(op: Op, rewriter: Rewriter) -> Replacement:
    """A constant for each output channel, of a contraction that has no bias yet: floats, or i32.

    A sum with a constant of fewer bits is an op of its own in the model and stays one.
    """
    if op.kind != Binary(BinaryFunction.ADD):
        return None
    for product, other in either_order((op.inputs[0], op.inputs[1])):
        found = dequantized(rewriter, product)
        contraction = None if found is None else rewriter.producer(found.x)
        if found is None or contraction is None or op.result.type != product.type:
            continue
        kind = contraction.kind
        if not isinstance(kind, Conv | ConvTranspose | MatMul) or len(contraction.inputs) != 2:
            continue
        if not rewriter.has_single_use(product):
            continue
        bias = _channel_constant(rewriter, other, product.type.dims[-1])
        if bias is None:
            continue
        weights = rewriter.constant_array(contraction.inputs[1])
        content = contraction.inputs[1] if weights is None else weights
        with_bias = replace(contraction, operands=(*contraction.inputs, bias))
        raised = _raised(rewriter, with_bias, kind, (contraction.inputs[0], content), found.scales)
        if raised is not None:
            rewriter.match(found.x, OpKind)
            return raised
    return None


@rule("contraction(x, w) + b = contraction(x, w, b)", Binary)
def bias_of_contraction(op: Op, rewriter: Rewriter) -> Replacement:
    """Of a contraction of integers that no rule has raised: what quantizes the sum may raise both.

    Sums of 16-bit activations are proved to fit, or split, together with what quantizes them.
    """
    if op.kind != Binary(BinaryFunction.ADD):
        return None
    for product, other in either_order((op.inputs[0], op.inputs[1])):
        contraction = rewriter.producer(product)
        if contraction is None or len(contraction.inputs) != 2:
            continue
        if not isinstance(contraction.kind, Conv | ConvTranspose | MatMul):
            continue
        if narrow(rewriter, contraction.inputs[0]) is None:
            continue
        if op.result.type != product.type or not rewriter.has_single_use(product):
            continue
        bias = _channel_constant(rewriter, other, product.type.dims[-1])
        if bias is not None:
            rewriter.match(product, OpKind)
            return (rewriter.emit(contraction.kind, *contraction.inputs, bias),)
    return None


def _channel_constant(rewriter: Rewriter, value: Value, channels: int) -> Value | None:
    """Constant floats, or i32 behind a dequantize, of [..., 1, C] or of one element, as [C]."""
    found = dequantized(rewriter, value)
    array = rewriter.constant_array(value if found is None else found.x)
    if array is None or (found is not None and found.x.type.dtype is not DType.I32):
        return None
    if array.size != 1 and (array.shape[-1], array.size) != (channels, channels):
        return None
    flat = rewriter.constant(np.broadcast_to(array.reshape(-1), (channels,)))
    if found is None:
        return flat
    shape = (-1,) if found.scales.size > 1 else ()
    scales, zero_points = found.scales.reshape(shape), found.zero_points.reshape(shape)
    return emit_dequantize(rewriter, flat, scales, zero_points)


RULES: tuple[Rule, ...] = (
    convolution,
    product_with_weights,
    product_of_activations,
    bias_of_accumulator,
    bias_of_contraction,
)
