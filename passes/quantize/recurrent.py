"""LSTM and GRU layers of dequantized tensors: integer products, curves, fixed-point states.

layer(dequantize(x), dequantize(W), dequantize(R)) is the dequantized state of an integer scan,
whether or not a Quantize follows: its h has more bits than any 8-bit activation.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.cell import Activation
from lepton_cc.ir.ops.fixed_point import CURVE_FRACTION, CURVE_INTERVALS, Curve
from lepton_cc.ir.ops.integer import Range, Requantize
from lepton_cc.ir.ops.integer_scan import (
    CELL_FRACTION,
    GATE_FRACTION,
    GATE_LIMIT,
    Cell,
    QuantizedGruScan,
    QuantizedLstmScan,
    hidden_limit,
)
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Reshape
from lepton_cc.ir.ops.recurrent import Gru, Lstm
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.quantize.accumulator_bound import LIMIT, Integers, accumulator_bound
from lepton_cc.passes.quantize.contractions import (
    Weights,
    constant_weights,
    in_steps,
    product_step,
)
from lepton_cc.passes.quantize.parameters import emit_dequantize, known, narrow

_MAX_REACH = 4
# What a curve may be off beyond its ends.
_FLAT = 2.0**-16
_FEWEST_HIDDEN_BITS = 8


@cache
def curve_of(activation: Activation) -> Curve | None:
    """The activation as a curve; None if it leaves -1..1, or still changes far from 0."""
    far = np.array([16.0, 32.0, 64.0, 1024.0])
    for reach in range(_MAX_REACH + 1):
        ends = activation(np.array([-(2.0**reach), 2.0**reach]))
        beyond = np.stack([activation(-np.maximum(far, 2.0**reach)), activation(far)])
        if np.all(np.abs(beyond - ends[:, None]) <= _FLAT):
            break
    else:
        return None
    values = activation(np.linspace(-(2.0**reach), 2.0**reach, (1 << CURVE_INTERVALS) + 1))
    if not np.all(np.abs(values) <= 1):
        return None
    steps = np.rint(values * 2.0**CURVE_FRACTION)
    return Curve(Tensor(np.clip(steps, -32767, 32767).astype(np.int16)), reach)


@dataclass(frozen=True, slots=True)
class _Products:
    """The two products of a layer: gates [T, B, G H] in i32, the weights R, and how to scale."""

    gates: Value
    recurrent: Weights
    hidden_bits: int
    scales: tuple[Value, ...]
    candidate_bias: Array | None


def _products(rewriter: Rewriter, op: Op, candidate_bias: Value | None) -> _Products | None:
    """The integer product of all steps' inputs; None if something is not quantized, or too wide."""
    x = narrow(rewriter, op.operands[0])
    weights = constant_weights(rewriter, op.inputs[1], MatMul())
    recurrent = constant_weights(rewriter, op.inputs[2], MatMul())
    if x is None or weights is None or recurrent is None:
        return None
    columns = weights.integers.shape[-1]
    step = np.broadcast_to(product_step(x.scale, weights.scales), (columns,))
    bias_value = op.operands[3] if len(op.operands) > 3 else None
    bias = None
    if bias_value is not None:
        reals = known(rewriter, bias_value)
        bias = None if reals is None else in_steps(np.broadcast_to(reals, (columns,)), step)
        if bias is None:
            return None
    kind = MatMul(lhs_zero_point=x.zero_point)
    if accumulator_bound(kind, Integers.of(x.x.type), weights.integers, bias) >= LIMIT:
        return None
    scaled = _recurrent_scale(rewriter, recurrent, columns, candidate_bias)
    if scaled is None:
        return None
    hidden_bits, recurrent_scale, offsets = scaled
    steps, batch, features = x.x.type.dims
    rows = rewriter.emit(Reshape((steps * batch, features)), x.x, name="rows")
    factors = [rows, rewriter.constant(weights.integers, name="input_weights")]
    if bias is not None:
        factors.append(rewriter.constant(bias, name="bias"))
    total = rewriter.emit(kind, *factors, name="accumulator")
    gates = rewriter.emit(Reshape((steps, batch, columns)), total, name="gates")
    gate_scale = step * np.float32(2.0**GATE_FRACTION)
    scales = tuple(
        rewriter.constant(np.asarray(array, np.float32), name="scale")
        for array in (gate_scale, recurrent_scale)
    )
    return _Products(gates, recurrent, hidden_bits, scales, offsets)


def _recurrent_scale(
    rewriter: Rewriter, recurrent: Weights, columns: int, candidate_bias: Value | None
) -> tuple[int, Array, Array | None] | None:
    """Bits of h, the scale of its product, the candidate's bias; None if 32 bits could overflow.

    h gets as many bits as the sum over |R| leaves room for.
    """
    reals = known(rewriter, candidate_bias)
    if candidate_bias is not None and reals is None:
        return None
    for hidden_bits in range(15, _FEWEST_HIDDEN_BITS - 1, -1):
        h_scale = np.float32(2.0**-hidden_bits)
        step = np.broadcast_to(product_step(h_scale, recurrent.scales), (columns,))
        offsets, widest = None, 0
        if reals is not None:
            offsets = in_steps(reals, step[columns - reals.size :])
            if offsets is None:
                continue
            widest = int(np.abs(offsets.astype(np.int64)).max(initial=0))
        limit = hidden_limit(hidden_bits)
        sums = np.abs(recurrent.integers.astype(np.int64)).sum(axis=0)
        if int(sums.max(initial=0)) * limit + widest < LIMIT:
            return hidden_bits, step * np.float32(2.0**GATE_FRACTION), offsets
    return None


def _curves(activations: tuple[Activation, ...]) -> tuple[Curve, ...] | None:
    found = [curve_of(activation) for activation in activations]
    curves = tuple(curve for curve in found if curve is not None)
    return curves if len(curves) == len(found) else None


def _clip(clip: float) -> int:
    """The bound of the gates' inputs in their steps; what cannot be reached if there is none."""
    return (
        2 * GATE_LIMIT
        if math.isinf(clip)
        else min(round(clip * 2.0**GATE_FRACTION), 2 * GATE_LIMIT)
    )


def _first_h(rewriter: Rewriter, value: Value | None, bits: int) -> tuple[Value | None] | None:
    """An initial state as i16 in steps of 2^-bits, absent if it is zero; None if it is float."""
    if value is None:
        return (None,)
    reals = known(rewriter, value)
    if reals is not None:
        limit = hidden_limit(bits)
        steps = np.clip(np.rint(reals * 2.0**bits), -limit, limit).astype(np.int16)
        return (rewriter.constant(steps, name="h0") if np.any(steps) else None,)
    found = narrow(rewriter, value)
    if found is None:
        return None
    whole = Range.whole(DType.I16, 0)
    if found.x.type.dtype is DType.I16 and (float(found.scale), found.zero_point) == (
        2.0**-bits,
        0,
    ):
        return (found.x,)
    scale = rewriter.constant(np.asarray(found.scale * np.float32(2.0**bits)), name="scale")
    return (rewriter.emit(Requantize(whole, found.zero_point), found.x, scale, name="h0"),)


def _first_cell(rewriter: Rewriter, value: Value | None) -> tuple[Value | None, Cell] | None:
    """An initial cell and how it becomes fixed point; None if it is float."""
    if value is None:
        return None, Cell()
    reals = known(rewriter, value)
    if reals is not None:
        steps = np.rint(reals * 2.0**CELL_FRACTION)
        if not np.all(np.abs(steps) < LIMIT):
            return None
        typed = steps.astype(np.int32)
        return (rewriter.constant(typed, name="c0") if np.any(typed) else None), Cell()
    found = narrow(rewriter, value)
    if found is None:
        return None
    # A binary32 number times a power of two, as a quotient of integers: exact.
    numerator, denominator = (float(found.scale) * 2.0**CELL_FRACTION).as_integer_ratio()
    shift = denominator.bit_length() - 1
    if numerator >= 1 << 44 or shift > 61:
        return None
    return found.x, Cell(found.zero_point, numerator, shift)


def _operand(op: Op, number: int) -> Value | None:
    return op.operands[number] if number < len(op.operands) else None


def _is_empty(op: Op) -> bool:
    return any(value.type.num_elements == 0 for value in (*op.inputs, *op.results))


def _add(
    rewriter: Rewriter, kind: OpKind, products: _Products, *states: Value | None
) -> Replacement:
    """The scan with its states dequantized."""
    recurrent = rewriter.constant(products.recurrent.integers, name="recurrent_weights")
    given = list(states)
    while given and given[-1] is None:
        given.pop()
    results = rewriter.add(kind, (products.gates, recurrent, *products.scales, *given))
    fractions = (products.hidden_bits, products.hidden_bits, CELL_FRACTION)
    zero = np.zeros((), np.int64)
    return tuple(
        emit_dequantize(rewriter, result, np.asarray(np.float32(2.0**-bits)), zero)
        for result, bits in zip(results, fractions, strict=False)
    )


@rule("lstm(dequantize(x), dequantize(W), dequantize(R)) = dequantize(lstm of integers)", Lstm)
def lstm(op: Op, rewriter: Rewriter) -> Replacement:
    kind = op.kind
    assert isinstance(kind, Lstm)
    curves = _curves(kind.activations)
    if curves is None or _operand(op, 6) is not None or _is_empty(op):
        return None
    products = _products(rewriter, op, None)
    cell = _first_cell(rewriter, _operand(op, 5))
    h0 = None if products is None else _first_h(rewriter, _operand(op, 4), products.hidden_bits)
    if products is None or cell is None or h0 is None:
        return None
    scan = QuantizedLstmScan(
        curves,
        products.hidden_bits,
        _clip(kind.clip),
        kind.reverse,
        kind.input_forget,
        cell[1],
    )
    return _add(rewriter, scan, products, h0[0], cell[0], _operand(op, 7))


@rule("gru(dequantize(x), dequantize(W), dequantize(R)) = dequantize(gru of integers)", Gru)
def gru(op: Op, rewriter: Rewriter) -> Replacement:
    kind = op.kind
    assert isinstance(kind, Gru)
    curves = _curves(kind.activations)
    if curves is None or _is_empty(op):
        return None
    products = _products(rewriter, op, _operand(op, 5))
    h0 = None if products is None else _first_h(rewriter, _operand(op, 4), products.hidden_bits)
    if products is None or h0 is None:
        return None
    scan = QuantizedGruScan(
        curves,
        products.hidden_bits,
        _clip(kind.clip),
        kind.reverse,
        kind.linear_before_reset,
    )
    offsets = products.candidate_bias
    bias = None if offsets is None else rewriter.constant(offsets, name="candidate_bias")
    return _add(rewriter, scan, products, h0[0], bias, _operand(op, 6))


RULES: tuple[Rule, ...] = (lstm, gru)
