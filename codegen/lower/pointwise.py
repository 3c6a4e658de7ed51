"""Lowering of pointwise ops: unary, binary, select, clamp and cast as expressions."""

import math

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.ir import Const, Expr, select
from lepton_cc.codegen.kernel.math import convert
from lepton_cc.codegen.lower.quantization import dequantized, quantized
from lepton_cc.codegen.lower.reinterpretation import reinterpreted
from lepton_cc.codegen.lower.representation import compute_type, rounded
from lepton_cc.codegen.lower.source import Index, Source
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.bitcast import Bitcast
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.types import TensorType


def clamp(x: Expr, low: float, high: float) -> Expr:
    """min(max(x, low), high) that lets NaN through; infinite bounds cost nothing."""
    y = x
    if low != -math.inf:
        bound = Const(x.type, low)
        y = select(bound > y, bound, y)
    if high != math.inf:
        bound = Const(x.type, high)
        y = select(bound < y, bound, y)
    return y


def pointwise_value(
    kind: OpKind, values: tuple[Expr, ...], operands: tuple[TensorType, ...], result: TensorType
) -> Expr:
    """The result element of a pointwise op, from its operands' elements, in compute types."""
    value: Expr
    if isinstance(kind, Unary):
        value = kernel_math.unary(kind.function, values[0])
    elif isinstance(kind, Binary):
        value = kernel_math.binary(kind.function, values[0], values[1])
    elif isinstance(kind, Select):
        value = select(values[0], values[1], values[2])
    elif isinstance(kind, Clamp):
        value = clamp(values[0], kind.low, kind.high)
    elif isinstance(kind, Cast):
        value = convert(values[0], operands[0].dtype, kind.dtype, saturate=kind.saturate)
    elif isinstance(kind, Bitcast):
        value = reinterpreted(values[0], operands[0].dtype, kind.dtype)
    elif isinstance(kind, Quantize):
        value = quantized(kind, values, operands)
    elif isinstance(kind, Dequantize):
        value = dequantized(kind, values, operands)
    else:
        raise AssertionError(f"{kind.mnemonic} is not pointwise")
    assert value.type is compute_type(result.dtype), (kind, value.type)
    return rounded(value, result.dtype)


def pointwise_source(kind: OpKind, sources: tuple[Source, ...], result: TensorType) -> Source:
    """A pointwise op over sources, as a source."""
    types = tuple(source.type for source in sources)

    def at(index: Index) -> Expr:
        values = tuple(source.broadcast_at(index) for source in sources)
        return pointwise_value(kind, values, types, result)

    linear = None
    same = [source for source in sources if source.type.num_elements != 1]
    if all(s.type.dims == result.dims and s.linear is not None for s in same):

        def linear_at(number: Expr) -> Expr:
            values = tuple(source.at_linear(number) for source in sources)
            return pointwise_value(kind, values, types, result)

        linear = linear_at
    return Source(result, at, linear)
