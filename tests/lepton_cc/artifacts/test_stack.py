"""The stack analysis: on listings by hand, and against what running code touches."""

from pathlib import Path

import numpy as np
import pytest

import lepton_cc
from lepton_cc.artifacts.stack import stack_usage
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.emulated import EmulatedModel
from lepton_cc.ir.diagnostics import InternalError, ToolchainError
from tests.lepton_cc.artifacts.native_program import build, outputs_of

MODELS = ("digits_cnn", "digits_dscnn", "digits_gru", "digits_lstm")


def listing(*functions: tuple[str, str]) -> str:
    return "".join(
        f"\t.type\t{name},@function\n{name}:\n{body}\n.Lfunc_end{number}:\n"
        for number, (name, body) in enumerate(functions)
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("\tretq", 8),
        ("\tpushq\t%rbx\n\tsubq\t$32, %rsp\n\taddq\t$32, %rsp\n\tpopq\t%rbx\n\tretq", 8 + 8 + 32),
        ("\taddq\t$-128, %rsp\n\tsubq\t$-128, %rsp\n\tretq", 8 + 128),
        ("\tmovq\t%rax, -120(%rsp)\n\tretq", 8 + 120),
        (
            "\tpushq\t%rbp\n\tmovq\t%rsp, %rbp\n\tandq\t$-64, %rsp\n\tsubq\t$192, %rsp\n"
            "\tmovq\t%rbp, %rsp\n\tpopq\t%rbp\n\tretq",
            8 + 8 + 56 + 192,
        ),
        ("\tsubq\t$24, %rsp\n\tcallq\tleaf\n\taddq\t$24, %rsp\n\tretq", 8 + 24 + 8 + 40),
        ("\tjmp\tleaf", 8 + 40),
        (
            "\ttestq\t%rdi, %rdi\n\tje\t.LBB0_2\n\tpushq\t%rbx\n\tpopq\t%rbx\n\tretq\n"
            ".LBB0_2:\n\tsubq\t$72, %rsp\n\taddq\t$72, %rsp\n\tretq",
            8 + 72,
        ),
    ],
)
def test_x86_frames(body: str, expected: int) -> None:
    leaf = ("leaf", "\tsubq\t$40, %rsp\n\taddq\t$40, %rsp\n\tretq")
    usage = stack_usage(listing(("m_run", body), leaf), "m", load_target("x86-64"))
    assert usage.run_bytes == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("\tret", 0),
        ("\taddi\tsp, sp, -48\n\tsw\tra, 44(sp)\n\taddi\tsp, sp, 48\n\tret", 48),
        ("\tlui\ta0, 2\n\tsub\tsp, sp, a0\n\tadd\tsp, sp, a0\n\tret", 8192),
        (
            "\taddi\tsp, sp, -32\n\taddi\ts0, sp, 32\n\tlui\tt0, 1\n\taddi\tt0, t0, -16\n"
            "\tsub\tsp, sp, t0\n\tandi\tsp, sp, -64\n\taddi\tsp, s0, -32\n"
            "\taddi\tsp, sp, 32\n\tret",
            32 + 4080 + 48,
        ),
        ("\taddi\tsp, sp, -16\n\tcall\tleaf\n\taddi\tsp, sp, 16\n\tret", 16 + 40),
        ("\ttail\tleaf", 40),
    ],
)
def test_riscv_frames(body: str, expected: int) -> None:
    leaf = ("leaf", "\taddi\tsp, sp, -40\n\taddi\tsp, sp, 40\n\tret")
    usage = stack_usage(listing(("m_run", body), leaf), "m", load_target("rv32imc"))
    assert usage.run_bytes == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\tsubq\t%rax, %rsp\n\tretq", "moves the stack pointer"),
        ("\tcallq\tm_run\n\tretq", "calls itself"),
        ("\tcallq\tprintf\n\tretq", "printf is called"),
        ("\tje\t.L1\n\tpushq\t%rax\n.L1:\n\tretq", "two depths"),
    ],
)
def test_what_is_not_understood_is_an_error(body: str, message: str) -> None:
    with pytest.raises(InternalError, match=message):
        stack_usage(listing(("m_run", body)), "m", load_target("x86-64"))


@pytest.mark.parametrize("target", ["rv32imc", "rv32imafc"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("opt", [0, 3])
def test_the_emulated_core_stays_within(
    project_root: Path, name: str, target: str, opt: int
) -> None:
    model = lepton_cc.compile(project_root / "models" / f"{name}.onnx", target=target, opt=opt)
    image = np.load(project_root / "models" / "digits_samples.npz")["x"][:1]
    try:
        emulated = EmulatedModel(model.artifacts.firmware.elf, model.inputs, model.outputs)
    except ToolchainError as error:
        pytest.skip(str(error))
    emulated.run({"image": image})
    assert emulated.last is not None
    touched = emulated.last.stack_high_water_bytes
    stated = model.memory.stack_bytes
    assert touched <= stated
    # The bound of a run-time routine and frames that are not written to their last word.
    assert stated <= touched + 160 or stated <= 1.25 * touched


PAINTED = """\
#include <stdio.h>
#include <string.h>
#include "{name}.h"
enum {{ PAINTED = 16384, PAINT = 0xA5 }};
static LEPTON_ALIGNED(64) uint8_t arena[{name}_ARENA_BYTES + 64];
static float image[64];
static float result[10];
/* Its frame is popped when the model runs: the model's stack lies in the painted bytes. */
static __attribute__((noinline)) volatile uint8_t *paint(void)
{{
    volatile uint8_t below[PAINTED];
    for (int i = 0; i < PAINTED; ++i) below[i] = PAINT;
    volatile uint8_t *volatile escaped = below;
    return escaped;
}}
static __attribute__((noinline)) long used(volatile uint8_t *bottom, const uint8_t *top)
{{
    long i = 0;
    while (bottom[i] == PAINT) ++i;
    return (long)(top - (const uint8_t *)(bottom + i));
}}
int main(void)
{{
    const {name}_inputs in = {{image}};
    const {name}_outputs out = {{result}};
    volatile uint8_t *bottom = paint();
    const int32_t status = {name}_run(&in, &out, arena);
    const uint8_t *top;
    __asm__ volatile("mov %%rsp, %0" : "=r"(top));
    const long num_bytes = used(bottom, top);
    printf("%d %ld\\n", (int)status, num_bytes);
    return 0;
}}
"""


@pytest.mark.parametrize("target", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("name", ["digits_cnn", "digits_lstm"])
def test_the_host_stays_within(project_root: Path, tmp_path: Path, name: str, target: str) -> None:
    if not runs_on_this_machine(load_target(target)):
        pytest.skip(f"this machine lacks {target}")
    model = lepton_cc.compile(project_root / "models" / f"{name}.onnx", target=target)
    model.save(tmp_path)
    source = PAINTED.format(name=name)
    program = build(source, tmp_path, [tmp_path / f"{name}.a"])
    status, touched = map(int, outputs_of(program, b"").split())
    assert status == 0
    assert 8 < touched <= model.memory.stack_bytes
