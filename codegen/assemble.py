"""From a graph to a program: storage, kernels, order, memory plan."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from lepton_cc.codegen.costs import num_macs
from lepton_cc.codegen.in_place import overwritable_operands
from lepton_cc.codegen.kernel.legalize import legalize
from lepton_cc.codegen.kernel.printer import print_kernel
from lepton_cc.codegen.lower.context import Binding, LoweredKernel, ScheduleOptions, Scratch
from lepton_cc.codegen.lower.dispatch import lower_op
from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.engine_program import (
    OuterPlace,
    bind_segment,
    link_segments,
    port_record,
)
from lepton_cc.codegen.npu.payload import Binding as PortBinding
from lepton_cc.codegen.npu.segment import Segment, check_fit, compile_segment
from lepton_cc.codegen.npu.self_test import SelfTest
from lepton_cc.codegen.npu.self_test import self_test as make_self_test
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.program import (
    CONSTANT_ALIGNMENT,
    Call,
    KernelFunction,
    Place,
    Port,
    Program,
    Role,
)
from lepton_cc.codegen.storage import StorageMap, assign_storage
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.dtype import DType
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

# Arena buffers start at cache lines where the target has wide vectors, else as the API promises.
_VECTOR_ALIGNMENT = 64
_PLAIN_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class _Step:
    """One call before memory has places: the op, its kernel, the scratch that it needs.

    `segment` instead of a kernel: the op runs on the tensor engine.
    """

    op: Op
    lowered: LoweredKernel | None
    scratch: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    segment: Segment | None = None

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What the kernel is given; a segment gets its operands and results."""
        if self.lowered is None:
            spilled = self.segment.spilled_bytes if self.segment else 0
            space = (Scratch(DType.I8, spilled),) if spilled else ()
            return (*self.op.inputs, *self.op.results, *space)
        return self.lowered.bindings


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
    pool = ConstantPool()
    steps = [
        _engine_step(op, target, storage, pool)
        if isinstance(op.kind, EngineSegment)
        else _lowered_step(number, op, target, options, constants, storage)
        for number, op in enumerate(storage.computing_ops)
        if any(result.type.num_elements for result in op.results)
    ]
    plan, order = _plan(steps, storage, target, reorder=reorder)
    ordered = [steps[i] for i in order]
    program = _program(name, target, storage, ordered, plan, constants, scales)
    test = _self_test(graph, program, ordered[0], pool) if self_test and ordered else None
    return _with_engine(program, ordered, pool, model_hash, test)


def _self_test(graph: Graph, program: Program, step: _Step, pool: ConstantPool) -> SelfTest:
    """The self-test of a model that runs on the engine alone, in one step.

    Raises:
        UsageError: it does not, so that the driver by itself cannot run it.
    """
    core = [call.operation for call in program.calls if call.segment is None]
    if core or len(program.calls) != 1:
        raise UsageError(
            "a self-test needs a model that runs on the engine alone, in one segment; on the "
            f"control core: {', '.join(core) or 'nothing'}. Integers in the interface "
            "(--io=quantized) may help"
        )
    assert isinstance(step.op.kind, EngineSegment)
    assert step.segment is not None
    assert program.target.engine is not None
    inputs = program.calls[0].arguments[: len(step.op.inputs)]
    return make_self_test(
        graph,
        step.op.kind.body,
        [_OUTER[place.role](place) for place in inputs],
        step.segment,
        machine_of(program.target.engine),
        pool,
    )


def _engine_step(op: Op, target: Target, storage: StorageMap, pool: ConstantPool) -> _Step:
    assert isinstance(op.kind, EngineSegment)
    assert target.engine is not None
    machine = machine_of(target.engine)
    segment = compile_segment(op.kind.body, machine, pool)
    check_fit(segment, machine)
    scratch = (f"scratch.{op.results[0].name}",) if segment.spilled_bytes else ()
    reads = dict.fromkeys(storage.storage[value] for value in op.inputs)
    writes = tuple(storage.storage[result] for result in op.results)
    return _Step(op, None, scratch, tuple(reads), writes, segment)


def _with_engine(
    program: Program,
    steps: Sequence[_Step],
    pool: ConstantPool,
    model_hash: bytes,
    test: SelfTest | None,
) -> Program:
    """The program with its segments bound to their memory, and their payload."""
    if program.target.engine is None or not any(step.segment for step in steps):
        return program
    bound = []
    for step, call in zip(steps, program.calls, strict=True):
        if step.segment is not None:
            places = [_OUTER[place.role](place) for place in call.arguments]
            first, last = len(step.op.inputs), len(step.op.inputs) + len(step.op.results)
            spilled = places[last] if step.scratch else None
            bound.append(bind_segment(step.segment, places[:first], places[first:last], spilled))
    records = [
        port_record(port.name, port.type, port.scale, is_output=is_output)
        for ports, is_output in ((program.inputs, False), (program.outputs, True))
        for port in ports
    ]
    machine = machine_of(program.target.engine)
    engine = link_segments(
        machine,
        bound,
        pool.content(),
        program.arena_bytes,
        records,
        model_hash,
        b"" if test is None else test.section,
        None if test is None else test.diagnosis,
    )
    return replace(program, engine=engine)


_OUTER: Mapping[Role, Callable[[Place], OuterPlace]] = {
    Role.ARENA: lambda place: OuterPlace(PortBinding.ARENA, place.position),
    Role.INPUT: lambda place: OuterPlace(PortBinding.INPUT, place.position),
    Role.OUTPUT: lambda place: OuterPlace(PortBinding.OUTPUT, place.position),
}


def _lowered_step(
    number: int,
    op: Op,
    target: Target,
    options: ScheduleOptions,
    constants: Mapping[Value, Array],
    storage: StorageMap,
) -> _Step:
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
    return _Step(op, lowered, tuple(scratch), tuple(dict.fromkeys(reads)), tuple(writes))


def _plan(
    steps: Sequence[_Step], storage: StorageMap, target: Target, *, reorder: bool
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


def _in_place(steps: Sequence[_Step], storage: StorageMap) -> Iterator[InPlace]:
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
    steps: Sequence[_Step],
    plan: MemoryPlan,
    constants: Mapping[Value, Array],
    scales: Mapping[str, PortScale],
) -> Program:
    blob = _Blob()
    functions = _Functions(steps)
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


class _Functions:
    """The program's kernels: one that does the same as an earlier one is that one."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        # Only ops that are alike can have the same kernel; most have no like, and need no text.
        self._alike = Counter(_likeness(step.op) for step in steps)
        self._by_text: dict[str, KernelFunction] = {}
        self._all: list[KernelFunction] = []

    def of(self, step: _Step) -> KernelFunction:
        """The kernel of a step."""
        assert step.lowered is not None
        aliased = _aliased_parameters(step)
        if self._alike[_likeness(step.op)] == 1:
            return self._new(step, aliased)
        text = print_kernel(replace(step.lowered.kernel, name="k"))
        key = f"{text}{sorted(aliased)}"
        if key not in self._by_text:
            self._by_text[key] = self._new(step, aliased)
        return self._by_text[key]

    def all(self) -> tuple[KernelFunction, ...]:
        """All kernels, in the order of their first call."""
        return tuple(self._all)

    def _new(self, step: _Step, aliased: frozenset[str]) -> KernelFunction:
        assert step.lowered is not None
        kernel = replace(step.lowered.kernel, name=f"k{len(self._all)}")
        self._all.append(KernelFunction(kernel, aliased))
        return self._all[-1]


def _likeness(op: Op) -> Hashable:
    types = (None if value is None else value.type for value in op.operands)
    return (op.kind, *types, *(result.type for result in op.results))


def _aliased_parameters(step: _Step) -> frozenset[str]:
    """Parameters that an in-place plan may give one storage: the result and what it overwrites."""
    overwritable = set(overwritable_operands(step.op)) if len(step.op.results) == 1 else set()
    if not overwritable or step.lowered is None:
        return frozenset()
    shared = {*overwritable, *step.op.results}
    return frozenset(
        buffer.name
        for buffer, binding in zip(
            step.lowered.kernel.parameters, step.lowered.bindings, strict=True
        )
        if isinstance(binding, Value) and binding in shared
    )


def _places(
    step: _Step,
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


def c_identifier(name: str) -> str:
    """`name` as a C and C++ identifier: other characters become underscores."""
    identifier = re.sub(r"[^A-Za-z0-9_]", "_", name) or "_"
    reserved = identifier in _RESERVED or identifier[0].isdigit() or identifier[0] == "_"
    return f"x{identifier}" if reserved else identifier


_RESERVED = frozenset(
    [
        "alignas",
        "alignof",
        "and",
        "asm",
        "auto",
        "bool",
        "break",
        "case",
        "catch",
        "char",
        "class",
        "const",
        "constexpr",
        "continue",
        "decltype",
        "default",
        "delete",
        "do",
        "double",
        "else",
        "enum",
        "explicit",
        "export",
        "extern",
        "false",
        "float",
        "for",
        "friend",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "mutable",
        "namespace",
        "new",
        "noexcept",
        "not",
        "nullptr",
        "operator",
        "or",
        "private",
        "protected",
        "public",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "template",
        "this",
        "throw",
        "true",
        "try",
        "typedef",
        "typeid",
        "typename",
        "union",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "while",
        "xor",
    ]
)
