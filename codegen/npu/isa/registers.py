"""The register map: offsets, access and meaning of each 32-bit register."""

import enum
from dataclasses import dataclass


class Access(enum.Enum):
    """What the host may do."""

    READ = "R"
    WRITE = "W"
    READ_WRITE = "RW"


@dataclass(frozen=True, slots=True)
class Register:
    """A register, or `count` of them, `stride` bytes apart."""

    name: str
    offset: int
    access: Access
    description: str
    count: int = 1
    stride: int = 4


ID_VALUE = 0x4E54504C  # "LPTN" in memory order
ABI_MAJOR = 1
ABI_MINOR = 0
REGISTER_SPACE_BYTES = 0x1000
DEFAULT_WATCHDOG = 1 << 30


class Control(enum.IntFlag):
    """Bits of CTRL; each acts when 1 is written to it."""

    RUN = 1 << 0
    HALT = 1 << 1
    SOFT_RESET = 1 << 2


class Status(enum.IntEnum):
    """Bits 1:0 of STATUS. Bit 8: the DMA queue is busy, bit 9: the compute queue is."""

    IDLE = 0
    RUNNING = 1
    DONE = 2
    FAULT = 3


class Interrupt(enum.IntFlag):
    """Bits of IRQ_RAW, IRQ_MASK and IRQ_CLEAR."""

    DONE = 1 << 0
    FAULT = 1 << 1
    USER = 1 << 2
    TRACE_FULL = 1 << 3


class RegionAttribute(enum.IntFlag):
    """Bits of REGION_ATTR."""

    READ = 1 << 0
    WRITE = 1 << 1


class Capability(enum.IntFlag):
    """Bits of CAPS0: what this device can execute beyond the base set."""

    INT4_WEIGHTS = 1 << 0
    CODED_WEIGHTS = 1 << 1
    SEPARABLE = 1 << 2
    MATMUL = 1 << 3
    RINGS = 1 << 4
    TRACE = 1 << 5


class Counter(enum.IntEnum):
    """PMU_COUNT[i]. STALL_* and COMPUTE_* split the run: their sum is CYCLES."""

    CYCLES = 0
    MACS = 1
    SETUP_CYCLES = 2
    ARRAY_CYCLES = 3
    EPILOGUE_STALLS = 4
    SPM_STALLS = 5
    WEIGHT_STALLS = 6
    TOKEN_STALLS = 7
    DMA_CYCLES = 8
    PACKETS = 9
    SPM_BYTES = 10
    CONSTANT_BYTES = 11
    SYSTEM_READ_BYTES = 12
    SYSTEM_WRITE_BYTES = 13
    WEIGHTS_DECODED = 14
    OUTPUTS = 15


COUNTER_DESCRIPTIONS = {
    Counter.CYCLES: "cycles from RUN to END",
    Counter.MACS: "multiply-adds of the network that were issued, padding included",
    Counter.SETUP_CYCLES: "compute queue: packet setup",
    Counter.ARRAY_CYCLES: "compute queue: the array works",
    Counter.EPILOGUE_STALLS: "compute queue: further cycles, the epilogue being the slowest",
    Counter.SPM_STALLS: "compute queue: further cycles, the scratchpad being the slowest",
    Counter.WEIGHT_STALLS: "compute queue: further cycles, the weight decoder being the slowest",
    Counter.TOKEN_STALLS: "compute queue: waits for tokens, or is empty",
    Counter.DMA_CYCLES: "DMA queue busy",
    Counter.PACKETS: "packets retired",
    Counter.SPM_BYTES: "bytes that compute packets moved from and to the scratchpad",
    Counter.CONSTANT_BYTES: "bytes read from the constants",
    Counter.SYSTEM_READ_BYTES: "bytes read from the system's memory",
    Counter.SYSTEM_WRITE_BYTES: "bytes written to the system's memory",
    Counter.WEIGHTS_DECODED: "weights that left the decoder",
    Counter.OUTPUTS: "elements that compute packets wrote",
}

REGISTERS = (
    Register("ID", 0x000, Access.READ, "0x4E54504C, the bytes LPTN"),
    Register("HWVER", 0x004, Access.READ, "version of the implementation"),
    Register("ABI", 0x008, Access.READ, "major in 31:16, minor in 15:0"),
    Register("CAPS0", 0x00C, Access.READ, "capability bits"),
    Register("CAPS1", 0x010, Access.READ, "MACs a cycle in 15:0, epilogue lanes in 31:16"),
    Register("CAPS2", 0x014, Access.READ, "scratchpad KiB in 15:0, weight buffer KiB in 31:16"),
    Register("CAPS3", 0x018, Access.READ, "accumulators in 15:0, line buffer KiB in 31:16"),
    Register("BUILD", 0x01C, Access.READ, "identification of the build"),
    Register("CTRL", 0x020, Access.WRITE, "RUN, HALT, SOFT_RESET"),
    Register("STATUS", 0x024, Access.READ, "state in 1:0; DMA busy 8, compute busy 9"),
    Register("QBASE", 0x028, Access.READ_WRITE, "first packet: byte offset in region 0"),
    Register("QSIZE", 0x02C, Access.READ_WRITE, "bytes of the stream from QBASE on"),
    Register("QREAD", 0x030, Access.READ, "byte offset in region 0 of the last retired packet"),
    Register("WDOG", 0x034, Access.READ_WRITE, "cycles a run may take; 0: 2^30"),
    Register("IRQ_RAW", 0x040, Access.READ, "interrupts raised"),
    Register("IRQ_MASK", 0x044, Access.READ_WRITE, "interrupts that reach the core"),
    Register("IRQ_CLEAR", 0x048, Access.WRITE, "1 clears"),
    Register("IRQ_TAG", 0x04C, Access.READ, "tag of the last IRQ packet"),
    Register("FAULT_CODE", 0x050, Access.READ, "the first fault, 0 if none"),
    Register("FAULT_PC", 0x054, Access.READ, "byte offset in region 0 of the packet at fault"),
    Register("FAULT_ADDR", 0x058, Access.READ, "the address at fault, region in 31:28"),
    Register("FAULT_INFO", 0x05C, Access.READ, "layer in 31:16, word of the packet in 15:0"),
    Register("PMU_CTRL", 0x060, Access.WRITE, "bit 0: reset the counters"),
    Register("PMU_COUNT", 0x080, Access.READ, "counters, low word first", 16, 8),
    Register("REGION_BASE", 0x100, Access.READ_WRITE, "bus address of region i", 16, 16),
    Register("REGION_SIZE", 0x104, Access.READ_WRITE, "bytes of region i", 16, 16),
    Register("REGION_ATTR", 0x108, Access.READ_WRITE, "READ, WRITE of region i", 16, 16),
)
