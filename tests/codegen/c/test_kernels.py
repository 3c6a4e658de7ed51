"""Kernels printed as C, compiled by every compiler here, equal the NumPy evaluator to the bit."""

import functools
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.codegen.c.kernel import emit_kernel
from lepton_cc.codegen.kernel.expr import Const
from lepton_cc.codegen.kernel.ir import For, Kernel, Store
from tests.codegen.c.c_compiler import COMPILERS, WARNINGS, c_source, call, compiled
from tests.codegen.c.kernels import (
    conversion_kernels,
    function_kernels,
    primitive_kernels,
    sample,
    statement_kernels,
    word_kernels,
)
from tests.codegen.kernel.expression_evaluator import Evaluator, Memory, Value

GROUPS = {
    "functions": function_kernels,
    "primitives": primitive_kernels,
    "conversions": conversion_kernels,
    "words": word_kernels,
    "statements": statement_kernels,
}
# Functions compile for seconds.
_GROUPS = [
    pytest.param(group, marks=pytest.mark.slow if group == "functions" else []) for group in GROUPS
]
# With these, compilers fuse a * b + c by themselves unless the file forbids it.
FUSING = ("-mfma",) if platform.machine() in ("x86_64", "AMD64") else ()
pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


def _memory(kernel: Kernel) -> Memory:
    return {
        buffer: sample(buffer.dtype, buffer.size, seed)
        for seed, buffer in enumerate(kernel.parameters)
    }


@functools.cache
def _expected(group: str) -> list[tuple[Kernel, Memory, Memory]]:
    """Each kernel with its memory before and after."""
    results = []
    for kernel in GROUPS[group]():
        before = _memory(kernel)
        after = {buffer: array.copy() for buffer, array in before.items()}
        _run(kernel, after)
        results.append((kernel, before, after))
    return results


def _run(kernel: Kernel, memory: Memory) -> None:
    evaluator = Evaluator(memory)
    match kernel.body:
        case (For(var, _, Const(_, end), (Store(buffer, index, value),)),) if index is var:
            # One store to each element: all iterations at once.
            evaluator.bind({var: np.arange(int(end))})
            memory[buffer][:] = evaluator.evaluate(value)
        case _:
            evaluator.run(kernel)


@pytest.mark.parametrize("flags", [("-O0",), ("-O3", *FUSING)])
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("group", _GROUPS)
def test_c_computes_what_the_kernel_means(
    group: str, compiler: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    cases = _expected(group)
    if compiler == "gcc":  # clang's `fast` disregards what a file says; its default does not
        flags = (*flags, "-ffp-contract=fast")
    library = compiled(c_source([kernel for kernel, _, _ in cases]), tmp_path, compiler, *flags)
    for kernel, before, after in cases:
        result = call(library, kernel, before)
        for buffer in kernel.parameters:
            _assert_same_bits(f"{kernel.name}.{buffer.name}", result[buffer], after[buffer])


def _assert_same_bits(name: str, value: Value, expected: Value) -> None:
    word = np.dtype(f"u{value.itemsize}")
    same = value.view(word) == expected.view(word)
    if value.dtype.kind == "f":  # which NaN an operation gives is the machine's choice
        same |= np.isnan(value) & np.isnan(expected)
    assert same.all(), (name, value[~same][:4], expected[~same][:4])


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("group", _GROUPS)
def test_c_has_no_undefined_behaviour(group: str, compiler: str, tmp_path: Path) -> None:
    kernels = [kernel for kernel, _, _ in _expected(group)]
    source = tmp_path / "kernels.c"
    source.write_text(c_source(kernels) + _main(kernels), encoding="utf-8")
    program = tmp_path / "kernels"
    flags = ["-O1", "-g0", "-fsanitize=address,undefined,float-cast-overflow",
             "-fno-sanitize-recover=all"]  # fmt: skip
    command = [compiler, *WARNINGS, *flags, "-o", str(program), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if built.returncode != 0 and "san" in built.stderr and "error:" not in built.stderr:
        pytest.skip(f"{compiler} has no sanitizer runtime")
    assert built.returncode == 0, built.stderr[:2000]
    arguments = b"".join(
        array.tobytes() for _, before, _ in _expected(group) for array in before.values()
    )
    ran = subprocess.run([program], input=arguments, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr[:2000]


def _main(kernels: list[Kernel]) -> str:
    """Reads every buffer from the standard input and runs each kernel once."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "int main(void)", "{"]
    for kernel in kernels:
        names = []
        lines.append("    {")
        for number, buffer in enumerate(kernel.parameters):
            size = buffer.size * buffer.dtype.size_bytes
            lines += [
                f"        void *const b{number} = malloc({size});",
                f"        if (b{number} == NULL) return 2;",
                f"        if (fread(b{number}, 1, {size}, stdin) != {size}) return 2;",
            ]
            names.append(f"b{number}")
        lines.append(f"        run_{kernel.name}({', '.join(names)});")
        lines += [f"        free({name});" for name in names]
        lines.append("    }")
    return "\n".join([*lines, "    return 0;", "}", ""])


def test_names_of_nodes_cannot_leave_their_comment() -> None:
    kernel = statement_kernels()[0]
    nodes = ("a*/ int x; /*", "trigraph??/", "line\nbreak")
    first = emit_kernel(kernel, nodes=nodes).text.splitlines()[0]
    assert first == "/* a* / int x; / *, trigraph? ?/, line?break */"


def test_parameters_are_restrict_unless_aliased() -> None:
    kernel = statement_kernels()[0]
    head = emit_kernel(kernel, aliased=frozenset({"x"})).text.splitlines()[0]
    assert head == (
        "static void tiles(const lepton_f32 *x, const lepton_f32 *restrict y, "
        "lepton_f32 *restrict result)"
    )
