"""The tensor engine's part of a program: segments as steps, bound to memory, in one payload.

`assemble` makes steps of segments first, and has the payload made when all memory has its place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.engine_program import (
    OuterPlace,
    bind_segment,
    link_segments,
    port_record,
)
from lepton_cc.codegen.npu.payload import Binding as PortBinding
from lepton_cc.codegen.npu.segment import check_fit, compile_segment
from lepton_cc.codegen.npu.self_test import SelfTest
from lepton_cc.codegen.npu.self_test import self_test as make_self_test
from lepton_cc.codegen.npu.systems.loader import machine_of
from lepton_cc.codegen.program import Place, Program, Role
from lepton_cc.codegen.program_step import ProgramStep
from lepton_cc.codegen.storage import StorageMap
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.target import Target


class EngineSteps:
    """The segments of one program; their constants lie in one pool."""

    def __init__(self, target: Target, storage: StorageMap) -> None:
        assert target.engine is not None
        self._machine = machine_of(target.engine)
        self._storage = storage.storage
        self._pool = ConstantPool()

    def step(self, op: Op) -> ProgramStep:
        """Compiles a segment into a step."""
        assert isinstance(op.kind, EngineSegment)
        segment = compile_segment(op.kind.body, self._machine, self._pool)
        check_fit(segment, self._machine)
        scratch = (f"scratch.{op.results[0].name}",) if segment.spilled_bytes else ()
        reads = dict.fromkeys(self._storage[value] for value in op.inputs)
        writes = tuple(self._storage[result] for result in op.results)
        return ProgramStep(op, None, scratch, tuple(reads), writes, segment)

    def self_test(self, graph: Graph, program: Program, step: ProgramStep) -> SelfTest:
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
        inputs = program.calls[0].arguments[: len(step.op.inputs)]
        return make_self_test(
            graph,
            step.op.kind.body,
            [_OUTER[place.role](place) for place in inputs],
            step.segment,
            self._machine,
            self._pool,
        )

    def linked(
        self,
        program: Program,
        steps: Sequence[ProgramStep],
        model_hash: bytes,
        test: SelfTest | None,
    ) -> Program:
        """The program with its segments bound to their memory, and their payload."""
        if not any(step.segment for step in steps):
            return program
        bound = []
        for step, call in zip(steps, program.calls, strict=True):
            if step.segment is not None:
                places = [_OUTER[place.role](place) for place in call.arguments]
                first, last = len(step.op.inputs), len(step.op.inputs) + len(step.op.results)
                spilled = places[last] if step.scratch else None
                bound.append(
                    bind_segment(step.segment, places[:first], places[first:last], spilled)
                )
        records = [
            port_record(port.name, port.type, port.scale, is_output=is_output)
            for ports, is_output in ((program.inputs, False), (program.outputs, True))
            for port in ports
        ]
        engine = link_segments(
            self._machine,
            bound,
            self._pool.content(),
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
