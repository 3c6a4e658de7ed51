"""The damping of a model's layers, chosen by samples held out."""

from collections.abc import Mapping

import numpy as np
import pytest

from lepton_cc.calibration.damping import chosen_damping, output_error
from lepton_cc.calibration.data import Fold, calibration_data
from lepton_cc.calibration.float_run import inner_run
from lepton_cc.calibration.judged_values import Judged, judged
from lepton_cc.calibration.rounded_layers import reference_runs
from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.reduce import Softmax
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.quantize.activation_parameters import Interval
from lepton_cc.passes.quantize.insert_quantization import InsertQuantization
from lepton_cc.passes.quantize.layer_rounding import DEFAULT_DAMPING
from lepton_cc.passes.quantize.weight_rounding import WeightScheme

DEPTH, WIDTH = 24, 8


def network(seed: int = 0) -> Graph:
    builder = GraphBuilder("network", ["x"])
    x = builder.input("x", TensorType(DType.F32, (1, DEPTH)))
    weights = np.random.default_rng(seed).standard_normal((DEPTH, WIDTH)).astype(np.float32)
    return builder.finish([builder.emit(MatMul(), x, builder.constant(weights), name="y")], ["y"])


def samples(count: int, rank: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    generator = np.random.default_rng(count)
    mixed = generator.standard_normal((count, 1, rank)) @ generator.standard_normal((rank, DEPTH))
    return np.asarray(mixed / np.sqrt(rank), np.float32)


def test_folds_share_the_samples_in_runs() -> None:
    data = calibration_data(network(), {"x": samples(40, DEPTH)})
    folds = [[s["x"].tobytes() for s in Fold(data, is_held_out=h).samples()] for h in (False, True)]
    assert [len(one) for one in folds] == [32, 8]
    assert [Fold(data, is_held_out=h).num_samples for h in (False, True)] == [32, 8]
    order = [s["x"].tobytes() for s in data.samples()]
    assert sorted(folds[0] + folds[1]) == sorted(order)
    places = [order.index(one) for one in folds[1]]
    assert places[:3] == [8, 9, 18]


def test_a_model_without_error_has_none_and_others_have() -> None:
    data = calibration_data(network(), {"x": samples(20, DEPTH)})
    float_run = inner_run(network(), network().outputs)
    other_run = inner_run(network(1), network(1).outputs)
    assert output_error(network(), float_run, network(), float_run, data) == 0
    error = output_error(network(), float_run, network(1), other_run, data)
    assert error == pytest.approx(2, rel=0.2)


def test_few_samples_choose_nothing_and_more_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lepton_cc.calibration.damping._CANDIDATES", (0.003, 1.0))
    insertion = InsertQuantization(
        WeightScheme.W4A8, {"x": Interval(-4, 4), "y": Interval(-30, 30)}
    )
    runs = reference_runs(network(), insertion)
    few = calibration_data(network(), {"x": samples(31, DEPTH)})
    assert chosen_damping(network(), few, insertion, runs, correct_bias=True) == DEFAULT_DAMPING
    # What lies in a few dimensions says nothing about the others: they must not drift.
    flat = samples(64, 6)
    flat[8:16] = samples(64, DEPTH)[8:16]
    flat[24:32] = samples(64, DEPTH)[24:32]
    many = [calibration_data(network(), {"x": x}) for x in (flat, samples(160, DEPTH))]
    chosen = [chosen_damping(network(), one, insertion, runs, correct_bias=True) for one in many]
    assert chosen == [1.0, 0.003]


def test_what_softmax_reads_is_judged() -> None:
    """Of two graphs that differ where softmax does not look, and where it does."""
    builder = GraphBuilder("classes", ["x"])
    x = builder.input("x", TensorType(DType.F32, (1, 3)))
    classes = builder.finish([builder.emit(Softmax(1), x, name="classes")], ["y"])
    assert judged(classes) == (Judged(classes.inputs[0], 1),)
    insertion = InsertQuantization(WeightScheme.W8A8, {"x": Interval(-100, 100)})
    quantized = insertion.run(classes, Statistics())
    (found,) = judged(quantized)
    assert found.value.name == "x.dequantized"
    data = calibration_data(classes, {"x": np.asarray([[0, -3, -60]], np.float32)})

    def error(*logits: float) -> float:
        def logit_run(sample: Mapping[str, Array]) -> Mapping[str, Array]:
            return {"x.dequantized": np.asarray([logits], np.float32)}

        return output_error(classes, lambda sample: sample, quantized, logit_run, data)

    assert error(0, -3, -90) == 0
    assert error(0, -4, -60) == pytest.approx(1 / (9 + 16**2))
