"""Generated C under AddressSanitizer and UndefinedBehaviorSanitizer, on real inputs.

Each buffer is an allocation of exactly its size, so that one byte too far is a report.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.codegen.program import Port, Program
from tests import real_models
from tests.differential.c_library import compile_c, write_c
from tests.differential.test_agreement import anchor_outputs, assert_close
from tests.differential.ways import PORTABLE, Way
from tests.real_models import RealModel

SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Two compilers: each has checks that the other lacks.
WAYS = (
    Way("gcc", PORTABLE, compiler="gcc", flags=("-O0", *SANITIZED)),
    Way("clang", PORTABLE, compiler="clang", flags=("-O0", *SANITIZED)),
)
# Register tiles, unrolled, keep an optimizer with sanitizers busy for minutes: small models only.
TILES = Way("clang-tiles", "x86-64", compiler="clang", flags=("-O0", *SANITIZED))
KWS = real_models.TINY[1]
QUICK = real_models.DIGITS
LARGE = (*real_models.TINY, real_models.TINY_INT8[0], *real_models.OTHER[:5])


def _cases() -> list[object]:
    return [
        *(pytest.param(m, w, id=f"{m}-{w}") for m in QUICK for w in WAYS),
        *(pytest.param(m, TILES, id=f"{m}-{TILES}") for m in (*QUICK, KWS)),
        *(pytest.param(m, WAYS[0], id=f"{m}-{WAYS[0]}", marks=pytest.mark.slow) for m in LARGE),
    ]


_MAIN = """\
#include "{name}.h"

#include <stdio.h>
#include <stdlib.h>

static void *allocated(size_t size)
{{
    void *memory = aligned_alloc(64, size ? size : 64);
    if (memory == NULL) {{
        exit(3);
    }}
    return memory;
}}

static void *loaded(const char *path, size_t size)
{{
    void *memory = malloc(size ? size : 1);
    FILE *file = fopen(path, "rb");
    if (memory == NULL || file == NULL || fread(memory, 1, size, file) != size) {{
        exit(4);
    }}
    fclose(file);
    return memory;
}}

static void stored(const char *path, const void *memory, size_t size)
{{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(memory, 1, size, file) != size) {{
        exit(5);
    }}
    fclose(file);
}}

int main(void)
{{
    const {name}_inputs in = {{{inputs}}};
    const {name}_outputs out = {{{outputs}}};
    void *arena = allocated({arena}u);
    if ({name}_run(&in, &out, arena) != LEPTON_OK) {{
        return 2;
    }}
{store}
{free}
    free(arena);
    return 0;
}}
"""


def main_source(program: Program) -> str:
    """The C of a program that reads in_N, runs the model once, and writes out_N."""
    sizes = [port.type.size_bytes for port in program.inputs]
    inputs = [f'loaded("in_{number}", {size}u)' for number, size in enumerate(sizes)]
    return _MAIN.format(
        name=program.name,
        inputs=", ".join(inputs),
        outputs=", ".join(f"malloc({port.type.size_bytes}u)" for port in program.outputs),
        arena=-(-program.arena_bytes // 64) * 64,
        store="\n".join(
            f'    stored("out_{number}", out.{port.identifier}, {port.type.size_bytes}u);'
            for number, port in enumerate(program.outputs)
        ),
        free="\n".join([*_frees("in", program.inputs), *_frees("out", program.outputs)]),
    )


def _frees(struct: str, ports: tuple[Port, ...]) -> list[str]:
    return [f"    free((void *){struct}.{port.identifier});" for port in ports]


@pytest.mark.parametrize(("model", "way"), _cases())
def test_nothing_to_report(model: RealModel, way: Way, tmp_path: Path) -> None:
    if shutil.which(way.compiler) is None:
        pytest.skip(f"no {way.compiler} on this machine")
    compilation = way.compile(model.require())
    program = compilation.program
    sources = write_c(compilation, tmp_path)
    main = tmp_path / "main.c"
    main.write_text(main_source(program), encoding="utf-8")
    # C11 for aligned_alloc, in main alone; the model itself is C99.
    flags = (*way.flags, "-std=c11", "-Wno-cast-qual")
    compile_c((*sources, main), tmp_path / "run", way.compiler, flags, shared=False)
    inputs = model.samples()[0].inputs
    for number, port in enumerate(program.inputs):
        (tmp_path / f"in_{number}").write_bytes(np.ascontiguousarray(inputs[port.name]).tobytes())
    done = subprocess.run(
        [str(tmp_path / "run")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:4000]
    got = {
        port.name: np.frombuffer(
            (tmp_path / f"out_{number}").read_bytes(), dtype=port.type.dtype.numpy
        ).reshape(port.type.dims)
        for number, port in enumerate(program.outputs)
    }
    assert_close(model, got, anchor_outputs(model, 0))
