"""Builds a C program around a compiled model with the system's compiler, for tests that run it."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from lepton_cc import runtime_c

INCLUDE = Path(runtime_c.__file__).parent / "include"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


def compiler(name: str) -> str:
    """The path of a compiler, or a skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def build(source: str, folder: Path, inputs: Sequence[Path], *, cc: str = "gcc") -> Path:
    """Compiles `source` as C99 with warnings as errors and links it with `inputs`."""
    main = folder / "main.c"
    main.write_text(source, encoding="utf-8")
    program = folder / "program"
    command = [compiler(cc), "-std=c99", "-O1", *WARNINGS, f"-I{INCLUDE}", f"-I{folder}"]
    subprocess.run([*command, str(main), *map(str, inputs), "-o", str(program)], check=True)
    return program


def outputs_of(program: Path, given: bytes) -> bytes:
    """What the program writes when it reads `given`."""
    return subprocess.run(
        [program], input=given, capture_output=True, check=True, timeout=60
    ).stdout
