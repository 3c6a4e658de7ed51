"""The C of a program around a model: reads in_N, runs the model once, writes out_N."""

from lepton_cc.codegen.program import Port, Program

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
