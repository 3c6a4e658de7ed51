"""Turns a compilation into files: which kinds there are, and the bytes of each."""

import enum
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from lepton_cc.artifacts.archive import Member, write_archive
from lepton_cc.artifacts.engine_files import check_scratchpad, engine_files, engine_report
from lepton_cc.artifacts.firmware import Firmware, check_fit, link_firmware
from lepton_cc.artifacts.header import header_text
from lepton_cc.artifacts.manifest import manifest_document
from lepton_cc.artifacts.output_folder import publish
from lepton_cc.codegen.c.module import emit_c_module
from lepton_cc.codegen.c.weights import weights_assembly
from lepton_cc.codegen.program import print_program
from lepton_cc.compiler import Compilation
from lepton_cc.engine_report.document import EngineReport
from lepton_cc.generated_code import GeneratedCode, generate_code
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.lir_file import write_lir
from lepton_cc.ir.target import Execution
from lepton_cc.report import LayerReport, MemoryReport, layer_reports, memory_report


class EmitKind(enum.StrEnum):
    """What `--emit` writes."""

    LIB = "lib"
    OBJ = "obj"
    ASM = "asm"
    C = "c"
    LLVM = "llvm"
    IR = "ir"
    PROGRAM = "program"
    ELF = "elf"


_MACHINE_CODE = frozenset({EmitKind.LIB, EmitKind.OBJ, EmitKind.ASM, EmitKind.LLVM, EmitKind.ELF})


class Artifacts:
    """The outputs of one compilation, each made when it is asked for.

    (A class rather than functions because the object, its listing and the image are shared.)
    """

    def __init__(self, compilation: Compilation, *, jobs: int = 1) -> None:
        self.compilation = compilation
        self._jobs = jobs

    @cached_property
    def code(self) -> GeneratedCode:
        """The machine code."""
        return generate_code(self.compilation, jobs=self._jobs)

    @cached_property
    def memory(self) -> MemoryReport:
        """The memory figures."""
        return memory_report(self.compilation.program, self.code)

    @cached_property
    def layers(self) -> tuple[LayerReport, ...]:
        """A row for each kernel call."""
        return layer_reports(self.compilation.program)

    @cached_property
    def engine(self) -> EngineReport | None:
        """What the tensor engine does; None if the target has none."""
        return engine_report(self.compilation)

    @cached_property
    def header(self) -> str:
        """The text of NAME.h, for the generated machine code."""
        profiled = self.compilation.options.profile
        builtins = self.code.stack.builtins
        return header_text(self.compilation.program, self.memory, builtins, profiled=profiled)

    @property
    def portable_header(self) -> str:
        """The text of NAME.h for the C sources, which any compiler may build."""
        return header_text(self.compilation.program, self.memory, (), portable=True)

    @cached_property
    def firmware(self) -> Firmware:
        """The linked image.

        Raises:
            Refused: it does not fit the target's memories.
            ToolchainError: there is no tool chain for the target.
        """
        program = self.compilation.program
        if program.target.execution is not Execution.CONTROL_CORE:
            raise UsageError(f"--emit elf: {program.target.name} is no bare-metal target")
        return link_firmware(program, self.code.object_bytes, self.header, self.memory)

    def files(self, kinds: Sequence[EmitKind]) -> dict[str, bytes]:
        """Name and content of each file; header and plan are always among them.

        So are the payload and its report, if the target has a tensor engine.
        """
        program = self.compilation.program
        check_fit(program.target, self.memory)
        if self.engine is not None:
            check_scratchpad(self.engine)
        header = self.portable_header if _MACHINE_CODE.isdisjoint(kinds) else self.header
        files = {
            f"{program.name}.h": header.encode(),
            f"{program.name}.plan.json": program.plan.to_json().encode(),
        }
        files.update(engine_files(self.compilation, self.engine))
        for kind in kinds:
            files.update(_WRITERS[kind](self, program.name))
        return files

    def write(self, folder: Path, kinds: Sequence[EmitKind], model_sha256: str) -> None:
        """Writes the files and the manifest into a folder, all of them or none.

        Raises:
            Refused: the model does not fit the target, or the folder cannot be written.
            ToolchainError: an image was asked for, and there is no tool chain.
        """
        kinds = tuple(kind for kind in EmitKind if kind in kinds)
        files = self.files(kinds)
        document = manifest_document(
            self.compilation, model_sha256, self.memory, self.layers, kinds
        )
        if EmitKind.ELF in kinds:
            image = self.firmware
            document["image"] = {
                "flash_bytes": image.flash_bytes,
                "sram_bytes": image.sram_bytes,
            }
        publish(folder, files, document)


def _library(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    member = Member(f"{name}.o", artifacts.code.object_bytes)
    return {f"{name}.a": write_archive([member])}


def _object(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    return {f"{name}.o": artifacts.code.object_bytes}


def _assembly(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    return {f"{name}.s": artifacts.code.assembly.encode()}


def _c_sources(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    program = artifacts.compilation.program
    return {
        f"{name}.c": emit_c_module(program).encode(),
        f"{name}_weights.S": weights_assembly(name).encode(),
        f"{name}_weights.bin": program.constants_blob(),
    }


def _llvm(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    return {f"{name}.ll": artifacts.code.llvm_text.encode()}


def _ir(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="lepton-ir-") as directory:
        folder = Path(directory)
        write_lir(artifacts.compilation.graph, folder / f"{name}.lir")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _program(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    return {f"{name}.program.txt": print_program(artifacts.compilation.program).encode()}


def _elf(artifacts: Artifacts, name: str) -> Mapping[str, bytes]:
    return {f"{name}.elf": artifacts.firmware.elf}


_WRITERS: Mapping[EmitKind, Callable[[Artifacts, str], Mapping[str, bytes]]] = {
    EmitKind.LIB: _library,
    EmitKind.OBJ: _object,
    EmitKind.ASM: _assembly,
    EmitKind.C: _c_sources,
    EmitKind.LLVM: _llvm,
    EmitKind.IR: _ir,
    EmitKind.PROGRAM: _program,
    EmitKind.ELF: _elf,
}
