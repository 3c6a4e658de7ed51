"""Compiles emitted kernels with the system's C compilers, warnings as errors, and calls them."""

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_cc.codegen.c.kernel import emit_kernel
from lepton_cc.codegen.c.module import prelude
from lepton_cc.codegen.kernel.ir import Kernel
from lepton_cc.codegen.kernel.parallel import parallel_extent
from lepton_cc.codegen.kernel.types import Buffer

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
COMPILERS = tuple(name for name in ("gcc", "clang") if shutil.which(name))


def c_source(kernels: Sequence[Kernel]) -> str:
    """One file with an exported function for each kernel."""
    functions = [emit_kernel(kernel, f"kernel_{kernel.name}") for kernel in kernels]
    dtypes = {buffer.dtype for kernel in kernels for buffer in kernel.parameters}
    support = [needed for function in functions for needed in function.support]
    parts = ["#include <stddef.h>\n#include <stdint.h>\n", prelude(dtypes, support)]
    for kernel, function in zip(kernels, functions, strict=True):
        pointers = ", ".join(f"void *p{i}" for i in range(len(kernel.parameters)))
        names = [f"p{i}" for i in range(len(kernel.parameters))]
        extent = parallel_extent(kernel)
        if extent is not None:
            names += ["0", str(extent)]
        parts += [
            function.text,
            f"void run_{kernel.name}({pointers});\nvoid run_{kernel.name}({pointers})\n"
            f"{{\n    kernel_{kernel.name}({', '.join(names)});\n}}\n",
        ]
    return "\n".join(parts)


def compiled(source: str, folder: Path, compiler: str, *flags: str) -> ctypes.CDLL:
    """The shared library of a source."""
    file, library = folder / "kernels.c", folder / f"kernels_{compiler}.so"
    file.write_text(source, encoding="utf-8")
    command = [compiler, *WARNINGS, *flags, "-shared", "-fPIC", "-o", str(library), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:4000] + source[:4000]
    return ctypes.CDLL(str(library))


def call(
    library: ctypes.CDLL, kernel: Kernel, memory: Mapping[Buffer, NDArray[Any]]
) -> dict[Buffer, NDArray[Any]]:
    """Runs a kernel over copies of the memory; returns them."""
    arrays = {buffer: np.array(memory[buffer], copy=True) for buffer in kernel.parameters}
    pointers = [ctypes.c_void_p(arrays[buffer].ctypes.data) for buffer in kernel.parameters]
    getattr(library, f"run_{kernel.name}")(*pointers)
    return arrays
