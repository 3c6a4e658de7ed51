"""The backend's own promises: what is specialized, what is compiled once, how it refuses."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

from lepton_cc import backend
from lepton_cc.backend import LeptonBackend, PreparedModel
from lepton_cc.executable import Executable
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.tensor import Array

Shape = list[int | str | None]


class CheapBackend(LeptonBackend):
    """Little effort, so that the tests are quick."""

    llvm_level = 0


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, Shape]], outputs: list[str]
) -> onnx.ModelProto:
    given = [
        helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "test", given, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def reshaping() -> PreparedModel:
    nodes = [
        helper.make_node("Neg", ["x"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["y"]),
    ]
    inputs: dict[str, tuple[int, Shape]] = {
        "x": (TensorProto.FLOAT, [2, 6]),
        "shape": (TensorProto.INT64, [2]),
    }
    return CheapBackend.prepare(model(nodes, inputs, ["y"]))


def test_only_what_must_be_known_is_specialized() -> None:
    prepared = reshaping()
    assert not prepared.specialized_inputs
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    (y,) = prepared.run([x, np.array([3, -1])])
    np.testing.assert_array_equal(y, -x.reshape(3, 4))
    assert prepared.specialized_inputs == ("shape",)


def test_code_is_kept_for_each_value_of_a_known_input(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = reshaping()
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    prepared.run([x, np.array([3, 4])])
    (y,) = prepared.run([x, np.array([4, 3])])
    assert y.shape == (4, 3)

    def compiled_again(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(prepared, "_compiled", compiled_again)
    (y,) = prepared.run([x + 1, np.array([3, 4])])
    np.testing.assert_array_equal(y, -(x + 1).reshape(3, 4))
    with pytest.raises(AssertionError, match="compiled again"):
        prepared.run([x, np.array([12, 1])])


def test_only_the_code_used_last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_MAX_PROGRAMS", 2)
    prepared = reshaping()
    compiled: list[tuple[int, ...]] = []
    compile_one = prepared._compiled

    def counted(constants: Mapping[str, Array], dims: Mapping[str, int]) -> Executable:
        compiled.extend(tuple(shape.tolist()) for shape in constants.values())
        return compile_one(constants, dims)

    monkeypatch.setattr(prepared, "_compiled", counted)
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    for shape in ((3, 4), (4, 3), (3, 4), (12, 1), (3, 4), (4, 3)):
        (y,) = prepared.run([x, np.array(shape)])
        np.testing.assert_array_equal(y, -x.reshape(shape))
    assert compiled == [(3, 4), (4, 3), (12, 1), (4, 3)]


def test_inputs_that_feed_a_known_value_are_found_through_nodes() -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["shape"]),
        helper.make_node("Expand", ["x", "shape"], ["y"]),
    ]
    inputs: dict[str, tuple[int, Shape]] = {
        "x": (TensorProto.FLOAT, [1, 3]),
        "a": (TensorProto.INT64, [2]),
        "b": (TensorProto.INT64, [2]),
    }
    prepared = CheapBackend.prepare(model(nodes, inputs, ["y"]))
    x = np.array([[1, 2, 3]], np.float32)
    (y,) = prepared.run({"x": x, "a": np.array([1, 1]), "b": np.array([1, 2])})
    np.testing.assert_array_equal(y, np.repeat(x, 2, axis=0))
    assert set(prepared.specialized_inputs) == {"a", "b"}


def test_a_model_of_nothing_but_known_inputs_is_refused() -> None:
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["y"])]
    prepared = CheapBackend.prepare(model(nodes, {"shape": (TensorProto.INT64, [2])}, ["y"]))
    with pytest.raises(BackendIsNotSupposedToImplementIt, match="known at compile time"):
        prepared.run([np.array([2, 2])])


def test_open_dimensions_take_the_sizes_of_the_arrays() -> None:
    nodes = [helper.make_node("Add", ["x", "y"], ["z"])]
    inputs: dict[str, tuple[int, Shape]] = {
        "x": (TensorProto.FLOAT, ["n", None]),
        "y": (TensorProto.FLOAT, [1, 2]),
    }
    prepared = CheapBackend.prepare(model(nodes, inputs, ["z"]))
    for rows in (1, 3):
        x, y = np.ones((rows, 2), np.float32), np.ones((1, 2), np.float32)
        (z,) = prepared.run([x, y])
        np.testing.assert_array_equal(z, x + y)


def test_a_refusal_names_the_node_and_comes_at_once() -> None:
    nodes = [helper.make_node("StringNormalizer", ["x"], ["y"], name="letters")]
    broken = model(nodes, {"x": (TensorProto.STRING, [2])}, ["y"])
    with pytest.raises(BackendIsNotSupposedToImplementIt, match="letters") as refusal:
        CheapBackend.prepare(broken)
    assert isinstance(refusal.value.__cause__, Refused)


def test_one_node_runs_without_a_model() -> None:
    node = helper.make_node("Mul", ["a", "a"], ["b"])
    (y,) = CheapBackend.run_node(node, [np.array([3, -4], np.int32)])
    np.testing.assert_array_equal(y, np.array([9, 16], np.int32))
    clip = helper.make_node("Clip", ["x"], ["y"], min=0.0)
    (y,) = CheapBackend.run_node(clip, [np.array([-1, 2], np.float32)], opset_version=10)
    np.testing.assert_array_equal(y, np.array([0, 2], np.float32))


def test_the_module_is_a_backend_of_the_cpu() -> None:
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:0")
    node = helper.make_node("Neg", ["x"], ["y"])
    proto = model([node], {"x": (TensorProto.FLOAT, [2])}, ["y"])
    with pytest.raises(BackendIsNotSupposedToImplementIt, match="CUDA"):
        backend.prepare(proto, "CUDA")
    (y,) = backend.run_model(proto, [np.array([1, -2], np.float32)])
    np.testing.assert_array_equal(y, np.array([-1, 2], np.float32))


def test_a_wrong_number_of_inputs_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 inputs, got 1"):
        reshaping().run([np.zeros((2, 6), np.float32)])
