"""Attention heads that leave: what must go with them, and what is left gives the same."""

from collections.abc import Sequence

import numpy as np
import pytest

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.verifier import verify
from lepton_cc.passes.prune.channel_groups import ChannelGroup
from lepton_cc.passes.prune.contraction_weights import prunable_layers, with_constants
from lepton_cc.passes.prune.head_groups import head_groups
from lepton_cc.passes.prune.remove_channels import unit_rows, without_units
from tests.passes.attentions import DEPTH, HEADS, WIDTH, Form, attention

_GONE = (1, 2)
_WHOLE = [form for form in Form if form.kv_heads == HEADS and form is not Form.CACHED]


def _silenced(graph: Graph, group: ChannelGroup, gone: Sequence[int]) -> Graph:
    """The graph whose output projection hears nothing of some heads."""
    layer = next(one for one in prunable_layers(graph) if one.name == "out")
    matrices = layer.matrices
    for unit in gone:
        matrices[0, unit_rows(layer, group, unit)] = 0.0
    return with_constants(graph, layer.from_matrices(matrices))


def _widths(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {layer.name: layer.weights.shape for layer in prunable_layers(graph)}


def _assert_same(graph: Graph, smaller: Graph) -> None:
    random = np.random.default_rng(4)
    inputs = {v.name: random.normal(size=v.type.dims).astype(np.float32) for v in graph.inputs}
    before, after = interpret(graph, inputs), interpret(smaller, inputs)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", _WHOLE)
def test_heads_that_nothing_hears_leave_every_tensor(form: Form) -> None:
    graph = attention(form)
    found = head_groups(graph)
    (group,) = found.groups
    assert not found.refusals
    assert len(group.units) == HEADS
    assert group.readers == ("out",)
    silenced = _silenced(graph, group, _GONE)
    smaller = without_units(silenced, [(group, _GONE)])
    verify(smaller)
    left = (HEADS - len(_GONE)) * DEPTH
    widths = _widths(smaller)
    assert widths.pop("out") == (left, WIDTH)
    assert sum(width for _, width in widths.values()) == 3 * left
    _assert_same(silenced, smaller)


@pytest.mark.parametrize(
    ("gone", "kv_left"), [((1, 2), 2), ((2, 3), 1), ((0, 1, 3), 1)], ids=["ends", "pair", "three"]
)
def test_heads_of_keys_follow_the_last_that_reads_them(gone: tuple[int, ...], kv_left: int) -> None:
    graph = attention(Form.GATHERED)
    (group,) = head_groups(graph).groups
    silenced = _silenced(graph, group, gone)
    smaller = without_units(silenced, [(group, gone)])
    verify(smaller)
    widths = _widths(smaller)
    assert widths["q"][1] == widths["out"][0] == (HEADS - len(gone)) * DEPTH
    assert widths["k"][1] == widths["v"][1] == kv_left * DEPTH
    _assert_same(silenced, smaller)


def test_heads_that_share_broadcast_keys_go_as_one() -> None:
    graph = attention(Form.BROADCAST)
    (group,) = head_groups(graph).groups
    assert len(group.units) == HEADS // 2
    silenced = _silenced(graph, group, (1,))
    smaller = without_units(silenced, [(group, (1,))])
    verify(smaller)
    assert _widths(smaller)["v"] == (WIDTH, DEPTH)
    assert _widths(smaller)["q"] == (WIDTH, 2 * DEPTH)
    _assert_same(silenced, smaller)


def test_a_cache_keeps_its_heads() -> None:
    found = head_groups(attention(Form.CACHED))
    assert not found.groups
    assert found.refusals["scores"].endswith("_v is an output of the model")


def test_queries_of_a_cache_with_fewer_heads_leave_alone() -> None:
    graph = attention(Form.CACHED_GATHERED)
    (group,) = head_groups(graph).groups
    assert not group.followers
    silenced = _silenced(graph, group, (0, 1))
    smaller = without_units(silenced, [(group, (0, 1))])
    verify(smaller)
    assert _widths(smaller)["q"] == (WIDTH, 2 * DEPTH)
    assert _widths(smaller)["k"] == (WIDTH, 2 * DEPTH)
    assert [value.type for value in smaller.inputs] == [value.type for value in graph.inputs]
    _assert_same(silenced, smaller)
