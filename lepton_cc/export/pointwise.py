"""Ops on single elements as ONNX nodes, quantization among them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lepton_cc.export.writer import ELEMENT_TYPES, Attribute, Order, Writer, identity
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.quantization import Dequantize, Quantize

_UNARY: Mapping[U, str] = {
    U.ABS: "Abs",
    U.NEG: "Neg",
    U.SIGN: "Sign",
    U.CEIL: "Ceil",
    U.FLOOR: "Floor",
    U.ROUND: "Round",
    U.RECIPROCAL: "Reciprocal",
    U.SQRT: "Sqrt",
    U.EXP: "Exp",
    U.LOG: "Log",
    U.SIN: "Sin",
    U.COS: "Cos",
    U.TAN: "Tan",
    U.ASIN: "Asin",
    U.ACOS: "Acos",
    U.ATAN: "Atan",
    U.SINH: "Sinh",
    U.COSH: "Cosh",
    U.TANH: "Tanh",
    U.ASINH: "Asinh",
    U.ACOSH: "Acosh",
    U.ATANH: "Atanh",
    U.ERF: "Erf",
    U.SIGMOID: "Sigmoid",
    U.GELU: "Gelu",
    U.IS_NAN: "IsNaN",
}
_BINARY: Mapping[B, str] = {
    B.ADD: "Add",
    B.SUB: "Sub",
    B.MUL: "Mul",
    B.DIV: "Div",
    B.POW: "Pow",
    B.MIN: "Min",
    B.MAX: "Max",
    B.EQUAL: "Equal",
    B.LESS: "Less",
    B.LESS_EQUAL: "LessOrEqual",
    B.GREATER: "Greater",
    B.GREATER_EQUAL: "GreaterOrEqual",
}


def _common_order(writer: Writer, values: Sequence[Value], rank: int) -> Order:
    """The order of the first operand of full rank, if the others can be given in it."""
    computed = [value for value in values if not writer.is_constant(value)]
    if any(0 < value.type.rank < rank for value in computed):
        return identity(rank)
    full = [value for value in computed if value.type.rank == rank]
    return writer.order_of(full[0]) if full else identity(rank)


def _write(
    writer: Writer, op: Op, op_type: str, attributes: Mapping[str, Attribute] | None = None
) -> None:
    rank = op.result.type.rank
    order = _common_order(writer, op.inputs, rank)
    names = []
    for value in op.inputs:
        below = value.type.rank < rank and (value.type.rank == 0 or order == identity(rank))
        names.append(writer.tensor(value) if below else writer.tensor(value, order))
    writer.bind(op.result, writer.node(op_type, names, op.result.name, attributes), order)


def write_unary(writer: Writer, op: Op) -> None:
    """Functions of one element."""
    kind = op.kind
    assert isinstance(kind, Unary)
    if kind.function is U.RSQRT:
        view = writer.view(op.inputs[0])
        root = writer.node("Sqrt", [view.name], op.result.name)
        writer.bind(op.result, writer.node("Reciprocal", [root], op.result.name), view.order)
        return
    if kind.function is U.NOT and op.result.type.dtype is DType.BOOL:
        return _write(writer, op, "Not")
    if kind.function not in _UNARY:
        raise writer.refuse(op, "ONNX has no such function")
    return _write(writer, op, _UNARY[kind.function])


def write_binary(writer: Writer, op: Op) -> None:
    """Functions of two elements."""
    kind = op.kind
    assert isinstance(kind, Binary)
    if kind.function not in _BINARY:
        raise writer.refuse(op, "ONNX has no such function of these types")
    _write(writer, op, _BINARY[kind.function])


def write_select(writer: Writer, op: Op) -> None:
    """Where."""
    _write(writer, op, "Where")


def write_cast(writer: Writer, op: Op) -> None:
    """Cast."""
    kind = op.kind
    assert isinstance(kind, Cast)
    _write(writer, op, "Cast", {"to": ELEMENT_TYPES[kind.dtype]})


def write_clamp(writer: Writer, op: Op) -> None:
    """Relu or Clip."""
    kind = op.kind
    assert isinstance(kind, Clamp)
    if (kind.low, kind.high) == (0.0, math.inf):
        return _write(writer, op, "Relu")
    view = writer.view(op.inputs[0])
    dtype = op.result.type.dtype.numpy
    bounds = [
        "" if math.isinf(bound) else writer.initializer(np.asarray(bound).astype(dtype), stem)
        for bound, stem in ((kind.low, "low"), (kind.high, "high"))
    ]
    while bounds and not bounds[-1]:
        bounds.pop()
    y = writer.node("Clip", [view.name, *bounds], op.result.name)
    return writer.bind(op.result, y, view.order)


def write_quantization(writer: Writer, op: Op) -> None:
    """QuantizeLinear and DequantizeLinear of computed tensors."""
    x, *parameters = op.inputs
    view = writer.view(x)
    rank = x.type.rank
    arrays = [writer.array(value) for value in parameters]
    known = [array for array in arrays if array is not None]
    if len(known) != len(arrays):
        raise writer.refuse(op, "its scale is computed")
    wide = known[0].reshape((1,) * (rank - known[0].ndim) + known[0].shape)
    varying = [axis for axis, size in enumerate(wide.shape) if size > 1]
    if len(varying) > 1:
        raise writer.refuse(op, "its scales vary along several axes")
    attributes: dict[str, Attribute] = {}
    if varying:
        attributes["axis"] = view.order.index(varying[0])
    names = [view.name]
    for value, array in zip(parameters, known, strict=True):
        names.append(writer.initializer(array.reshape(-1 if varying else ()), value.name))
    op_type = "DequantizeLinear"
    if isinstance(op.kind, Quantize):
        op_type = "QuantizeLinear"
        if len(parameters) == 1:
            attributes["output_dtype"] = ELEMENT_TYPES[op.kind.dtype]
    writer.bind(op.result, writer.node(op_type, names, op.result.name, attributes), view.order)


RULES = {
    Binary: write_binary,
    Cast: write_cast,
    Clamp: write_clamp,
    Dequantize: write_quantization,
    Quantize: write_quantization,
    Select: write_select,
    Unary: write_unary,
}
