"""The static library and the C sources, built into programs of the user's, give the same bytes."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

import lepton_cc
from tests.lepton_cc.artifacts.native_program import INCLUDE, build, compiler, outputs_of

MAIN = """\
#include <stdio.h>
#include "{name}.h"
LEPTON_ALIGNED(16) static uint8_t arena[{name}_ARENA_BYTES + 1];
int main(void)
{{
    static float image[64];
    static float result[10];
    const {name}_inputs in = {{image}};
    const {name}_outputs out = {{result}};
    while (fread(image, sizeof image, 1, stdin) == 1) {{
        if ({name}_run(&in, &out, arena) != LEPTON_OK) return 1;
        if (fwrite(result, sizeof result, 1, stdout) != 1) return 2;
    }}
    if ({name}_run(&in, &out, arena + 1) != LEPTON_ERROR_MISALIGNED_ARENA) return 3;
    if ({name}_run(NULL, &out, arena) != LEPTON_ERROR_NULL_ARGUMENT) return 4;
    if ({name}_run(&in, &out, NULL) != LEPTON_ERROR_NULL_ARGUMENT) return 5;
    return 0;
}}
"""


@pytest.mark.parametrize("name", ["digits_cnn", "digits_dscnn", "digits_gru", "digits_lstm"])
def test_a_linked_program_gives_the_bytes_of_run(
    project_root: Path, tmp_path: Path, name: str
) -> None:
    model = lepton_cc.compile(project_root / "models" / f"{name}.onnx")
    model.save(tmp_path)
    images = np.load(project_root / "models" / "digits_samples.npz")["x"][:8]
    program = build(MAIN.format(name=name), tmp_path, [tmp_path / f"{name}.a"])
    (output,) = (port.name for port in model.outputs)
    expected = b"".join(model.run({"image": image[None]})[output].tobytes() for image in images)
    assert outputs_of(program, images.tobytes()) == expected


def test_the_c_sources_give_the_bytes_of_run(project_root: Path, tmp_path: Path) -> None:
    model = lepton_cc.compile(project_root / "models" / "digits_cnn.onnx")
    model.save(tmp_path, emit=["c"])
    objects = []
    for source in ("digits_cnn.c", "digits_cnn_weights.S"):
        objects.append(tmp_path / f"{source}.o")
        command = [compiler("gcc"), "-O2", "-c", source, f"-I{INCLUDE}", "-o", str(objects[-1])]
        subprocess.run(command, cwd=tmp_path, check=True)
    images = np.load(project_root / "models" / "digits_samples.npz")["x"][:8]
    program = build(MAIN.format(name="digits_cnn"), tmp_path, objects)
    expected = b"".join(model.run({"image": image[None]})["logits"].tobytes() for image in images)
    assert outputs_of(program, images.tobytes()) == expected
