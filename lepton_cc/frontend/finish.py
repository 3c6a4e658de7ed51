"""The last step of an import: drops what no output needs and names values as the model does."""

from collections.abc import Mapping, Sequence

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.graph import Graph, Op, Value


def live_ops(ops: Sequence[Op], outputs: Sequence[Value]) -> tuple[Op, ...]:
    """The ops that the outputs need, in their order."""
    needed = set(outputs)
    kept: list[Op] = []
    for op in reversed(ops):
        if any(result in needed for result in op.results):
            kept.append(op)
            needed.update(op.inputs)
    return tuple(reversed(kept))


def finish_graph(graph: Graph, names: Mapping[Value, str]) -> Graph:
    """The live part of `graph`; values that have an ONNX name get it, the others their op's."""
    ops = live_ops(graph.ops, graph.outputs)
    builder = GraphBuilder(graph.name)
    renamed = {value: builder.input(value.name, value.type) for value in graph.inputs}
    results = [result for op in ops for result in op.results]
    for result in results:
        if result in names:
            renamed[result] = Value(builder.fresh_name(names[result]), result.type)
    for op in ops:
        for result in op.results:
            if result not in renamed:
                renamed[result] = Value(builder.fresh_name(op.kind.mnemonic), result.type)
        operands = tuple(None if value is None else renamed[value] for value in op.operands)
        builder.append(
            Op(op.kind, operands, tuple(renamed[result] for result in op.results), op.location)
        )
    return builder.finish([renamed[value] for value in graph.outputs], graph.output_names)
