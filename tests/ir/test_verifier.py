"""The verifier finds every kind of broken graph and names its node."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import VerificationError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.tensor import Tensor
from lepton_cc.ir.types import Quantization, SymbolicDim, TensorType
from lepton_cc.ir.verifier import Stage, verify
from tests.ir.random_graphs import graphs

GOOD = parse_graph(
    """
    graph good(%x: f32[2], %y: f32[2]) {
      %a = add(%x, %y) loc("Add 'a'")
      %b = exp(%a) loc("Exp 'b'")
      return %a as a, %b as b
    }
    """
)
ADD, EXP = GOOD.ops
STRANGER = Value("stranger", TensorType(DType.F32, (2,)))


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs())
def test_random_graphs_are_static(graph: Graph) -> None:
    verify(graph, Stage.STATIC)


def retyped(value: Value, shape: tuple[int | SymbolicDim, ...]) -> Value:
    return Value(value.name, TensorType(DType.F32, shape))


BROKEN = {
    "is not defined before": GOOD.with_ops((EXP, ADD)),
    "reads %stranger": GOOD.with_ops((replace(ADD, operands=(STRANGER, STRANGER)), EXP)),
    "output 'b' reads %b": GOOD.with_ops((ADD,)),
    "%a is defined twice": GOOD.with_ops((ADD, ADD, EXP)),
    "%x is defined twice": replace(GOOD, inputs=(*GOOD.inputs, GOOD.inputs[0])),
    "output name 'a' is given twice": replace(GOOD, output_names=("a", "a")),
    "2 outputs have 1 names": replace(GOOD, output_names=("a",)),
    "as f32[3], defined as f32[2]": GOOD.with_ops(
        (ADD, replace(EXP, operands=(retyped(ADD.result, (3,)),)))
    ),
    "states f32[3], inferred is f32[2]": replace(
        GOOD.with_ops((ADD, replace(EXP, results=(retyped(EXP.result, (3,)),)))),
        outputs=(ADD.result, retyped(EXP.result, (3,))),
    ),
    "has 3 operands, takes 2": GOOD.with_ops((replace(ADD, operands=(*ADD.operands, None)), EXP)),
    "has 1 operands, needs 2": GOOD.with_ops((replace(ADD, operands=ADD.operands[:1]), EXP)),
    "lacks operand 1": GOOD.with_ops((replace(ADD, operands=(ADD.operands[0], None)), EXP)),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_graph_is_named(message: str) -> None:
    verify(GOOD, Stage.STATIC)
    with pytest.raises(VerificationError) as error:
        verify(BROKEN[message])
    assert message in str(error.value)


def test_all_violations_come_at_once_with_their_onnx_nodes() -> None:
    ops = (replace(ADD, operands=(STRANGER, STRANGER)), replace(EXP, operands=()))
    with pytest.raises(VerificationError) as error:
        verify(GOOD.with_ops(ops))
    assert "Add 'a'" in str(error.value)
    assert "Exp 'b'" in str(error.value)


def test_attributes_far_out_of_range_are_a_violation() -> None:
    x, w = (Value(n, TensorType(DType.F32, (1, 1, 1))) for n in "xw")
    window = Window((1,), (1,), (1,), (0,), (0,))
    op = Op(Conv(window, groups=0), (x, w), (Value("y", x.type),), Location(("Conv 'c'",)))
    with pytest.raises(VerificationError, match="Conv 'c'"):
        verify(Graph("g", (x, w), op.results, ("y",), (op,)))


def test_open_dimensions_end_with_import() -> None:
    x = Value("x", TensorType(DType.F32, (SymbolicDim("N"), 2)))
    graph = Graph("g", (x,), (x,), ("y",), ())
    verify(graph, Stage.IMPORTED)
    with pytest.raises(VerificationError, match="dimension is open"):
        verify(graph, Stage.STATIC)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        (Quantization((1.0, 1.0), (0, 0), 1), "2 scales for 3 indices"),
        (Quantization((1.0,), (0, 0)), "2 zero points"),
        (Quantization((0.0,), (0,)), "not a positive number"),
        (Quantization((float("nan"),), (0,)), "not a positive number"),
        (Quantization((1.0,), (0,), 2), "axis 2"),
    ],
)
def test_quantization_must_fit(quantization: Quantization, message: str) -> None:
    builder = GraphBuilder("g")
    value = builder.emit(Constant(Tensor(np.zeros((2, 3), np.int8)), quantization))
    with pytest.raises(VerificationError, match=message):
        verify(builder.finish([value], ["y"]))


FUSED = """
graph fused(%x: f32[1, 4, 4, 2], %w: f32[1, 1, 2, 2]) {{
  %y = fused(%x, %w) {{body = graph body(%p: f32[1, 4, 4, 2], %q: f32[1, 1, 2, 2]) {{
    {body}
  }}}}
  return %y as y
}}
"""


def fused(body: str) -> Graph:
    return parse_graph(FUSED.format(body=body))


def test_a_fused_body_with_one_anchor_is_legal_from_fusion_on() -> None:
    graph = fused("%e = exp(%p) %c = conv(%e, %q) {window = 1x1} %r = clamp(%c) return %r as r")
    verify(graph, Stage.FUSED)
    with pytest.raises(VerificationError, match="before fusion"):
        verify(graph, Stage.STATIC)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "%a = conv(%p, %q) {window = 1x1} %b = conv(%a, %q) {window = 1x1} return %b as b",
            "second anchor",
        ),
        (
            "%a = conv(%p, %q) {window = 1x1} %b = reshape(%a) {shape = (32)} return %b as b",
            "follows the anchor and is not pointwise",
        ),
        ("%e = exp(%p) : f32[3] return %e as e", "inferred is"),
        (
            "%e = fused(%p) {body = graph b(%p: f32[1, 4, 4, 2]) {return %p as p}} return %e as e",
            "before fusion",
        ),
    ],
)
def test_a_fused_body_out_of_form_is_a_violation(body: str, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        verify(fused(body), Stage.FUSED)


def test_a_fused_body_has_one_output() -> None:
    graph = parse_graph(
        "graph g(%x: f32[2]) { %y, %z = fused(%x) {body = graph body(%p: f32[2]) {"
        " %e = exp(%p) return %e as e, %p as p }} return %y as y, %z as z }"
    )
    with pytest.raises(VerificationError, match="2 outputs"):
        verify(graph, Stage.FUSED)
