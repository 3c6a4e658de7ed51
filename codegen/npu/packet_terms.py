"""The terms of packets on one machine, computed once for all that differ in addresses only.

Stripes and variants of a segment have the same packets over and over, at other places.
"""

from collections.abc import Hashable

from lepton_cc.codegen.npu.cycles import PacketCycles, packet_cycles
from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.machine import Machine

_WINDOW = (
    *("ifm_height", "ifm_width", "ifm_channels", "ofm_height", "ofm_width", "ofm_channels"),
    *("kernel_height", "kernel_width", "stride_y", "stride_x", "dilation_y", "dilation_x"),
    *("upsample_y", "upsample_x", "groups", "mode", "encoding", "epilogue"),
    *("stage_mode", "stage_encoding"),
)
_SLICES = ("weights_", "stage_weights_")
_TRANSFER = ("run_bytes", "count1", "count2", "count3", "fill")


class PacketTerms:
    """What `packet_cycles` gives, remembered by the fields that it reads."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[tuple[Hashable, ...], PacketCycles] = {}

    def of(self, packet: Packet) -> PacketCycles:
        """The terms of the cycle equation.

        Raises:
            ExceedsCapacity: see `packet_cycles`.
        """
        match packet.opcode:
            case Opcode.CONV | Opcode.DEPTHWISE | Opcode.SEPARABLE:
                key = self._window_key(packet)
            case Opcode.DMA:
                key = _transfer_key(packet)
            case _:
                return packet_cycles(self._machine, packet)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = packet_cycles(self._machine, packet)
        return found

    def _window_key(self, packet: Packet) -> tuple[Hashable, ...]:
        get = packet.fields.get
        sizes: list[Hashable] = [packet.opcode, *[get(name) for name in _WINDOW]]
        for slice_ in _SLICES:
            address = get(f"{slice_}address")
            in_spm = isinstance(address, Address) and address.region is Region.SPM
            # Only where the scratchpad's memory gives them do the bytes of a slice take time.
            counts = in_spm or self._machine.system.shared
            sizes += [in_spm, get(f"{slice_}bytes") if counts else 0]
        return tuple(sizes)


def _transfer_key(packet: Packet) -> tuple[Hashable, ...]:
    get = packet.fields.get
    source = None if get("fill") else packet.address("source").region
    return (packet.opcode, source, packet.address("target").region, *map(get, _TRANSFER))
