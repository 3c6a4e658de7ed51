"""Sequences that fall apart at compile time, against ONNX Runtime."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.interpreter import interpret
from tests.lepton_cc.frontend.node_case import floats

X = floats(6, 4)
POSITIONS = {"zero": 0, "one": 1, "last": -1, "two": 2, "nine": 9}


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def model(*nodes: NodeProto) -> ModelProto:
    """From x to y; positions by name and the sizes [1, 2, 3] are stored."""
    stored = [numpy_helper.from_array(np.array(value), name) for name, value in POSITIONS.items()]
    stored.append(numpy_helper.from_array(np.array([1, 2, 3]), "sizes"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)
    kind = TensorProto.INT64 if nodes[-1].op_type == "SequenceLength" else TensorProto.FLOAT
    y = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(nodes, "sequences", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


CONSTRUCT = [node("Neg", "x", "n"), node("SequenceConstruct", "x n", "s")]
CASES = {
    **{
        f"at-{name}": [*CONSTRUCT, node("SequenceAt", f"s {name}", "y")]
        for name in ("zero", "one", "last")
    },
    "length": [*CONSTRUCT, node("SequenceLength", "s", "y")],
    "insert-at-the-end": [
        *CONSTRUCT,
        node("SequenceInsert", "s x", "t"),
        node("ConcatFromSequence", "t", "y", axis=0),
    ],
    "insert": [
        *CONSTRUCT,
        node("Exp", "x", "e"),
        node("SequenceInsert", "s e last", "t"),
        node("ConcatFromSequence", "t", "y", axis=1),
    ],
    "erase": [
        *CONSTRUCT,
        node("SequenceErase", "s zero", "t"),
        node("SequenceAt", "t zero", "y"),
    ],
    "empty": [
        node("SequenceEmpty", "", "s"),
        node("SequenceInsert", "s x", "t"),
        node("Identity", "t", "u"),
        node("SequenceAt", "u last", "y"),
    ],
    "stack": [*CONSTRUCT, node("ConcatFromSequence", "s", "y", axis=-1, new_axis=1)],
    "split-by-sizes": [node("SplitToSequence", "x sizes", "s"), node("SequenceAt", "s two", "y")],
    "split-by-size": [
        node("SplitToSequence", "x two", "s", axis=1),
        node("SequenceAt", "s one", "y"),
    ],
    "split-into-ones": [node("SplitToSequence", "x", "s"), node("SequenceAt", "s two", "y")],
    "split-into-rows": [
        node("SplitToSequence", "x", "s", keepdims=0),
        node("SequenceAt", "s last", "y"),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_onnx_runtime(name: str) -> None:
    made = model(*CASES[name])
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (want,) = session.run(None, {"x": X})
    got = interpret(import_model(made), {"x": X})["y"]
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=1e-6)


REFUSED = {
    "position-outside": [*CONSTRUCT, node("SequenceAt", "s nine", "y")],
    "sequence-as-tensor": [*CONSTRUCT, node("Relu", "s", "y")],
    "tensor-as-sequence": [node("SequenceAt", "x zero", "y")],
    "sequence-as-output": [node("SequenceConstruct", "x", "y")],
    "mixed-types": [node("SequenceConstruct", "x zero", "s"), node("SequenceAt", "s zero", "y")],
    "nothing-to-concatenate": [
        node("SequenceEmpty", "", "s"),
        node("ConcatFromSequence", "s", "y", axis=0),
    ],
    "split-by-nothing": [node("SplitToSequence", "x zero", "s"), node("SequenceAt", "s zero", "y")],
    "erase-outside": [
        *CONSTRUCT,
        node("SequenceErase", "s nine", "t"),
        node("SequenceAt", "t zero", "y"),
    ],
    "insert-outside": [
        *CONSTRUCT,
        node("SequenceInsert", "s x nine", "t"),
        node("SequenceAt", "t zero", "y"),
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        import_model(model(*REFUSED[name]))
    assert refusal.value.diagnostics[0].node
