"""Models with unusual ports, through the public entry point of the object or the emulated image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

import lepton_cc
from lepton_cc.codegen.targets.loader import load_target
from lepton_cc.ir.diagnostics import ToolchainError
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.target import Execution
from lepton_cc.linking import find_toolchain
from lepton_cc.sample_inputs import made_up_inputs
from lepton_cc.saved_model import SavedModel

F32, F16, I64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
Port = tuple[str, int, Sequence[int]]


def model(nodes: Sequence[NodeProto], inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
    """The model of the nodes; `k` is a constant 2."""
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(np.array([2]), "k")] if "k" in used else []
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        constants,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    return bytes(proto.SerializeToString())


def node(op_type: str, inputs: str, outputs: str) -> NodeProto:
    """A node with operands and results separated by blanks."""
    return helper.make_node(op_type, inputs.split(), outputs.split())


CASES = {
    "no inputs": model(
        [helper.make_node("Constant", [], ["y"], value_floats=[0.0, 1.0, 2.0])],
        [],
        [("y", F32, [3])],
    ),
    "nothing to do": model([node("Relu", "x", "y")], [("x", F32, [0, 3])], [("y", F32, [0, 3])]),
    "no arena": model([node("Relu", "x", "y")], [("x", F32, [4])], [("y", F32, [4])]),
    "two results of one kernel": model(
        [node("TopK", "x k", "v i")], [("x", F32, [2, 5])], [("v", F32, [2, 2]), ("i", I64, [2, 2])]
    ),
    "an input is an output": model(
        [node("Relu", "x", "y"), node("Identity", "x", "z")],
        [("x", F32, [4])],
        [("y", F32, [4]), ("z", F32, [4])],
    ),
    "many ports": model(
        [node("Sum", "a b c d e", "y"), node("Mul", "a e", "z"), node("Sub", "d b", "w")],
        [(name, F32, [7]) for name in "abcde"],
        [(name, F32, [7]) for name in "yzw"],
    ),
    "a scalar": model(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [("x", F32, [4])],
        [("y", F32, [])],
    ),
    "an input that nobody reads": model(
        [node("Relu", "x", "y")], [("z", F32, [2]), ("x", F32, [4])], [("y", F32, [4])]
    ),
    "halves": model([node("Relu", "x", "y")], [("x", F16, [5])], [("y", F16, [5])]),
}


@pytest.mark.parametrize("target", ["x86-64", "host", "rv32imc"])
@pytest.mark.parametrize("case", CASES)
def test_saved_gives_what_the_interpreter_gives(tmp_path: Path, case: str, target: str) -> None:
    if load_target(target).execution is Execution.CONTROL_CORE:
        try:
            find_toolchain()
        except ToolchainError as error:
            pytest.skip(str(error))
    compiled = lepton_cc.compile(onnx.load_from_string(CASES[case]), target=target)
    compiled.save(tmp_path)
    inputs = made_up_inputs(compiled.inputs)
    got = SavedModel(tmp_path).run(inputs)
    expected = interpret(compiled.compilation.imported, inputs)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)
