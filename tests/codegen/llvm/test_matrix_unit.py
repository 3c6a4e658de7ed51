"""Objects that use the matrix unit ask for it, and say so where it is refused."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.codegen.assemble import assemble
from lepton_cc.codegen.kernel.ir import Matrix
from lepton_cc.codegen.llvm.compile import compile_module
from lepton_cc.codegen.llvm.matrix_unit import configuration
from lepton_cc.codegen.llvm.module import emit_module
from lepton_cc.codegen.targets.loader import load_target, runs_on_this_machine
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.tensor import Array
from lepton_cc.levels import LEVELS, OptLevel
from lepton_cc.runtime_c.status import Status
from tests.codegen.lower.code_case import graph_of
from tests.codegen.lower.test_matrix_unit import product

TARGET = load_target("x86-64-v4-amx")
CASE = product(48, 256, 64)
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc to link with")


def built(folder: Path, *, refused: bool) -> ctypes.CDLL:
    """The model as a shared library, perhaps with an answer of our own instead of Linux's."""
    graph, _ = graph_of([CASE])
    program = assemble(graph, "m", TARGET, LEVELS[OptLevel.O3].schedule)
    assert any(function.kernel.matrices for function in program.kernels)
    code = compile_module(emit_module(program), TARGET, 1)
    (folder / "m.o").write_bytes(code.object_bytes)
    answer = "long m_permission(void);\nlong m_permission(void) { return 1; }\n"
    (folder / "answer.c").write_text(answer if refused else "", encoding="utf-8")
    command = ["gcc", "-shared", "-fPIC", "-o", "m.so", "m.o", "answer.c"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return ctypes.CDLL(str(folder / "m.so"))


def run(library: ctypes.CDLL) -> tuple[int, Array, Array]:
    """The status, the result and what the result should be."""
    graph, inputs = graph_of([CASE])
    (expected,) = interpret(graph, inputs).values()
    (x,) = inputs.values()
    result = np.zeros_like(expected)
    arena = np.zeros(1 << 12, np.uint8)
    given, made = ((ctypes.c_void_p * 1)(array.ctypes.data) for array in (x, result))
    address = arena.ctypes.data + -arena.ctypes.data % 64
    status = library.m_run(given, made, ctypes.c_void_p(address))
    return int(status), result, expected


def test_permission_is_asked_for(tmp_path: Path) -> None:
    if not runs_on_this_machine(TARGET):
        pytest.skip(f"this machine does not run {TARGET.name}")
    status, result, expected = run(built(tmp_path, refused=False))
    assert status == Status.OK
    np.testing.assert_array_equal(result, expected)


def test_a_refusal_is_a_status(tmp_path: Path) -> None:
    status, result, _ = run(built(tmp_path, refused=True))
    assert status == Status.ERROR_UNSUPPORTED_CPU
    assert not result.any()


def test_configuration_is_that_of_the_manual() -> None:
    """Intel SDM, LDTILECFG: palette, start row, bytes of a row from 16 on, rows from 48 on."""
    matrices = (Matrix("c", 7, 16), Matrix("a", 7, 12), Matrix("b", 12, 16))
    constant, _, _ = configuration("k", matrices)
    text = constant.split('c"')[1].split('"')[0]
    table = bytes.fromhex(text.replace("\\", ""))
    assert len(table) == 64
    assert table[:16] == bytes([1]) + bytes(15)
    assert np.frombuffer(table[16:48], "<u2").tolist() == [64, 48, 64] + [0] * 13
    assert list(table[48:]) == [7, 7, 12] + [0] * 13
