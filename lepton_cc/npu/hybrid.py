"""A model with segments in this process: the engine's part emulated, the core's interpreted.

The streams are those of the chip; only the core's machine code is left out, whose emulation takes
most of the time. Outputs are the chip's, byte by byte, as both mean what the graph means.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.ports import port_address
from lepton_cc.codegen.npu.segment import Segment, compile_segment
from lepton_cc.ir.diagnostics import Code, Diagnostic, InternalError, Refused
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.interpreter import checked_input
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.tensor import Array
from lepton_cc.npu.engine import Engine


class LoadedSegment:
    """A compiled segment on an emulated engine of its own, with memories for its ports."""

    def __init__(self, body: Graph, machine: Machine, segment: Segment, constants: bytes) -> None:
        """Powers up an engine that is like the machine.

        Raises:
            ToolchainError: the emulator cannot be built on this machine.
        """
        self.segment = segment
        check = segment.packets[0]
        sizes = {region: check.integer(f"region{int(region)}_bytes") for region in Region}
        self._inputs = [_port(Region.INPUT0, i, value) for i, value in enumerate(body.inputs)]
        self._outputs = [_port(Region.OUTPUT0, i, value) for i, value in enumerate(body.outputs)]
        for place, value in (*self._inputs, *self._outputs):
            end = place.offset + value.type.size_bytes
            sizes[place.region] = max(sizes[place.region], end)
        # Pages that nobody touches cost nothing: many ports share a region, 32 MiB apart.
        memory = {region: np.zeros(size, np.uint8) for region, size in sizes.items() if size}
        memory[Region.CONSTANTS] = np.frombuffer(constants, np.uint8)
        self._memory = memory
        self._stream = segment.stream()
        self._engine = Engine(machine, memory)
        self.last_cycles = 0

    def run(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        """Runs the stream once on the values of the body's inputs.

        Raises:
            Refused: the engine faulted.
            InternalError: the counters are not those of the compiler's estimate.
        """
        for (place, _), array in zip(self._inputs, operands, strict=True):
            self._bytes(place, array.nbytes)[:] = np.frombuffer(array.tobytes(), np.uint8)
        result = self._engine.run(self._stream)
        if result.fault is not None:
            raise Refused([Diagnostic(Code.CHECK_FAILED, f"the engine faulted: {result.fault}")])
        self.last_cycles = result.counters.cycles
        expected = self.segment.timeline.counters
        for counter in Counter:
            found = getattr(result.counters, counter.name.lower())
            if found != expected[counter]:
                text = f"{counter.name} is {found}, estimated were {expected[counter]}"
                raise InternalError(text)
        return tuple(
            self._bytes(place, value.type.size_bytes)
            .copy()
            .view(value.type.dtype.numpy)
            .reshape(value.type.dims)
            for place, value in self._outputs
        )

    def _bytes(self, place: Address, num_bytes: int) -> NDArray[np.uint8]:
        return self._memory[place.region][place.offset : place.offset + num_bytes]


def _port(base: Region, number: int, value: Value) -> tuple[Address, Value]:
    return port_address(base, number), value


class HybridModel:
    """A graph with segments as a function; each segment has an engine of its own.

    graph = compile_model(source, options_of_an_npu).graph
    outputs = HybridModel(graph, machine).run(inputs)
    """

    def __init__(self, graph: Graph, machine: Machine) -> None:
        """Compiles the segments for the machine.

        Raises:
            ToolchainError: the emulator cannot be built on this machine.
            Refused: a segment does not fit the scratchpad.
        """
        self._graph = graph
        self._segments = {
            id(op): _loaded(op.kind.body, machine)
            for op in graph.ops
            if isinstance(op.kind, EngineSegment)
        }

    @property
    def segments(self) -> tuple[LoadedSegment, ...]:
        """The segments in the order in which they run."""
        return tuple(self._segments.values())

    @property
    def cycles(self) -> int:
        """Of all segments; each run takes exactly so many."""
        return sum(one.segment.timeline.cycles for one in self.segments)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model on inputs by ONNX name and gives the outputs by ONNX name.

        Raises:
            Refused: an input is missing or has another dtype or shape; the engine faulted.
            InternalError: the engine took another time than the compiler said.
        """
        graph = self._graph
        values = {value: checked_input(value, inputs) for value in graph.inputs}
        for op in graph.ops:
            arrays = self._evaluate(op, [None if v is None else values[v] for v in op.operands])
            for result, array in zip(op.results, arrays, strict=True):
                values[result] = np.asarray(array, order="C")
        outputs = (values[output] for output in graph.outputs)
        return dict(zip(graph.output_names, outputs, strict=True))

    def _evaluate(self, op: Op, operands: Sequence[Array | None]) -> Sequence[Array]:
        segment = self._segments.get(id(op))
        if segment is not None:
            return segment.run([array for array in operands if array is not None])
        with np.errstate(all="ignore"):
            return op.kind.evaluate(operands)


def _loaded(body: Graph, machine: Machine) -> LoadedSegment:
    pool = ConstantPool()
    segment = compile_segment(body, machine, pool)
    if segment.spm_bytes > machine.member.spm_bytes:
        text = f"{body.name} needs {segment.spm_bytes} bytes of scratchpad"
        raise Refused([Diagnostic(Code.DOES_NOT_FIT, f"{text}, not {machine.member.spm_bytes}")])
    return LoadedSegment(body, machine, segment, pool.content())
