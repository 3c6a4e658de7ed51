"""Reads a linked control-core ELF: segments, functions, memory map and the table of its buffers.

The image describes itself: the table that `runtime_c/boards/control_core/board.h` defines names
every input and output, so that running needs the ELF and nothing else.
"""

import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from numpy.typing import NDArray

from lepton_cc.emulator.instruction_starts import instruction_starts
from lepton_cc.ir.diagnostics import Code, Refused, refuse

_BOARD_VERSION = 1
_MODEL_SYMBOL = "lepton_board_the_model"
_MODEL = struct.Struct("<8I")
_PORT = struct.Struct("<3I")


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that are in memory before the core starts, at their load address."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the image; `end` is the first address behind it."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output buffer, under the ONNX model's name."""

    name: str
    address: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Region:
    """Addresses `begin <= a < end`."""

    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Number of bytes in the region."""
        return self.end - self.begin

    def __contains__(self, address: int) -> bool:
        return self.begin <= address < self.end


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A control-core ELF, as far as running it needs.

    `instruction_starts` `[len(text.data) / 2]` says for each halfword of the text whether an
    instruction starts there; `functions` are in the order of their addresses.
    `unzeroed` holds the inputs, the outputs and the arena, with guards between them.
    """

    entry: int
    segments: tuple[Segment, ...]
    text: Segment
    instruction_starts: NDArray[np.bool_]
    functions: tuple[Function, ...]
    flash: Region
    sram: Region
    stack: Region
    unzeroed: Region
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    arena: Port

    def function_at(self, address: int) -> Function | None:
        """Finds the function that contains `address`."""
        index = bisect_right(self.functions, address, key=lambda function: function.begin) - 1
        if index < 0 or address >= self.functions[index].end:
            return None
        return self.functions[index]

    def describe(self, address: int) -> str:
        """Writes an address as `0x20000094 (demo_run+0x4)`."""
        function = self.function_at(address)
        if function is None:
            return f"{address:#010x}"
        return f"{address:#010x} ({function.name}+{address - function.begin:#x})"


def read_image(path: Path) -> Image:
    """Reads a control-core ELF.

    Raises:
        Refused: the file is not an ELF that was linked for the control core.
    """
    try:
        with path.open("rb") as file:
            return _read(path, ELFFile(file))
    except (OSError, ELFError) as error:
        raise _no_image(path, str(error)) from error


def _no_image(path: Path, reason: str) -> Refused:
    return refuse(
        Code.EMULATION_FAULT,
        f"{path} is no image for the control core: {reason}",
        hint="link it with --emit elf",
    )


def _read(path: Path, elf: ELFFile) -> Image:
    text = elf.get_section_by_name(".text")
    table = elf.get_section_by_name(".symtab")
    if elf["e_machine"] != "EM_RISCV" or elf.elfclass != 32 or text is None or table is None:
        raise _no_image(path, "not a 32-bit RISC-V executable with symbols")
    symbols = {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}
    segments = tuple(
        Segment(int(segment["p_paddr"]), segment.data())
        for segment in elf.iter_segments("PT_LOAD")
        if segment["p_filesz"]
    )
    memory = _LoadedBytes(segments)
    code = Segment(int(text["sh_addr"]), text.data())
    functions = _functions(table)
    try:
        inputs, outputs, arena = _read_buffers(memory, symbols[_MODEL_SYMBOL])
        return Image(
            entry=int(elf["e_entry"]),
            segments=segments,
            text=code,
            instruction_starts=instruction_starts(
                code.data, (function.begin - code.address for function in functions)
            ),
            functions=functions,
            flash=_region(symbols, "flash", "begin", "end"),
            sram=_region(symbols, "sram", "begin", "end"),
            stack=_region(symbols, "stack", "bottom", "top"),
            unzeroed=_region(symbols, "unzeroed", "begin", "end"),
            inputs=inputs,
            outputs=outputs,
            arena=arena,
        )
    except KeyError as error:
        raise _no_image(path, f"the symbol {error} is missing") from error
    except ValueError as error:
        raise _no_image(path, str(error)) from error


def _region(symbols: Mapping[str, int], name: str, begin: str, end: str) -> Region:
    return Region(symbols[f"__{name}_{begin}"], symbols[f"__{name}_{end}"])


def _functions(table: SymbolTableSection) -> tuple[Function, ...]:
    # A compiler's builtins carry several names; the shortest is the one that people know.
    by_address: dict[int, Function] = {}
    for symbol in table.iter_symbols():
        if symbol["st_info"]["type"] != "STT_FUNC":
            continue
        begin = int(symbol["st_value"])
        function = Function(symbol.name, begin, begin + int(symbol["st_size"]))
        known = by_address.get(begin, function)
        by_address[begin] = min(known, function, key=lambda each: (len(each.name), each.name))
    return tuple(by_address[address] for address in sorted(by_address))


class _LoadedBytes:
    """The image's bytes by address."""

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self._segments = segments

    def read(self, address: int, size_bytes: int) -> bytes:
        for segment in self._segments:
            offset = address - segment.address
            if offset >= 0 and offset + size_bytes <= len(segment.data):
                return segment.data[offset : offset + size_bytes]
        raise ValueError(f"its table points to {address:#010x}, where nothing is loaded")

    def read_text(self, address: int) -> str:
        end = address
        while self.read(end, 1) != b"\0":
            end += 1
        return self.read(address, end - address).decode("utf-8")


def _read_buffers(
    memory: _LoadedBytes, model: int
) -> tuple[tuple[Port, ...], tuple[Port, ...], Port]:
    """Decodes `lepton_board_model` of board.h: inputs, outputs, arena."""
    version, _, num_inputs, inputs, num_outputs, outputs, arena, arena_bytes = _MODEL.unpack(
        memory.read(model, _MODEL.size)
    )
    if version != _BOARD_VERSION:
        raise ValueError(f"its table has version {version}, this emulator reads {_BOARD_VERSION}")
    return (
        _port_table(memory, inputs, num_inputs),
        _port_table(memory, outputs, num_outputs),
        Port("arena", arena, arena_bytes),
    )


def _port_table(memory: _LoadedBytes, address: int, num_ports: int) -> tuple[Port, ...]:
    rows = [
        _PORT.unpack(memory.read(address + index * _PORT.size, _PORT.size))
        for index in range(num_ports)
    ]
    return tuple(Port(memory.read_text(name), data, size) for name, data, size in rows)
