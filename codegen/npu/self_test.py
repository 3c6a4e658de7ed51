"""The self-test of a payload: made-up inputs, what the model makes of them, and layer by layer.

The outputs are the interpreter's: the test holds whoever runs it to the numerics. A second segment,
which no run of the model uses, stores the result of each layer, so that the driver can name the
first that differs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.engine_program import BoundSegment, OuterPlace, bind_segment
from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.payload import ALIGNMENT, LayerResult, test_section
from lepton_cc.codegen.npu.segment import Segment, compile_segment
from lepton_cc.ir.dtype import integer_bounds
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import evaluate_ops
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType

_SEED = 1


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The TEST section, and the segment that stores the results of layers, if there is one."""

    section: bytes
    diagnosis: BoundSegment | None


def self_test(
    graph: Graph,
    body: Graph,
    places: Sequence[OuterPlace],
    segment: Segment,
    machine: Machine,
    pool: ConstantPool,
) -> SelfTest:
    """The self-test of a model of integers that is one segment, `body` its graph.

    `places` are those of the segment's inputs: ports of the model.
    """
    random = np.random.default_rng(_SEED)
    inputs = [_made_up(value.type, random) for value in graph.inputs]
    outputs = evaluate_ops(graph, dict(zip(graph.inputs, inputs, strict=True)))
    given = {
        value: inputs[place.position] for value, place in zip(body.inputs, places, strict=True)
    }
    diagnosis = _diagnosis(body, segment, machine, pool)
    results = () if diagnosis is None else _layer_results(body, diagnosis, given)
    section = test_section(
        [array.tobytes() for array in inputs], [array.tobytes() for array in outputs], results
    )
    return SelfTest(section, None if diagnosis is None else bind_segment(diagnosis, places, ()))


def _diagnosis(
    body: Graph, segment: Segment, machine: Machine, pool: ConstantPool
) -> Segment | None:
    """The segment's layers once more, each result stored to STATE.

    None where they do not fit the scratchpad without the cascades that stores do away with.
    """
    results = tuple(dict.fromkeys(layer.result for layer in segment.layers))
    stored: dict[Value, Address] = {}
    end = 0
    for value in results:
        stored[value] = Address(Region.STATE, end)
        end += -(-value.type.size_bytes // ALIGNMENT) * ALIGNMENT
    found = compile_segment(_with_outputs(body, results), machine, pool, stored)
    fits = found.spm_bytes <= machine.member.spm_bytes and not found.spilled_bytes
    same = tuple(layer.result for layer in found.layers) == results
    return found if fits and same else None


def _with_outputs(body: Graph, values: Sequence[Value]) -> Graph:
    names = tuple(value.name for value in values)
    return Graph(body.name, body.inputs, tuple(values), names, body.ops)


def _layer_results(
    body: Graph, diagnosis: Segment, given: Mapping[Value, Array]
) -> tuple[LayerResult, ...]:
    values = [layer.result for layer in diagnosis.layers]
    arrays = evaluate_ops(_with_outputs(body, values), dict(given))
    return tuple(LayerResult(array.nbytes, crc32c(array.tobytes())) for array in arrays)


def _made_up(type_: TensorType, random: np.random.Generator) -> Array:
    low, high = integer_bounds(type_.dtype)
    return random.integers(low, high + 1, type_.dims).astype(type_.dtype.numpy)
