"""Every way in which a compiled model runs on this machine; a target more is a row more."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import Compilation, CompileOptions, compile_model
from lepton_cc.executable import Executable
from lepton_cc.ir.diagnostics import ToolchainError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.target import Execution, Target
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.passes.manager import PassManager
from tests.differential.c_library import CLibrary
from tests.differential.c_program import CProgram, links_programs

Run = Callable[[Mapping[str, Array]], dict[str, Array]]

# What C compilers get: no vectors, since they make their own and take minutes over ours.
PORTABLE = "portable"
PORTABLE_32 = "portable-32"
# A PC that requantizes like a core without floating-point unit.
WITHOUT_FLOATS = "x86-64-without-floats"
# 32-bit x86 computes floats as IEEE 754 says in SSE registers only.
M32 = ("-m32", "-msse2", "-mfpmath=sse")


@dataclass(frozen=True, slots=True)
class Way:
    """A target and a level; `compiler` and `flags` if it is C that is compiled."""

    name: str
    target: str
    level: OptLevel = OptLevel.O3
    compiler: str = ""
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def is_emulated(self) -> bool:
        """True if a run takes seconds."""
        return not self.compiler and self.loaded_target.execution is Execution.CONTROL_CORE

    @property
    def is_foreign(self) -> bool:
        """True if the code cannot be loaded into this process: it becomes a program."""
        return M32[0] in self.flags

    @property
    def loaded_target(self) -> Target:
        """The target's description."""
        if self.target == WITHOUT_FLOATS:
            return replace(load_target("x86-64-v3"), name=self.target, float_unit=False)
        if self.target in (PORTABLE, PORTABLE_32):
            bits = 32 if self.target == PORTABLE_32 else 64
            plain = replace(load_target("x86-64"), vector_bytes=0)
            return replace(plain, name=self.target, pointer_bits=bits)
        return load_target(self.target)

    def compile(self, path: Path) -> Compilation:
        """The model compiled this way, up to its program."""
        return compile_model(path, CompileOptions(self.loaded_target, self.level))

    def compile_graph(self, graph: Graph, name: str) -> Compilation:
        """A graph instead of a model, compiled this way."""
        target, level = self.loaded_target, LEVELS[self.level]
        manager = PassManager(level.pipeline(target))
        after = manager.run(graph)
        program = assemble(after, name, target, level.schedule, reorder=level.reorder)
        options = CompileOptions(target, self.level)
        return Compilation(options, graph, after, manager.records, program, (), ())

    def require(self) -> None:
        """Skips what this machine cannot do."""
        target = self.loaded_target
        if target.execution is Execution.NATIVE and not runs_on_this_machine(target):
            pytest.skip(f"this machine does not run {target.name}")
        if self.compiler and shutil.which(self.compiler) is None:
            pytest.skip(f"no {self.compiler} on this machine")
        if self.is_foreign and not links_programs(self.compiler, self.flags):
            pytest.skip(f"{self.compiler} does not link {' '.join(self.flags)} on this machine")

    def prepare(self, path: Path, folder: Path) -> Run:
        """The function that runs a model this way; skips what this machine cannot do."""
        self.require()
        return self.load(self.compile(path), folder)

    def load(self, compilation: Compilation, folder: Path) -> Run:
        """The function that runs a program made by `compile`; `folder` is for its files."""
        if self.is_foreign:
            return CProgram(compilation, folder, self.compiler, self.flags).run
        if self.compiler:
            return CLibrary(compilation, folder, self.compiler, self.flags).run
        if not self.is_emulated:
            return Executable(compilation.program, LEVELS[self.level].llvm_level).run
        model = CompiledModel(compilation, "")
        try:
            assert model.artifacts.firmware.elf
        except ToolchainError as error:
            pytest.skip(str(error))
        return model.run


# The plainest code: one scalar loop nest for each op of the model, not optimized by LLVM.
ANCHOR = Way("host-O0", "host", OptLevel.O0)

NATIVE = (
    Way("host-O1", "host", OptLevel.O1),
    Way("host-O2", "host", OptLevel.O2),
    Way("host-O3", "host"),
    Way("host-Os", "host", OptLevel.OS),
    Way("x86-64", "x86-64"),
    Way("x86-64-v3", "x86-64-v3"),
    Way("x86-64-v3-vnni", "x86-64-v3-vnni"),
    Way("x86-64-v4", "x86-64-v4"),
    Way("x86-64-v4-vnni", "x86-64-v4-vnni"),
    Way("x86-64-v4-amx", "x86-64-v4-amx"),
)
C = (
    Way("gcc-O0", PORTABLE, compiler="gcc", flags=("-O0",)),
    Way("gcc-O3", PORTABLE, compiler="gcc", flags=("-O3",)),
    Way("clang-O0", PORTABLE, compiler="clang", flags=("-O0",)),
    Way("clang-O3", PORTABLE, compiler="clang", flags=("-O3",)),
    Way("gcc-tiled", "x86-64", compiler="gcc", flags=("-O1",)),
    Way("gcc-matrices", "x86-64-v4-amx", compiler="gcc", flags=("-O2",)),
    Way("clang-unoptimized-graph", PORTABLE, OptLevel.O0, "clang", ("-O1",)),
)
EMULATED = (Way("rv32imc", "rv32imc"), Way("rv32imafc", "rv32imafc"))
# Firmware in the emulated control core, which starts the emulated tensor engine.
ENGINE = (Way("lepton-npu-128", "lepton-npu-128"), Way("lepton-npu-1024", "lepton-npu-1024"))
# More ways for quantized models: requantization by integers, and SSE2 without optimization.
INTEGERS = (
    Way("x86-64-without-floats", WITHOUT_FLOATS),
    Way("x86-64-O0", "x86-64", OptLevel.O0),
    Way("x86-64-O1", "x86-64", OptLevel.O1),
)
C_OF_32_BITS = (
    Way("gcc-m32-O0", PORTABLE_32, compiler="gcc", flags=("-O0", *M32)),
    Way("gcc-m32-O3", PORTABLE_32, compiler="gcc", flags=("-O3", *M32)),
    Way("clang-m32-O0", PORTABLE_32, compiler="clang", flags=("-O0", *M32)),
    Way("clang-m32-O3", PORTABLE_32, compiler="clang", flags=("-O3", *M32)),
    # What a core without floating-point unit is given.
    Way("gcc-m32-rv32imc", "rv32imc", compiler="gcc", flags=("-O1", *M32)),
)
