"""One network on many machines: cycles as estimated and as emulated, memory, utilization."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.npu.subjects import Subject, segment_bodies
from lepton_cc.codegen.npu.constants import ConstantPool
from lepton_cc.codegen.npu.isa.family import member
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.layers import ConvLayer
from lepton_cc.codegen.npu.machine import RATE_UNIT, Machine, Profile, native, parity, u55_clone
from lepton_cc.codegen.npu.segment import Segment, compile_segment
from lepton_cc.codegen.npu.systems.loader import load_system
from lepton_cc.engine_report.attribution import served_layers
from lepton_cc.engine_report.layer_figures import Stream, tally_layers
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.segment import EngineSegment
from lepton_cc.ir.tensor import Array
from lepton_cc.npu.hybrid import LoadedSegment

AMPLE_SPM_BYTES = 2304 << 10
_MAKERS = {Profile.NATIVE: native, Profile.PARITY: parity, Profile.U55_CLONE: u55_clone}


@dataclass(frozen=True, slots=True)
class Case:
    """A machine by the names in the tables; `ample_spm`: all maps find room."""

    profile: Profile
    macs: int
    system: str
    ample_spm: bool = False

    @property
    def machine(self) -> Machine:
        """The machine itself."""
        made = _MAKERS[self.profile](self.macs, load_system(self.system, member(self.macs)))
        return made.with_spm(AMPLE_SPM_BYTES) if self.ample_spm else made


@dataclass(frozen=True, slots=True)
class DepthwiseLayer:
    """A depthwise or separable layer: both convolutions of a separable one count."""

    name: str
    separable: bool
    num_macs: int
    cycles: int


@dataclass(frozen=True, slots=True)
class Row:
    """A network on a machine. `emulated` is None where it does not fit the scratchpad.

    map_bytes: scratchpad of feature maps and staged weights; spm_bytes: with what is loaded ahead.
    constant_bytes: encoded weights and tables, each once; read_bytes: what the port of constants
    gives in a run, `port_cycles` how long that takes it.
    """

    network: str
    case: Case
    num_macs: int
    cycles: int
    emulated: int | None
    same_bytes: bool
    map_bytes: int
    spm_bytes: int
    spilled_bytes: int
    constant_bytes: int
    read_bytes: int
    port_cycles: int
    depthwise: tuple[DepthwiseLayer, ...]

    @property
    def utilization(self) -> float:
        """Multiply-adds of all that the array could have done."""
        return self.num_macs / (self.cycles * self.case.macs)


def measured_rows(subject: Subject, cases: Sequence[Case]) -> Iterator[Row]:
    """Compiles and emulates the network on every machine."""
    bodies = segment_bodies(subject.path)
    runs = [expected_run(body) for body in bodies]
    for case in cases:
        yield measured_row(subject.name, case, bodies, runs)


@dataclass(frozen=True, slots=True)
class Expected:
    """Random inputs of a segment, and what its body makes of them."""

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


def expected_run(body: Graph) -> Expected:
    """Runs the interpreter on random bytes."""
    random = np.random.default_rng(7)
    inputs = tuple(
        random.integers(0, 256, value.type.size_bytes, np.uint8)
        .view(value.type.dtype.numpy)
        .reshape(value.type.dims)
        for value in body.inputs
    )
    return Expected(inputs, EngineSegment(body).evaluate(inputs))


def measured_row(name: str, case: Case, bodies: Sequence[Graph], runs: Sequence[Expected]) -> Row:
    """Compiles and emulates the segments of a network on one machine."""
    machine, pool = case.machine, ConstantPool()
    segments = [compile_segment(body, machine, pool) for body in bodies]
    fits = all(one.spm_bytes <= machine.member.spm_bytes for one in segments)
    same, emulated = True, None
    if fits:
        for body, segment, run in zip(bodies, segments, runs, strict=True):
            # Equality of all counters is LoadedSegment's own condition.
            loaded = LoadedSegment(body, machine, segment, pool.content())
            found = loaded.run(run.inputs)
            emulated = (emulated or 0) + loaded.last_cycles
            pairs = zip(found, run.outputs, strict=True)
            same = same and all(a.tobytes() == b.tobytes() for a, b in pairs)

    def total(counter: Counter) -> int:
        return sum(segment.timeline.counters[counter] for segment in segments)

    read = total(Counter.CONSTANT_BYTES)
    return Row(
        name,
        case,
        total(Counter.MACS),
        total(Counter.CYCLES),
        emulated,
        same,
        max(segment.places.plan.arena_bytes for segment in segments),
        max(segment.spm_bytes for segment in segments),
        max(segment.spilled_bytes for segment in segments),
        len(pool.content()),
        read,
        -(-read * RATE_UNIT // machine.system.constants.rate),
        tuple(layer for segment in segments for layer in depthwise_layers(segment)),
    )


def depthwise_layers(segment: Segment) -> Iterator[DepthwiseLayer]:
    """The depthwise layers of a segment with all cycles that pass between them and the next."""
    packets, timeline = segment.packets[1:], segment.timeline
    stream = Stream(
        packets, served_layers(packets), timeline.begins, timeline.completions, timeline.terms
    )
    tallies = tally_layers(stream)
    for number, layer in enumerate(segment.layers, 1):
        if isinstance(layer, ConvLayer) and (layer.depthwise or layer.stage is not None):
            tally = tallies[number]
            shape = layer.shape
            yield DepthwiseLayer(
                f"{shape.height}x{shape.width}x{shape.channels}",
                layer.stage is not None,
                tally.num_macs,
                tally.stalls.cycles,
            )
