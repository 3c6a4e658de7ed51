"""Layouts: what is a view, what is written in place, what is copied; the bytes are right."""

from collections.abc import Callable

import pytest

from lepton_cc.codegen.npu.layers import MapShape
from lepton_cc.codegen.npu.layout import Layouts, MapLayout, assign_layouts, dense_layout
from lepton_cc.codegen.npu.select import select
from lepton_cc.ir.graph import Value
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network


def layouts_of(net: Network, *outputs: Value) -> Layouts:
    """The layouts of a network that the engine computes as the interpreter does."""
    graph = net.finish(*outputs)
    assert_runs_as_interpreted(graph, machine_of(128))
    return assign_layouts(select(graph).layers, graph.inputs)


def test_a_dense_map() -> None:
    x = Network().input(1, 5, 4, 3)
    layout = dense_layout(x)
    assert layout == MapLayout(x, 0, 12, 3, MapShape(5, 4, 3))
    assert layout.is_dense
    assert layout.buffer_bytes == 60


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_concat_is_written_in_place(axis: int) -> None:
    net = Network()
    x = net.input(1, 5, 4, 3)
    parts = [net.conv(x, 3), net.conv(x, 3), net.table(x)]
    whole = net.concat(axis, *parts)
    layouts = layouts_of(net, net.conv(whole, 4))
    assert not layouts.copied
    step = {1: 5 * 12, 2: 4 * 3, 3: 3}[axis]
    for number, part in enumerate(parts):
        layout = layouts.by_value[part]
        assert (layout.buffer, layout.offset) == (whole, number * step)


def test_an_input_is_loaded_into_a_concat() -> None:
    net = Network()
    x = net.input(1, 5, 4, 3)
    whole = net.concat(3, net.conv(x, 2), x)
    layouts = layouts_of(net, net.conv(whole, 4))
    assert layouts.by_value[x] == MapLayout(whole, 2, 20, 5, MapShape(5, 4, 3))
    assert not layouts.copied


@pytest.mark.parametrize("case", ["twice", "two concats", "view", "view of itself", "batches"])
def test_a_concat_that_copies(case: str) -> None:
    net = Network()
    x = net.input(1, 4, 4, 3)
    y = net.conv(x, 3)
    whole = {
        "twice": lambda: net.concat(3, y, y),
        "two concats": lambda: net.concat(2, net.concat(3, y, x), net.concat(3, y, x)),
        "view": lambda: net.concat(3, net.slice(y, (0, 0, 0, 0), (1, 4, 4, 2)), x),
        "view of itself": lambda: net.concat(1, y, net.reshape(y, 1, 4, 4, 3)),
        "batches": lambda: net.reshape(net.concat(0, y, x), 1, 8, 4, 3),
    }[case]()
    assert layouts_of(net, net.conv(whole, 4)).copied


@pytest.mark.parametrize(
    ("dims", "starts", "sizes", "steps", "expected"),
    [
        # dims, starts, sizes, steps -> offset, row stride, pixel stride, map
        ((1, 6, 5, 4), (0, 2, 1, 1), (1, 3, 4, 2), (1, 1, 1, 1), (45, 20, 4, (3, 4, 2))),
        ((1, 6, 5, 4), (0, 1, 0, 0), (1, 3, 3, 4), (1, 2, 2, 1), (20, 40, 8, (3, 3, 4))),
        ((1, 6, 4), (0, 1, 0), (1, 3, 4), (1, 2, 1), (4, 8, 4, (3, 1, 4))),
        ((3, 6, 4), (1, 2, 0), (2, 3, 3), (1, 1, 1), (32, 24, 4, (2, 3, 3))),
        ((3, 6, 4), (0, 0, 0), (2, 3, 4), (2, 2, 1), (0, 48, 8, (2, 3, 4))),
        # One matrix of several is a sequence, whose rows the columns become.
        ((3, 6, 4), (1, 0, 0), (1, 6, 4), (1, 1, 1), (24, 4, 4, (6, 1, 4))),
        ((3, 6, 4), (1, 1, 1), (1, 2, 3), (1, 3, 1), (29, 12, 3, (2, 1, 3))),
        ((6, 4), (1, 1), (2, 3), (2, 1), (5, 16, 8, (1, 2, 3))),
    ],
)
def test_a_slice_is_a_view(
    dims: tuple[int, ...],
    starts: tuple[int, ...],
    sizes: tuple[int, ...],
    steps: tuple[int, ...],
    expected: tuple[int, int, int, tuple[int, int, int]],
) -> None:
    net = Network()
    x = net.table(net.input(*dims))
    part = net.slice(x, starts, sizes, steps)
    layouts = layouts_of(net, net.table(part))
    offset, row_stride, pixel_stride, shape = expected
    assert layouts.by_value[part] == MapLayout(
        x, offset, row_stride, pixel_stride, MapShape(*shape)
    )
    assert not layouts.copied


@pytest.mark.parametrize(
    ("dims", "starts", "sizes", "steps"),
    [
        ((1, 6, 5, 4), (0, 0, 0, 0), (1, 6, 5, 2), (1, 1, 1, 2)),
        ((2, 6, 5, 4), (0, 1, 0, 0), (2, 3, 5, 4), (1, 1, 1, 1)),
        ((2, 2, 3, 5, 4), (1, 0, 1, 0, 0), (1, 2, 2, 5, 4), (1, 1, 1, 1, 1)),
    ],
)
def test_a_slice_that_copies(
    dims: tuple[int, ...], starts: tuple[int, ...], sizes: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    net = Network()
    part = net.slice(net.table(net.input(*dims)), starts, sizes, steps)
    assert layouts_of(net, net.table(part)).copied == {part}


@pytest.mark.parametrize(
    ("make", "copies"),
    [
        (lambda net, x: net.reshape(x, 1, 120), False),
        (lambda net, x: net.reshape(x, 6, 20), False),
        (lambda net, x: net.transpose(x, 1, 0, 2, 3), False),
        (lambda net, x: net.transpose(x, 0, 2, 1, 3), True),
        (lambda net, x: net.transpose(x, 3, 2, 1, 0), True),
        (lambda net, x: net.pad(x, (0, 1, 2, 3), (0, 3, 2, 1)), True),
        (lambda net, x: net.reshape(net.slice(x, (0, 1, 0, 0), (1, 5, 5, 4)), 5, 20), False),
        (lambda net, x: net.reshape(net.slice(x, (0, 0, 1, 0), (1, 6, 4, 4)), 6, 16), True),
    ],
)
def test_movement(make: Callable[[Network, Value], Value], copies: bool) -> None:
    net = Network()
    y = make(net, net.table(net.input(1, 6, 5, 4)))
    assert (y in layouts_of(net, net.table(y)).copied) == copies


def test_parts_of_batches_lie_behind_each_other() -> None:
    """Sequences, whose rows are elements of the second dimension, as matrices of a batch."""
    net = Network()
    parts = [net.table(net.input(1, 6, 4)) for _ in range(2)]
    whole = net.concat(0, *parts)
    layouts = layouts_of(net, net.table(whole))
    assert layouts.by_value[parts[1]] == MapLayout(whole, 24, 4, 4, MapShape(6, 1, 4))


@pytest.mark.parametrize(
    ("lhs", "rhs"),
    [
        ((5, 4), (4, 3)),
        ((1, 5, 4), (1, 4, 3)),
        ((2, 5, 4), (2, 4, 3)),
        ((2, 3, 5, 4), (2, 3, 4, 3)),
        # One row, one column, one product: maps of one column are no matrix of many rows.
        ((2, 3, 1, 4), (2, 3, 4, 3)),
        ((3, 1, 4), (3, 4, 1)),
        ((3, 5, 1), (3, 1, 6)),
        ((2, 1, 1), (2, 1, 1)),
    ],
)
def test_products_of_matrices(lhs: tuple[int, ...], rhs: tuple[int, ...]) -> None:
    net = Network()
    graph = net.finish(net.product(net.input(*lhs), net.input(*rhs)))
    for macs in (64, 1024):
        assert_runs_as_interpreted(graph, machine_of(macs))
