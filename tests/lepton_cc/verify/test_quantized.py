"""Verification of quantized models: byte equality, named modes, the first layer that diverges."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from lepton_cc.cli.verify_report import complaints
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.compiled_model import CompiledModel
from lepton_cc.compiler import Compilation, CompileOptions, compile_model
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.tensor import Array, Tensor
from lepton_cc.levels import OptLevel
from lepton_cc.passes.quantize.output_scales import output_scales
from lepton_cc.verify.quantized import QuantizedReport, Task, verify_quantized
from lepton_cc.verify.quantized_graph import (
    calibrated_inputs,
    exact_values,
    is_quantized,
)
from lepton_cc.verify.reference import Mode
from tests.lepton_cc.verify.quantized_models import (
    INPUT_SCALE,
    inputs,
    operators_model,
    qdq_model,
)


def compiled(model: onnx.ModelProto, level: OptLevel = OptLevel.O3) -> Compilation:
    return compile_model(model, CompileOptions(load_target("host"), level, "model"))


def report(
    model: onnx.ModelProto,
    compilation: Compilation,
    samples: list[dict[str, Array]],
    labels: Array | None = None,
) -> QuantizedReport:
    run = CompiledModel(compilation, "").run
    return verify_quantized(run, compilation, model, Task(samples, labels))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("level", [OptLevel.O0, OptLevel.O3])
def test_integers_equal_the_interpreters(dtype: type[np.generic], level: OptLevel) -> None:
    model = qdq_model(dtype)
    found = report(model, compiled(model, level), inputs(6))
    assert found.interpreter.outputs[0].num_elements == 20
    assert len(found.interpreter.layers) >= 4
    names = {one.name for one in (*found.interpreter.layers, *found.interpreter.outputs)}
    assert names == found.interpreter.exact
    assert found.interpreter.diverging() == ()
    assert complaints(found) == []


def test_each_mode_of_onnxruntime_is_named() -> None:
    model = qdq_model()
    found = report(model, compiled(model), inputs(3))
    modes = [check.mode for check in found.runtime]
    assert modes == [Mode.QDQ_FUSED, Mode.QDQ_DEFAULT, Mode.QDQ_UNFUSED]
    fused = found.runtime[0]
    assert [one.name for one in fused.layers] == ["x_q", "r1_q", "c2_q", "p_q", "m_q"]
    assert fused.outputs[0].num_different == 0
    assert fused.first_diverging is None


def test_unsigned_tensors_are_compared_unshifted() -> None:
    model = qdq_model(np.uint8)
    found = report(model, compiled(model), inputs(3))
    for check in found.runtime:
        assert max(one.max_steps for one in check.layers) <= 1
        assert sum(one.num_elements for one in check.layers) > 3000


def test_quantized_operators_are_a_mode() -> None:
    model = operators_model()
    found = report(model, compiled(model), inputs(4, (1, 16)))
    (check,) = found.runtime
    assert check.mode is Mode.OPERATORS
    assert check.outputs[0].num_different == 0
    assert [one.name for one in check.layers] == ["x_q", "m_q"]


def test_a_wrong_output_is_refused() -> None:
    model = qdq_model()
    compilation = compiled(model)
    right = CompiledModel(compilation, "").run

    def wrong(sample: Mapping[str, Array]) -> dict[str, Array]:
        y = right(sample)["y"].copy()
        y[0, 0] += np.float32(0.3)
        return {"y": y}

    found = verify_quantized(wrong, compilation, model, Task(inputs(3)))
    messages = [str(one) for one in complaints(found)]
    assert any("differs from the interpreter in 3 of 15" in m for m in messages), messages
    assert any("3 steps away from every mode" in m for m in messages), messages


def test_the_first_wrong_layer_is_named() -> None:
    """Weights of one layer changed behind the compiler's back: what reads them comes first."""
    model = qdq_model()
    compilation = compiled(model)
    program = compilation.program
    second = next(call for call in program.calls if "conv_2" in call.location.nodes)
    offsets = {place.position for place in second.arguments if place.role.value == "constant"}
    constants = tuple(
        (Tensor(np.roll(tensor.array, 1)) if at in offsets else tensor, at)
        for tensor, at in program.constants
    )
    broken = dataclasses.replace(
        compilation, program=dataclasses.replace(program, constants=constants)
    )
    found = report(model, broken, inputs(2))
    first = found.interpreter.diverging()[0]
    assert "conv_2" in first.nodes
    assert "conv_1" not in first.nodes
    assert f"in {' '.join(first.nodes)}" in str(complaints(found)[0])


def test_floats_after_integers_need_not_be_equal() -> None:
    model = qdq_model(softmax=True)
    compilation = compiled(model)
    assert output_scales(compilation.imported) == {}
    found = report(model, compilation, inputs(3))
    assert found.interpreter.diverging() == ()
    assert "y" not in found.interpreter.exact
    assert all(check.float_outputs[0].name == "y" for check in found.runtime)
    assert complaints(found) == []


def test_accuracy_of_both() -> None:
    model = qdq_model()
    compilation = compiled(model)
    samples = inputs(8)
    run = CompiledModel(compilation, "").run
    labels = np.array([int(run(sample)["y"].argmax()) for sample in samples])
    labels[0] = (labels[0] + 1) % 5
    found = report(model, compilation, samples, labels)
    assert found.accuracy == 7 / 8
    assert found.runtime[0].accuracy == 7 / 8


def test_random_inputs_fill_the_calibrated_range() -> None:
    graph = import_model(qdq_model())
    x = calibrated_inputs(graph, 1)["x"]
    low, high = (-128 - 3) * INPUT_SCALE, (127 - 3) * INPUT_SCALE
    assert low <= x.min() < low * 0.98
    assert high * 0.98 < x.max() <= high
    assert np.array_equal(x, calibrated_inputs(graph, 1)["x"])
    assert not np.array_equal(x, calibrated_inputs(graph, 2)["x"])


def test_a_float_model_is_not_quantized(project_root: Path) -> None:
    graph = import_model(project_root / "models" / "digits_cnn.onnx")
    assert not is_quantized(graph)
    assert not exact_values(graph).intersection(value.name for value in graph.outputs)
    assert is_quantized(import_model(qdq_model()))
    assert is_quantized(import_model(operators_model()))


def test_the_step_of_an_output_is_its_scale() -> None:
    assert output_scales(import_model(qdq_model())) == {"y": pytest.approx(0.1)}
