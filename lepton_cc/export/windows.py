"""Convolutions, matrix products and pools as ONNX nodes."""

from collections.abc import Mapping

from lepton_cc.export.writer import Attribute, Writer, channels_first, identity
from lepton_cc.ir.graph import Op
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.window import Window


def _window(writer: Writer, op: Op, window: Window) -> Mapping[str, Attribute]:
    if min(window.low + window.high, default=0) < 0:
        raise writer.refuse(op, "its padding is negative")
    return {
        "kernel_shape": window.size,
        "strides": window.strides,
        "dilations": window.dilations,
        "pads": (*window.low, *window.high),
    }


def write_convolution(writer: Writer, op: Op) -> None:
    """Conv and ConvTranspose."""
    kind = op.kind
    assert isinstance(kind, Conv | ConvTranspose)
    x, weights, *bias = op.inputs
    rank = x.type.rank
    attributes = {**_window(writer, op, kind.window), "group": kind.groups}
    order = (rank - 1, rank - 2, *range(rank - 2))
    if isinstance(kind, ConvTranspose):
        attributes["output_padding"] = kind.output_padding
        order = (rank - 2, rank - 1, *range(rank - 2))
    names = [writer.tensor(x, channels_first(rank)), writer.tensor(weights, order)]
    names += [writer.tensor(value) for value in bias]
    op_type = "Conv" if isinstance(kind, Conv) else "ConvTranspose"
    y = writer.node(op_type, names, op.result.name, attributes)
    writer.bind(op.result, y, channels_first(rank))


def write_matmul(writer: Writer, op: Op) -> None:
    """Gemm of matrices, MatMul (and Add) of stacks of them."""
    names = [writer.tensor(value) for value in op.inputs[:2]]
    rank = op.result.type.rank
    has_bias = len(op.inputs) == 3
    if has_bias and all(value.type.rank == 2 for value in op.inputs[:2]):
        y = writer.node("Gemm", [*names, writer.tensor(op.inputs[2])], op.result.name)
    else:
        y = writer.node("MatMul", names, op.result.name)
        if has_bias:
            # Of full rank: of a vector ONNX Runtime makes a Gemm between reshapes, and at opset 21
            # puts a pair around them whose types do not agree.
            bias = writer.tensor(op.inputs[2], identity(rank))
            y = writer.node("Add", [y, bias], op.result.name)
    writer.bind(op.result, y, identity(rank))


def write_pool(writer: Writer, op: Op) -> None:
    """MaxPool and AveragePool."""
    kind = op.kind
    assert isinstance(kind, MaxPool | AveragePool)
    attributes = dict(_window(writer, op, kind.window))
    if all(step == 1 for step in kind.window.dilations):
        # ONNX Runtime's quantized pool has no such attribute.
        del attributes["dilations"]
    op_type = "MaxPool"
    if isinstance(kind, AveragePool):
        op_type = "AveragePool"
        attributes["count_include_pad"] = int(kind.count_padding)
        if any(kind.uncounted):
            high = [h - u for h, u in zip(kind.window.high, kind.uncounted, strict=True)]
            attributes["pads"] = (*kind.window.low, *high)
            attributes["ceil_mode"] = 1
    (x,) = op.inputs
    order = channels_first(x.type.rank)
    y = writer.node(op_type, [writer.tensor(x, order)], op.result.name, attributes)
    writer.bind(op.result, y, order)


RULES = {
    Conv: write_convolution,
    ConvTranspose: write_convolution,
    MatMul: write_matmul,
    MaxPool: write_pool,
    AveragePool: write_pool,
}
