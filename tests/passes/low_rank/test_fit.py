"""Factors against what theory says of them: exact at full rank, no better ones at any other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType
from lepton_cc.ir.verifier import Stage, verify
from lepton_cc.passes.low_rank.fit import FactorFit
from lepton_cc.passes.low_rank.form import Form, Plan, composed, cost, factors, possible_forms
from lepton_cc.passes.low_rank.split import split
from lepton_cc.passes.prune.contraction_weights import constant_arrays
from lepton_cc.passes.reconstruct.damping import DAMPINGS
from lepton_cc.passes.reconstruct.least_squares import damped
from lepton_cc.passes.reconstruct.output_moments import OutputMoments, matrices, merged


def _layer(kind: Conv | MatMul, x: tuple[int, ...], weights: tuple[int, ...], seed: int) -> Graph:
    random = np.random.default_rng(seed)
    build = GraphBuilder("layer", [])
    port = build.input("x", TensorType(DType.F32, x))
    content = random.normal(size=weights).astype(np.float32)
    bias = random.normal(size=weights[-1]).astype(np.float32)
    operands = build.constant(content, name="w"), build.constant(bias, name="b")
    return build.finish([build.emit(kind, port, *operands, name="y")], ["y"])


def _samples(graph: Graph, count: int) -> list[Array]:
    """Inputs whose channels and neighbours are correlated, and have means."""
    random = np.random.default_rng(7)
    dims = graph.inputs[0].type.dims
    x = random.normal(size=(count, *dims)) + random.normal(size=dims[-1])
    for axis in range(2, x.ndim):
        x = x + 0.7 * np.roll(x, 1, axis)
    return list(x.astype(np.float32))


def _fitted(graph: Graph, count: int = 24) -> tuple[Op, Array, FactorFit]:
    op = graph.producers()[graph.outputs[0]]
    sums = OutputMoments(op, count)
    for x in _samples(graph, count):
        sums.observe(x, interpret(graph, {"x": x})["y"])
    weights = matrices(op, constant_arrays(graph)[op.inputs[1]])
    return op, weights, FactorFit(op, weights, merged(*sums.halves()))


def _full_rank(op: Op, form: Form) -> tuple[int, ...]:
    *taps, channels, outputs = op.inputs[1].type.dims
    if form is Form.CHANNELS:
        return channels, outputs
    if form is Form.OUTPUT:
        return (outputs // op.kind.groups if isinstance(op.kind, Conv) else outputs,)
    first, second = taps if form is Form.ROWS_FIRST else reversed(taps)
    return (min(first * channels, second * outputs),)


def _split(graph: Graph, op: Op, plan: Plan, fit: FactorFit) -> Graph:
    made = fit.factors(plan, 1)
    done = split(graph, op, plan, made, fit.moments.best_bias(composed(op, plan, made)))
    verify(done, Stage.IMPORTED)
    return done


_WINDOWS = [
    Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    Window((3, 2), (2, 1), (1, 2), (1, 0), (0, 3)),
    Window((2, 3), (1, 3), (2, 1), (0, 2), (2, 1)),
    Window((1, 1), (2, 2), (1, 1), (0, 0), (0, 0)),
    Window((1, 3), (1, 2), (1, 1), (0, 1), (0, 0)),
    Window((3,), (2,), (1,), (1,), (2,)),
]


@pytest.mark.parametrize("window", _WINDOWS, ids=str)
def test_full_rank_gives_the_same_outputs_in_every_form(window: Window) -> None:
    x = (1, *(6 for _ in window.size), 3)
    graph = _layer(Conv(window), x, (*window.size, 3, 5), 0)
    op, _, fit = _fitted(graph)
    assert Form.OUTPUT in possible_forms(op)
    for form in possible_forms(op):
        other = _split(graph, op, Plan(form, _full_rank(op, form)), fit)
        for one in _samples(graph, 2):
            wanted, got = (interpret(g, {"x": one})["y"] for g in (graph, other))
            np.testing.assert_allclose(got, wanted, atol=3e-5 * np.abs(wanted).max())


def test_groups_are_split_each_on_its_own() -> None:
    graph = _layer(Conv(_WINDOWS[0], groups=2), (1, 5, 5, 6), (3, 3, 3, 8), 1)
    op, _, fit = _fitted(graph)
    assert possible_forms(op) == (Form.OUTPUT,)
    other = _split(graph, op, Plan(Form.OUTPUT, (4,)), fit)
    (x,) = _samples(graph, 1)
    wanted, got = (interpret(g, {"x": x})["y"] for g in (graph, other))
    np.testing.assert_allclose(got, wanted, atol=3e-5 * np.abs(wanted).max())
    kinds = [one.kind for one in other.ops if isinstance(one.kind, Conv)]
    assert [kind.groups for kind in kinds] == [2, 2]


def test_depthwise_windows_have_no_form() -> None:
    graph = _layer(Conv(_WINDOWS[0], groups=4), (1, 5, 5, 4), (3, 3, 1, 4), 1)
    assert possible_forms(graph.producers()[graph.outputs[0]]) == ()


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 4), st.integers(0, 99))
def test_what_a_rank_misses_are_the_whitened_singular_values(
    depth: int, outputs: int, rows: int, seed: int
) -> None:
    graph = _layer(MatMul(), (rows, depth), (depth, outputs), seed)
    op, weights, fit = _fitted(graph)
    gram = damped(fit.moments.gram, DAMPINGS[0])[0]
    root = np.linalg.cholesky(gram).T
    values = np.linalg.svd(root @ weights[0], compute_uv=False) ** 2
    errors = fit.output_errors()
    for rank in range(1, min(depth, outputs) + 1):
        plan = Plan(Form.OUTPUT, (rank,))
        missed = weights - composed(op, plan, fit.factors(plan, 1))
        error = float(np.sum(missed[0] * (gram @ missed[0])))
        np.testing.assert_allclose(error, values[rank:].sum(), atol=2e-5 * values.sum())
        np.testing.assert_allclose(errors[rank], values[rank:].sum() / values.sum(), atol=2e-5)


@pytest.mark.parametrize("form", [Form.ROWS_FIRST, Form.COLUMNS_FIRST, Form.CHANNELS])
def test_sweeps_never_make_factors_worse_and_start_near(form: Form) -> None:
    graph = _layer(Conv(_WINDOWS[0]), (1, 6, 6, 4), (3, 3, 4, 6), 3)
    op, _, fit = _fitted(graph)
    plan = Plan(form, (3, 4) if form is Form.CHANNELS else (4,))
    errors = [
        fit.moments.relative_error(composed(op, plan, fit.factors(plan, sweeps)))
        for sweeps in (0, 1, 2, 6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.99 * errors[0]
    assert errors[0] < 0.6


def test_the_mean_of_the_outputs_is_kept() -> None:
    graph = _layer(MatMul(), (3, 8), (8, 8), 4)
    op, _, fit = _fitted(graph, 200)
    other = _split(graph, op, Plan(Form.OUTPUT, (2,)), fit)
    xs = _samples(graph, 200)
    wanted, got = (
        np.mean([interpret(g, {"x": x})["y"] for x in xs], axis=(0, 1)) for g in (graph, other)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_costs_are_those_of_the_ops() -> None:
    graph = _layer(
        Conv(Window((3, 3), (2, 2), (1, 1), (1, 1), (1, 1))), (1, 8, 8, 4), (3, 3, 4, 8), 5
    )
    op, _, fit = _fitted(graph)
    for plan in (Plan(Form.ROWS_FIRST, (3,)), Plan(Form.CHANNELS, (2, 5)), Plan(Form.OUTPUT, (3,))):
        other = _split(graph, op, plan, fit)
        macs = sum(
            one.result.type.num_elements * int(np.prod(one.inputs[1].type.dims[:-1]))
            for one in other.ops
            if isinstance(one.kind, Conv)
        )
        size = sum(array.nbytes for array in constant_arrays(other).values())
        assert cost(op, plan).num_macs == macs
        assert cost(op, plan).size_bytes == size
        assert len(factors(op, plan)) == len([o for o in other.ops if isinstance(o.kind, Conv)])
