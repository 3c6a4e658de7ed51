"""The bytes that a packet reads and writes, as the smallest intervals around each operand."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Epilogue, Opcode
from lepton_cc.codegen.npu.isa.regions import INTERNAL, NUM_REGIONS, Address, Region

_TABLE_BYTES = 256
_COUNTS = ("count1", "count2", "count3")


class Access(NamedTuple):
    """Bytes [first, end) of a region."""

    region: Region
    first: int
    end: int
    is_write: bool


def _interval(address: Address, size: int, *, write: bool = False) -> Access:
    return Access(address.region, address.offset, address.offset + size, write)


class _MapNames(NamedTuple):
    """Names of a map's fields."""

    address: str
    row_stride: str
    pixel_stride: str
    ring_rows: str
    ring_start: str
    height: str
    width: str
    channels: str


@cache
def _map_names(prefix: str) -> _MapNames:
    return _MapNames(*(f"{prefix}_{name}" for name in _MapNames._fields))


def _map(
    packet: Packet,
    prefix: str,
    sizes: tuple[int, int, int],
    *,
    write: bool = False,
) -> Iterator[Access]:
    """The rows from the first to the last; of a ring two parts where it wraps."""
    rows, columns, channels = sizes
    names = _map_names(prefix)
    stride = packet.integer(names.row_stride)
    row_bytes = (columns - 1) * packet.integer(names.pixel_stride) + channels
    address = packet.address(names.address)
    ring = packet.integer(names.ring_rows)
    if not ring:
        if rows > 0:
            yield _interval(address, (rows - 1) * stride + row_bytes, write=write)
        return
    start = packet.integer(names.ring_start)
    before_wrap = min(rows, ring - start)
    for first, count in ((start, before_wrap), (0, rows - before_wrap)):
        if count > 0:
            extent = (count - 1) * stride + row_bytes
            yield _interval(address.plus(first * stride), extent, write=write)


def _sizes(packet: Packet, prefix: str) -> tuple[int, int, int]:
    names, get = _map_names(prefix), packet.integer
    return get(names.height), get(names.width), get(names.channels)


def _table(packet: Packet) -> tuple[Access, ...]:
    always = packet.opcode is Opcode.TABLE
    if always or packet.integer("epilogue") & Epilogue.TABLE:
        return (_interval(packet.address("table_address"), _TABLE_BYTES),)
    return ()


def _windowed(packet: Packet) -> tuple[Access, ...]:
    stored = _sizes(packet, "ofm")
    accesses = [*_map(packet, "ifm", _sizes(packet, "ifm"))]
    accesses += _map(packet, "ofm", stored, write=True)
    if packet.opcode is not Opcode.POOL:
        size = packet.integer("weights_bytes")
        accesses.append(_interval(packet.address("weights_address"), size))
        if packet.integer("epilogue") & Epilogue.RESIDUAL:
            accesses += _map(packet, "residual", stored)
    if packet.opcode is Opcode.SEPARABLE:
        size = packet.integer("stage_weights_bytes")
        accesses.append(_interval(packet.address("stage_weights_address"), size))
    return (*accesses, *_table(packet))


def _pointwise(packet: Packet) -> tuple[Access, ...]:
    sizes = _sizes_of_all(packet)
    names = ("ifm",) if packet.opcode is Opcode.TABLE else ("lhs", "rhs")
    reads: list[Access] = []
    for name in names:
        channels = 1 if name == "rhs" and packet.integer("rhs_repeats_channel") else sizes[2]
        reads += _map(packet, name, (sizes[0], sizes[1], channels))
    return (*reads, *_map(packet, "ofm", sizes, write=True), *_table(packet))


def _sizes_of_all(packet: Packet) -> tuple[int, int, int]:
    return packet.integer("height"), packet.integer("width"), packet.integer("channels")


def _matrix(
    packet: Packet, name: str, steps: tuple[tuple[int, int], ...], *, write: bool
) -> Access:
    extent = sum((count - 1) * stride for count, stride in steps) + 1
    return _interval(packet.address(f"{name}_address"), extent, write=write)


def _matmul(packet: Packet) -> tuple[Access, ...]:
    get = packet.integer
    batch, rows, columns, depth = get("batch"), get("rows"), get("columns"), get("depth")
    lhs = ((batch, get("lhs_batch_stride")), (rows, get("lhs_row_stride")), (depth, 1))
    rhs = (
        (batch, get("rhs_batch_stride")),
        (depth, get("rhs_depth_stride")),
        (columns, get("rhs_column_stride")),
    )
    ofm = ((batch, get("ofm_batch_stride")), (rows, get("ofm_row_stride")), (columns, 1))
    return (
        _matrix(packet, "lhs", lhs, write=False),
        _matrix(packet, "rhs", rhs, write=False),
        _matrix(packet, "ofm", ofm, write=True),
        *_table(packet),
    )


def _dma_side(packet: Packet, name: str, *, write: bool) -> Access:
    get = packet.integer
    low = high = 0
    for loop in (1, 2, 3):
        count = get(_COUNTS[loop - 1])
        if count > 1:
            reach = (count - 1) * get(f"{name}_stride{loop}")
            low, high = low + min(reach, 0), high + max(reach, 0)
    address = packet.address(name)
    first = address.offset + low
    end = address.offset + high + get("run_bytes")
    return Access(address.region, first, end, write)


def _dma(packet: Packet) -> tuple[Access, ...]:
    target = _dma_side(packet, "target", write=True)
    if packet.integer("fill"):
        return (target,)
    return (_dma_side(packet, "source", write=False), target)


def footprint(packet: Packet) -> tuple[Access, ...]:
    """The intervals of all operands."""
    match packet.opcode:
        case Opcode.CONV | Opcode.DEPTHWISE | Opcode.SEPARABLE | Opcode.POOL:
            return _windowed(packet)
        case Opcode.ELEMENTWISE | Opcode.TABLE:
            return _pointwise(packet)
        case Opcode.MATMUL:
            return _matmul(packet)
        case Opcode.DMA:
            return _dma(packet)
        case _:
            return ()


def region_sizes(packets: Iterable[Packet]) -> tuple[list[int], int]:
    """Bytes of each region that packets touch, and a mask of the external ones that they write."""
    sizes, written = [0] * NUM_REGIONS, 0
    for packet in packets:
        for access in footprint(packet):
            sizes[access.region] = max(sizes[access.region], access.end)
            if access.is_write and access.region not in INTERNAL:
                written |= 1 << access.region
    return sizes, written
