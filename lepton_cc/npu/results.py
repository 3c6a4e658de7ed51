"""What a run of the engine gives: status, fault, counters, times of packets."""

from dataclasses import dataclass

from lepton_cc.codegen.npu.cycles import PacketCycles
from lepton_cc.codegen.npu.isa.faults import DESCRIPTIONS, Fault
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.registers import Interrupt, Status


@dataclass(frozen=True, slots=True)
class EngineFault:
    """Why a run stopped: FAULT_CODE, FAULT_PC, FAULT_ADDR and FAULT_INFO.

    `pc` is the packet's byte offset in region 0, `word` the word of the packet at fault, `address`
    has the region in bits 31:28.
    """

    code: Fault
    pc: int
    layer: int
    word: int
    address: int

    def __str__(self) -> str:
        where = f"packet at {self.pc:#x}, word {self.word}, layer {self.layer}"
        return (
            f"{self.code.name} ({where}, address {self.address:#010x}): {DESCRIPTIONS[self.code]}"
        )


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """PMU_COUNT by name; fields in the order of `Counter`."""

    cycles: int
    macs: int
    setup_cycles: int
    array_cycles: int
    epilogue_stalls: int
    spm_stalls: int
    weight_stalls: int
    token_stalls: int
    dma_cycles: int
    packets: int
    spm_bytes: int
    constant_bytes: int
    system_read_bytes: int
    system_write_bytes: int
    weights_decoded: int
    outputs: int


@dataclass(frozen=True, slots=True)
class RetiredPacket:
    """A packet that retired, `begin` and `completion` in cycles from RUN."""

    pc: int
    opcode: Opcode
    sequence: int
    layer: int
    begin: int
    completion: int
    cycles: PacketCycles


@dataclass(frozen=True, slots=True)
class EngineRun:
    """A run of one stream. `packets` are in the order of retirement, empty if not asked for."""

    status: Status
    fault: EngineFault | None
    counters: EngineCounters
    interrupts: Interrupt
    packets: tuple[RetiredPacket, ...]
