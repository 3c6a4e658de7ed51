"""The machine code of a compilation and what it weighs: object, listing, stack, flash."""

import io
from dataclasses import dataclass

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from lepton_cc.artifacts.stack import StackUsage, stack_usage
from lepton_cc.codegen.llvm.compile import compile_module
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.compiler import Compilation
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


def generate_code(compilation: Compilation) -> GeneratedCode:
    """Compiles the program's module for its target.

    Raises:
        InternalError: LLVM refuses the module, or its stack cannot be computed.
    """
    program = compilation.program
    level = LEVELS[compilation.options.level]
    small = compilation.options.level is OptLevel.OS
    text = emit_module(program)
    code = compile_module(text, program.target, level.llvm_level, small=small, assembly=True)
    code_bytes, constants_bytes = _section_bytes(code.object_bytes)
    stack = stack_usage(code.assembly, program.name, program.target)
    return GeneratedCode(
        text, code.object_bytes, code.assembly, stack, code_bytes, constants_bytes
    )


def _section_bytes(object_bytes: bytes) -> tuple[int, int]:
    """Bytes of executable and of other sections that are loaded."""
    code = constants = 0
    for section in ELFFile(io.BytesIO(object_bytes)).iter_sections():
        flags = section["sh_flags"]
        if not flags & SH_FLAGS.SHF_ALLOC or section["sh_type"] == "SHT_NOBITS":
            continue
        if flags & SH_FLAGS.SHF_EXECINSTR:
            code += section["sh_size"]
        else:
            constants += section["sh_size"]
    return code, constants
