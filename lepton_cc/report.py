"""The figures of a compilation, memory and layers, that people and `--json` are shown."""

from dataclasses import dataclass

from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.program import Call, Port, Program
from lepton_cc.generated_code import GeneratedCode


@dataclass(frozen=True, slots=True)
class TensorFigure:
    """A tensor in a report: its name and bytes."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """What a model takes of RAM and flash, in bytes.

    `arena_bytes` the caller gives to NAME_run; `lower_bound_bytes` is what no plan can go below,
    `gap_bytes` the difference; `proven_optimal`: no smaller arena exists. `stack_bytes` is the
    worst case of NAME_run and all that it calls, below its caller's stack pointer;
    `task_stack_bytes` that of a task on a thread that the caller lends. `flash_bytes` is code and
    constants of the library. `peak_layer` is the operation at which most bytes live,
    `peak_tensors` these bytes, biggest first.
    """

    arena_bytes: int
    lower_bound_bytes: int
    gap_bytes: int
    proven_optimal: bool
    stack_bytes: int
    task_stack_bytes: int
    code_bytes: int
    constants_bytes: int
    flash_bytes: int
    inputs_bytes: int
    outputs_bytes: int
    peak_layer: str
    peak_tensors: tuple[TensorFigure, ...]

    @property
    def io_bytes(self) -> int:
        """Bytes of the inputs and outputs."""
        return self.inputs_bytes + self.outputs_bytes

    @property
    def ram_bytes(self) -> int:
        """All RAM that a run needs: arena, stack, inputs and outputs."""
        return self.arena_bytes + self.stack_bytes + self.io_bytes


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One kernel call: what it computes, for which ONNX nodes, and what it costs.

    `read_bytes` and `written_bytes` are the sizes of the buffers that it is given, scratch and
    constants included; `num_macs` its multiply-adds. `uses_matrices`: on the matrix unit.
    `cycles`: of the tensor engine, estimated, which is what it takes; 0 on other processors.
    """

    number: int
    operation: str
    nodes: tuple[str, ...]
    result: str
    dtype: str
    shape: tuple[int, ...]
    num_macs: int
    read_bytes: int
    written_bytes: int
    kernel: str
    uses_matrices: bool = False
    cycles: int = 0


def memory_report(program: Program, code: GeneratedCode) -> MemoryReport:
    """The memory figures of a program that was compiled."""
    plan = program.plan
    peak = program.calls[plan.peak_step] if program.calls else None
    return MemoryReport(
        arena_bytes=plan.arena_bytes,
        lower_bound_bytes=plan.lower_bound_bytes,
        gap_bytes=plan.gap_bytes,
        proven_optimal=plan.proven_optimal,
        stack_bytes=code.stack.run_bytes,
        task_stack_bytes=code.stack.task_bytes,
        code_bytes=code.code_bytes,
        constants_bytes=code.constants_bytes,
        flash_bytes=code.flash_bytes,
        inputs_bytes=_ports_bytes(program.inputs),
        outputs_bytes=_ports_bytes(program.outputs),
        peak_layer="" if peak is None else _layer_name(peak, program),
        peak_tensors=tuple(TensorFigure(b.name, b.size_bytes) for b in plan.peak_buffers),
    )


def layer_reports(program: Program) -> tuple[LayerReport, ...]:
    """A row for each kernel call, in the order of execution."""
    return tuple(_layer(number, call, program) for number, call in enumerate(program.calls))


def _layer(number: int, call: Call, program: Program) -> LayerReport:
    if call.segment is not None:
        return _segment(number, call, call.segment, program)
    kernel = program.kernels_by_name()[call.kernel].kernel
    sizes = [(b.written, b.size * b.dtype.size_bytes) for b in kernel.parameters]
    return LayerReport(
        number=number,
        operation=call.operation,
        nodes=call.location.nodes,
        result=call.result,
        dtype=call.result_type.dtype.value,
        shape=call.result_type.dims,
        num_macs=call.num_macs,
        read_bytes=sum(size for written, size in sizes if not written),
        written_bytes=sum(size for written, size in sizes if written),
        kernel=call.kernel,
        uses_matrices=bool(kernel.matrices),
    )


def _segment(number: int, call: Call, segment: int, program: Program) -> LayerReport:
    """The row of a segment: bytes are those that cross its border."""
    assert program.engine is not None
    engine = program.engine.segments[segment]
    counters = engine.timeline.counters
    return LayerReport(
        number=number,
        operation=_operation(call, program),
        nodes=call.location.nodes,
        result=call.result,
        dtype=call.result_type.dtype.value,
        shape=call.result_type.dims,
        num_macs=call.num_macs,
        read_bytes=counters[Counter.CONSTANT_BYTES] + counters[Counter.SYSTEM_READ_BYTES],
        written_bytes=counters[Counter.SYSTEM_WRITE_BYTES],
        kernel=f"engine segment {segment}",
        cycles=engine.timeline.cycles,
    )


def _operation(call: Call, program: Program) -> str:
    """What the graph called it; of a segment, which has dozens of ops, how many layers."""
    if call.segment is None or program.engine is None:
        return call.operation
    layers = program.engine.segments[call.segment].layers
    return f"{len(layers)} layers of the engine"


def _layer_name(call: Call, program: Program) -> str:
    nodes = f" ({call.location})" if call.location.nodes and call.segment is None else ""
    return f"{_operation(call, program)}{nodes}"


def _ports_bytes(ports: tuple[Port, ...]) -> int:
    return sum(port.type.size_bytes for port in ports)
