"""Quantizing a float graph: where pairs stand, what they mean, and that raising takes them all."""

from pathlib import Path

import numpy as np
import pytest

from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.parser import parse_graph
from lepton_cc.ir.printer import print_graph
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.fold_constants import FoldConstants
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.quantize.activation_parameters import Interval
from lepton_cc.passes.quantize.channel_moments import ChannelMoments
from lepton_cc.passes.quantize.float_ops import float_ops
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.raise_integers import RaiseIntegers
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "quantize"
HEADER = "// ranges: "
SEPARATOR = "\n// gives:\n"
NAMES = sorted(path.stem for path in FOLDER.glob("*.lir"))


def _parts(name: str) -> tuple[Graph, dict[str, Interval], str, str]:
    text = (FOLDER / f"{name}.lir").read_text(encoding="utf-8")
    before, _, expected = text.partition(SEPARATOR)
    header = before.partition("\n")[0].removeprefix(HEADER)
    ranges = {}
    for word in header.split(", "):
        value, low, high = word.split()
        ranges[value] = Interval(float(low), float(high))
    return parse_graph(before, source=name), ranges, before, expected


def _quantized(graph: Graph, ranges: dict[str, Interval]) -> Graph:
    return PassManager((InsertQuantization(ranges=ranges),)).run(graph)


def _raised(graph: Graph) -> Graph:
    return PassManager((FoldConstants(), RaiseIntegers())).run(graph)


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, update_golden: bool) -> None:
    graph, ranges, before, expected = _parts(name)
    got = print_graph(_quantized(graph, ranges))
    if update_golden:
        text = f"{before.rstrip()}\n{SEPARATOR}{got}"
        (FOLDER / f"{name}.lir").write_text(text, encoding="utf-8")
    else:
        assert got == expected


@pytest.mark.parametrize("name", [name for name in NAMES if name != "stays_float"])
def test_raising_takes_every_pair_and_keeps_the_meaning(name: str) -> None:
    graph, ranges, _, _ = _parts(name)
    stated = _quantized(graph, ranges)
    raised = _raised(stated)
    assert not float_ops(raised)
    rng = np.random.default_rng(0)
    for _ in range(8):
        inputs = {v.name: rng.uniform(-1, 1, v.type.dims).astype(np.float32) for v in graph.inputs}
        want, got = interpret(stated, inputs)["y"], interpret(raised, inputs)["y"]
        step = _output_scale(stated)
        assert np.abs(np.rint((got - want) / step)).max() <= 1


def _output_scale(graph: Graph) -> float:
    op = next(op for op in reversed(graph.ops) if isinstance(op.kind, Dequantize))
    scale = graph.producers()[op.inputs[1]].kind
    assert isinstance(scale, Constant)
    return float(scale.value.array)


def test_what_only_floats_read_keeps_its_accumulator() -> None:
    graph, ranges, _, _ = _parts("stays_float")
    raised = _raised(_quantized(graph, ranges))
    assert [one.op.kind.mnemonic for one in float_ops(raised)] == ["dequantize", "div", "exp"]


def test_a_mask_does_not_take_the_integers_of_what_it_masks() -> None:
    graph, ranges, _, _ = _parts("masked_softmax")
    rng = np.random.default_rng(4)
    inputs = {v.name: rng.uniform(-1, 1, v.type.dims).astype(np.float32) for v in graph.inputs}
    got = interpret(_raised(_quantized(graph, ranges)), inputs)["y"]
    want = interpret(graph, inputs)["y"]
    assert got[0, 0, 1] == 0
    np.testing.assert_allclose(got, want, atol=0.02)


def test_states_keep_more_bits_than_activations() -> None:
    graph, ranges, _, _ = _parts("streaming_layer")
    raised = _raised(_quantized(graph, ranges))
    rng = np.random.default_rng(5)
    inputs = {v.name: rng.uniform(-1, 1, v.type.dims).astype(np.float32) for v in graph.inputs}
    got, want = interpret(raised, inputs), interpret(graph, inputs)
    # What is left are the errors of 8-bit x and weights.
    np.testing.assert_allclose(got["c"], want["c"], atol=0.03)
    carried = interpret(raised, {**inputs, "x": np.zeros((1, 1, 2), np.float32)})
    moved = interpret(
        raised, {**inputs, "c0": inputs["c0"] + np.float32(2e-3), "x": inputs["x"] * 0}
    )
    # A 16-bit state tells apart what 8 bits would not.
    assert np.all(moved["c"] > carried["c"])


def _convolution(weights: Array, bias: Array | None = None) -> Graph:
    rows, columns = weights.shape[-2:]
    values = ", ".join(map(repr, weights.reshape(-1).tolist()))
    lines = [f"graph one(%x: f32[1, 2, 2, {rows}]) {{"]
    lines += [f"  %w = constant f32[1, 1, {rows}, {columns}] ({values})"]
    operands = "%x, %w"
    if bias is not None:
        numbers = ", ".join(map(repr, bias.tolist()))
        lines += [f"  %b = constant f32[{columns}] ({numbers})"]
        operands += ", %b"
    lines += [f"  %y = conv({operands}) {{window = 1x1}}", "  return %y as y", "}"]
    return parse_graph("\n".join(lines), source="one")


RANGES = {"x": Interval(-1.0, 3.0), "y": Interval(-8.0, 8.0)}


def test_a_convolution_is_what_its_formula_says() -> None:
    weights = np.array([[1.0, -2.54], [0.5, 1.0]], np.float32)
    bias = np.array([0.3, -0.7], np.float32)
    graph = _raised(_quantized(_convolution(weights, bias), RANGES))
    x = np.random.default_rng(1).uniform(-1.5, 3.5, (1, 2, 2, 2)).astype(np.float32)
    x_scale, y_scale = np.float32(4 / 255), np.float32(16 / 255)
    x_zero, y_zero = round(-128 + 1 / float(x_scale)), round(-128 + 8 / float(y_scale))
    xq = np.clip(np.rint(x / x_scale) + x_zero, -128, 127).astype(np.int64)
    scales = (np.abs(weights.astype(np.float64)).max(axis=0) / 127).astype(np.float32)
    wq = np.rint(weights / scales.astype(np.float64)).astype(np.int64)
    step = x_scale * scales
    bq = np.rint(bias.astype(np.float64) / step).astype(np.int64)
    total = ((xq - x_zero) @ wq + bq).astype(np.float32)
    yq = np.clip(np.rint(total * (step / y_scale)) + y_zero, -128, 127)
    want = ((yq - y_zero).astype(np.float32) * y_scale).astype(np.float32)
    np.testing.assert_array_equal(interpret(graph, {"x": x})["y"], want)


def test_four_bits_are_for_weights_that_are_packed() -> None:
    rng = np.random.default_rng(2)
    for rows, dtype in ((31, DType.I8), (32, DType.I4)):
        graph = _convolution(rng.standard_normal((1, 1, rows, 32)).astype(np.float32))
        pass_ = InsertQuantization(WeightScheme.W4A8, RANGES)
        quantized = pass_.run(graph, Statistics())
        conv = next(op for op in quantized.ops if isinstance(op.kind, Conv))
        weights = quantized.producers()[conv.inputs[1]].inputs[0]
        assert weights.type.dtype is dtype


def test_a_corrected_bias_takes_the_mean_error_away() -> None:
    rng = np.random.default_rng(3)
    graph = _convolution(rng.standard_normal((1, 1, 64, 32)).astype(np.float32))
    samples = [rng.uniform(0, 3, (1, 2, 2, 64)).astype(np.float32) for _ in range(50)]
    rows = np.concatenate(samples).reshape(-1, 64).astype(np.float64)
    moments = {"x": ChannelMoments(rows.mean(axis=0), (rows * rows).mean(axis=0))}
    ranges = {"x": Interval(0.0, 3.0), "y": Interval(-60.0, 60.0)}
    errors = []
    for given in ({}, moments):
        quantized = InsertQuantization(WeightScheme.W4A8, ranges, given).run(graph, Statistics())
        both = [
            interpret(g, {"x": x})["y"].mean(axis=(0, 1, 2))
            for g in (quantized, graph)
            for x in samples
        ]
        got, want = np.mean(both[:50], axis=0), np.mean(both[50:], axis=0)
        errors.append(float(np.abs(got - want).max()))
    assert errors[1] < 0.05 * errors[0]


def test_a_bias_that_is_large_widens_the_steps_of_its_weights() -> None:
    weights = np.array([[1e-12, 1.0]], np.float32)
    graph = _convolution(weights, np.array([5.0, 0.0], np.float32))
    x = np.zeros((1, 2, 2, 1), np.float32)
    got = interpret(_raised(_quantized(graph, RANGES)), {"x": x})["y"]
    np.testing.assert_allclose(got[0, 0, 0], [5.0, 0.0], atol=0.04)


def test_a_quantized_model_is_refused() -> None:
    graph = _quantized(_convolution(np.ones((1, 1, 2, 2), np.float32)), RANGES)
    with pytest.raises(Refused, match="quantized already"):
        _quantized(graph, RANGES)
