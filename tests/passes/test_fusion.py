"""The fusion passes: same bits on random graphs, nothing computed twice, bodies that are equal."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.elementwise import Binary, Unary
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.rewrite import Statistics, without_dead_ops
from lepton_cc.ir.types import TensorType
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


def test_shared_values_do_not_explode() -> None:
    """Each sum reads the one before twice: as one expression, 2^20 additions."""
    builder = GraphBuilder("doubling")
    x = builder.input("x", TensorType(DType.F32, (8,)))
    value = x
    for _ in range(20):
        value = builder.emit(Binary(BinaryFunction.ADD), value, value)
    graph = fused(builder.finish([value], ["y"]))
    assert 2 < len(graph.ops) < 10
    got = interpret(graph, {"x": np.ones(8, np.float32)})["y"]
    np.testing.assert_array_equal(got, np.full(8, 2.0**20, np.float32))


def test_equal_computations_have_equal_bodies() -> None:
    """Names, and the order in which independent ops stood, leave no trace in a body."""
    builder = GraphBuilder("twins")
    x, y = (builder.input(name, TensorType(DType.F32, (8,))) for name in "xy")
    half = builder.constant(np.asarray(0.5, np.float32))
    first_sine = builder.emit(Unary(UnaryFunction.SIN), x)
    first_scaled = builder.emit(Binary(BinaryFunction.MUL), y, half)
    first = builder.emit(Binary(BinaryFunction.SUB), first_sine, first_scaled)
    other_half = builder.constant(np.asarray(0.5, np.float32), name="another")
    other_scaled = builder.emit(Binary(BinaryFunction.MUL), x, other_half)
    other_sine = builder.emit(Unary(UnaryFunction.SIN), y)
    other = builder.emit(Binary(BinaryFunction.SUB), other_sine, other_scaled, name="renamed")
    graph = fused(builder.finish([first, other], ["a", "b"]))
    bodies = [op.kind.body for op in graph.ops if isinstance(op.kind, Fused)]
    assert len(bodies) == len(graph.ops) == 2
    assert bodies[0] == bodies[1]
