"""Builds the C99 of a compilation into a program of its own: for code of other word sizes."""

import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lepton_cc.compiler import Compilation
from lepton_cc.ir.tensor import Array
from tests.differential.c_library import compile_c, write_c
from tests.differential.c_main import main_source

_RUN_SECONDS = 300


@cache
def links_programs(compiler: str, flags: tuple[str, ...]) -> bool:
    """True if the compiler links a program with these flags: it may lack the libraries."""
    with TemporaryDirectory(prefix="lepton-link-") as folder:
        done = subprocess.run(
            [compiler, *flags, "-x", "c", "-", "-o", f"{folder}/program"],
            input='#include <stdio.h>\nint main(void) { return puts("") < 0; }\n',
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    return done.returncode == 0


class CProgram:
    """The C of a compilation as a program that reads and writes files, each buffer exact."""

    def __init__(
        self, compilation: Compilation, folder: Path, compiler: str, flags: Sequence[str]
    ) -> None:
        self._program, self._folder = compilation.program, folder
        main = folder / "main.c"
        main.write_text(main_source(self._program), encoding="utf-8")
        sources = (*write_c(compilation, folder), main)
        # C11 for aligned_alloc, in main alone; the model itself is C99.
        options = (*flags, "-std=c11", "-Wno-cast-qual")
        compile_c(sources, folder / "run", compiler, options, shared=False)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model once; fails with what the program printed."""
        for number, port in enumerate(self._program.inputs):
            data = np.ascontiguousarray(inputs[port.name]).tobytes()
            (self._folder / f"in_{number}").write_bytes(data)
        done = subprocess.run(
            [str(self._folder / "run")],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[:4000]
        return {
            port.name: np.frombuffer(
                (self._folder / f"out_{number}").read_bytes(), dtype=port.type.dtype.numpy
            ).reshape(port.type.dims)
            for number, port in enumerate(self._program.outputs)
        }
