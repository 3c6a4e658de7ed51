"""Faults: why the engine stops. The first one wins; only a soft reset clears it."""

import enum


class Fault(enum.IntEnum):
    """FAULT_CODE; 0 means none."""

    NONE = 0x00
    BAD_OPCODE = 0x01
    SEQUENCE_GAP = 0x02
    PACKET_CRC = 0x03
    CHECK_MISSING = 0x04
    INCOMPATIBLE = 0x05
    REGION_TOO_SMALL = 0x06
    STREAM_END = 0x07
    READ_OUT_OF_BOUNDS = 0x10
    WRITE_OUT_OF_BOUNDS = 0x11
    WRITE_TO_READ_ONLY = 0x12
    MISALIGNED = 0x13
    BUS_ERROR = 0x14
    ILLEGAL_FIELD = 0x20
    EXCEEDS_CAPACITY = 0x21
    BAD_SCALE = 0x22
    WEIGHT_STREAM = 0x23
    RESERVED_BITS = 0x24
    WATCHDOG = 0x30
    TOKEN_DEADLOCK = 0x31
    TOKEN_OVERFLOW = 0x32
    SPM_PARITY = 0x40
    CONSTANTS_CRC = 0x41


DESCRIPTIONS = {
    Fault.NONE: "no fault",
    Fault.BAD_OPCODE: "opcode is reserved, or the length is not that of the opcode",
    Fault.SEQUENCE_GAP: "sequence number is not that of the packet before plus 1, modulo 65536",
    Fault.PACKET_CRC: "the packet's last word is not the CRC-32C of the words before it",
    Fault.CHECK_MISSING: "the first packet is no CHECK, or a later one is",
    Fault.INCOMPATIBLE: "CHECK wants another ABI, another number of MACs or capabilities not here",
    Fault.REGION_TOO_SMALL: "CHECK wants a larger region, scratchpad or weight buffer",
    Fault.STREAM_END: "the stream ends without END, or its length or CRC is not what CHECK says",
    Fault.READ_OUT_OF_BOUNDS: "a read leaves its region",
    Fault.WRITE_OUT_OF_BOUNDS: "a write leaves its region",
    Fault.WRITE_TO_READ_ONLY: "a write to a region without the write attribute",
    Fault.MISALIGNED: "an address or stride is not aligned as its field wants",
    Fault.BUS_ERROR: "the bus refused an access",
    Fault.ILLEGAL_FIELD: "a shape, stride, mode or kind outside its range",
    Fault.EXCEEDS_CAPACITY: "a tile exceeds the accumulators or the line buffer",
    Fault.BAD_SCALE: "a scale is not finite, subnormal, or not positive where it must be",
    Fault.WEIGHT_STREAM: "a weight slice ends too early, too late, or holds an undefined code",
    Fault.RESERVED_BITS: "a reserved bit or byte is not 0",
    Fault.WATCHDOG: "the cycle count reached WDOG",
    Fault.TOKEN_DEADLOCK: "every queue that is not empty waits for a token that nobody will signal",
    Fault.TOKEN_OVERFLOW: "a token counter exceeds 255",
    Fault.SPM_PARITY: "the scratchpad's memory failed",
    Fault.CONSTANTS_CRC: "a payload section's CRC is wrong (raised by the self-test)",
}
