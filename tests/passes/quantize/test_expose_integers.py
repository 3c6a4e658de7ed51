"""Integers in the interface: the same bytes as quantizing outside."""

from pathlib import Path

import numpy as np
import pytest

import lepton_cc
from lepton_cc.passes.quantize.expose_integers import PortScale


@pytest.mark.parametrize("target", ["host", "lepton-npu"])
def test_integers_are_those_behind_the_floats(project_root: Path, target: str) -> None:
    path = project_root / "models" / "digits_cnn.onnx"
    inside = lepton_cc.compile(path, target="host", quantize="w8a8")
    outside = lepton_cc.compile(path, target=target, quantize="w8a8", io="quantized")
    program = outside.compilation.program
    (given,), (result,) = program.inputs, program.outputs
    assert given.type.dtype.value == result.type.dtype.value == "i8"
    assert isinstance(given.scale, PortScale)
    assert isinstance(result.scale, PortScale)
    image = np.load(project_root / "models" / "digits_samples.npz")["x"][:1]
    steps = np.rint(image / np.float32(given.scale.scale)) + given.scale.zero_point
    logits = outside.run({"image": np.clip(steps, -128, 127).astype(np.int8)})["logits"]
    real = (logits.astype(np.float32) - result.scale.zero_point) * np.float32(result.scale.scale)
    np.testing.assert_array_equal(real, inside.run({"image": image})["logits"])
    header = outside.artifacts.header
    assert f"real = {given.scale.scale!r} * (integer" in header


def test_a_float_model_keeps_its_interface(project_root: Path) -> None:
    path = project_root / "models" / "digits_cnn.onnx"
    model = lepton_cc.compile(path, io="quantized")
    assert [port.type.dtype.value for port in model.compilation.program.inputs] == ["f32"]
