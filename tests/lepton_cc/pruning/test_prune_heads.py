"""Removing attention heads with data: those that are heard least, and the others make up for it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lepton_cc.calibration.data import calibration_data
from lepton_cc.frontend.importer import import_model
from lepton_cc.ir.diagnostics import Refused
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.levels import BEFORE_QUANTIZATION
from lepton_cc.passes.manager import PassManager
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.head_groups import head_groups
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


@pytest.mark.parametrize(("kv_heads", "units"), [(4, 4), (2, 2)])
def test_heads_of_the_onnx_operator_are_found(kv_heads: int, units: int) -> None:
    width, depth = 16, 4
    random = np.random.default_rng(9)
    widths = {"wq": width, "wk": kv_heads * depth, "wv": kv_heads * depth, "wo": width}
    weights = [
        numpy_helper.from_array(random.normal(size=(width, columns)).astype(np.float32), name)
        for name, columns in widths.items()
    ]
    names = {"wq": "q", "wk": "k", "wv": "v"}
    nodes = [helper.make_node("MatMul", ["x", name], [out]) for name, out in names.items()]
    qkv = ["q", "k", "v"]
    nodes.append(
        helper.make_node("Attention", qkv, ["mixed"], q_num_heads=4, kv_num_heads=kv_heads)
    )
    nodes.append(helper.make_node("MatMul", ["mixed", "wo"], ["y"]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5, width]) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "attention", [x], [y], weights),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=10,
    )
    graph = PassManager(BEFORE_QUANTIZATION).run(import_model(model))
    (group,) = head_groups(graph).groups
    assert len(group.units) == units
    assert len(group.layers) == 3
    assert group.readers == ("y",)
