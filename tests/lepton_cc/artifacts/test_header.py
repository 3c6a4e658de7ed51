"""The generated header: accepted by C and C++ compilers with all warnings as errors."""

import subprocess
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import lepton_cc
from tests.lepton_cc.artifacts.native_program import INCLUDE, WARNINGS, compiler

ODD_NAMES = ("x y*/", "class", "9lives", "_Reserved", "größe", "a??/\nb", "x_y__", "/* x")
ODD_TYPES = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.INT32,
)


def odd_model() -> onnx.ModelProto:
    """Identity of inputs with names that are no identifiers, of several types."""
    pairs = list(zip(ODD_NAMES, ODD_TYPES, strict=True))
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name} out"]) for name, _ in pairs],
        "odd",
        [helper.make_tensor_value_info(name, kind, [2, 3]) for name, kind in pairs],
        [helper.make_tensor_value_info(f"{name} out", kind, [2, 3]) for name, kind in pairs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.fixture(scope="module")
def headers(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("headers")
    lepton_cc.compile(project_root / "models" / "digits_cnn.onnx", name="plain").save(folder / "p")
    lepton_cc.compile(odd_model(), name="odd").save(folder / "o")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("gcc", "-std=c99", "-xc"),
        ("gcc", "-std=c11", "-xc"),
        ("clang", "-std=c99", "-xc"),
        ("g++", "-std=c++11", "-xc++"),
        ("clang++", "-std=c++17", "-xc++"),
    ],
    ids=" ".join,
)
def test_compiles_without_a_warning(
    headers: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    source = tmp_path / "use.c"
    source.write_text(
        '#include "plain.h"\n#include "odd.h"\n#include "plain.h"\n'
        "int32_t use(const float *image, float *logits, void *arena);\n"
        "int32_t use(const float *image, float *logits, void *arena)\n{\n"
        "    plain_inputs in;\n    plain_outputs out;\n"
        "    in.image = image;\n    out.logits = logits;\n"
        "    return plain_ARENA_BYTES > 0u ? plain_run(&in, &out, arena) : LEPTON_OK;\n}\n",
        encoding="utf-8",
    )
    subprocess.run(
        [
            compiler(command[0]),
            *command[1:],
            *WARNINGS,
            *(f"-I{folder}" for folder in (INCLUDE, headers / "p", headers / "o")),
            "-fsyntax-only",
            str(source),
        ],
        check=True,
    )


def test_says_names_shapes_and_types(headers: Path) -> None:
    text = (headers / "p" / "plain.h").read_text(encoding="utf-8")
    assert "/* image: f32[1, 1, 8, 8], 256 bytes */\n    const float *image;" in text
    assert "/* logits: f32[1, 10], 40 bytes */\n    float *logits;" in text
    assert "sizeof(void *) == 8" in text


def test_floats_without_a_c_type_are_integers(headers: Path) -> None:
    text = (headers / "o" / "odd.h").read_text(encoding="utf-8")
    assert "const uint16_t *xclass;" in text


def test_only_ascii_reaches_the_header(headers: Path) -> None:
    assert (headers / "o" / "odd.h").read_text(encoding="utf-8").isascii()


def test_sources_get_a_header_for_any_pointer_size(project_root: Path, tmp_path: Path) -> None:
    model = lepton_cc.compile(project_root / "models" / "digits_cnn.onnx")
    model.save(tmp_path, emit=["c"])
    assert "sizeof(void *)" not in (tmp_path / "digits_cnn.h").read_text(encoding="utf-8")
