"""Placement: gathers what the engine can execute into segments; the rest stays on the core.

The ops of a segment depend on the core's only through its operands: stages count how often the
work changes between engine and core on the way from the inputs, and a segment is a stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.codegen.npu.layers import ConvLayer, Layer, MatMulLayer, MoveLayer
from lepton_cc.codegen.npu.requirements import Reason
from lepton_cc.codegen.npu.select import select
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.movement import Concat
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.passes.manager import Pass


@dataclass(frozen=True, slots=True)
class Fallback:
    """An op that runs on the control core, and why."""

    op: Op
    reason: Reason


@dataclass(frozen=True, slots=True)
class Placement:
    """The graph with its segments, and what stayed outside."""

    graph: Graph
    fallbacks: tuple[Fallback, ...]


@dataclass(frozen=True, slots=True)
class PlaceOnEngine(Pass):
    """Moves what the tensor engine can execute into `engine_segment` ops."""

    NAME: ClassVar[str] = "place-on-engine"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        placement = place_on_engine(graph)
        for op in placement.graph.ops:
            if isinstance(op.kind, EngineSegment):
                statistics.count("ops of a segment", len(op.kind.body.ops))
        return placement.graph


def place_on_engine(graph: Graph) -> Placement:
    """Splits a graph between the engine and the core."""
    selection = select(graph)
    reasons = {id(op): reason for op, reason in selection.reasons}
    layers = _worth_moving(graph, selection.layers, reasons)
    member = {id(op): layer for layer in layers for op in layer.ops}
    stages = _stages(graph, member)
    groups: dict[int, list[Op]] = {}
    for op in graph.ops:
        if id(op) in member:
            groups.setdefault(stages[id(op)], []).append(op)
    fallbacks = tuple(Fallback(op, reasons[id(op)]) for op in graph.ops if id(op) in reasons)
    return Placement(_with_segments(graph, groups, stages, member), fallbacks)


def _worth_moving(graph: Graph, layers: Sequence[Layer], reasons: dict[int, Reason]) -> list[Layer]:
    """Drops layers at the edges that only move bytes, then segments that have no products."""
    kept = list(layers)
    producers, uses = graph.producers(), graph.uses()
    while True:
        member = {id(op): layer for layer in kept for op in layer.ops}
        dropped: list[tuple[Layer, Reason]] = [
            (layer, Reason.ON_THE_WAY)
            for layer in kept
            if isinstance(layer, MoveLayer) and _at_the_edge(layer, member, producers, uses)
        ]
        if not dropped:
            dropped = [(layer, Reason.TOO_LITTLE) for layer in _idle(graph, member)]
        if not dropped:
            return kept
        for layer, reason in dropped:
            kept.remove(layer)
            reasons.update((id(op), reason) for op in layer.ops)


def _at_the_edge(
    layer: MoveLayer,
    member: Mapping[int, Layer],
    producers: Mapping[Value, Op],
    uses: Mapping[Value, Sequence[Op]],
) -> bool:
    """Whether the core makes all that it moves, or reads all of it (but for joining parts)."""
    first = all(value in producers and id(producers[value]) not in member for value in layer.inputs)
    last = not any(id(reader) in member for reader in uses.get(layer.result, ()))
    return first or (last and not isinstance(layer.op.kind, Concat))


def _idle(graph: Graph, member: Mapping[int, Layer]) -> list[Layer]:
    """The layers of segments without convolutions and products."""
    stages = _stages(graph, member)
    by_stage: dict[int, dict[int, Layer]] = {}
    for identity, layer in member.items():
        by_stage.setdefault(stages[identity], {})[id(layer)] = layer
    return [
        layer
        for group in by_stage.values()
        if not any(isinstance(layer, ConvLayer | MatMulLayer) for layer in group.values())
        for layer in group.values()
    ]


def _stages(graph: Graph, member: Mapping[int, Layer]) -> dict[int, int]:
    """How often the work has changed sides when each op runs: even on the core, odd on the engine.

    Ops of one layer have the stage of its last one.
    """
    producers = graph.producers()
    stages: dict[int, int] = {}
    for op in graph.ops:
        layer = member.get(id(op))
        mine = 0 if layer is None else 1
        stage = mine
        for value in op.inputs:
            producer = producers.get(value)
            if producer is None or isinstance(producer.kind, Constant):
                continue
            before = stages[id(producer)]
            stage = max(stage, before if before % 2 == mine else before + 1)
        stages[id(op)] = stage
        if layer is not None and op is layer.ops[-1]:
            stages.update((id(inner), stage) for inner in layer.ops)
    return stages


def _with_segments(
    graph: Graph,
    groups: Mapping[int, Sequence[Op]],
    stages: Mapping[int, int],
    member: Mapping[int, Layer],
) -> Graph:
    """The graph with each group replaced by one op; ops go by stage, then in the old order."""
    producers = graph.producers()
    constants = [op for op in graph.ops if isinstance(op.kind, Constant)]
    rest = [op for op in graph.ops if not isinstance(op.kind, Constant)]
    ops: list[Op] = list(constants)
    for stage in sorted({stages[id(op)] for op in rest}):
        if stage in groups:
            ops.append(_segment(graph, groups[stage], producers, stage))
        else:
            ops += [op for op in rest if stages[id(op)] == stage and id(op) not in member]
    return graph.with_ops(tuple(ops))


def _segment(graph: Graph, ops: Sequence[Op], producers: Mapping[Value, Op], stage: int) -> Op:
    inside = {result for op in ops for result in op.results}
    operands: dict[Value, None] = {}
    constants: dict[int, Op] = {}
    for op in ops:
        for value in op.inputs:
            producer = producers.get(value)
            if producer is not None and isinstance(producer.kind, Constant):
                constants[id(producer)] = producer
            elif value not in inside:
                operands[value] = None
    identities = {id(op) for op in ops}
    readers = graph.uses()
    results = tuple(
        value
        for op in ops
        for value in op.results
        if value in graph.outputs
        or any(id(reader) not in identities for reader in readers.get(value, ()))
    )
    inner = (*constants.values(), *ops)
    body = Graph(
        f"segment{stage // 2}", tuple(operands), results, tuple(v.name for v in results), inner
    )
    location = Location().merge(*(op.location for op in ops))
    return Op(EngineSegment(body), tuple(operands), results, location)
