"""Every layer of real models on the engine: what it stores is what the interpreter has there.

Inputs are the recorded ones. A segment has few outputs, so it is cut and compiled many times.
"""

from collections.abc import Iterator, Mapping

import pytest

from lepton_cc.codegen.npu.fuse import fuse_layers
from lepton_cc.codegen.npu.isa.regions import MAX_PORTS
from lepton_cc.codegen.npu.select import select
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import evaluate_ops
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.tensor import Array
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.real_models import TINY_INT8, RealModel

MEMBERS = {128: 0, 256: 1}  # MACs: which of the recorded inputs


def cut(body: Graph, outputs: tuple[Value, ...]) -> Graph:
    """What the outputs need of a graph."""
    needed, ops = set(outputs), []
    for op in reversed(body.ops):
        if needed & set(op.results):
            ops.append(op)
            needed.update(op.inputs)
    names = tuple(value.name for value in outputs)
    inputs = tuple(value for value in body.inputs if value in needed)
    return Graph(body.name, inputs, outputs, names, tuple(reversed(ops)))


def parts(body: Graph) -> Iterator[Graph]:
    """The body up to a few layers each, until every layer's result was an output."""
    layers = fuse_layers(select(body).layers, body.outputs, lambda *_: True)
    results = [layer.result for layer in layers]
    for first in range(0, len(results), MAX_PORTS):
        yield cut(body, tuple(results[first : first + MAX_PORTS]))


def segment_inputs(graph: Graph, arrays: Mapping[str, Array]) -> dict[Value, Array]:
    """The operands of all segments of a graph, for inputs of it."""
    wanted = tuple(
        dict.fromkeys(
            v for op in graph.ops if isinstance(op.kind, EngineSegment) for v in op.inputs
        )
    )
    inner = Graph(graph.name, graph.inputs, wanted, tuple(v.name for v in wanted), graph.ops)
    found = evaluate_ops(inner, {value: arrays[value.name] for value in graph.inputs})
    return dict(zip(wanted, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("macs", MEMBERS)
@pytest.mark.parametrize("model", TINY_INT8, ids=str)
def test_every_layer(model: RealModel, macs: int) -> None:
    target = load_target(f"lepton-npu-{macs}")
    assert target.engine is not None
    machine = machine_of(target.engine)
    graph = compile_model(model.require(), CompileOptions(target)).graph
    given = segment_inputs(graph, model.samples()[MEMBERS[macs]].inputs)
    compared = 0
    for op in graph.ops:
        if not isinstance(op.kind, EngineSegment):
            continue
        arrays = dict(zip(op.kind.body.inputs, (given[v] for v in op.inputs), strict=True))
        for body in parts(op.kind.body):
            assert_runs_as_interpreted(body, machine, tuple(arrays[v] for v in body.inputs))
            compared += len(body.outputs)
    assert compared > 4
