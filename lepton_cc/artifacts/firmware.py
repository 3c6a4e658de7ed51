"""Links a compiled model into an ELF for the control core; refuses what cannot fit its memories."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from lepton_cc.artifacts.c_types import c_type
from lepton_cc.codegen.program import Port, Program
from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused, ToolchainError
from lepton_cc.ir.target import Target
from lepton_cc.linking import (
    BoardPort,
    ControlCoreConfig,
    LinkedImage,
    Toolchain,
    board_source,
    find_toolchain,
    link_elf,
    npu_sources,
)
from lepton_cc.report import MemoryReport

# The board's own frames around the model (main, the glue, the measured call), and its start.
BOARD_STACK_BYTES = 128
_STACK_ALIGNMENT = 16
_NUM_TENSORS_SHOWN = 3
_FLASH, _SRAM = "flash", "sram"


@dataclass(frozen=True, slots=True)
class Firmware:
    """A linked image and what it takes of the two memories, board included."""

    elf: bytes
    flash_bytes: int
    sram_bytes: int


def link_firmware(
    program: Program, object_bytes: bytes, header: str, memory: MemoryReport
) -> Firmware:
    """Links the model's object with the board; its stack has exactly the stated size.

    Raises:
        Refused: it does not fit the target's memories.
        ToolchainError: there is no tool chain for the target, or it failed.
    """
    check_fit(program.target, memory)
    march, mabi = _isa(program.target)
    toolchain = _toolchain(march, mabi)
    flash, sram = program.target.region(_FLASH), program.target.region(_SRAM)
    config = ControlCoreConfig(
        flash_bytes=flash.size_bytes if flash else 1 << 24,
        sram_bytes=sram.size_bytes if sram else 1 << 24,
        march=march,
        mabi=mabi,
        stack_bytes=_aligned(memory.stack_bytes + BOARD_STACK_BYTES),
    )
    glue = board_source(
        program.name,
        [_board_port(port) for port in program.inputs],
        [_board_port(port) for port in program.outputs],
        arena_bytes=program.arena_bytes,
    )
    with tempfile.TemporaryDirectory(prefix="lepton-firmware-") as directory:
        folder = Path(directory)
        (folder / f"{program.name}.h").write_text(header, encoding="utf-8")
        model = folder / f"{program.name}.o"
        model.write_bytes(object_bytes)
        image: LinkedImage = link_elf(
            [model],
            glue,
            config=config,
            toolchain=toolchain,
            out=folder / f"{program.name}.elf",
            include_dirs=[folder],
            extra_sources=npu_sources() if program.engine is not None else (),
        )
        return Firmware(image.path.read_bytes(), image.flash_bytes, image.sram_bytes)


def check_fit(target: Target, memory: MemoryReport) -> None:
    """Refuses a model whose RAM or flash is more than the target declares.

    Raises:
        Refused: with what is needed, what there is, the peak, and the smallest change.
    """
    complaints = []
    sram, flash = target.region(_SRAM), target.region(_FLASH)
    if sram is not None and memory.ram_bytes > sram.size_bytes:
        complaints.append(_sram_complaint(target, memory, sram.size_bytes))
    if flash is not None and memory.flash_bytes > flash.size_bytes:
        excess = memory.flash_bytes - flash.size_bytes
        complaints.append(
            Diagnostic(
                Code.DOES_NOT_FIT,
                f"the model needs {memory.flash_bytes} bytes of flash ({memory.constants_bytes} of "
                f"constants, {memory.code_bytes} of code), {target.name} has {flash.size_bytes}",
                hint=f"remove {excess} bytes of weights, or choose a target with more flash",
            )
        )
    if complaints:
        raise Refused(complaints)


def _sram_complaint(target: Target, memory: MemoryReport, there_is: int) -> Diagnostic:
    excess = memory.ram_bytes - there_is
    shown = memory.peak_tensors[:_NUM_TENSORS_SHOWN]
    biggest = ", ".join(f"{tensor.name} {tensor.size_bytes}" for tensor in shown)
    fixed = memory.ram_bytes - memory.lower_bound_bytes
    if memory.gap_bytes >= excess:
        change = f"a tighter memory plan could: {memory.gap_bytes} bytes lie above its lower bound"
    elif fixed >= there_is:
        change = f"choose a target with {memory.ram_bytes} bytes of SRAM"
    else:
        smaller = next((t for t in reversed(shown) if t.size_bytes >= excess), None)
        where = f"in {smaller.name}" if smaller else "at this operation"
        change = f"save {excess} bytes {where}, or choose a target with {memory.ram_bytes} of SRAM"
    return Diagnostic(
        Code.DOES_NOT_FIT,
        f"the model needs {memory.ram_bytes} bytes of SRAM (arena {memory.arena_bytes}, stack "
        f"{memory.stack_bytes}, inputs and outputs {memory.io_bytes}), {target.name} has "
        f"{there_is}; the peak is {memory.peak_layer}, whose biggest tensors are: {biggest}",
        hint=change,
    )


def has_toolchain(target: Target) -> bool:
    """True if something on this machine links for the target."""
    try:
        _toolchain(*_isa(target))
    except ToolchainError:
        return False
    return True


def _toolchain(march: str, mabi: str) -> Toolchain:
    try:
        return find_toolchain(march=march, mabi=mabi)
    except ToolchainError as error:
        raise ToolchainError(
            error.diagnostic.message, "pip install 'lepton-cc[link]'", error.diagnostic.code
        ) from None


def _isa(target: Target) -> tuple[str, str]:
    """The ISA and the ABI as C compilers name them: `rv32imc`, `ilp32`."""
    base = "rv32i"
    letters = {word[1:] for word in target.features.split(",") if word.startswith("+")}
    return base + "".join(letter for letter in "mafdc" if letter in letters), target.abi


def _board_port(port: Port) -> BoardPort:
    return BoardPort(port.name, c_type(port.type.dtype), port.type.num_elements)


def _aligned(size: int) -> int:
    return -(-size // _STACK_ALIGNMENT) * _STACK_ALIGNMENT
