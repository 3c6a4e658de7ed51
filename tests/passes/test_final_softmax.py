"""What final softmaxes read, on graphs with and without one."""

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.elementwise import Unary
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.final_softmax import Logits, before_softmax, final_logits
from lepton_cc.passes.quantize.activation_parameters import Interval
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.weight_rounding import WeightScheme


def two_outputs() -> Graph:
    """Probabilities along the first axis, and the negated input."""
    build = GraphBuilder("two", ["x"])
    x = build.input("x", TensorType(DType.F32, (2, 3)))
    negated = build.emit(Unary(UnaryFunction.NEG), x, name="negated")
    classes = build.emit(Softmax(0), negated, name="classes")
    return build.finish([classes, x], ["p", "same"])


def test_only_outputs_of_a_softmax_have_logits() -> None:
    graph = two_outputs()
    (negated,) = (op.result for op in graph.ops if op.result.name == "negated")
    assert final_logits(graph) == (Logits(negated, 0), None)


def test_the_graph_before_a_softmax_gives_what_it_reads() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    bare = before_softmax(two_outputs())
    assert [op.result.name for op in bare.ops] == ["negated"]
    given = interpret(bare, {"x": x})
    assert list(given) == ["p", "same"]
    np.testing.assert_array_equal(given["p"], -x)
    np.testing.assert_array_equal(given["same"], x)


def test_a_quantized_softmax_is_final_too() -> None:
    build = GraphBuilder("classes", ["x"])
    x = build.input("x", TensorType(DType.F32, (1, 3)))
    graph = build.finish([build.emit(Softmax(1), x, name="classes")], ["y"])
    insertion = InsertQuantization(WeightScheme.W8A8, {"x": Interval(-8, 8)})
    quantized = insertion.run(graph, Statistics())
    assert quantized.outputs != before_softmax(quantized).outputs
    (found,) = final_logits(quantized)
    assert found is not None
    assert (found.value.name, found.axis) == ("x.dequantized", 1)
