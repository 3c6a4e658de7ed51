"""Makes the model's interface integer: inputs as quantized, outputs before they are dequantized.

Runs after the integers are raised. Whoever calls the model then does the conversion, or has
integers in any case.
"""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class PortScale:
    """real = scale * (integer - zero_point), for every element of a port."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class ExposeIntegers(Pass):
    """Removes `quantize` of inputs and `dequantize` of outputs; scales must be one per tensor."""

    NAME: ClassVar[str] = "expose-integers"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        removed = {id(op): op for op in (*_input_ops(graph), *_output_ops(graph))}
        if not removed:
            return graph
        statistics.count("integers in the interface", len(removed))
        renamed = {
            op.operands[0]: Value(op.operands[0].name, op.result.type)
            for op in _input_ops(graph)
            if op.operands[0] is not None
        }
        moved = {
            op.result: renamed[op.operands[0]]
            for op in _input_ops(graph)
            if op.operands[0] is not None
        }
        outputs = {op.result: op.operands[0] for op in _output_ops(graph)}
        ops = tuple(
            Op(
                op.kind,
                tuple(None if v is None else moved.get(v, v) for v in op.operands),
                op.results,
                op.location,
            )
            for op in graph.ops
            if id(op) not in removed
        )
        results = (outputs.get(value, value) or value for value in graph.outputs)
        return Graph(
            graph.name,
            tuple(renamed.get(value, value) for value in graph.inputs),
            tuple(moved.get(value, value) for value in results),
            graph.output_names,
            ops,
        )


def port_scales(graph: Graph) -> dict[str, PortScale]:
    """The scales of the inputs and outputs that `ExposeIntegers` makes integers, by ONNX name."""
    constants = _constants(graph)
    scales: dict[str, PortScale] = {}
    for op in _input_ops(graph):
        assert op.operands[0] is not None
        scales[op.operands[0].name] = _scale(op, constants)
    names = dict(zip(graph.outputs, graph.output_names, strict=True))
    for op in _output_ops(graph):
        scales[names[op.result]] = _scale(op, constants)
    return scales


def _constants(graph: Graph) -> dict[Value, Array]:
    return {op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)}


def _scale(op: Op, constants: dict[Value, Array]) -> PortScale:
    scale = op.operands[1]
    assert scale is not None
    point = op.operands[2] if len(op.operands) > 2 else None
    zero_point = 0 if point is None else int(constants[point].reshape(()))
    return PortScale(float(constants[scale].reshape(())), zero_point)


def _has_one_scale(op: Op, constants: dict[Value, Array]) -> bool:
    parameters = [value for value in op.operands[1:] if value is not None]
    return all(value in constants and constants[value].size == 1 for value in parameters)


def _input_ops(graph: Graph) -> list[Op]:
    """The quantize ops that are the only readers of an input."""
    uses, constants = graph.uses(), _constants(graph)
    return [
        op
        for op in graph.ops
        if isinstance(op.kind, Quantize)
        and op.operands[0] in graph.inputs
        and len(uses[op.operands[0]]) == 1
        and op.operands[0] not in graph.outputs
        and _has_one_scale(op, constants)
    ]


def _output_ops(graph: Graph) -> list[Op]:
    """The dequantize ops whose result is an output, once, and nothing else."""
    uses, constants = graph.uses(), _constants(graph)
    return [
        op
        for op in graph.ops
        if isinstance(op.kind, Dequantize)
        and graph.outputs.count(op.result) == 1
        and op.result not in uses
        and op.operands[0] not in graph.inputs
        and graph.outputs.count(op.operands[0]) == 0
        and _has_one_scale(op, constants)
    ]
