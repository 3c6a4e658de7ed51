"""The machine code of a compilation and what it weighs: object, listing, stack, flash."""

import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from lepton_cc.artifacts.stack import StackUsage, stack_usage
from lepton_cc.codegen.llvm.asynchronous import SECTION_SUFFIX
from lepton_cc.codegen.llvm.compile import MachineCode, compile_module, module_assembly
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.compiler import Compilation
from lepton_cc.ir.target import Target
from lepton_cc.levels import LEVELS, OptLevel


@dataclass(frozen=True, slots=True)
class GeneratedCode:
    """The module as LLVM IR, as an object file and as assembly.

    `code_bytes` and `constants_bytes` are what the object puts into flash, alignment not counted.
    """

    llvm_text: str
    object_bytes: bytes
    assembly: str
    stack: StackUsage
    code_bytes: int
    constants_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Bytes of code and constants."""
        return self.code_bytes + self.constants_bytes


def generate_code(compilation: Compilation, *, jobs: int = 1) -> GeneratedCode:
    """Compiles the program's module for its target, with two jobs in two processes.

    Raises:
        InternalError: LLVM refuses the module, or its stack cannot be computed.
    """
    program = compilation.program
    level = compilation.options.level
    text = emit_module(program, profile=compilation.options.profile)
    if jobs > 1:
        code = _compiled_apart(text, program.target, level)
    else:
        code = _compiled(text, program.target, level, assembly=True)
    code_bytes, constants_bytes = _section_bytes(code.object_bytes)
    stack = stack_usage(code.assembly, program.name, program.target)
    return GeneratedCode(text, code.object_bytes, code.assembly, stack, code_bytes, constants_bytes)


def _compiled(text: str, target: Target, level: OptLevel, *, assembly: bool) -> MachineCode:
    small = level is OptLevel.OS
    speed_level = LEVELS[level].llvm_level
    return compile_module(text, target, speed_level, small=small, assembly=assembly)


def _listing(text: str, target: Target, level: OptLevel) -> str:
    small = level is OptLevel.OS
    return module_assembly(text, target, LEVELS[level].llvm_level, small=small)


def _compiled_apart(text: str, target: Target, level: OptLevel) -> MachineCode:
    """The listing from a second process: LLVM is behind one lock in each."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        listing = pool.submit(_listing, text, target, level)
        code = _compiled(text, target, level, assembly=False)
        return MachineCode(code.object_bytes, listing.result())


def _section_bytes(object_bytes: bytes) -> tuple[int, int]:
    """Bytes of executable and of other sections that are loaded, without NAME_start and its like.

    Linkers drop these from a firmware that does not call them.
    """
    code = constants = 0
    for section in ELFFile(io.BytesIO(object_bytes)).iter_sections():
        flags = section["sh_flags"]
        if not flags & SH_FLAGS.SHF_ALLOC or section["sh_type"] == "SHT_NOBITS":
            continue
        if section.name.endswith(SECTION_SUFFIX):
            continue
        if flags & SH_FLAGS.SHF_EXECINSTR:
            code += section["sh_size"]
        else:
            constants += section["sh_size"]
    return code, constants
