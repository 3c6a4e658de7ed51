"""Whole models as C: compiled with warnings as errors, run, equal to the interpreter's classes."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lepton_cc.artifacts.emit import Artifacts
from lepton_cc.codegen.c.module import emit_c_module
from lepton_cc.codegen.c.weights import weights_assembly
from lepton_cc.codegen.program import Program
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.interpreter import interpret
from lepton_cc.levels import OptLevel
from tests.codegen.c.c_compiler import COMPILERS, WARNINGS

MODELS = ("digits_cnn", "digits_gru")


def _library(
    folder: Path, program: Program, header: str, include: Path, compiler: str
) -> ctypes.CDLL:
    name = program.name
    (folder / f"{name}.h").write_text(header, encoding="utf-8")
    (folder / f"{name}.c").write_text(emit_c_module(program), encoding="utf-8")
    (folder / f"{name}_weights.S").write_text(weights_assembly(name), encoding="utf-8")
    (folder / f"{name}_weights.bin").write_bytes(program.constants_blob())
    sources = [f"{name}.c", f"{name}_weights.S"]
    command = [compiler, *WARNINGS, "-O2", f"-I{include}", "-shared", "-fPIC", "-o", "model.so"]
    done = subprocess.run(
        [*command, *sources], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[:3000]
    return ctypes.CDLL(str(folder / "model.so"))


@pytest.mark.skipif(not COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", [OptLevel.O1, OptLevel.O3], ids=lambda level: level.name)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_in_c_computes_what_the_graph_means(
    model: str, level: OptLevel, compiler: str, project_root: Path, tmp_path: Path
) -> None:
    path = project_root / "models" / f"{model}.onnx"
    compilation = compile_model(path, CompileOptions(load_target("x86-64"), level))
    program = compilation.program
    include = project_root / "runtime_c" / "include"
    library = _library(tmp_path, program, Artifacts(compilation).portable_header, include, compiler)
    run = getattr(library, f"{program.name}_run")

    rng = np.random.default_rng(4)
    inputs = [
        rng.uniform(0, 1, port.type.dims).astype(port.type.dtype.numpy) for port in program.inputs
    ]
    outputs = [np.zeros(port.type.dims, port.type.dtype.numpy) for port in program.outputs]
    arena = np.zeros(program.arena_bytes + 64, np.uint8)
    start = arena.ctypes.data + -arena.ctypes.data % 64
    ins = (ctypes.c_void_p * len(inputs))(*(array.ctypes.data for array in inputs))
    outs = (ctypes.c_void_p * len(outputs))(*(array.ctypes.data for array in outputs))
    assert run(ins, outs, ctypes.c_void_p(start)) == 0
    assert run(ins, outs, ctypes.c_void_p(start + 1)) == -2
    assert run(ins, None, ctypes.c_void_p(start)) == -1

    graph = compilation.imported
    named = dict(zip((value.name for value in graph.inputs), inputs, strict=True))
    expected = interpret(graph, named)
    for port, output in zip(program.outputs, outputs, strict=True):
        np.testing.assert_allclose(output, expected[port.name], rtol=2e-5, atol=2e-5)
