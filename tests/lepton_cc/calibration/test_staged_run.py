"""A graph run in parts gives what it gives as a whole, whatever is still to be decided."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from lepton_cc.calibration import staged_run
from lepton_cc.calibration.float_run import InnerRun, inner_run
from lepton_cc.calibration.staged_run import StagedRun
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Value
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.elementwise import Binary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.activation_parameters import Interval
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.weight_rounding import RoundedLayer, WeightScheme, quantize_weights

WIDTH = 8
LAYERS = ("first", "second", "third")
SAMPLE = {"x": np.linspace(-1, 1, 2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)}


def weights(seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((WIDTH, WIDTH)).astype(np.float32) / 3


def network() -> Graph:
    """Three products, the last of which reads the sum of the other two's results."""
    builder = GraphBuilder("network", ["x"])
    x = builder.input("x", TensorType(DType.F32, (2, WIDTH)))
    first = builder.emit(MatMul(), x, builder.constant(weights(0), name="w0"), name="first")
    second = builder.emit(MatMul(), first, builder.constant(weights(1), name="w1"), name="second")
    total = builder.emit(Binary(BinaryFunction.ADD), first, second, name="sum")
    third = builder.emit(MatMul(), total, builder.constant(weights(2), name="w2"), name="third")
    return builder.finish([third], ["y"])


def insertion() -> InsertQuantization:
    return InsertQuantization(
        WeightScheme.W4A8, {name: Interval(-2, 2) for name in ("x", "sum", *LAYERS)}
    )


def decided(given: InsertQuantization, number: int) -> InsertQuantization:
    """The insertion with one more layer rounded, to weights that are not its own."""
    rounded = quantize_weights(weights(10 + number), DType.I4, np.zeros(WIDTH))
    return replace(given, rounded={**given.rounded, LAYERS[number]: RoundedLayer(rounded, None)})


def read_by(graph: Graph, name: str) -> Value:
    (op,) = (op for op in graph.ops if op.results[0].name == name)
    return op.inputs[0]


def results(graph: Graph) -> Mapping[str, Value]:
    return {value.name: value for op in graph.ops for value in op.results}


def check(run: InnerRun, graph: Graph, wanted: list[Value]) -> None:
    got = run(SAMPLE)
    names = tuple(value.name for value in wanted)
    inner = Graph(graph.name, graph.inputs, tuple(wanted), names, graph.ops)
    for name, expected in interpret(inner, SAMPLE).items():
        np.testing.assert_array_equal(got[name], expected)


def test_each_part_sees_what_was_decided_before() -> None:
    graph, given, staged = network(), insertion(), StagedRun()
    for number, name in enumerate(LAYERS):
        current = given.run(graph, Statistics())
        undecided = {results(graph)[layer] for layer in LAYERS[number:]}
        wanted = [read_by(current, name)]
        check(staged.extend(current, wanted, undecided), current, wanted)
        given = decided(given, number)
    final = given.run(graph, Statistics())
    check(staged.extend(final, final.outputs, ()), final, list(final.outputs))


def test_what_may_still_change_is_not_kept() -> None:
    """Both products are looked at in one stage: the second reads a first one that changes."""
    graph, staged = network(), StagedRun()
    current = insertion().run(graph, Statistics())
    wanted = [read_by(current, "second")]
    check(staged.extend(current, wanted, {results(graph)[n] for n in LAYERS}), current, wanted)
    later = decided(decided(insertion(), 0), 1).run(graph, Statistics())
    wanted = [read_by(later, "third")]
    check(staged.extend(later, wanted, {results(graph)["third"]}), later, wanted)


def test_no_op_is_compiled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def counted(graph: Graph, values: list[Value]) -> InnerRun:
        compiled.extend(op.results[0].name for op in graph.ops if op.kind == MatMul())
        return inner_run(graph, values)

    monkeypatch.setattr(staged_run, "inner_run", counted)
    graph, given, staged = network(), insertion(), StagedRun()
    for number, name in enumerate(LAYERS):
        current = given.run(graph, Statistics())
        undecided = {results(graph)[layer] for layer in LAYERS[number:]}
        staged.extend(current, [read_by(current, name)], undecided)
        given = decided(given, number)
    final = given.run(graph, Statistics())
    staged.extend(final, final.outputs, ())
    assert compiled == list(LAYERS)


def test_parts_of_float_activations_begin_anywhere() -> None:
    """Layers in blocks: weights are dequantized to floats, activations stay so."""
    graph, staged = network(), StagedRun(is_float=True)
    for name in LAYERS:
        wanted = [read_by(graph, name)]
        check_near = staged.extend(graph, wanted, {results(graph)[name]})(SAMPLE)
        inner = Graph(graph.name, graph.inputs, tuple(wanted), (wanted[0].name,), graph.ops)
        expected = interpret(inner, SAMPLE)[wanted[0].name]
        np.testing.assert_allclose(check_near[wanted[0].name], expected, rtol=1e-5, atol=1e-6)
