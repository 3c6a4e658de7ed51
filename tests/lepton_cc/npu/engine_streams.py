"""Streams by hand, and an engine with memory to run them on."""

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet, encode_stream
from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import ABI_MAJOR
from lepton_cc.codegen.npu.machine import Port, System, native
from lepton_cc.npu import Engine

SYSTEM = System("test", "flash of 1 byte a cycle, memory of 4", Port(16, 20), Port(64, 10))
MACHINE = native(64, SYSTEM)
END = Packet(Opcode.END, {})
FENCE = Packet(Opcode.FENCE, {})
NOP = Packet(Opcode.NOP, {})

Bytes = npt.NDArray[np.uint8]


def spm(offset: int) -> Address:
    return Address(Region.SPM, offset)


def wbuf(offset: int) -> Address:
    return Address(Region.WBUF, offset)


def stream(*packets: Packet, **check: FieldValue) -> bytes:
    """CHECK with these fields, the packets, END."""
    fields: Mapping[str, FieldValue] = {"abi_major": ABI_MAJOR, "macs": 64, **check}
    return encode_stream(Packet(Opcode.CHECK, fields), (*packets, END))


def copy(source: Address, target: Address, num_bytes: int, **fields: FieldValue) -> Packet:
    """DMA of one run, or of the loops that `fields` say."""
    loops: dict[str, FieldValue] = {f"count{i}": 1 for i in (1, 2, 3)}
    return Packet(
        Opcode.DMA, {"source": source, "target": target, "run_bytes": num_bytes, **loops, **fields}
    )


def with_tokens(packet: Packet, wait: int = 0, signal: int = 0) -> Packet:
    return Packet(packet.opcode, packet.fields, packet.layer, wait, signal)


def dense_map(prefix: str, offset: int, width: int, channels: int) -> dict[str, FieldValue]:
    """Address and strides of a map without gaps."""
    return {
        f"{prefix}_address": spm(offset),
        f"{prefix}_row_stride": width * channels,
        f"{prefix}_pixel_stride": channels,
    }


def raw_slice(weights: npt.NDArray[np.int8], scale: float, biases: npt.ArrayLike) -> bytes:
    """RAW8 slice of `[products, outputs]` weights, all outputs in one tile."""
    outputs = weights.shape[-1]
    channels = np.zeros(outputs, [("scale", "<f4"), ("bias", "<i4")])
    channels["scale"] = scale
    channels["bias"] = biases
    content = channels.tobytes() + weights.tobytes()
    return content + bytes(-len(content) % 4)


def convolution(
    ifm: tuple[int, int, int], ofm: tuple[int, int, int], num_bytes: int, **fields: FieldValue
) -> Packet:
    """CONV from SPM offset 0 to 4096 by the RAW8 slice at WBUF offset 0; 1x1 if not said else."""
    base: dict[str, FieldValue] = {
        **dense_map("ifm", 0, ifm[1], ifm[2]),
        **dense_map("ofm", 4096, ofm[1], ofm[2]),
        **dict(zip(("ifm_height", "ifm_width", "ifm_channels"), ifm, strict=True)),
        **dict(zip(("ofm_height", "ofm_width", "ofm_channels"), ofm, strict=True)),
        **{f"kernel_{side}": 1 for side in ("height", "width")},
        **{f"{name}_{axis}": 1 for name in ("stride", "dilation", "upsample") for axis in "yx"},
        "clamp_low": -128,
        "clamp_high": 127,
        "weights_address": wbuf(0),
        "weights_bytes": num_bytes,
        "groups": 1,
    }
    return Packet(Opcode.CONV, base | fields)


def fill(memory: Bytes, content: bytes | npt.NDArray[np.int8], offset: int = 0) -> None:
    """Writes bytes into a memory of the engine."""
    raw = np.frombuffer(content.tobytes() if isinstance(content, np.ndarray) else content, np.uint8)
    memory[offset : offset + raw.size] = raw


def engine(**regions: Bytes | bytearray) -> Engine:
    """An engine of 64 MACs with these regions, by lower-case name."""
    return Engine(MACHINE, {Region[name.upper()]: memory for name, memory in regions.items()})


def patched(content: bytes, packet: int, word: int, value: int, *, mend: bool = True) -> bytes:
    """The stream with one word of a packet changed, its CRCs mended if so said."""
    offset = 0
    for _ in range(packet):
        offset += 16 * content[offset + 2]
    size = 16 * content[offset + 2]
    changed = bytearray(content)
    struct.pack_into("<I", changed, offset + 4 * word, value)
    if mend:
        crc = crc32c(bytes(changed[offset : offset + size - 4]))
        struct.pack_into("<I", changed, offset + size - 4, crc)
        if packet:
            struct.pack_into("<I", changed, 4 * 8, crc32c(bytes(changed[144:])))
            struct.pack_into("<I", changed, 140, crc32c(bytes(changed[:140])))
    return bytes(changed)
