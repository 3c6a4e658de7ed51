"""Which values share storage: reshapes are views, outputs are written where the caller wants them.

Every value gets a storage name: an input, an output, a constant or an arena buffer. A reshape's
result has its operand's storage; where that cannot be (an input or a constant that is an output,
one value output twice), a copy is put in.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lepton_cc.codegen.program import Role
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.movement import Broadcast


@dataclass(frozen=True, slots=True)
class StorageMap:
    """Storage of a graph's values.

    storage: value -> storage name; roles: storage name -> role and number (for ports);
    sizes: bytes of each arena storage; graph: the graph with copies put in.
    """

    graph: Graph
    storage: Mapping[Value, str]
    roles: Mapping[str, tuple[Role, int]]
    sizes: Mapping[str, int]
    computing_ops: tuple[Op, ...]


def is_view(op: Op) -> bool:
    """True if the op does no work: its result is its operand's bytes under another shape."""
    return Trait.VIEW in op.kind.traits


def assign_storage(graph: Graph) -> StorageMap:
    """Gives every value its storage."""
    graph = _with_copies(graph)
    root: dict[Value, Value] = {}
    for op in graph.ops:
        if is_view(op):
            root[op.result] = _find(root, op.inputs[0])
    storage: dict[Value, str] = {}
    roles: dict[str, tuple[Role, int]] = {}
    for number, value in enumerate(graph.inputs):
        roles[f"in.{number}"] = (Role.INPUT, number)
        storage[value] = f"in.{number}"
    for op in graph.ops:
        if isinstance(op.kind, Constant):
            name = f"const.{op.result.name}"
            storage[op.result] = name
            roles[name] = (Role.CONSTANT, 0)
    for number, value in enumerate(graph.outputs):
        roles[f"out.{number}"] = (Role.OUTPUT, number)
        storage[_find(root, value)] = f"out.{number}"
    sizes: dict[str, int] = {}
    for op in graph.ops:
        for result in op.results:
            base = _find(root, result)
            if base not in storage:
                storage[base] = f"buf.{base.name}"
                roles[storage[base]] = (Role.ARENA, 0)
                sizes[storage[base]] = base.type.size_bytes
            storage[result] = storage[base]
    working = tuple(op for op in graph.ops if not is_view(op) and not isinstance(op.kind, Constant))
    return StorageMap(graph, storage, roles, sizes, working)


def _find(root: Mapping[Value, Value], value: Value) -> Value:
    while value in root:
        value = root[value]
    return value


def _with_copies(graph: Graph) -> Graph:
    """Copies outputs that are inputs, constants, or share their storage with another output."""
    root: dict[Value, Value] = {}
    fixed: set[Value] = set(graph.inputs)
    for op in graph.ops:
        if is_view(op):
            root[op.result] = _find(root, op.inputs[0])
        if isinstance(op.kind, Constant):
            fixed.add(op.result)
    taken: set[Value] = set()
    outputs: list[Value] = []
    copies: list[Op] = []
    builder = GraphBuilder(graph.name, _names(graph))
    for value in graph.outputs:
        base = _find(root, value)
        if base in fixed or base in taken:
            # A broadcast to its own shape is the copy: it is no view, so it has a kernel.
            copy = Value(builder.fresh_name(f"{value.name}.copy"), value.type)
            copies.append(Op(Broadcast(value.type.dims), (value,), (copy,)))
            outputs.append(copy)
        else:
            taken.add(base)
            outputs.append(value)
    if not copies:
        return graph
    return Graph(
        graph.name, graph.inputs, tuple(outputs), graph.output_names, (*graph.ops, *copies)
    )


def _names(graph: Graph) -> set[str]:
    names = {value.name for value in graph.inputs}
    return names | {result.name for op in graph.ops for result in op.results}
