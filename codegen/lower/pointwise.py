"""Lowering of pointwise ops: unary, binary, select, clamp and cast as expressions."""

import math
from collections.abc import Callable

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Const, Expr, select
from lepton_cc.codegen.kernel.math import convert
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.integer import (
    looked_up,
    looked_up_between,
    quantized_product,
    quantized_sum,
    requantized,
)
from lepton_cc.codegen.lower.quantization import dequantized, quantized
from lepton_cc.codegen.lower.reinterpretation import reinterpreted
from lepton_cc.codegen.lower.representation import compute_type, rounded
from lepton_cc.codegen.lower.source import Index, Source
from lepton_cc.ir.diagnostics import InternalError
from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.bitcast import Bitcast
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Requantize, Table
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.wide_functions import InterpolatedTable
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


def clamp(x: Expr, low: float, high: float) -> Expr:
    """min(max(x, low), high) that lets NaN through; bounds that bind nothing cost nothing."""
    y = x
    lowest, highest = -math.inf, math.inf
    if isinstance(x.type, DType) and x.type.is_integer:
        lowest, highest = integer_bounds(x.type)
    if low > lowest:
        bound = Const(x.type, low)
        y = select(bound > y, bound, y)
    if high < highest:
        bound = Const(x.type, high)
        y = select(bound < y, bound, y)
    return y


# Makes a constant of the kernel: tables need one.
MakeConstant = Callable[[Array], Buffer]


def pointwise_value(
    kind: OpKind,
    values: tuple[Expr, ...],
    operands: tuple[TensorType, ...],
    result: TensorType,
    constant: MakeConstant,
    magnitudes: tuple[float, ...] = (),
) -> Expr:
    """The result element of a pointwise op, from its operands' elements, in compute types."""
    if isinstance(kind, Table):
        value = looked_up(kind, values[0], constant)
    elif isinstance(kind, Requantize):
        value = requantized(kind, values, math.prod(magnitudes) if magnitudes else math.inf)
    elif isinstance(kind, InterpolatedTable):
        value = looked_up_between(kind, values[0], constant)
    else:
        value = _computed(kind, values, operands)
    if value.type is not compute_type(result.dtype):
        raise InternalError(f"{kind.mnemonic} gave {value.type} for {result}")
    return rounded(value, result.dtype)


def _computed(kind: OpKind, values: tuple[Expr, ...], operands: tuple[TensorType, ...]) -> Expr:
    match kind:
        case Unary():
            return kernel_math.unary(kind.function, values[0])
        case Binary():
            return kernel_math.binary(kind.function, values[0], values[1])
        case Select():
            return select(values[0], values[1], values[2])
        case Clamp():
            return clamp(values[0], kind.low, kind.high)
        case Cast():
            return convert(values[0], operands[0].dtype, kind.dtype, saturate=kind.saturate)
        case Bitcast():
            return reinterpreted(values[0], operands[0].dtype, kind.dtype)
        case Quantize():
            return quantized(kind, values, operands)
        case Dequantize():
            return dequantized(kind, values, operands)
        case QuantizedAdd():
            return quantized_sum(kind, values)
        case QuantizedMul():
            return quantized_product(kind, values)
    raise InternalError(f"{kind.mnemonic} is not pointwise")


def pointwise_source(
    kind: OpKind, sources: tuple[Source, ...], result: TensorType, constant: MakeConstant
) -> Source:
    """A pointwise op over sources, as a source."""
    types = tuple(source.type for source in sources)
    magnitudes = tuple(source.magnitude for source in sources)

    def at(index: Index) -> Expr:
        values = tuple(source.broadcast_at(index) for source in sources)
        return pointwise_value(kind, values, types, result, constant, magnitudes)

    linear = None
    same = [source for source in sources if source.type.num_elements != 1]
    if all(s.type.dims == result.dims and s.linear is not None for s in same):

        def linear_at(number: Expr) -> Expr:
            values = tuple(source.at_linear(number) for source in sources)
            return pointwise_value(kind, values, types, result, constant, magnitudes)

        linear = linear_at
    return Source(result, at, linear)
