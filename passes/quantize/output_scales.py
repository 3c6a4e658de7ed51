"""The size of a step of each output, for reports in steps (LSB)."""

from collections.abc import Mapping

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.quantization import Dequantize


def output_scales(graph: Graph) -> Mapping[str, float]:
    """ONNX name -> the size of a step, for outputs that are integers or dequantized from them."""
    producers = graph.producers()
    constants = {
        op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)
    }
    scales: dict[str, float] = {}
    for name, value in zip(graph.output_names, graph.outputs, strict=True):
        if value.type.dtype.is_integer:
            scales[name] = 1.0
            continue
        op = producers.get(value)
        while op is not None and Trait.MOVEMENT in op.kind.traits and len(op.inputs) == 1:
            op = producers.get(op.inputs[0])
        if op is not None and isinstance(op.kind, Dequantize):
            scale = constants.get(op.inputs[1])
            if scale is not None and scale.size == 1 and float(scale.reshape(())) > 0:
                scales[name] = float(scale.reshape(()))
    return scales
