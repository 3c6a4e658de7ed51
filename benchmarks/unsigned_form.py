"""The uint8 form of an int8 QDQ model: the same network to the bit, its activations moved by 128.

Libraries have kernels for one form and not for the other; both are measured.
"""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_SHIFT = 128


def unsigned_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose activations are uint8: their numbers and zero points are larger by 128.

    Rounding happens before the zero point is added, and saturation moves with it, so that every
    dequantized value stays as it was. Weights and biases stay int8 and int32.

    Raises:
        ValueError: an int8 activation goes elsewhere than into DequantizeLinear, or is a graph's
            input or output.
    """
    shifted = onnx.ModelProto()
    shifted.CopyFrom(model)
    graph = shifted.graph
    moved = {
        node.output[0]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and _zero_point_type(graph, node) == TensorProto.INT8
    }
    _check_readers(graph, moved)
    zero_points: dict[str, str] = {}
    for node in graph.node:
        of = {"QuantizeLinear": node.output, "DequantizeLinear": node.input}.get(node.op_type)
        if of is not None and of[0] in moved:
            node.input[2] = _moved_zero_point(graph, node.input[2], zero_points)
    for info in graph.value_info:
        if info.name in moved:
            info.type.tensor_type.elem_type = TensorProto.UINT8
    _drop_unread(graph, frozenset(zero_points))
    return shifted


def _constant(graph: onnx.GraphProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto = next(one for one in graph.initializer if one.name == name)
    return found


def _zero_point_type(graph: onnx.GraphProto, node: onnx.NodeProto) -> int:
    """Without a zero point, QuantizeLinear gives uint8."""
    if len(node.input) < 3:
        return int(TensorProto.UINT8)
    return int(_constant(graph, node.input[2]).data_type)


def _check_readers(graph: onnx.GraphProto, moved: set[str]) -> None:
    for node in graph.node:
        if node.op_type != "DequantizeLinear" and moved.intersection(node.input):
            raise ValueError(f"{node.op_type} {node.name!r} reads int8 activations")
    for port in (*graph.input, *graph.output):
        if port.type.tensor_type.elem_type == TensorProto.INT8:
            raise ValueError(f"{port.name!r} is int8 at the border of the graph")


def _moved_zero_point(graph: onnx.GraphProto, name: str, made: dict[str, str]) -> str:
    """The name of a zero point that is larger by 128; the old one may be a weight's as well."""
    if name not in made:
        old = numpy_helper.to_array(_constant(graph, name))
        new = (old.astype(np.int16) + _SHIFT).astype(np.uint8)
        made[name] = f"{name}_unsigned"
        graph.initializer.append(numpy_helper.from_array(new, made[name]))
    return made[name]


def _drop_unread(graph: onnx.GraphProto, candidates: frozenset[str]) -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [
        tensor
        for tensor in graph.initializer
        if tensor.name in read or tensor.name not in candidates
    ]
    del graph.initializer[:]
    graph.initializer.extend(kept)
