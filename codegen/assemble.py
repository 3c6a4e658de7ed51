"""From a graph to a program: storage, kernels, order, memory plan."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from lepton_cc.codegen.c_identifier import c_identifier
from lepton_cc.codegen.costs import num_macs
from lepton_cc.codegen.in_place import overwritable_operands
from lepton_cc.codegen.kernel.legalize import legalize
from lepton_cc.codegen.kernel_functions import KernelFunctions
from lepton_cc.codegen.lower.context import LoweredKernel, ScheduleOptions, Scratch
from lepton_cc.codegen.lower.dispatch import lower_op
from lepton_cc.codegen.program import (
    CONSTANT_ALIGNMENT,
    Call,
    Place,
    Port,
    Program,
    Role,
)
from lepton_cc.codegen.program_step import ProgramStep
from lepton_cc.codegen.storage import StorageMap, assign_storage
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.target import Target
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.passes.memory import (
    InPlace,
    MemoryPlan,
    Step,
    StepGraph,
    Storage,
    memory_problem,
    order_for_lowest_peak,
    plan_memory,
)
from lepton_cc.passes.quantize.expose_integers import PortScale

if TYPE_CHECKING:
    from lepton_cc.codegen.engine_steps import EngineSteps

# Arena buffers start at cache lines where the target has wide vectors, else as the API promises.
_VECTOR_ALIGNMENT = 64
_PLAIN_ALIGNMENT = 16


def assemble(
    graph: Graph,
    name: str,
    target: Target,
    options: ScheduleOptions,
    *,
    reorder: bool = True,
    scales: Mapping[str, PortScale] = MappingProxyType({}),
    self_test: bool = False,
    model_hash: bytes = b"",
) -> Program:
    """Lowers every op, orders the calls for the lowest peak, plans the arena, dedupes kernels.

    `scales` are those of ports that were made integers, by ONNX name. The payload of the tensor
    engine gets `model_hash`, and with `self_test` a test.

    Ops whose results have no elements have nothing to do and get no call.
    `graph` is static and fused; `name` prefixes every symbol.
    """
    storage = assign_storage(graph)
    constants = {
        op.result: op.kind.value.array for op in storage.graph.ops if isinstance(op.kind, Constant)
    }
    engine = None if target.engine is None else _engine_steps(target, storage)
    steps = [
        engine.step(op)
        if engine is not None and isinstance(op.kind, EngineSegment)
        else _lowered_step(number, op, target, options, constants, storage)
        for number, op in enumerate(storage.computing_ops)
        if any(result.type.num_elements for result in op.results)
    ]
    plan, order = _plan(steps, storage, target, reorder=reorder)
    ordered = [steps[i] for i in order]
    program = _program(name, target, storage, ordered, plan, constants, scales)
    if engine is None:
        return program
    test = engine.self_test(graph, program, ordered[0]) if self_test and ordered else None
    return engine.linked(program, ordered, model_hash, test)


def _engine_steps(target: Target, storage: StorageMap) -> "EngineSteps":
    """The engine's part; whoever compiles for a CPU does not wait for it to be imported."""
    from lepton_cc.codegen.engine_steps import EngineSteps  # noqa: PLC0415  # see above

    return EngineSteps(target, storage)


def _lowered_step(
    number: int,
    op: Op,
    target: Target,
    options: ScheduleOptions,
    constants: Mapping[Value, Array],
    storage: StorageMap,
) -> ProgramStep:
    lowered = lower_op(op, f"k{number}", target, options, constants)
    lowered = LoweredKernel(legalize(lowered.kernel, target), lowered.bindings)
    scratch: list[str] = []
    reads: list[str] = []
    names: list[str] = []
    for binding in lowered.bindings:
        if isinstance(binding, Scratch):
            names.append(f"scratch.{number}.{len(scratch)}")
            scratch.append(names[-1])
        elif isinstance(binding, Tensor) or binding in constants:
            names.append("")
        else:
            names.append(storage.storage[binding])
    writes = [storage.storage[result] for result in op.results]
    reads = [name for name in names if name and name not in scratch and name not in writes]
    return ProgramStep(op, lowered, tuple(scratch), tuple(dict.fromkeys(reads)), tuple(writes))


def _plan(
    steps: Sequence[ProgramStep], storage: StorageMap, target: Target, *, reorder: bool
) -> tuple[MemoryPlan, tuple[int, ...]]:
    """The order of the steps and the places of arena buffers and scratch.

    Inputs and outputs take part in the order, as zero bytes: they are the caller's.
    """
    alignment = _VECTOR_ALIGNMENT if target.vector_bytes > _PLAIN_ALIGNMENT else _PLAIN_ALIGNMENT
    used = {name for step in steps for name in (*step.reads, *step.writes)}
    storages = [
        Storage(
            name,
            storage.sizes.get(name, 0),
            alignment,
            is_input=storage.roles[name][0] is Role.INPUT,
            is_output=storage.roles[name][0] is Role.OUTPUT,
        )
        for name in sorted(used)
    ]
    for step in steps:
        sizes = [b for b in step.bindings if isinstance(b, Scratch)]
        for name, scratch in zip(step.scratch, sizes, strict=True):
            storages.append(Storage(name, scratch.size * scratch.dtype.size_bytes, alignment))
    graph = StepGraph(
        tuple(Step(step.reads, (*step.writes, *step.scratch)) for step in steps),
        tuple(storages),
        in_place=tuple(_in_place(steps, storage)),
    )
    order = order_for_lowest_peak(graph) if reorder else tuple(range(len(steps)))
    return plan_memory(memory_problem(graph, order)), order


def _in_place(steps: Sequence[ProgramStep], storage: StorageMap) -> Iterator[InPlace]:
    for number, step in enumerate(steps):
        if len(step.op.results) != 1 or step.lowered is None:
            continue
        output = step.writes[0]
        for value in overwritable_operands(step.op):
            given = storage.storage[value]
            if given in storage.sizes and output in storage.sizes:
                yield InPlace(number, output, given)


def _program(
    name: str,
    target: Target,
    storage: StorageMap,
    steps: Sequence[ProgramStep],
    plan: MemoryPlan,
    constants: Mapping[Value, Array],
    scales: Mapping[str, PortScale],
) -> Program:
    blob = _Blob()
    functions = KernelFunctions(steps)
    calls: list[Call] = []
    segments = itertools.count()
    for step in steps:
        function = None if step.lowered is None else functions.of(step)
        calls.append(
            Call(
                "" if function is None else function.kernel.name,
                _places(step, storage, plan, constants, blob),
                _operation(step.op),
                step.op.results[0].name,
                step.op.results[0].type,
                step.op.location,
                num_macs(step.op),
                step.bindings.index(step.op.results[0]),
                None if function is not None else next(segments),
            )
        )
    return Program(
        name,
        target,
        _ports([value.name for value in storage.graph.inputs], storage.graph.inputs, scales),
        _ports(storage.graph.output_names, storage.graph.outputs, scales),
        functions.all(),
        tuple(calls),
        tuple(blob.tensors()),
        blob.size_bytes,
        plan,
    )


def _places(
    step: ProgramStep,
    storage: StorageMap,
    plan: MemoryPlan,
    constants: Mapping[Value, Array],
    blob: "_Blob",
) -> tuple[Place, ...]:
    places: list[Place] = []
    scratch = iter(step.scratch)
    for binding in step.bindings:
        if isinstance(binding, Scratch):
            places.append(Place(Role.ARENA, plan.offsets[next(scratch)]))
        elif isinstance(binding, Tensor):
            places.append(Place(Role.CONSTANT, blob.offset(binding)))
        elif binding in constants:
            places.append(Place(Role.CONSTANT, blob.offset(Tensor(constants[binding]))))
        else:
            role, number = storage.roles[storage.storage[binding]]
            arena = role is Role.ARENA
            places.append(Place(role, plan.offsets[storage.storage[binding]] if arena else number))
    return tuple(places)


class _Blob:
    """Constants in one blob, equal ones once, each at a cache line."""

    def __init__(self) -> None:
        self._offsets: dict[Tensor, int] = {}
        self.size_bytes = 0

    def offset(self, tensor: Tensor) -> int:
        """The tensor's place; the first call gives it one."""
        if tensor not in self._offsets:
            self._offsets[tensor] = self.size_bytes
            lines = -(-tensor.array.nbytes // CONSTANT_ALIGNMENT)
            self.size_bytes += lines * CONSTANT_ALIGNMENT
        return self._offsets[tensor]

    def tensors(self) -> tuple[tuple[Tensor, int], ...]:
        """All tensors with their offsets."""
        return tuple(self._offsets.items())


def _operation(op: Op) -> str:
    if isinstance(op.kind, Fused | EngineSegment):
        inner = [o for o in op.kind.body.ops if not isinstance(o.kind, Constant)]
        return "+".join(o.kind.mnemonic for o in inner)
    return op.kind.mnemonic


def _ports(
    names: Sequence[str], values: Sequence[Value], scales: Mapping[str, PortScale]
) -> tuple[Port, ...]:
    taken: set[str] = set()
    ports: list[Port] = []
    for name, value in zip(names, values, strict=True):
        identifier = c_identifier(name)
        while identifier in taken:
            identifier += "_"
        taken.add(identifier)
        ports.append(Port(name, identifier, value.type, scales.get(name)))
    return tuple(ports)
