"""What is to be rounded while a graph is trained: exactly what the quantizer will round afterwards.

Nothing is decided here: the quantizer is run once with made-up ranges, and the plan is read from
the pairs that it puts in.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.ir.diagnostics import Code, refuse
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.passes.quantize.activation_parameters import ActivationParameters, Interval
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.quantization_points import quantization_points
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

_MADE_UP = Interval(-1.0, 1.0)


@dataclass(frozen=True, slots=True)
class QuantizationPlan:
    """Names of values throughout.

    `measured` values become integers of a type in a range that training finds, `fixed` ones have
    their parameters. `contractions`, by their result: the integers of their weights and the value
    whose step the bias is in. `constants`: operands (by result and number) that get one scale.
    `interface`: inputs and outputs of the graph, of which nothing is cut off.
    """

    scheme: WeightScheme
    measured: Mapping[str, DType]
    fixed: Mapping[str, ActivationParameters]
    contractions: Mapping[str, tuple[DType, str]]
    constants: Mapping[tuple[str, int], DType]
    interface: frozenset[str]


def quantization_plan(graph: Graph, scheme: WeightScheme) -> QuantizationPlan:
    """The plan of a prepared float graph.

    Raises:
        Refused: it is quantized, or nothing of it could compute with integers.
    """
    points = quantization_points(graph)
    made_up = {value.name: _MADE_UP for value in points.measured}
    inserted = InsertQuantization(scheme, made_up).run(graph, Statistics())
    producers = inserted.producers()
    before = {op.results: op for op in graph.ops}
    fixed = {value.name: by.widened(scheme.activations) for value, by in points.fixed.items()}
    measured: dict[str, DType] = {}
    contractions: dict[str, tuple[DType, str]] = {}
    constants: dict[tuple[str, int], DType] = {}
    weighed = set(points.contractions)
    for op in inserted.ops:
        if isinstance(op.kind, Quantize) and op.inputs[0].name not in fixed:
            measured[op.inputs[0].name] = op.kind.dtype
        for number, value in enumerate(op.operands):
            integers = _constant_integers(producers, value)
            if integers is None or isinstance(op.kind, Dequantize | Quantize):
                continue
            if before[op.results] not in weighed:
                constants[op.result.name, number] = integers
            elif number == 1:
                contractions[op.result.name] = integers, _source(producers, op.inputs[0])
    if not contractions:
        raise refuse(
            Code.UNSUPPORTED_FORM,
            "the model has no layer with weights that could compute with integers",
            hint="train it without quantization",
        )
    interface = frozenset(value.name for value in (*graph.inputs, *graph.outputs))
    return QuantizationPlan(scheme, measured, fixed, contractions, constants, interface)


def _constant_integers(producers: Mapping[Value, Op], value: Value | None) -> DType | None:
    op = None if value is None else producers.get(value)
    if op is None or not isinstance(op.kind, Dequantize):
        return None
    behind = producers.get(op.inputs[0])
    known = behind is not None and isinstance(behind.kind, Constant)
    return op.inputs[0].type.dtype if known else None


def _source(producers: Mapping[Value, Op], value: Value) -> str:
    """The value whose pair gave `value` its scale, through what only moves it."""
    op = producers[value]
    while not isinstance(op.kind, Dequantize):
        assert Trait.MOVEMENT in op.kind.traits or isinstance(op.kind, MaxPool)
        op = producers[op.inputs[0]]
    return producers[op.inputs[0]].inputs[0].name
