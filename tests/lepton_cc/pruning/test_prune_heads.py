"""Removing attention heads with data: those that are heard least, and the others make up for it."""

import numpy as np
import pytest

from lepton_cc.calibration.data import calibration_data
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.pruning.options import PruneOptions
from lepton_cc.pruning.prune import prune_prepared
from tests.lepton_cc.reconstruction.small_networks import samples_of
from tests.passes.attentions import DEPTH, HEADS, Form, attention

_QUIET = 2


def _with_a_quiet_head(form: Form) -> Graph:
    """The output projection hears a thousandth of one head."""
    graph = attention(form)
    (layer,) = (one for one in prunable_layers(graph) if one.name == "out")
    matrices = layer.matrices
    matrices[0, _QUIET * DEPTH : (_QUIET + 1) * DEPTH] *= 1e-3
    return with_constants(graph, layer.from_matrices(matrices))


@pytest.mark.slow
@pytest.mark.parametrize("form", [Form.ROTARY, Form.SLICED])
def test_the_head_that_is_heard_least_leaves(form: Form) -> None:
    original = _with_a_quiet_head(form)
    options = PruneOptions(1 / HEADS, heads=True)
    result = prune_prepared(original, original, samples_of(original, 40), options)
    gone = range(_QUIET * DEPTH, (_QUIET + 1) * DEPTH)
    kept = next(one for name, one in result.kept.items() if len(one) == (HEADS - 1) * DEPTH)
    assert not set(gone) & set(kept.tolist())
    x = {"x": np.random.default_rng(7).normal(size=(1, 5, 12)).astype(np.float32)}
    np.testing.assert_allclose(
        interpret(result.graph, x)["y"], interpret(original, x)["y"], rtol=0.02, atol=0.02
    )


def test_heads_of_a_cache_are_refused_by_name() -> None:
    graph = attention(Form.CACHED)
    random = np.random.default_rng(8)
    samples = {v.name: random.normal(size=(2, *v.type.dims)).astype("f4") for v in graph.inputs}
    data = calibration_data(graph, samples)
    with pytest.raises(Refused, match=r"scores: new_. is an output of the model"):
        prune_prepared(graph, graph, data, PruneOptions(0.25, heads=True))


def test_a_model_without_heads_is_refused() -> None:
    graph = attention(Form.MERGED)
    (layer, *_) = prunable_layers(graph)
    options = PruneOptions(0.25, heads=True, keep=(layer.name,))
    with pytest.raises(Refused, match="no attention heads"):
        prune_prepared(graph, graph, samples_of(graph, 2), options)
