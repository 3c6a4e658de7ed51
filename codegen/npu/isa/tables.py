"""The tables of docs/lepton-npu.md, made from the encodings; `make docs` writes them there."""

import enum
import re
from collections.abc import Callable, Iterable, Sequence

from lepton_cc.codegen.npu.isa import faults, regions
from lepton_cc.codegen.npu.isa.family import FAMILY
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
    Queue,
)
from lepton_cc.codegen.npu.isa.registers import (
    COUNTER_DESCRIPTIONS,
    REGISTERS,
    Capability,
    Control,
    Counter,
    Interrupt,
    RegionAttribute,
    Register,
    Status,
)
from lepton_cc.codegen.npu.systems.listing import list_systems

_KIB = 1024
_QUEUES = {Queue.DMA: "DMA", Queue.COMPUTE: "compute", Queue.BOTH: "both"}
_MARK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill_marks(page: str) -> str:
    """The page with what stands between its marks made anew; unknown marks stay as they are."""

    def replace(match: re.Match[str]) -> str:
        make = TABLES.get(match[2])
        return match[0] if make is None else f"{match[1]}{make()}{match[3]}"

    return _MARK.sub(replace, page)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def _family() -> str:
    heads = ["", *(f"`{member.name}`" for member in FAMILY)]
    rows: list[tuple[str, Sequence[object]]] = [
        ("multiply-adds a cycle", [m.macs for m in FAMILY]),
        ("epilogue lanes", [m.lanes for m in FAMILY]),
        ("SPM, KiB", [m.spm_bytes // _KIB for m in FAMILY]),
        ("SPM, bytes a cycle", [m.spm_bytes_per_cycle for m in FAMILY]),
        ("WBUF, KiB", [m.wbuf_bytes // _KIB for m in FAMILY]),
        ("accumulators", [m.accumulators for m in FAMILY]),
        ("line buffer, KiB", [m.line_buffer_bytes // _KIB for m in FAMILY]),
        ("decoder, weights a cycle", [m.decoder_weights for m in FAMILY]),
        *(
            (f"mode {i}: P x O x I", [m.modes[i] for m in FAMILY])
            for i in range(len(FAMILY[0].modes))
        ),
        *(
            (f"depthwise mode {i}: P x channels x taps", [m.depthwise_modes[i] for m in FAMILY])
            for i in range(len(FAMILY[0].depthwise_modes))
        ),
    ]
    return _table(heads, [[title, *values] for title, values in rows])


def _regions() -> str:
    rows = [
        (int(region), region.name, "read, write" if region in regions.WRITABLE else "read", text)
        for region, text in _described(regions.Region, regions.DESCRIPTIONS)
    ]
    return _table(("region", "name", "use", ""), rows)


def _described(
    kind: type[regions.Region], texts: dict[regions.Region, str]
) -> list[tuple[regions.Region, str]]:
    return [(member, texts.get(member, "")) for member in kind]


_CODINGS = {
    Coding.UNSIGNED: "",
    Coding.SIGNED: "signed",
    Coding.BINARY32: "binary32",
    Coding.ADDRESS: "address",
}


def _bits(field: Field) -> str:
    high = field.low + field.width - 1
    return f"{high}:{field.low}" if field.width > 1 else f"{field.low}"


def _fields(fields: Iterable[Field]) -> str:
    ordered = sorted(fields, key=lambda field: (field.word, -field.low))
    rows = [(f.word, _bits(f), f"`{f.name}`", _CODINGS[f.coding], f.description) for f in ordered]
    return _table(("word", "bits", "field", "coding", ""), rows)


def _header() -> str:
    return _fields(HEADER)


def _packets() -> str:
    overview = _table(
        ("opcode", "packet", "bytes", "queue", ""),
        [
            (f"0x{f.opcode:02X}", f.opcode.name, 4 * f.words, _QUEUES[f.queue], f.description)
            for f in FORMATS.values()
        ],
    )
    sections = [_format(format_) for format_ in FORMATS.values() if format_.fields]
    kinds: tuple[type[enum.IntEnum] | type[enum.IntFlag], ...] = (
        Encoding,
        Elementwise,
        Pool,
        Epilogue,
    )
    return "\n".join([overview, *sections, _enumerations(kinds)])


def _format(format_: PacketFormat) -> str:
    """The fields of a packet; those of a convolution are listed once."""
    shared = FORMATS[Opcode.CONV].fields
    fields = format_.fields
    if format_.opcode is Opcode.DEPTHWISE:
        return "**DEPTHWISE**: the fields of CONV.\n"
    if format_.opcode is Opcode.SEPARABLE:
        own = [field for field in fields if field not in shared]
        return f"**SEPARABLE**: the fields of CONV, and\n\n{_fields(own)}"
    if format_.opcode is Opcode.CHECK:
        return f"**CHECK**\n\n{_fields(_folded(fields))}"
    return f"**{format_.opcode.name}**\n\n{_fields(fields)}"


def _folded(fields: Iterable[Field]) -> list[Field]:
    """The sixteen sizes of regions as one row."""
    kept = [field for field in fields if not re.fullmatch(r"region([1-9]|1\d)_bytes", field.name)]
    return [
        Field(
            "regionI_bytes", f.word, f.low, f.width, f.coding, "least size of region I: word 9 + I"
        )
        if f.name == "region0_bytes"
        else f
        for f in kept
    ]


def _enumerations(kinds: Iterable[type[enum.IntEnum] | type[enum.IntFlag]]) -> str:
    rows = [
        (
            kind.__name__,
            ", ".join(
                f"{_position(member)} {member.name}"
                for member in sorted(kind, key=lambda m: m.value)
            ),
        )
        for kind in kinds
    ]
    return _table(("values", ""), rows)


def _position(member: enum.Enum) -> str:
    if isinstance(member, enum.IntFlag):
        return f"bit {member.value.bit_length() - 1}"
    return str(member.value)


def _counters() -> str:
    return _table(
        ("counter", "name", ""),
        [(int(counter), counter.name, COUNTER_DESCRIPTIONS[counter]) for counter in Counter],
    )


def _offset(register: Register) -> str:
    if register.count == 1:
        return f"0x{register.offset:03X}"
    return f"0x{register.offset:03X} + {register.stride} i, i < {register.count}"


def _registers() -> str:
    registers = _table(
        ("offset", "register", "access", ""),
        [(_offset(r), r.name, r.access.value, r.description) for r in REGISTERS],
    )
    kinds: tuple[type[enum.IntEnum] | type[enum.IntFlag], ...] = (
        Control,
        Status,
        Interrupt,
        RegionAttribute,
        Capability,
    )
    return f"{registers}\n{_enumerations(kinds)}"


def _faults() -> str:
    rows = [(f"0x{f:02X}", f.name, faults.DESCRIPTIONS[f]) for f in faults.Fault]
    return _table(("code", "fault", ""), rows)


def _systems() -> str:
    rows = [
        (f"`{s.name}`", s.constants, s.system, "yes" if s.shared else "no", s.description)
        for s in list_systems()
    ]
    heads = (
        "system",
        "constants: bytes a cycle, latency",
        "system memory: bytes a cycle, latency",
        "constants in SPM's memory",
        "",
    )
    return _table(heads, rows)


TABLES: dict[str, Callable[[], str]] = {
    "family": _family,
    "regions": _regions,
    "header": _header,
    "packets": _packets,
    "counters": _counters,
    "registers": _registers,
    "faults": _faults,
    "systems": _systems,
}
