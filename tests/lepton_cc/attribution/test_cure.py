"""Cures: proposed by cause, spelled as the command reads them, chosen by measurement."""

from collections.abc import Iterable, Mapping

import numpy as np
import pytest

from lepton_cc.attribution.advice import Advice, Suspect, advise
from lepton_cc.attribution.causes import LayerNoise
from lepton_cc.attribution.cure import Cure, Proposer, joined, layer_names, stated
from lepton_cc.attribution.layers import QuantizedLayer, quantized_layers
from lepton_cc.attribution.measurement import Quality
from lepton_cc.attribution.trial import Trial, helping
from lepton_cc.calibration.layer_schemes import LayerScheme
from lepton_cc.calibration.method import Method
from lepton_cc.calibration.quantize import QuantizationOptions, quantize
from lepton_cc.cli.compress_command import compress
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Location, Value
from lepton_cc.ir.ops.elementwise import Binary, Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.layer_rounding import Rounding
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

W8A8, W8A16, W4A8 = WeightScheme.W8A8, WeightScheme.W8A16, WeightScheme.W4A8
OUTLIER = LayerNoise(rounding=1, channel_ratio=64)
ROUNDED = LayerNoise(rounding=1)
NARROW = LayerNoise(weights=1, weights_bits=4)
EVERYTHING = QuantizationOptions(
    W4A8,
    method=Method.ENTROPY,
    rounding=Rounding.GPTQ,
    equalize=True,
    layers=(LayerScheme("a layer", W8A16), LayerScheme("b;c", W8A8)),
)


def _graph() -> Graph:
    """Two products of one input, their difference, and a function of a node that is two layers."""
    generator = np.random.default_rng(0)
    builder = GraphBuilder("sum", ["x"])
    x = builder.input("x", TensorType(DType.F32, (1, 8)))

    def product(value: Value, node: str, name: str) -> Value:
        weights = builder.constant(generator.standard_normal((8, 8)).astype(np.float32))
        return builder.emit(MatMul(), value, weights, location=Location((node,)), name=name)

    left, right = product(x, "left", "y0"), product(x, "right", "y1")
    bounded = builder.emit(Clamp(low=0.0), left, location=Location(("relu",)), name="y2")
    difference = builder.emit(
        Binary(BinaryFunction.SUB), bounded, right, location=Location(("sub",)), name="y3"
    )
    last = product(product(difference, "twice", "y4"), "twice", "y5")
    return builder.finish([last], ["y"])


@pytest.fixture(scope="module")
def quantized() -> Graph:
    data = {"x": np.random.default_rng(1).standard_normal((16, 1, 8)).astype(np.float32)}
    found = quantize(_graph(), QuantizationOptions(W8A8, data))
    assert found is not None
    return found.graph


def _layer(graph: Graph, name: str) -> QuantizedLayer:
    (layer,) = (one for one in quantized_layers(graph) if one.name == name)
    return layer


def _proposer(scheme: WeightScheme = W8A8, *, is_given: bool = False) -> Proposer:
    options = QuantizationOptions(scheme, method=Method.MIN_MAX)
    return Proposer(options, layer_names(_graph()), is_given)


def _wider(name: str, scheme: WeightScheme = W8A16) -> Cure:
    return Cure(layers=(LayerScheme(name, scheme),))


def test_arguments_are_what_compress_reads() -> None:
    cure = stated(EVERYTHING)
    context = compress.make_context(
        "compress", ["model.onnx", "--data", "data.npz", *cure.arguments], resilient_parsing=False
    )
    assert context.params["quantize"] == "w4a8"
    assert context.params["method"] == "gptq"
    assert context.params["calibration_method"] == "entropy"
    assert context.params["equalize"] is True
    assert context.params["layer_schemes"] == ("a layer=w8a16", "b;c=w8a8")
    assert "'b;c=w8a8'" in cure.text


def test_what_is_stated_makes_the_same_options() -> None:
    assert stated(EVERYTHING).applied(QuantizationOptions()) == EVERYTHING
    assert stated(QuantizationOptions()).arguments == ("--quantize", "w8a8")
    # The command's own default is another rounding where weights have 4 bits.
    assert "--method plain" in stated(QuantizationOptions(W4A8)).text


def test_layers_are_called_by_their_node_if_it_is_one_layer() -> None:
    names = layer_names(_graph())
    assert names == {"y0": "left", "y1": "right", "y3": "sub", "y4": "y4", "y5": "y5"}


def test_cures_follow_from_the_cause(quantized: Graph) -> None:
    proposer = _proposer()
    left = proposer.cures(_layer(quantized, "left"), OUTLIER, quantized)
    assert left[0] == Cure(method=Method.MSE)
    assert Cure(method=Method.MIN_MAX) not in left
    assert {_wider("left"), Cure(equalize=True)} < set(left)
    cancelled = LayerNoise(rounding=1, cancellation=0.1)
    operands = proposer.cures(_layer(quantized, "sub"), cancelled, quantized)[0]
    assert operands == joined([_wider("left"), _wider("right")])
    source = proposer.cures(_layer(quantized, "x"), OUTLIER, quantized)
    assert source == (Cure(scheme=W8A16),)


def test_four_bits_are_cured_by_rounding_or_by_eight(quantized: Graph) -> None:
    cures = _proposer(W4A8).cures(_layer(quantized, "left"), NARROW, quantized)
    assert cures == (_wider("left", W8A8), Cure(rounding=Rounding.GPTQ))
    # Those of 16 bits have nothing wider.
    wide = _proposer(W8A16).cures(_layer(quantized, "left"), OUTLIER, quantized)
    assert not any(cure.layers for cure in wide)


def test_what_others_quantized_is_first_quantized_here(quantized: Graph) -> None:
    cures = _proposer(W4A8, is_given=True).cures(_layer(quantized, "left"), NARROW, quantized)
    assert cures == (Cure(W4A8), Cure(W4A8, rounding=Rounding.GPTQ), Cure(W8A8))


def _quality(decibels: float) -> Quality:
    return Quality(10 ** (-decibels / 10), None)


def _trial(cure: Cure, decibels: float) -> Trial:
    return Trial(cure, _quality(decibels))


def test_the_measurement_chooses_and_what_is_free_comes_first() -> None:
    free, second, layer, model = (
        Cure(method=Method.MSE),
        Cure(equalize=True),
        _wider("left"),
        Cure(scheme=W8A16),
    )
    before, options = _quality(20), QuantizationOptions()

    def chosen(*trials: Trial) -> Cure | None:
        found = helping(trials, before, options)
        return None if found is None else found.cure

    assert chosen(_trial(free, 22), _trial(layer, 30)) == layer
    assert chosen(_trial(layer, 30), _trial(model, 30.5), _trial(free, 29.5)) == free
    assert chosen(_trial(free, 29.5), _trial(second, 30)) == free
    # To quantize by the same widths costs nothing.
    assert chosen(_trial(layer, 30), _trial(Cure(scheme=W8A8), 30)) == Cure(scheme=W8A8)
    assert chosen(_trial(free, 20.5), _trial(layer, 20.9)) is None
    assert chosen() is None


class _Attempts:
    """Gives decibels by cure, and remembers what was tried."""

    def __init__(self, decibels: Mapping[Cure, float]) -> None:
        self._decibels = decibels
        self.cures: list[Cure] = []

    def __call__(self, cures: Iterable[Cure]) -> Mapping[Cure, Trial]:
        self.cures = list(dict.fromkeys(cures))
        return {cure: _trial(cure, self._decibels.get(cure, 0)) for cure in self.cures}


def test_faults_that_run_through_layers_are_mended_together() -> None:
    left, right = _wider("left"), _wider("right")
    both = joined([left, right])
    attempts = _Attempts({left: 21, right: 20, both: 35})
    suspects = [
        Suspect(OUTLIER, 0.6, (left,)),
        Suspect(OUTLIER, 0.3, (right,)),
        Suspect(ROUNDED, 0.1, (_wider("y4"),)),
    ]
    advised = advise(suspects, _quality(10), QuantizationOptions(), attempts)
    assert attempts.cures == [left, right, both]
    assert [advice.cure for advice in advised.advices] == [both, both, None]
    assert advised.best is not None
    assert advised.best.cure == Cure(W8A8, layers=both.layers)
    assert advised.advices[0].text == f"{both.text} (35.0 dB)"
    assert advised.advices[2].text == "nothing: integers are only rounded"


def test_what_does_not_help_is_not_advised() -> None:
    cure = _wider("left")
    advised = advise(
        [Suspect(OUTLIER, 1.0, (cure,))], _quality(10), QuantizationOptions(), _Attempts({cure: 10})
    )
    assert advised.best is None
    (advice,) = advised.advices
    assert advice == Advice(words="nothing tried: at best 10.0 dB, with --layer-scheme left=w8a16")


def test_the_first_layer_is_tried_where_none_is_faulty_and_few_where_many_are() -> None:
    cures = [_wider(f"layer{number}") for number in range(6)]
    attempts = _Attempts({})
    rounded = [Suspect(ROUNDED, 0.2, (cure,)) for cure in cures]
    advise(rounded, _quality(10), QuantizationOptions(), attempts)
    assert attempts.cures == cures[:1]
    shares = (0.01, 0.3, 0.3, 0.2, 0.1, 0.09)
    faulty = [Suspect(OUTLIER, share, (c,)) for share, c in zip(shares, cures, strict=True)]
    advise(faulty, _quality(10), QuantizationOptions(), attempts)
    assert attempts.cures == [*cures[1:4], joined(cures[1:4])]


def test_nothing_is_tried_without_samples() -> None:
    saturated = LayerNoise(clipping=1)
    suspects = [Suspect(saturated, 1.0, (Cure(method=Method.MSE),))]
    advised = advise(suspects, _quality(10), QuantizationOptions(), None)
    assert advised.trials == ()
    assert advised.best is None
    assert advised.advices[0].text == (
        "--calibration-method mse (not tried); samples that show the whole range"
    )
