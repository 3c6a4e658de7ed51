"""Links generated objects, start-up code and glue into an ELF for the control core."""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from lepton_cc import runtime_c
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused, ToolchainError
from lepton_cc.linking.toolchain import Toolchain

_RUNTIME = Path(runtime_c.__file__).parent
_BOARDS = _RUNTIME / "boards"
_BOARD = _BOARDS / "control_core"
_SOURCES = (_BOARD / "start.S", _BOARD / "main.c", _BOARDS / "memory.c")

# -fno-builtin: memory.c must not be compiled into calls of itself. No debug information, no build
# id and sections per function: the same bytes everywhere, and only those that are used.
_COMPILE = (
    "-std=c99",
    "-O2",
    "-g0",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wshadow",
    "-Werror",
    "-ffreestanding",
    "-fno-builtin",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-asynchronous-unwind-tables",
    "-fno-ident",
)
_LINK = ("-nostdlib", "-static", "-Wl,--gc-sections", "-Wl,--build-id=none")
_LINK_SECONDS = 600
_MAX_ERROR_LINES = 12

_MEMORY = {"FLASH": "flash", "SRAM": "SRAM"}
_OVERFLOW = re.compile(r"region [`'](FLASH|SRAM)'.*?overflowed by (\d+) bytes")


@dataclass(frozen=True, slots=True)
class ControlCoreConfig:
    """The core to link for: its ISA and ABI as compilers name them, its memories, its stack."""

    flash_bytes: int
    sram_bytes: int
    march: str = "rv32imc"
    mabi: str = "ilp32"
    stack_bytes: int = 8192


@dataclass(frozen=True, slots=True)
class LinkedImage:
    """A linked ELF: what it takes of the flash (code, constants, initial data) and of the SRAM.

    `sram_bytes` holds the stack, static data, inputs, outputs and the arena.
    """

    path: Path
    flash_bytes: int
    sram_bytes: int


def link_elf(
    objects: Sequence[Path],
    board_source: str,
    *,
    config: ControlCoreConfig,
    toolchain: Toolchain,
    out: Path,
    include_dirs: Sequence[Path] = (),
    extra_sources: Sequence[Path] = (),
) -> LinkedImage:
    """Links `objects` and the glue `board_source` for the control core; `out` appears at once.

    `include_dirs` hold the header `NAME.h` that the glue includes. `extra_sources` are compiled as
    the board's own files are: `npu_sources()` if the objects call `lepton_npu_invoke`, and the
    files of an application, whose glue is `application_glue()`. The bytes of the ELF depend on the
    contents of its inputs and the tool chain alone, not on any path.

    Raises:
        Refused: the image does not fit the flash or the SRAM.
        ToolchainError: the tool chain failed.
    """
    with tempfile.TemporaryDirectory(prefix="lepton-link-") as directory:
        build = Path(directory)
        (build / "board.c").write_text(board_source, encoding="utf-8")
        (build / "memory.ld").write_text(
            f"LEPTON_FLASH_BYTES = {config.flash_bytes};\n"
            f"LEPTON_SRAM_BYTES = {config.sram_bytes};\n"
            f"LEPTON_STACK_BYTES = {config.stack_bytes};\n",
            encoding="utf-8",
        )
        headers = (_RUNTIME / "include", _BOARD, *include_dirs)
        command = (
            *toolchain.command,
            *toolchain.target_arguments(config.march, config.mabi),
            *_COMPILE,
            *(f"-I{directory.resolve()}" for directory in headers),
            *_LINK,
            "-L.",
            "-T",
            str((_BOARD / "link.ld").resolve()),
            *(str(source.resolve()) for source in _SOURCES),
            "board.c",
            *(str(source.resolve()) for source in extra_sources),
            *(str(path.resolve()) for path in objects),
            *toolchain.builtins_arguments(config.march, config.mabi),
            "-o",
            "linked.elf",
        )
        _execute(
            command, build, {"FLASH": config.flash_bytes, "SRAM": config.sram_bytes}, toolchain
        )
        _publish((build / "linked.elf").read_bytes(), out)
    return _measure(out)


def npu_sources() -> tuple[Path, ...]:
    """The driver of the tensor engine, `lepton_npu_invoke`, and the board's bus to the engine."""
    return (*sorted((_RUNTIME / "npu" / "driver").glob("*.c")), _BOARD / "npu_bus.c")


def application_glue() -> str:
    """The glue of an image that runs `lepton_application()` and no model by itself."""
    return (_BOARD / "application.c").read_text(encoding="utf-8")


def _execute(
    command: tuple[str, ...], build: Path, regions: dict[str, int], toolchain: Toolchain
) -> None:
    try:
        result = subprocess.run(
            command, cwd=build, capture_output=True, text=True, timeout=_LINK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(
            f"{toolchain.version} did not link: {error}", code=Code.TOOL_FAILED
        ) from error
    if result.returncode == 0:
        return
    # One line a section; the last to be placed overflows by the most.
    excess: dict[str, int] = {}
    for region, num_bytes in _OVERFLOW.findall(result.stderr):
        excess[region] = max(excess.get(region, 0), int(num_bytes))
    if excess:
        raise Refused(
            Diagnostic(
                Code.DOES_NOT_FIT,
                f"the image needs {regions[region] + num_bytes} bytes of {_MEMORY[region]}, "
                f"there are {regions[region]}",
                hint=f"free {num_bytes} bytes or choose a core with more {_MEMORY[region]}",
            )
            for region, num_bytes in sorted(excess.items())
        )
    errors = "\n".join(result.stderr.strip().splitlines()[:_MAX_ERROR_LINES])
    raise ToolchainError(f"{toolchain.version} did not link:\n{errors}", code=Code.TOOL_FAILED)


def _publish(data: bytes, out: Path) -> None:
    partial = out.with_name(f".{out.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, out)


def _measure(path: Path) -> LinkedImage:
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        (flash,) = table.get_symbol_by_name("__flash_used")
        (sram,) = table.get_symbol_by_name("__sram_used")
        return LinkedImage(path, int(flash["st_value"]), int(sram["st_value"]))
