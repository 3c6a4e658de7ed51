"""Factorizing whole graphs: budgets are met, outputs stay near, reasons are given."""

import numpy as np
import pytest

from lepton_cc.calibration.data import CalibrationData
from lepton_cc.compression.low_rank_stage import LowRankStage
from lepton_cc.compression.stage import StageContext
from lepton_cc.ir.diagnostics import Refused, UsageError
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.verifier import Stage, verify
from lepton_cc.low_rank.factorize import factorize_prepared
from lepton_cc.low_rank.options import LowRankOptions
from lepton_cc.passes.low_rank.allocate import Budget
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.reconstruction.outputs import FitOptions
from tests.lepton_cc.reconstruction.small_networks import residual_network, samples_of


@pytest.fixture(scope="module")
def original() -> Graph:
    """A network whose pointwise layer has two directions only."""
    graph = residual_network()
    (point,) = (layer for layer in prunable_layers(graph) if layer.name == "point")
    left, values, right = np.linalg.svd(point.weights[0, 0].astype(np.float64))
    thin = (left[:, :2] * values[:2]) @ right[:2]
    weights = thin.reshape(point.weights.shape).astype(np.float32)
    return with_constants(graph, {point.op.inputs[1]: weights})


@pytest.fixture(scope="module")
def data(original: Graph) -> CalibrationData:
    return samples_of(original, 40)


def test_what_has_low_rank_is_split_and_nothing_is_lost(
    original: Graph, data: CalibrationData
) -> None:
    result = factorize_prepared(original, original, data, LowRankOptions(0.05, refit=False))
    verify(result.graph, Stage.IMPORTED)
    split = {layer.name: layer for layer in result.layers if layer.plan is not None}
    assert split.keys() == {"point"}
    assert split["point"].plan is not None
    assert split["point"].plan.ranks == (2,)
    assert result.after.num_macs <= 0.95 * result.before.num_macs
    for sample in samples_of(original, 3, seed=9).samples():
        wanted, got = (interpret(graph, sample)["y"] for graph in (original, result.graph))
        np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_every_layer_is_listed_with_what_became_of_it(
    original: Graph, data: CalibrationData
) -> None:
    stage = LowRankStage(LowRankOptions(0.5, Budget.BYTES, max_error=0.02, keep=("stem",)))
    result = stage.run(original, StageContext(original, data))
    assert result.table is not None
    notes = {row[0]: row[-1] for row in result.table.rows}
    assert notes == {
        "stem": "it is to be kept",
        "wide": "a depthwise window has no channels to share",
        "point": "",
        "logits": "no rank that pays keeps its error below 0.02",
    }
    (note,) = result.diagnostics
    assert note.message.startswith("low rank saves 8%")
    assert "not 50%" in note.message


def test_the_whole_model_is_fitted_to_the_original_if_wished(
    original: Graph, data: CalibrationData
) -> None:
    fit = FitOptions(max_steps=20)
    result = factorize_prepared(
        original, original, data, LowRankOptions(0.2, max_error=1.0, refit=False, fit=fit)
    )
    assert result.fit is not None
    assert result.fit.error is not None
    assert result.fit.error_before is not None
    assert result.fit.error < result.fit.error_before


def test_senseless_wishes_are_refused(original: Graph, data: CalibrationData) -> None:
    with pytest.raises(UsageError, match=r"share=1\.5"):
        factorize_prepared(original, original, data, LowRankOptions(1.5))
    names = tuple(layer.name for layer in prunable_layers(original))
    with pytest.raises(Refused, match="no layer of the model can be factorized: it is to be kept"):
        factorize_prepared(original, original, data, LowRankOptions(0.3, keep=names))
