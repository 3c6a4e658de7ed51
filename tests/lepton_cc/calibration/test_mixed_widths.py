"""Layers with widths of their own: by name, and by what they cost at 4 bits."""

import numpy as np
import pytest

from lepton_cc.calibration.layer_schemes import LayerScheme, named_layers
from lepton_cc.calibration.mixed_widths import Sensitivity, WidthBudget, wide_layers
from lepton_cc.calibration.quantize import QuantizationOptions, QuantizedModel, quantize
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.diagnostics import UsageError
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.quantization import Quantize
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

WIDTH = 32


def network() -> Graph:
    """Three layers; the second only adds what is 100 times smaller than what goes past it."""
    generator = np.random.default_rng(3)
    builder = GraphBuilder("network", ["x"])
    value = builder.input("x", TensorType(DType.F32, (1, WIDTH)))
    for number in range(3):
        weights = generator.standard_normal((WIDTH, WIDTH)).astype(np.float32)
        if number == 1:
            # Sixteen levels hold these weights as they are.
            weights = np.eye(WIDTH, dtype=np.float32)
        bias = np.full(WIDTH, 0.1, np.float32)
        operands = [builder.constant(one) for one in (weights, bias)]
        location = Location((f"fc{number}",))
        value = builder.emit(MatMul(), value, *operands, location=location, name=f"y{number}")
        value = builder.emit(Clamp(0.0, float("inf")), value, location=location)
    return builder.finish([value], ["y"])


@pytest.fixture(scope="module")
def samples() -> Array:
    return np.random.default_rng(5).standard_normal((24, 1, WIDTH)).astype(np.float32)


def quantized(samples: Array, **options: object) -> QuantizedModel:
    chosen = QuantizationOptions(source={"x": samples}, **options)  # type: ignore[arg-type]
    found = quantize(network(), chosen)
    assert found is not None
    return found


def bits(model: QuantizedModel) -> dict[str, int]:
    return {"+".join(one.nodes): one.bits for one in model.rounding.records}


@pytest.mark.parametrize(
    "rounding", [Rounding.PLAIN, pytest.param(Rounding.GPTQ, marks=pytest.mark.slow)]
)
def test_the_layer_that_loses_nothing_stays_narrow(samples: Array, rounding: Rounding) -> None:
    options = {"scheme": WeightScheme.W4A8, "rounding": rounding}
    mixed = quantized(samples, mixed=WidthBudget(share=0.9), **options)
    assert bits(mixed) == {"fc0": 8, "fc1": 4, "fc2": 8}
    measured = [one.sensitivity for one in mixed.rounding.records]
    assert measured[1] is not None
    assert all(one is not None and one > 100 * measured[1] for one in (measured[0], measured[2]))

    def error(model: QuantizedModel) -> float:
        found = [
            interpret(model.graph, {"x": x})["y"] - interpret(model.prepared, {"x": x})["y"]
            for x in samples
        ]
        return float(np.sum(np.square(found)))

    assert error(mixed) < 0.1 * error(quantized(samples, **options))


def test_names_give_schemes(samples: Array) -> None:
    layers = (
        LayerScheme("fc*", WeightScheme.W4A8),
        LayerScheme("y1", WeightScheme.W8A16),
    )
    model = quantized(samples, layers=layers)
    assert bits(model) == {"fc0": 4, "fc1": 8, "fc2": 4}
    dtypes = [op.kind.dtype for op in model.graph.ops if isinstance(op.kind, Quantize)]
    assert dtypes == [DType.I8, DType.I8, DType.I16, DType.I8]


def test_a_name_that_no_layer_has_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'fc7'; there are fc0, fc1, fc2"):
        named_layers(network(), (LayerScheme("fc7", WeightScheme.W8A8),))


FOUND = (Sensitivity("a", 100, 1e-3), Sensitivity("b", 1000, 2e-3), Sensitivity("c", 10, 1e-6))


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (WidthBudget(share=0.5), set()),
        # 555 bytes at 4 bits, of 1,110: `a` is worth 50 more, `c` fits into what is left.
        (WidthBudget(share=0.56), {"a", "c"}),
        (WidthBudget(share=1.0), {"a", "b", "c"}),
        (WidthBudget(decibels=25.0), set()),
        (WidthBudget(decibels=26.9), {"a"}),
        (WidthBudget(decibels=40.0), {"a", "b"}),
    ],
)
def test_bytes_go_where_they_save_most(budget: WidthBudget, expected: set[str]) -> None:
    assert wide_layers(FOUND, 0, budget) == expected


def test_budgets_are_read_and_refused(samples: Array) -> None:
    assert WidthBudget.parse("60%") == WidthBudget(share=0.6)
    assert WidthBudget.parse("30 dB") == WidthBudget(decibels=30.0)
    for text in ("60", "x%", "dB"):
        with pytest.raises(UsageError, match="neither a size"):
            WidthBudget.parse(text)
    with pytest.raises(UsageError, match="w4a8 or w4a16"):
        quantized(samples, mixed=WidthBudget(share=1))
