"""The device's memories, and the operands of a packet in them: extents, rings, rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import Epilogue, Opcode
from lepton_cc.codegen.npu.isa.regions import OFFSET_BITS, Region
from lepton_cc.codegen.npu.isa.registers import RegionAttribute
from lepton_cc.codegen.npu.semantics.packet import EngineFault, HeldPacket

Memory = npt.NDArray[np.uint8]
Elements = npt.NDArray[np.int8]
TABLE_BYTES = 256
TRACE_BYTES = 16
_SLICE_ALIGNMENT = 4


@dataclass(frozen=True, slots=True)
class Memories:
    """Region number to its bytes and attributes."""

    content: Mapping[int, Memory]
    attributes: Mapping[int, RegionAttribute]

    def size(self, region: int) -> int:
        """Bytes of a region, 0 if it is not bound."""
        return self.content[region].size if region in self.content else 0

    def take(self, packet: HeldPacket, name: str, num_bytes: int) -> bytes:
        """A copy of what an address field points to."""
        offset = packet.offset_of(name)
        return self.content[packet.region(name)][offset : offset + num_bytes].tobytes()


@dataclass(frozen=True, slots=True)
class Operand:
    """Bytes that a packet reads or writes: `low` to `high` exclusive, in a region."""

    field: str
    low: int
    high: int
    writes: bool
    alignment: int = 1


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A map of a packet: where its rows are (section 5)."""

    prefix: str
    offset: int
    row_stride: int
    pixel_stride: int
    ring_rows: int
    ring_start: int
    height: int
    width: int
    channels: int

    @property
    def end(self) -> int:
        """Offset behind the extent that is checked."""
        rows = self.ring_rows or self.height
        extent = (rows - 1) * self.row_stride + (self.width - 1) * self.pixel_stride
        return self.offset + extent + self.channels

    def places(self, y: int) -> npt.NDArray[np.int64]:
        """Byte of each element of a row, `[width, channels]`."""
        row = (self.ring_start + y) % self.ring_rows if self.ring_rows else y
        pixels = np.arange(self.width, dtype=np.int64)[:, None] * self.pixel_stride
        first = self.offset + row * self.row_stride
        places: npt.NDArray[np.int64] = first + pixels + np.arange(self.channels)
        return places

    def load(self, spm: Memory, y: int) -> Elements:
        """Row y, `[width, channels]`."""
        return spm[self.places(y)].view(np.int8)

    def store(self, spm: Memory, y: int, row: Elements) -> None:
        """Write row y; where elements share a byte the last one stays."""
        spm[self.places(y).reshape(-1)] = row.reshape(-1).view(np.uint8)


def feature_map(packet: HeldPacket, prefix: str, shape: tuple[int, int, int]) -> FeatureMap:
    """The map of height, width, channels `shape` whose fields start with `prefix`."""
    return FeatureMap(
        prefix,
        packet.offset_of(f"{prefix}_address"),
        packet.integer(f"{prefix}_row_stride"),
        packet.integer(f"{prefix}_pixel_stride"),
        packet.integer(f"{prefix}_ring_rows"),
        packet.integer(f"{prefix}_ring_start"),
        *shape,
    )


def shape_of(packet: HeldPacket, prefix: str) -> tuple[int, int, int]:
    """Height, width, channels of a map."""
    get = packet.integer
    if packet.opcode in (Opcode.ELEMENTWISE, Opcode.TABLE):
        repeats = prefix == "rhs" and get("rhs_repeats_channel")
        return get("height"), get("width"), 1 if repeats else get("channels")
    side = "ifm" if prefix == "ifm" else "ofm"
    return get(f"{side}_height"), get(f"{side}_width"), get(f"{side}_channels")


_CONVOLUTIONS = (Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE)


def maps_of(packet: HeldPacket) -> dict[str, FeatureMap]:
    """The maps that a packet uses, by prefix."""
    prefixes: tuple[str, ...] = ()
    if packet.opcode in (*_CONVOLUTIONS, Opcode.POOL, Opcode.TABLE):
        prefixes = ("ifm", "ofm")
    elif packet.opcode is Opcode.ELEMENTWISE:
        prefixes = ("lhs", "rhs", "ofm")
    if packet.opcode in _CONVOLUTIONS and packet.integer("epilogue") & Epilogue.RESIDUAL:
        prefixes = (*prefixes, "residual")
    return {prefix: feature_map(packet, prefix, shape_of(packet, prefix)) for prefix in prefixes}


def operands_of(packet: HeldPacket) -> Iterator[Operand]:
    """All that a packet reads and writes but the rows of TRACE, each as one interval."""
    for prefix, map_ in maps_of(packet).items():
        yield Operand(f"{prefix}_address", map_.offset, map_.end, prefix == "ofm")
    if packet.opcode in _CONVOLUTIONS:
        yield _plain(packet, "weights_address", packet.integer("weights_bytes"), _SLICE_ALIGNMENT)
    if packet.opcode is Opcode.SEPARABLE:
        size = packet.integer("stage_weights_bytes")
        yield _plain(packet, "stage_weights_address", size, _SLICE_ALIGNMENT)
    flags = packet.integer("epilogue") if packet.has("epilogue") else 0
    if packet.opcode is Opcode.TABLE or flags & Epilogue.TABLE:
        yield _plain(packet, "table_address", TABLE_BYTES)
    if packet.opcode is Opcode.MATMUL:
        yield from _matrices(packet)
    if packet.opcode is Opcode.DMA:
        size = packet.integer("run_bytes")
        if not packet.integer("fill"):
            yield _strided(packet, "source", size, False)
        yield _strided(packet, "target", size, True)


def _plain(packet: HeldPacket, name: str, size: int, alignment: int = 1) -> Operand:
    offset = packet.offset_of(name)
    return Operand(name, offset, offset + size, False, alignment)


def _matrices(packet: HeldPacket) -> Iterator[Operand]:
    get = packet.integer
    rows, columns, depth = get("rows"), get("columns"), get("depth")
    steps = {
        "lhs": (rows - 1) * get("lhs_row_stride") + depth,
        "rhs": (depth - 1) * get("rhs_depth_stride") + (columns - 1) * get("rhs_column_stride") + 1,
        "ofm": (rows - 1) * get("ofm_row_stride") + columns,
    }
    for prefix, extent in steps.items():
        low = packet.offset_of(f"{prefix}_address")
        high = low + (get("batch") - 1) * get(f"{prefix}_batch_stride") + extent
        yield Operand(f"{prefix}_address", low, high, prefix == "ofm")


def _strided(packet: HeldPacket, name: str, size: int, writes: bool) -> Operand:
    low = packet.offset_of(name)
    high = low + size
    for loop in (1, 2, 3):
        far = (packet.integer(f"count{loop}") - 1) * packet.integer(f"{name}_stride{loop}")
        low, high = low + min(far, 0), high + max(far, 0)
    return Operand(name, low, high, writes)


def check_operands(packet: HeldPacket, memories: Memories) -> None:
    """Raises EngineFault if an operand is misaligned, leaves its region or may not be used."""
    for operand in sorted(operands_of(packet), key=lambda o: packet.word_of(o.field)):
        region, word = packet.region(operand.field), packet.word_of(operand.field)
        attributes = memories.attributes.get(region, RegionAttribute(0))
        inside = operand.low >= 0 and operand.high <= memories.size(region)
        address = packet.raw(operand.field)
        if operand.low % operand.alignment:
            raise EngineFault(Fault.MISALIGNED, word, address)
        if not operand.writes and not (inside and attributes & RegionAttribute.READ):
            raise EngineFault(Fault.READ_OUT_OF_BOUNDS, word, address)
        if operand.writes and not inside:
            raise EngineFault(Fault.WRITE_OUT_OF_BOUNDS, word, address)
        if operand.writes and not attributes & RegionAttribute.WRITE:
            raise EngineFault(Fault.WRITE_TO_READ_ONLY, word, address)
    if packet.opcode is Opcode.TRACE:
        address = Region.TRACE << OFFSET_BITS
        if memories.size(Region.TRACE) < TRACE_BYTES:
            raise EngineFault(Fault.WRITE_OUT_OF_BOUNDS, 0, address)
        if not memories.attributes.get(Region.TRACE, RegionAttribute(0)) & RegionAttribute.WRITE:
            raise EngineFault(Fault.WRITE_TO_READ_ONLY, 0, address)
