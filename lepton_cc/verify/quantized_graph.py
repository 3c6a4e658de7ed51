"""What a graph says about its integers: which values are exact, who holds what, inputs in range."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.dtype import DType, integer_bounds
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.integer import (
    QuantizedAdd,
    QuantizedMul,
    QuantizedSoftmax,
    Requantize,
    Table,
)
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.ops.integer_scan import QuantizedGruScan, QuantizedLstmScan
from lepton_cc.ir.ops.quantization import Dequantize, Quantize
from lepton_cc.ir.ops.wide_functions import InterpolatedTable, WideSoftmax
from lepton_cc.ir.tensor import Array
from lepton_cc.sample_inputs import made_up

_QUANTIZED_KINDS = (
    *(Quantize, Dequantize, Requantize),
    *(QuantizedAdd, QuantizedMul, QuantizedSoftmax, QuantizedNorm, Table),
    *(QuantizedGruScan, QuantizedLstmScan, InterpolatedTable, WideSoftmax),
)
_NARROW = frozenset({DType.I4, DType.U4, DType.I8, DType.U8, DType.I16, DType.U16})


def is_quantized(graph: Graph) -> bool:
    """True if activations of an imported graph are quantized, by whatever operator."""
    dynamic = set(graph.inputs)
    for op in graph.ops:
        read = dynamic.intersection(op.inputs)
        if not read:
            continue
        dynamic.update(op.results)
        narrow = any(value.type.dtype in _NARROW for value in read)
        contracts = Trait.CONTRACTION in op.kind.traits
        quantizes = isinstance(op.kind, _QUANTIZED_KINDS) and op.inputs[0] in read
        if quantizes or (contracts and narrow):
            return True
    return False


def exact_values(graph: Graph) -> frozenset[str]:
    """Names of the values whose bytes every implementation must give: integer arithmetic alone.

    Quantizing, dequantizing and moving floats is exact, too; every other float op may differ in
    its last places, and so may the integers that come of it.
    """
    return frozenset(value.name for value in _exact(graph, frozenset(graph.inputs)))


def _exact(graph: Graph, exact_inputs: frozenset[Value]) -> frozenset[Value]:
    exact = set(exact_inputs)
    for op in graph.ops:
        if not exact.issuperset(op.inputs):
            continue
        if isinstance(op.kind, Fused):
            body = op.kind.body
            inner = _exact(body, frozenset(body.inputs))
            pairs = zip(op.results, body.outputs, strict=True)
            exact.update(result for result, output in pairs if output in inner)
        elif _computes_exactly(op):
            exact.update(op.results)
    return frozenset(exact)


def _computes_exactly(op: Op) -> bool:
    if isinstance(op.kind, Constant | Dequantize) or Trait.MOVEMENT in op.kind.traits:
        return True
    return not any(result.type.dtype.is_float for result in op.results)


@dataclass(frozen=True, slots=True)
class Holder:
    """A value that holds an ONNX tensor: its name, and the ONNX nodes that it comes from."""

    name: str
    nodes: tuple[str, ...]


def holders_of_tensors(imported: Graph, graph: Graph) -> Mapping[str, Holder]:
    """ONNX tensor -> the value of `graph`, made from `imported`, that holds its integers.

    By its name, or, where a pass has made a new value (unsigned tensors become signed), the last of
    the same shape that came from the same node.
    """
    there = {
        result.name: Holder(result.name, op.location.nodes)
        for op in graph.ops
        for result in op.results
    }
    last = {
        (node, result.type.shape): Holder(result.name, op.location.nodes)
        for op in graph.ops
        for node in op.location.nodes
        for result in op.results
        if result.type.dtype in _NARROW
    }
    found: dict[str, Holder] = {}
    for op in imported.ops:
        for result in op.results:
            if result.type.dtype in _NARROW and op.location.nodes:
                key = (op.location.nodes[-1], result.type.shape)
                value = there.get(result.name, last.get(key))
                if value is not None:
                    found[result.name] = value
    return found


def _constants(graph: Graph) -> Mapping[Value, Array]:
    return {op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)}


def calibrated_inputs(graph: Graph, seed: int) -> dict[str, Array]:
    """Random inputs, uniform in the range that each input's quantization represents.

    An input that is not quantized gets standard normal floats, or zeros and ones; the same for the
    same seed.
    """
    generator = np.random.default_rng(seed)
    uses, constants, quantized = graph.uses(), _constants(graph), is_quantized(graph)
    inputs: dict[str, Array] = {}
    for value in graph.inputs:
        type_ = value.type
        found = [_range(op, constants) for op in uses.get(value, ()) if op.inputs[0] == value]
        bounds = next((pair for pair in found if pair is not None), None)
        if quantized and type_.dtype in _NARROW:
            low, high = integer_bounds(type_.dtype)
            drawn = generator.integers(low, high + 1, type_.dims)
            inputs[value.name] = drawn.astype(type_.dtype.numpy)
        elif bounds is None:
            inputs[value.name] = made_up(type_, generator)
        else:
            inputs[value.name] = generator.uniform(*bounds, type_.dims).astype(type_.dtype.numpy)
    return inputs


def _range(op: Op, constants: Mapping[Value, Array]) -> tuple[float, float] | None:
    """The reals that a quantizing use of an input represents."""
    if not isinstance(op.kind, Quantize) or not op.kind.dtype.is_integer:
        return None
    scale = constants.get(op.inputs[1])
    zero_point = constants.get(op.inputs[2]) if len(op.inputs) > 2 else np.zeros(1)
    if scale is None or zero_point is None:
        return None
    low, high = integer_bounds(op.kind.dtype)
    below = (low - zero_point.astype(np.float64)) * scale
    above = (high - zero_point.astype(np.float64)) * scale
    return float(below.min()), float(above.max())
