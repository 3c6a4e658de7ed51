"""A record of the packets that an emulated engine retires, over one run or several."""

from dataclasses import fields

from lepton_cc.codegen.npu.cycles import PacketCycles
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.npu import abi
from lepton_cc.npu.results import RetiredPacket

_CYCLE_NAMES = tuple(field.name for field in fields(PacketCycles))


class PacketLog:
    """Room for so many packets; what comes after them is counted and not kept."""

    def __init__(self, capacity: int) -> None:
        self.log = abi.Log((abi.Retired * capacity)(), capacity, 0)

    def clear(self) -> None:
        """Forgets all packets."""
        self.log.count = 0

    @property
    def packets(self) -> tuple[RetiredPacket, ...]:
        """The packets in the order of retirement."""
        kept = min(self.log.count, self.log.capacity)
        return tuple(_retired(self.log.records[i]) for i in range(kept))


def _retired(record: abi.Retired) -> RetiredPacket:
    return RetiredPacket(
        pc=record.pc,
        opcode=Opcode(record.opcode),
        sequence=record.sequence,
        layer=record.layer,
        begin=record.begin,
        completion=record.completion,
        cycles=PacketCycles(**{name: getattr(record.cycles, name) for name in _CYCLE_NAMES}),
    )
