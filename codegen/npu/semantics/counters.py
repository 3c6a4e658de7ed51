"""The performance counters (section 8): a packet counts when it completes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lepton_cc.codegen.npu.cycles import PacketCycles
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.semantics.memory import TRACE_BYTES
from lepton_cc.codegen.npu.semantics.packet import HeldPacket

_CONSTANTS = (Region.STREAM, Region.CONSTANTS)
_INSIDE = (Region.SPM, Region.WBUF)
_COMPUTE_CYCLES = (
    Counter.SETUP_CYCLES,
    Counter.ARRAY_CYCLES,
    Counter.EPILOGUE_STALLS,
    Counter.SPM_STALLS,
    Counter.WEIGHT_STALLS,
)


@dataclass(slots=True)
class Counters:
    """Sums so far; CYCLES and TOKEN_STALLS are known when the run ends."""

    values: dict[Counter, int] = field(default_factory=lambda: dict.fromkeys(Counter, 0))

    def at(self, now: int) -> Mapping[Counter, int]:
        """The counters of a run that ended now."""
        busy = sum(self.values[counter] for counter in _COMPUTE_CYCLES)
        return {**self.values, Counter.CYCLES: now, Counter.TOKEN_STALLS: now - busy}

    def retire(self, packet: HeldPacket, terms: PacketCycles) -> None:
        """Count a packet."""
        values = self.values
        values[Counter.PACKETS] += 1
        if packet.opcode is Opcode.DMA:
            values[Counter.DMA_CYCLES] += terms.transfer
            self._count_moved(packet)
            return
        if packet.opcode is Opcode.TRACE:
            values[Counter.SYSTEM_WRITE_BYTES] += TRACE_BYTES
        values[Counter.SETUP_CYCLES] += terms.setup
        values[Counter.ARRAY_CYCLES] += terms.array
        further = [
            (terms.epilogue, Counter.EPILOGUE_STALLS),
            (terms.scratchpad, Counter.SPM_STALLS),
            (terms.weights, Counter.WEIGHT_STALLS),
        ]
        cycles, counter = max(further, key=lambda item: item[0])  # the first of equal ones
        values[counter] += max(cycles - terms.array, 0)
        values[Counter.MACS] += terms.macs
        values[Counter.SPM_BYTES] += terms.scratchpad_bytes
        values[Counter.WEIGHTS_DECODED] += terms.weights_decoded
        values[Counter.OUTPUTS] += terms.outputs

    def _count_moved(self, packet: HeldPacket) -> None:
        get = packet.integer
        moved = get("run_bytes") * get("count1") * get("count2") * get("count3")
        if not get("fill"):
            source = packet.region("source")
            if source in _CONSTANTS:
                self.values[Counter.CONSTANT_BYTES] += moved
            elif source not in _INSIDE:
                self.values[Counter.SYSTEM_READ_BYTES] += moved
        if packet.region("target") not in _INSIDE:
            self.values[Counter.SYSTEM_WRITE_BYTES] += moved
