"""Static libraries: writes and reads `ar` archives in the GNU format, with a symbol index.

The bytes depend on the members alone: no dates, owners or modes. Linkers read the index, the first
member `/`: a big-endian count, the offset of the member that defines each symbol, the names.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60
_MAX_SHORT_NAME = 15


@dataclass(frozen=True, slots=True)
class Member:
    """One object file of a library."""

    name: str
    content: bytes


def write_archive(members: Sequence[Member]) -> bytes:
    """The library of the given objects, in their order.

    Source: the `ar` format of System V with GNU's long names.
    """
    long_names = _long_names(members)
    symbols = [(symbol, i) for i, m in enumerate(members) for symbol in global_symbols(m.content)]
    names = b"".join(symbol.encode() + b"\0" for symbol, _ in symbols)
    index_size = 4 + 4 * len(symbols) + len(names)
    position = len(_MAGIC) + _HEADER_BYTES + _even(index_size)
    if long_names:
        position += _HEADER_BYTES + _even(len(long_names))
    offsets: list[int] = []
    for member in members:
        offsets.append(position)
        position += _HEADER_BYTES + _even(len(member.content))
    index = struct.pack(f">{1 + len(symbols)}I", len(symbols), *(offsets[i] for _, i in symbols))
    parts = [_MAGIC, _entry("/", index + names)]
    if long_names:
        parts.append(_entry("//", long_names))
    parts += [_entry(_short_name(member.name, long_names), member.content) for member in members]
    return b"".join(parts)


def read_archive(content: bytes) -> tuple[Member, ...]:
    """The objects of a library that `write_archive` wrote.

    Raises:
        ValueError: the bytes are no such library.
    """
    if not content.startswith(_MAGIC):
        raise ValueError("not an ar archive")
    members: list[Member] = []
    long_names = b""
    position = len(_MAGIC)
    while position + _HEADER_BYTES <= len(content):
        header = content[position : position + _HEADER_BYTES]
        name, size = header[:16].decode("ascii").rstrip(), int(header[48:58])
        body = content[position + _HEADER_BYTES : position + _HEADER_BYTES + size]
        if header[58:] != b"`\n" or len(body) != size:
            raise ValueError("a truncated ar archive")
        if name == "//":
            long_names = body
        elif name != "/":
            members.append(Member(_full_name(name, long_names), body))
        position += _HEADER_BYTES + _even(size)
    return tuple(members)


def global_symbols(elf: bytes) -> tuple[str, ...]:
    """Names that an object file defines for others, in the order of its symbol table."""
    table = ELFFile(io.BytesIO(elf)).get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return ()
    return tuple(
        str(symbol.name)
        for symbol in table.iter_symbols()
        if symbol["st_info"]["bind"] == "STB_GLOBAL" and symbol["st_shndx"] != "SHN_UNDEF"
    )


def _even(size: int) -> int:
    return size + size % 2


def _long_names(members: Sequence[Member]) -> bytes:
    names = (m.name for m in members if len(m.name.encode()) > _MAX_SHORT_NAME)
    return b"".join(name.encode() + b"/\n" for name in dict.fromkeys(names))


def _short_name(name: str, long_names: bytes) -> str:
    encoded = name.encode()
    if len(encoded) <= _MAX_SHORT_NAME:
        return f"{name}/"
    entry = encoded + b"/\n"
    start = 0 if long_names.startswith(entry) else long_names.index(b"\n" + entry) + 1
    return f"/{start}"


def _full_name(name: str, long_names: bytes) -> str:
    if name[1:].isdigit():
        start = int(name[1:])
        return long_names[start : long_names.index(b"/\n", start)].decode()
    return name.removesuffix("/")


def _entry(name: str, content: bytes) -> bytes:
    date, owner, group, mode = f"{0:<12}", f"{0:<6}", f"{0:<6}", f"{644:<8}"
    header = f"{name:<16}{date}{owner}{group}{mode}"
    padding = b"\n" if len(content) % 2 else b""
    return f"{header}{len(content):<10}`\n".encode("ascii") + content + padding
