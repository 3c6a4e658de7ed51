"""Orders are topological, never worse than the given one, and the lowest on small graphs."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from lepton_cc.passes.memory import (
    Buffer,
    InPlace,
    Step,
    StepGraph,
    Storage,
    View,
    memory_problem,
    order_for_lowest_peak,
    peak_bytes,
)
from tests.passes.memory.random_problems import step_graphs


def topological_orders(graph: StepGraph) -> Iterator[tuple[int, ...]]:
    """Every order in which each step finds what it reads; written apart from the planner."""
    inputs = {storage.name for storage in graph.storages if storage.is_input}

    def extend(order: tuple[int, ...], known: frozenset[str]) -> Iterator[tuple[int, ...]]:
        if len(order) == len(graph.steps):
            yield order
        for index, step in enumerate(graph.steps):
            if index not in order and known.issuperset(step.reads):
                yield from extend((*order, index), known | set(step.writes))

    yield from extend((), frozenset(inputs))


def branches(*sizes: tuple[int, ...]) -> StepGraph:
    """Chains that all read one input and end in one sum; the steps are given level by level."""
    storages = [Storage("in", 16, is_input=True), Storage("sum", 16, is_output=True)]
    steps = []
    for level in range(max(map(len, sizes))):
        for number, chain in enumerate(sizes):
            if level < len(chain):
                source = f"c{number}_{level - 1}" if level else "in"
                storages.append(Storage(f"c{number}_{level}", 16 * chain[level]))
                steps.append(Step((source,), (f"c{number}_{level}",)))
    ends = tuple(f"c{number}_{len(chain) - 1}" for number, chain in enumerate(sizes))
    steps.append(Step(ends, ("sum",)))
    return StepGraph(tuple(steps), tuple(storages))


def test_branches_run_one_after_the_other() -> None:
    graph = branches((20, 1), (30, 1), (10, 1))
    order = order_for_lowest_peak(graph)
    # The biggest first, beside the input only; each leaves one unit behind.
    assert peak_bytes(graph, order) == 16 * (1 + 30 + 1)
    assert peak_bytes(graph, range(len(order))) == 16 * (1 + 20 + 30 + 10)


def test_given_order_is_kept_when_none_is_better() -> None:
    graph = branches((3, 5, 2, 4))
    assert order_for_lowest_peak(graph) == (0, 1, 2, 3, 4)


@settings(max_examples=150, deadline=None)
@given(step_graphs(relations=False))
def test_order_has_the_lowest_peak_of_all(graph: StepGraph) -> None:
    lowest = min(peak_bytes(graph, order) for order in topological_orders(graph))
    assert peak_bytes(graph, order_for_lowest_peak(graph)) == lowest


@settings(max_examples=150, deadline=None)
@given(step_graphs(max_steps=14))
def test_order_is_topological_and_never_worse(graph: StepGraph) -> None:
    order = order_for_lowest_peak(graph)
    assert sorted(order) == list(range(len(graph.steps)))
    known = {storage.name for storage in graph.storages if storage.is_input}
    for index in order:
        assert known.issuperset(graph.steps[index].reads)
        known |= set(graph.steps[index].writes)
    assert peak_bytes(graph, order) <= peak_bytes(graph, range(len(order)))


def test_wide_graph_beyond_exact_search_still_gains() -> None:
    chains = [(7 * n % 19 + 20, 7 * n % 5 + 1, 11 * n % 23 + 9, 1) for n in range(1, 26)]
    graph = branches(*chains)
    order = order_for_lowest_peak(graph)
    assert peak_bytes(graph, order) < peak_bytes(graph, range(len(order))) // 4


def test_live_ranges_follow_the_order() -> None:
    graph = branches((2, 3), (4,))
    problem = memory_problem(graph, (1, 0, 2, 3))
    assert problem.buffers == (
        Buffer("in", 16, 0, 1),
        Buffer("sum", 16, 3, 4),
        Buffer("c0_0", 32, 1, 2),
        Buffer("c1_0", 64, 0, 3),
        Buffer("c0_1", 48, 2, 3),
    )


def test_in_place_and_views_lower_the_peak() -> None:
    storages = (
        Storage("x", 64, is_input=True),
        Storage("relu", 64),
        Storage("flat", 64),
        Storage("y", 16, is_output=True),
    )
    steps = (Step(("x",), ("relu",)), Step(("relu",), ("flat",)), Step(("flat",), ("y",)))
    plain = StepGraph(steps, storages)
    related = StepGraph(steps, storages, (View("flat", "relu"),), (InPlace(0, "relu", "x"),))
    assert peak_bytes(plain, (0, 1, 2)) == 128
    assert peak_bytes(related, (0, 1, 2)) == 80


def test_an_output_is_never_overwritten() -> None:
    storages = (
        Storage("x", 64, is_input=True),
        Storage("y", 64, is_output=True),
        Storage("z", 64, is_output=True),
    )
    steps = (Step(("x",), ("y",)), Step(("y",), ("z",)))
    graph = StepGraph(steps, storages, in_place=(InPlace(1, "z", "y"),))
    assert peak_bytes(graph, (0, 1)) == 128


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((Step(("a",), ("b",)),), "reads 'a', which nothing wrote"),
        ((Step((), ("a",)), Step((), ("a", "b"))), "which already holds a value"),
        ((Step((), ("a", "b", "c")),), "writes 'c', which is not a buffer"),
        ((Step((), ("a",)),), "nothing writes 'b'"),
    ],
)
def test_broken_graphs_are_refused(steps: tuple[Step, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepGraph(steps, (Storage("a", 1), Storage("b", 1)))


@pytest.mark.parametrize("order", [(0,), (0, 0), (1, 0)])
def test_orders_that_cannot_run_are_refused(order: tuple[int, ...]) -> None:
    steps = (Step((), ("a",)), Step(("a",), ("b",)))
    graph = StepGraph(steps, (Storage("a", 1), Storage("b", 1)))
    with pytest.raises(ValueError, match="step graph"):
        memory_problem(graph, order)
