"""The engine report: plain figures of a compiled engine program, and the JSON that keeps them.

`program_report` and `payload_report` make it; text, HTML, profile and `NAME_engine.json` are made
of it alone, without the model. Times are cycles from a segment's start, sizes are bytes.
"""

import dataclasses
import enum
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass

FORMAT = "lepton-engine-report"
VERSION = 1


class QueueName(enum.StrEnum):
    """Which queue executes a packet."""

    DMA = "dma"
    COMPUTE = "compute"
    BOTH = "both"


class BufferKind(enum.StrEnum):
    """What a piece of the scratchpad holds."""

    RESULT = "result"
    LOADED = "loaded"
    CONSTANTS = "constants"


@dataclass(frozen=True, slots=True)
class PortFigures:
    """An external memory: bytes a cycle, and cycles before the first one."""

    bytes_per_cycle: float
    latency: int


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """What the streams were made for. `shared`: constants lie in the scratchpad's own memory."""

    member: str
    macs: int
    profile: str
    spm_bytes: int
    wbuf_bytes: int
    system: str
    system_description: str
    constants_port: PortFigures
    system_port: PortFigures
    shared: bool


def _values(figures: "Stalls | Traffic") -> tuple[int, ...]:
    return dataclasses.astuple(figures)


@dataclass(frozen=True, slots=True)
class Stalls:
    """Where a layer's cycles go; the sum is what the layer adds to the time of the run.

    `array`: the array works. `setup` of packets; `epilogue`, `scratchpad`, `weights`: further
    cycles of packets of which that unit is the slowest; `waiting`: the compute queue had nothing to
    do before the layer's packets could begin.
    """

    setup: int = 0
    array: int = 0
    epilogue: int = 0
    scratchpad: int = 0
    weights: int = 0
    waiting: int = 0

    @property
    def cycles(self) -> int:
        """All of them."""
        return (
            self.setup + self.array + self.epilogue + self.scratchpad + self.weights + self.waiting
        )

    def plus(self, other: "Stalls") -> "Stalls":
        """The sums."""
        return Stalls(*map(sum, zip(_values(self), _values(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes moved: `spm` by compute packets, the rest by DMA; `wbuf` is what is written there."""

    spm: int = 0
    wbuf: int = 0
    constants: int = 0
    system_read: int = 0
    system_write: int = 0

    def plus(self, other: "Traffic") -> "Traffic":
        """The sums."""
        return Traffic(*map(sum, zip(_values(self), _values(other), strict=True)))


@dataclass(frozen=True, slots=True)
class WeightFigures:
    """Weight slices of a layer: raw at a byte each with channel tables, and as they are stored."""

    num_slices: int
    raw_bytes: int
    encoded_bytes: int
    encodings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """One layer of a segment. `number` is that of its packets; a view has none, and no cycles.

    `shape` is rows, columns, channels of the result; `num_macs` are issued, padding included.
    `dma_cycles`: the DMA queue was busy for the layer, mostly while others computed.
    """

    number: int
    operation: str
    nodes: tuple[str, ...]
    result: str
    shape: tuple[int, ...]
    num_packets: int
    num_macs: int
    stalls: Stalls
    dma_cycles: int
    traffic: Traffic
    weights: WeightFigures

    @property
    def cycles(self) -> int:
        """What the layer adds to the time of the run."""
        return self.stalls.cycles

    def utilization(self, macs_per_cycle: int) -> float:
        """Part of the array's multiply-adds that were used in these cycles, 0 to 1."""
        return self.num_macs / (self.cycles * macs_per_cycle) if self.cycles else 0.0


@dataclass(frozen=True, slots=True)
class PacketFigures:
    """One packet. `layer` is whom it serves, DMA included; 0: nobody."""

    index: int
    opcode: str
    queue: QueueName
    layer: int
    begin: int
    completion: int


@dataclass(frozen=True, slots=True)
class BufferFigures:
    """Scratchpad bytes that hold something from the first write to the last read."""

    kind: BufferKind
    name: str
    layer: int
    offset: int
    size_bytes: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One stream. The layers' cycles and `tail_cycles`, behind the last of them, make `cycles`."""

    number: int
    cycles: int
    tail_cycles: int
    stream_bytes: int
    spm_bytes: int
    wbuf_bytes: int
    counters: Mapping[str, int]
    layers: tuple[LayerFigures, ...]
    packets: tuple[PacketFigures, ...]
    buffers: tuple[BufferFigures, ...]


@dataclass(frozen=True, slots=True)
class CoreOperation:
    """An op of the graph that runs on the control core, and why: a code and its sentence."""

    operation: str
    nodes: tuple[str, ...]
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class EngineReport:
    """All segments of a model, and what stayed on the control core.

    `arena_bytes` is the whole program's; `core_is_known`: False of a payload read alone, which
    says nothing of what it leaves to the core.
    """

    name: str
    machine: MachineFigures
    payload_bytes: int
    constants_bytes: int
    arena_bytes: int
    segments: tuple[SegmentReport, ...]
    core: tuple[CoreOperation, ...]
    core_is_known: bool = True

    @property
    def cycles(self) -> int:
        """Of all segments."""
        return sum(segment.cycles for segment in self.segments)

    @property
    def num_macs(self) -> int:
        """Multiply-adds of all layers."""
        return sum(layer.num_macs for segment in self.segments for layer in segment.layers)

    @property
    def num_packets(self) -> int:
        """Packets of a run, CHECK of each segment included."""
        return sum(len(segment.packets) + 1 for segment in self.segments)

    @property
    def utilization(self) -> float:
        """Part of the array's multiply-adds that the segments use, 0 to 1."""
        return self.num_macs / (self.cycles * self.machine.macs) if self.cycles else 0.0

    def to_json(self) -> str:
        """As JSON with a fixed order of keys; ends with a newline."""
        return json.dumps(report_fields(self), ensure_ascii=False, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "EngineReport":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is no report of this version.
        """
        document = json.loads(text)
        try:
            if (document.pop("format"), document.pop("version")) != (FORMAT, VERSION):
                raise ValueError("another program or version wrote it")
            report = _restored(cls, document)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"engine report: malformed: {error!r}") from error
        assert isinstance(report, cls)
        return report


def report_fields(report: EngineReport) -> dict[str, object]:
    """The report as JSON's types."""
    return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(report)}


def _restored(kind: object, value: object) -> object:
    """A value of a dataclass's field from what `json` made of it."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r} is no {kind.__name__}")
        hints = typing.get_type_hints(kind)
        return kind(**{name: _restored(hints[name], item) for name, item in value.items()})
    origin = typing.get_origin(kind)
    if origin is tuple:
        element = typing.get_args(kind)[0]
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is no list")
        return tuple(_restored(element, item) for item in value)
    if origin is not None:
        if not isinstance(value, dict):
            raise TypeError(f"{value!r} is no object")
        return {str(key): int(item) for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if kind is float and isinstance(value, int):
        return float(value)
    if not isinstance(kind, type) or not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind}")
    return value
