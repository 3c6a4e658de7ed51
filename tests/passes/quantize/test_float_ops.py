"""What stays float is found, each with its reason; `--require-integer` refuses it all at once."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.codegen.targets.loader import HOST, load_target
from lepton_cc.compiler import CompileOptions, compile_model
from lepton_cc.ir.diagnostics import Code, Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.parser import parse_graph
from lepton_cc.passes.quantize.float_ops import float_ops

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "passes"


def _before(name: str) -> Graph:
    return parse_graph((GOLDEN / f"{name}.lir").read_text(encoding="utf-8").partition("// g")[0])


def test_reasons() -> None:
    found = float_ops(_before("raise_stays_float"))
    reasons = {str(each.op.location): each.reason for each in found}
    assert reasons["float weights"] == "its weights are not quantized"
    assert reasons["scales by row"].startswith("its scales vary otherwise than by output channel")
    assert reasons["float operand"] == "it has no integer form"
    assert reasons["float input"] == "it reads floats"
    assert reasons["mq"] == "it quantizes what stays float"
    assert reasons["xd"] == "floats read its result"


def test_movement_to_an_output_is_none_of_it() -> None:
    text = """graph g(%x: f32[2, 3]) {
      %s = constant f32[] (0.5)
      %t = transpose(%x) {permutation = (1, 0)} : f32[3, 2]
      %q = quantize(%t, %s) {dtype = i8} : i8[3, 2]
      %d = dequantize(%q, %s) : f32[3, 2]
      %r = reshape(%d) {shape = (6)} : f32[6]
      return %r as y
    }"""
    assert float_ops(parse_graph(text)) == ()


def _float_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("Relu", ["m"], ["y"], "relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "float",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_require_integer_lists_every_float_op() -> None:
    options = CompileOptions(load_target(HOST), require_integer=True)
    with pytest.raises(Refused) as refusal:
        compile_model(_float_model(), options)
    assert [d.code for d in refusal.value.diagnostics] == [Code.UNSUPPORTED_FORM] * 2
    assert [d.node for d in refusal.value.diagnostics] == ["product", "relu"]


def test_without_it_they_are_reported() -> None:
    compilation = compile_model(_float_model(), CompileOptions(load_target(HOST)))
    assert [each.reason for each in compilation.float_ops] == [
        "its input is not quantized",
        "it reads floats",
    ]
