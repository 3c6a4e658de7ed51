"""A graph as an ONNX model: what `lepton compress` writes for other tools and for our frontend.

Quantized graphs become QDQ models: pairs of QuantizeLinear and DequantizeLinear around float
operators, weights of 4 and 8 bits behind a DequantizeLinear. Written from a graph before its
integers are raised.

Behind movement of what was dequantized stands the same pair once more. It changes nothing (the
integers come back as they were), and ONNX Runtime then moves integers; without it, it puts a pair
there itself, of a wrong type in models of opset 21.
"""

from collections.abc import Callable, Mapping

import onnx

from lepton_cc.export import movement, pointwise, recurrent, resize, windows
from lepton_cc.export.writer import ELEMENT_TYPES, Writer, identity
from lepton_cc.ir.diagnostics import Diagnostic, Refused
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.movement import Transpose
from lepton_cc.ir.ops.normalization import RmsNorm
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.quantization import Dequantize

# (opset, IR version): the usual one, that of quantization to other than 8 bits, that of
# RMSNormalization.
_USUAL, _OTHER_WIDTHS, _RMS_NORM = (20, 9), (21, 10), (23, 11)
_BYTES_AND_BIASES = (DType.I8, DType.U8, DType.I32)

_RULES: Mapping[type[OpKind], Callable[[Writer, Op], None]] = {
    **windows.RULES,
    **pointwise.RULES,
    **movement.RULES,
    **recurrent.RULES,
    **resize.RULES,
}


def onnx_model(graph: Graph) -> onnx.ModelProto:
    """The graph with its input and output names as a checked ONNX model.

    Raises:
        Refused: ONNX has no form for an op; all such ops are named.
    """
    writer = Writer(graph)
    problems: list[Diagnostic] = []
    broken: set[Value] = set()
    for op in graph.ops:
        if not broken.isdisjoint(op.inputs):
            broken.update(op.results)
            continue
        writer.begin(op)
        try:
            _write(writer, op)
            _carry_pair(writer, op)
        except Refused as refusal:
            problems += refusal.diagnostics
            broken.update(op.results)
    if problems:
        raise Refused(problems)
    _name_outputs(writer, graph)
    opset, ir_version = _versions(graph)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            writer.nodes,
            graph.name,
            [_value_info(value.name, value) for value in graph.inputs],
            [
                _value_info(name, value)
                for name, value in zip(graph.output_names, graph.outputs, strict=True)
            ],
            writer.initializers,
        ),
        producer_name="lepton-cc",
        ir_version=ir_version,
        opset_imports=[onnx.helper.make_opsetid("", opset)],
    )
    onnx.checker.check_model(model)
    return model


def _versions(graph: Graph) -> tuple[int, int]:
    """The oldest opset, of those that we write, that has all ops of the graph."""
    if any(isinstance(op.kind, RmsNorm) for op in graph.ops):
        return _RMS_NORM
    dequantized = [op.inputs for op in graph.ops if isinstance(op.kind, Dequantize)]
    usual = all(
        x.type.dtype in _BYTES_AND_BIASES and _num_varying(scale) < 2
        for x, scale, *_ in dequantized
    )
    return _USUAL if usual else _OTHER_WIDTHS


def _num_varying(scale: Value) -> int:
    return sum(size > 1 for size in scale.type.dims)


def _write(writer: Writer, op: Op) -> None:
    if writer.keep_constant(op):
        return
    if type(op.kind) not in _RULES:
        raise writer.refuse(op, "it is no operator of ONNX")
    _RULES[type(op.kind)](writer, op)


def _carry_pair(writer: Writer, op: Op) -> None:
    """Repeats the pair of what an op moves behind it."""
    if isinstance(op.kind, Dequantize) and not writer.is_constant(op.result):
        parameters = [writer.array(value) for value in op.inputs[1:]]
        if all(array is not None and array.size == 1 for array in parameters):
            writer.note_dequantized(op.result, op)
        return
    moves = Trait.MOVEMENT in op.kind.traits or isinstance(op.kind, MaxPool)
    if not moves or len(op.results) != 1:
        return
    behind = {writer.dequantized_by(v) for v in op.inputs if v.type.dtype.is_float}
    dequantize = next(iter(behind)) if len(behind) == 1 else None
    if dequantize is None:
        return
    if isinstance(op.kind, Transpose):
        writer.note_dequantized(op.result, dequantize)
    else:
        writer.repeat_pair(op.result, dequantize)


def _value_info(name: str, value: Value) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(
        name, ELEMENT_TYPES[value.type.dtype], value.type.dims
    )


def _name_outputs(writer: Writer, graph: Graph) -> None:
    """Gives what computes an output its name; what is an input or output already is copied."""
    named = [
        (name, writer.tensor(value, identity(value.type.rank)))
        for name, value in zip(graph.output_names, graph.outputs, strict=True)
    ]
    taken = {value.name for value in graph.inputs}
    taken.update(tensor.name for tensor in writer.initializers)
    renamed: dict[str, str] = {}
    for name, tensor in named:
        if tensor in taken or tensor in renamed:
            source = renamed.get(tensor, tensor)
            writer.nodes.append(onnx.helper.make_node("Identity", [source], [name], f"{name}/copy"))
        else:
            renamed[tensor] = name
    for node in writer.nodes:
        for field in (node.input, node.output):
            for index, tensor in enumerate(field):
                field[index] = renamed.get(tensor, tensor)
