"""The fusion passes: same bits on random graphs, nothing computed twice, bodies that are equal."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.rewrite import Statistics, without_dead_ops
from lepton_cc.ir.verifier import Stage, verify
from lepton_cc.passes.fuse_activations import FuseActivations
from lepton_cc.passes.fuse_elementwise import FuseElementwise
from lepton_cc.passes.fuse_reductions import FuseReductions
from lepton_cc.passes.fusion_laws import is_repeatable, parts
from lepton_cc.passes.manager import Pass
from tests.ir.random_graphs import graphs, random_inputs

PIPELINE: tuple[Pass, ...] = (FuseActivations(), FuseReductions(), FuseElementwise())
_settings = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def fused(graph: Graph, passes: tuple[Pass, ...] = PIPELINE) -> Graph:
    for pass_ in passes:
        graph = pass_.run(graph, Statistics())
    return graph


def computations(graph: Graph) -> Counter[str]:
    """How many ops of each kind that is not free to repeat, fused or not."""
    ops = [part for op in graph.ops for part in parts(op)]
    free = [isinstance(op.kind, Constant) or is_repeatable(op) for op in ops]
    return Counter(op.kind.mnemonic for op, skip in zip(ops, free, strict=True) if not skip)


@pytest.mark.parametrize("passes", [PIPELINE, *((p,) for p in PIPELINE)], ids=lambda p: p[0].NAME)
@_settings
@given(graph=graphs(max_ops=24))
def test_fusion_keeps_every_bit(passes: tuple[Pass, ...], graph: Graph) -> None:
    after = fused(graph, passes)
    verify(after, Stage.FUSED)
    inputs = random_inputs(graph)
    expected, got = interpret(graph, inputs), interpret(after, inputs)
    assert expected.keys() == got.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


@_settings
@given(graphs(max_ops=24))
def test_fusion_computes_nothing_twice(graph: Graph) -> None:
    graph = without_dead_ops(graph)
    assert computations(fused(graph)) == computations(graph)


@_settings
@given(graphs(max_ops=24))
def test_fusion_is_stable(graph: Graph) -> None:
    assert fused(graph) == fused(graph)
    once = fused(graph)
    assert len(fused(once).ops) <= len(once.ops)
