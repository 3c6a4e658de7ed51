"""Attribution: which layer each packet serves, transfers included, from the stream alone.

Compute packets name their layer. A transfer into the engine serves the layer that first reads what
it brings, one out of it the layer that made what it takes.
"""

from collections.abc import Sequence

from lepton_cc.codegen.npu.footprint import Access, footprint
from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import INTERNAL


def served_layers(packets: Sequence[Packet]) -> tuple[int, ...]:
    """The layer of each packet, 0 of those that serve none."""
    accesses = [footprint(packet) for packet in packets]
    return tuple(
        _served(i, packets, accesses)
        if packet.opcode is Opcode.DMA and not packet.layer
        else packet.layer
        for i, packet in enumerate(packets)
    )


def _served(index: int, packets: Sequence[Packet], accesses: Sequence[tuple[Access, ...]]) -> int:
    read = [access for access in accesses[index] if not access.is_write]
    (written,) = (access for access in accesses[index] if access.is_write)
    if written.region in INTERNAL:
        following = range(index + 1, len(packets))
        return _first(following, packets, accesses, written, reader=True)
    before = range(index - 1, -1, -1)
    return _first(before, packets, accesses, read[0], reader=False) if read else 0


def _first(
    order: range,
    packets: Sequence[Packet],
    accesses: Sequence[tuple[Access, ...]],
    wanted: Access,
    *,
    reader: bool,
) -> int:
    """The layer of the first packet in that order that reads, or writes, some of the bytes."""
    for i in order:
        if not packets[i].layer:
            continue
        for access in accesses[i]:
            if access.is_write != reader and _share(access, wanted):
                return packets[i].layer
    return 0


def _share(one: Access, other: Access) -> bool:
    return one.region == other.region and one.first < other.end and other.first < one.end
