"""The bytes that a packet touches, row by row: what the checker of streams compares.

Written from the specification alone (docs/lepton-npu.md, sections 5 and 6); the scheduler has its
own, coarser view.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Epilogue, Opcode
from lepton_cc.codegen.npu.isa.regions import OFFSET_BITS, Address, Region

Offsets = npt.NDArray[np.int64]
_TABLE_BYTES = 256
_MAX_RUNS = 4096
_WINDOWED = frozenset({Opcode.CONV, Opcode.DEPTHWISE, Opcode.SEPARABLE})


@dataclass(frozen=True, slots=True)
class Touched:
    """Intervals of equal length in a region, by ascending start."""

    what: str
    region: Region
    starts: Offsets
    size: int
    writes: bool

    @property
    def low(self) -> int:
        """The first byte."""
        return int(self.starts[0])

    @property
    def high(self) -> int:
        """Behind the last byte."""
        return int(self.starts[-1]) + self.size

    def meets(self, other: "Touched") -> bool:
        """Whether a byte is in both."""
        if self.region is not other.region or self.low >= other.high or other.low >= self.high:
            return False
        # The first interval of the other that ends behind each start must begin behind its end.
        following = np.searchsorted(other.starts, self.starts - other.size, side="right")
        inside = following < other.starts.size
        return bool((other.starts[following[inside]] < self.starts[inside] + self.size).any())

    def __str__(self) -> str:
        return f"{self.what} {self.region.name.lower()}+{self.low}..{self.high}"


def conflict(first: tuple[Touched, ...], second: tuple[Touched, ...]) -> tuple[str, str] | None:
    """Two operands of which one is written and that share a byte."""
    for one in first:
        for other in second:
            if (one.writes or other.writes) and one.meets(other):
                return str(one), str(other)
    return None


def touched_bytes(packet: Packet) -> tuple[Touched, ...]:
    """All that a packet reads and writes; packets of both queues touch nothing."""
    return tuple(_operands(packet))


def _operands(packet: Packet) -> Iterator[Touched]:
    opcode = packet.opcode
    if opcode in _WINDOWED or opcode in (Opcode.POOL, Opcode.TABLE, Opcode.ELEMENTWISE):
        yield from _maps(packet)
    if opcode in _WINDOWED:
        yield _plain(packet, "weights_address", packet.integer("weights_bytes"))
    if opcode is Opcode.SEPARABLE:
        yield _plain(packet, "stage_weights_address", packet.integer("stage_weights_bytes"))
    if opcode is Opcode.TABLE or packet.integer("epilogue") & Epilogue.TABLE:
        yield _plain(packet, "table_address", _TABLE_BYTES)
    if opcode is Opcode.MATMUL:
        yield from _matrices(packet)
    if opcode is Opcode.DMA:
        if not packet.integer("fill"):
            yield _runs(packet, "source", writes=False)
        yield _runs(packet, "target", writes=True)
    if opcode is Opcode.TRACE:
        whole = np.zeros(1, np.int64)
        yield Touched("trace", Region.TRACE, whole, 1 << OFFSET_BITS, writes=True)


def _maps(packet: Packet) -> Iterator[Touched]:
    get = packet.integer
    if packet.opcode in (Opcode.TABLE, Opcode.ELEMENTWISE):
        shape = (get("height"), get("width"), get("channels"))
        repeated = (shape[0], shape[1], 1) if get("rhs_repeats_channel") else shape
        inputs = (
            {"ifm": shape} if packet.opcode is Opcode.TABLE else {"lhs": shape, "rhs": repeated}
        )
        maps = {**inputs, "ofm": shape}
    else:
        maps = {
            side: (get(f"{side}_height"), get(f"{side}_width"), get(f"{side}_channels"))
            for side in ("ifm", "ofm")
        }
        if get("epilogue") & Epilogue.RESIDUAL and packet.opcode is not Opcode.POOL:
            maps["residual"] = maps["ofm"]
    for prefix, (height, width, channels) in maps.items():
        rows = np.arange(height, dtype=np.int64)
        if ring := get(f"{prefix}_ring_rows"):
            rows = (rows + get(f"{prefix}_ring_start")) % ring
        size = (width - 1) * get(f"{prefix}_pixel_stride") + channels
        starts = rows * get(f"{prefix}_row_stride")
        yield _intervals(prefix, packet.address(f"{prefix}_address"), starts, size, prefix == "ofm")


def _matrices(packet: Packet) -> Iterator[Touched]:
    get = packet.integer
    rows, columns, depth = get("rows"), get("columns"), get("depth")
    steps = {
        "lhs": (rows, get("lhs_row_stride"), depth),
        "rhs": (
            depth,
            get("rhs_depth_stride"),
            (columns - 1) * get("rhs_column_stride") + 1,
        ),
        "ofm": (rows, get("ofm_row_stride"), columns),
    }
    for prefix, (count, stride, size) in steps.items():
        batches = np.arange(get("batch"), dtype=np.int64) * get(f"{prefix}_batch_stride")
        starts = batches[:, None] + np.arange(count, dtype=np.int64) * stride
        yield _intervals(prefix, packet.address(f"{prefix}_address"), starts, size, prefix == "ofm")


def _runs(packet: Packet, name: str, *, writes: bool) -> Touched:
    get = packet.integer
    starts, size = np.zeros(1, np.int64), get("run_bytes")
    for loop in (1, 2, 3):
        count, stride = get(f"count{loop}"), get(f"{name}_stride{loop}")
        if starts.size == 1 and stride == size:
            size *= count
        elif starts.size * count <= _MAX_RUNS:
            offsets = np.arange(count, dtype=np.int64) * stride
            starts = (offsets[:, None] + starts).reshape(-1)
        else:
            ends = sorted((0, (count - 1) * stride))
            size += int(starts.max() - starts.min()) + ends[1] - ends[0]
            starts = np.array([starts.min() + ends[0]])
    return _intervals(name, packet.address(name), starts, size, writes)


def _plain(packet: Packet, name: str, size: int) -> Touched:
    label = name.removesuffix("_address")
    return _intervals(label, packet.address(name), np.zeros(1, np.int64), size, writes=False)


def _intervals(what: str, address: Address, starts: Offsets, size: int, writes: bool) -> Touched:
    placed = np.unique(starts.reshape(-1)) + address.offset
    if placed.size > 1 and bool((np.diff(placed) <= size).all()):
        size += int(placed[-1] - placed[0])
        placed = placed[:1]
    return Touched(what, address.region, placed, size, writes)
