"""Budgets go where they cost least, and plans that do not pay are no candidates."""

import numpy as np
import pytest

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Op
from lepton_cc.ir.interpreter import interpret
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.low_rank.allocate import Budget, Choices, allocate
from lepton_cc.passes.low_rank.candidates import Candidate, candidates, has_paying_plan
from lepton_cc.passes.low_rank.fit import FactorFit
from lepton_cc.passes.low_rank.form import Cost, Form, Plan
from lepton_cc.passes.reconstruct.output_moments import OutputMoments, matrices, merged


def _choices(name: str, error: float, weight: float = 1.0) -> Choices:
    """A layer that costs 100, and less by 10 for each rank that it loses."""
    found = [Candidate(None, Cost(100, 100), 0.0)]
    for lost in range(1, 9):
        plan = Plan(Form.OUTPUT, (10 - lost,))
        found.append(Candidate(plan, Cost(100 - 10 * lost, 100 - 5 * lost), error * lost**2))
    return Choices(name, tuple(found), weight)


def test_a_budget_is_spent_where_it_costs_least() -> None:
    chosen = allocate([_choices("cheap", 0.001), _choices("dear", 0.01)], 90, Budget.MACS)
    assert sum(100 - one.cost.num_macs for one in chosen.values()) == 90
    assert chosen["cheap"].cost.num_macs == 20
    assert chosen["dear"].cost.num_macs == 90


def test_weights_turn_the_order_around() -> None:
    layers = [_choices("cheap", 0.001, weight=100.0), _choices("dear", 0.01)]
    chosen = allocate(layers, 60, Budget.MACS)
    assert chosen["dear"].cost.num_macs < chosen["cheap"].cost.num_macs


def test_all_is_saved_that_can_be_if_the_goal_is_out_of_reach() -> None:
    chosen = allocate([_choices("one", 0.1), _choices("two", 0.1)], 190, Budget.BYTES)
    assert [one.cost.size_bytes for one in chosen.values()] == [60, 60]


def _product(depth: int, outputs: int, rank: int) -> tuple[Op, FactorFit]:
    """A product whose weights have a rank, and a little noise on top."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(depth, rank)) @ random.normal(size=(rank, outputs))
    weights += 1e-3 * random.normal(size=weights.shape)
    build = GraphBuilder("product", [])
    x = build.input("x", TensorType(DType.F32, (4, depth)))
    constant = build.constant(weights.astype(np.float32), name="w")
    graph = build.finish([build.emit(MatMul(), x, constant, name="y")], ["y"])
    op = graph.producers()[graph.outputs[0]]
    sums = OutputMoments(op, 40)
    for _ in range(40):
        sample = random.normal(size=(4, depth)).astype(np.float32)
        sums.observe(sample, interpret(graph, {"x": sample})["y"])
    return op, FactorFit(op, matrices(op, weights), merged(*sums.halves()))


def test_the_rank_of_the_weights_is_found() -> None:
    op, fit = _product(48, 32, 8)
    ranks = [one.plan.ranks[0] for one in candidates(op, fit, 1e-3) if one.plan is not None]
    assert min(ranks) == 8
    assert max(ranks) * (48 + 32) <= 0.9 * 48 * 32


@pytest.mark.parametrize(
    ("depth", "outputs", "pays"), [(48, 32, True), (4, 4, True), (2, 2, False)]
)
def test_small_products_do_not_pay(depth: int, outputs: int, pays: bool) -> None:
    op, fit = _product(depth, outputs, 1)
    assert has_paying_plan(op) is pays
    assert (len(candidates(op, fit, 1.0)) > 1) is pays
