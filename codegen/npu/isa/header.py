"""The C header of the encodings, `runtime_c/include/lepton/npu_isa.h`, made from the tables.

Driver and emulator include it; `make docs` writes it, and a test compares it with the tables.
"""

import enum
from collections.abc import Iterable, Iterator

from lepton_cc.codegen.npu.isa import regions, registers
from lepton_cc.codegen.npu.isa.family import FAMILY, Member
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.field import Coding, Field
from lepton_cc.codegen.npu.isa.packets import (
    FORMATS,
    HEADER,
    Elementwise,
    Encoding,
    Epilogue,
    Opcode,
    PacketFormat,
    Pool,
)

_HEAD = """\
/* npu_isa.h: encodings of lepton-npu, docs/lepton-npu.md. Made from codegen/npu/isa by `make docs`.
 *
 * Field F of packet P is LPT_P_F: word, shift and mask, three arguments; its number is
 * (words[word] >> shift) & mask, two's complement of that width where the comment says signed.
 * LPT_P_RESERVED initializes an array of the bits that must be 0, by word.
 */
#ifndef LEPTON_NPU_ISA_H
#define LEPTON_NPU_ISA_H
"""

_ENUMS: tuple[tuple[str, type[enum.IntEnum] | type[enum.IntFlag]], ...] = (
    ("OPCODE", Opcode),
    ("FAULT", Fault),
    ("REGION", regions.Region),
    ("CTRL", registers.Control),
    ("STATUS", registers.Status),
    ("IRQ", registers.Interrupt),
    ("REGION_ATTR", registers.RegionAttribute),
    ("CAPABILITY", registers.Capability),
    ("COUNTER", registers.Counter),
    ("ENCODING", Encoding),
    ("ELEMENTWISE", Elementwise),
    ("POOL", Pool),
    ("EPILOGUE", Epilogue),
)

_CONSTANTS = {
    "ID_VALUE": registers.ID_VALUE,
    "ABI_MAJOR": registers.ABI_MAJOR,
    "ABI_MINOR": registers.ABI_MINOR,
    "REGISTER_SPACE_BYTES": registers.REGISTER_SPACE_BYTES,
    "DEFAULT_WATCHDOG": registers.DEFAULT_WATCHDOG,
    "OFFSET_BITS": regions.OFFSET_BITS,
    "NUM_REGIONS": regions.NUM_REGIONS,
    "RESERVED_REGION": regions.RESERVED_REGION,
    "NUM_COUNTERS": len(registers.Counter),
    "MAX_PACKET_WORDS": max(format_.words for format_ in FORMATS.values()),
}


def header_text() -> str:
    """The text of `npu_isa.h`."""
    parts = [_HEAD, *_section("Constants", _constant_lines())]
    for prefix, kind in _ENUMS:
        parts += _section(_first_sentence(kind), _enum_lines(prefix, kind))
    parts += _section("Registers: byte offsets", _register_lines())
    parts += _section("Words 0 and 1 of every packet", _field_lines("HEADER", HEADER))
    for format_ in FORMATS.values():
        parts += _section(f"{format_.opcode.name}: {format_.description}", _packet_lines(format_))
    parts += _section(
        "The family: member(macs, lanes, SPM bytes a cycle, SPM bytes, WBUF bytes, accumulators, "
        "line buffer bytes, decoder weights)",
        _family_lines(),
    )
    return "\n".join([*parts, "#endif\n"])


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"/* {title}. */"
    yield from lines
    yield ""


def _define(name: str, value: int) -> str:
    return f"#define LPT_{name} {f'0x{value:X}' if value > 255 else value}u"


def _first_sentence(kind: type[enum.Enum]) -> str:
    return (kind.__doc__ or "").split(". ")[0].splitlines()[0].rstrip(".")


def _constant_lines() -> Iterator[str]:
    return (_define(name, value) for name, value in _CONSTANTS.items())


def _enum_lines(prefix: str, kind: type[enum.IntEnum] | type[enum.IntFlag]) -> Iterator[str]:
    return (_define(f"{prefix}_{entry.name}", entry.value) for entry in kind)


def _register_lines() -> Iterator[str]:
    for register in registers.REGISTERS:
        yield f"#define LPT_REG_{register.name} 0x{register.offset:03X}u"
        if register.count > 1:
            yield _define(f"REG_{register.name}_STRIDE", register.stride)


def _field_lines(packet: str, fields: Iterable[Field]) -> Iterator[str]:
    for field in fields:
        mask = field.mask >> field.low
        macro = f"LPT_{packet}_{field.name.upper()} {field.word}u, {field.low}u, 0x{mask:X}u"
        signed = "signed; " if field.coding is Coding.SIGNED else ""
        yield f"#define {macro} /* {signed}{field.description} */"


def _packet_lines(format_: PacketFormat) -> Iterator[str]:
    name = format_.opcode.name
    yield _define(f"{name}_WORDS", format_.words)
    masks = ", ".join(f"0x{mask:X}u" for mask in format_.reserved_masks)
    yield f"#define LPT_{name}_RESERVED {{{masks}}}"
    yield from _field_lines(name, format_.fields)


def _rows(name: str, argument: str, rows: Iterable[tuple[int, ...]]) -> str:
    calls = (f"    {argument}({', '.join(f'{number}u' for number in row)})" for row in rows)
    return " \\\n".join([f"#define LPT_{name}({argument})", *calls])


def _family_lines() -> Iterator[str]:
    yield _rows("FAMILY", "member", (_member_row(member) for member in FAMILY))
    yield "\n/* Array modes of a member: mode(pixel rows, pixel columns, outputs, depth). */"
    for member in FAMILY:
        rows = ((m.rows, m.columns, m.outputs, m.depth) for m in member.modes)
        yield _rows(f"MODES_{member.macs}", "mode", rows)
    yield "\n/* Depthwise modes: mode(pixel rows, pixel columns, channels, taps). */"
    for member in FAMILY:
        shapes = ((m.rows, m.columns, m.channels, m.taps) for m in member.depthwise_modes)
        yield _rows(f"DEPTHWISE_MODES_{member.macs}", "mode", shapes)


def _member_row(member: Member) -> tuple[int, ...]:
    return (
        member.macs,
        member.lanes,
        member.spm_bytes_per_cycle,
        member.spm_bytes,
        member.wbuf_bytes,
        member.accumulators,
        member.line_buffer_bytes,
        member.decoder_weights,
    )
