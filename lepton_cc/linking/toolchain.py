"""Finds a C compiler, assembler and linker for bare-metal rv32, and says how each kind is called.

A tool chain must bring the builtins that the ISA lacks instructions for (`__addsf3`, `__divdi3`):
zig builds them itself, GNU has libgcc, a clang counts only if its compiler-rt was built for rv32.
"""

import enum
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lepton_cc.ir.diagnostics import ToolchainError

_QUERY_SECONDS = 60
_BASE_ISA = "rv32i"


class ToolchainKind(enum.StrEnum):
    """The families of tool chains, in the order of preference."""

    ZIG = "zig"
    CLANG = "clang"
    GCC = "gcc"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler driver; `command` starts it, `version` is its first line about itself."""

    kind: ToolchainKind
    command: tuple[str, ...]
    version: str

    def target_arguments(self, march: str, mabi: str) -> tuple[str, ...]:
        """Gives the arguments that choose the ISA (`rv32imc`) and the ABI (`ilp32`)."""
        if self.kind is ToolchainKind.ZIG:
            extensions = "".join(f"+{letter}" for letter in _extensions(march))
            return (
                "-target",
                "riscv32-freestanding-none",
                f"-mcpu=generic_rv32{extensions}",
                f"-mabi={mabi}",
                "-fno-sanitize=undefined",
            )
        target = ("--target=riscv32-unknown-elf",) if self.kind is ToolchainKind.CLANG else ()
        return (*target, f"-march={march}", f"-mabi={mabi}")

    def builtins_arguments(self, march: str, mabi: str) -> tuple[str, ...]:
        """Gives the link arguments, behind all objects, that add the compiler's builtins."""
        match self.kind:
            case ToolchainKind.ZIG:
                return ("-lcompiler_rt",)
            case ToolchainKind.CLANG:
                library = _query((*self.command, *_clang_builtins_query(march, mabi)))
                return ("-fuse-ld=lld", library or "")
            case ToolchainKind.GCC:
                return ("-lgcc",)


def find_toolchain(*, march: str = "rv32imc", mabi: str = "ilp32") -> Toolchain:
    """Finds the first tool chain of this machine that can link for `march` and `mabi`.

    Raises:
        ToolchainError: there is none.
    """
    for toolchain in _toolchains(march, mabi):
        return toolchain
    raise ToolchainError(
        f"no C tool chain for {march} was found (zig, clang with lld and rv32 builtins, "
        "riscv32-unknown-elf-gcc, riscv64-unknown-elf-gcc)",
        hint="pip install ziglang",
    )


def _extensions(march: str) -> str:
    """Gives the single-letter extensions behind the base: `mc` of `rv32imc`."""
    letters = march.removeprefix(_BASE_ISA)
    if letters == march or not letters.isalpha() or "z" in letters:
        raise ToolchainError(f"zig is not told how to build for {march!r}")
    return letters


def _toolchains(march: str, mabi: str) -> Iterator[Toolchain]:
    for command in _zig_commands():
        version = _query((*command, "version"))
        if version is not None:
            yield Toolchain(ToolchainKind.ZIG, (*command, "cc"), f"zig {version}")
    clang = shutil.which("clang")
    if clang is not None and shutil.which("ld.lld") is not None:
        library = _query((clang, *_clang_builtins_query(march, mabi)))
        if library is not None and Path(library).is_file():
            yield Toolchain(ToolchainKind.CLANG, (clang,), _query((clang, "--version")) or "")
    for name in ("riscv32-unknown-elf-gcc", "riscv64-unknown-elf-gcc"):
        gcc = shutil.which(name)
        if gcc is None:
            continue
        library = _query((gcc, f"-march={march}", f"-mabi={mabi}", "-print-libgcc-file-name"))
        if library is not None and Path(library).is_file():
            yield Toolchain(ToolchainKind.GCC, (gcc,), _query((gcc, "--version")) or "")


def _zig_commands() -> Iterator[tuple[str, ...]]:
    if importlib.util.find_spec("ziglang") is not None:
        yield (sys.executable, "-m", "ziglang")
    zig = shutil.which("zig")
    if zig is not None:
        yield (zig,)


def _clang_builtins_query(march: str, mabi: str) -> tuple[str, ...]:
    return (
        "--target=riscv32-unknown-elf",
        f"-march={march}",
        f"-mabi={mabi}",
        "-rtlib=compiler-rt",
        "-print-libgcc-file-name",
    )


def _query(command: tuple[str, ...]) -> str | None:
    """Gives the first line that `command` prints, or None if it fails."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.splitlines()
    return lines[0].strip() if answer.returncode == 0 and lines else None
