"""Cascades and spills: every row once, rings that hold what is needed, the same bytes in less."""

from collections.abc import Sequence

import pytest

from lepton_cc.codegen.npu.cascade import (
    Cascade,
    Surroundings,
    candidates,
    chained_input,
    plan_cascade,
    read_rows,
)
from lepton_cc.codegen.npu.choose_cascades import choose_shapes
from lepton_cc.codegen.npu.coding import SliceStore
from lepton_cc.codegen.npu.isa.family import member
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import Counter
from lepton_cc.codegen.npu.layers import Layer, map_shape
from lepton_cc.codegen.npu.machine import native
from lepton_cc.codegen.npu.order import chained_order
from lepton_cc.codegen.npu.schedule import Border, TileMaker
from lepton_cc.codegen.npu.select import select
from lepton_cc.codegen.npu.spill import SPILL_REGION, spill, spillable
from lepton_cc.codegen.npu.systems.loader import load_system
from lepton_cc.ir.graph import Value
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network


def chain_of(seed: int) -> tuple[Network, Value, tuple[Layer, ...]]:
    """Layers that read each other's result by rows, of random windows."""
    net = Network(seed)
    x = value = net.input(1, int(net.rng.integers(9, 30)), 6, 4)
    for _ in range(net.rng.integers(2, 5)):
        kind, height = net.rng.integers(0, 5), value.type.dims[1]
        if kind == 0:
            value = net.table(value)
        elif kind == 1 and height > 2:
            value = net.max_pool(value, 3, int(net.rng.integers(1, 3)), 1)
        elif kind == 2 and height < 30:
            value = net.conv_transpose(value, 4)
        else:
            size, stride, dilation = (int(n) for n in net.rng.integers(1, 4, 3))
            value = net.conv(value, 4, (size, size), stride=stride, dilation=dilation)
    return net, x, select(net.finish(value)).layers


def assert_rings_hold(chain: Sequence[Layer], cascade: Cascade) -> None:
    """Runs a plan with sets of rows instead of memory."""
    plan = plan_cascade(chain, cascade)
    source = chained_input(chain[0])
    newest: dict[Value, int] = {value: 0 for value in (source, *(x.result for x in chain))}
    if source not in cascade.streamed:
        newest[source] = map_shape(source.type).height
    for stripe in plan.stripes:
        for value, rows in stripe.loaded:
            assert rows.first == newest[value]
            newest[value] = rows.end
        for layer, made in zip(chain, stripe.computed, strict=True):
            if made is None:
                continue
            assert made.first == newest[layer.result], "each row once, in order"
            read = read_rows(layer, made)
            available = newest[layer.inputs[0]]
            ring = plan.ring_rows.get(layer.inputs[0], available)
            assert available - ring <= read.first
            assert read.end <= available
            assert made.count <= plan.ring_rows.get(layer.result, made.count)
            newest[layer.result] = made.end
    assert newest[chain[-1].result] == chain[-1].shape.height


@pytest.mark.parametrize("batch", range(4))
def test_stripes_compute_each_row_once(batch: int) -> None:
    for seed in range(50 * batch, 50 * batch + 50):
        _, x, chain = chain_of(seed)
        for rows in (1, 2, 4):
            for streamed in (frozenset[Value](), frozenset({x})):
                last = len(chain) - 1
                cascade = Cascade(0, last, rows, streamed, stores=seed % 2 == 0)
                assert_rings_hold(chain, cascade)


def test_a_ring_of_a_three_by_three_window() -> None:
    net = Network()
    x = net.input(1, 16, 8, 4)
    first = net.conv(x, 4)
    second = net.conv(first, 4)
    chain = select(net.finish(second)).layers
    plan = plan_cascade(chain, Cascade(0, 1, 2, frozenset({x}), stores=True))
    assert plan.ring_rows == {first: 4, x: 8, second: 4}
    assert [rows and (rows.first, rows.end) for rows in plan.stripes[0].computed] == [
        (0, 3),
        (0, 2),
    ]


def test_a_window_that_skips_rows() -> None:
    """Three rows are new for each row of the result, though the window has two."""
    net = Network()
    first = net.conv(net.input(1, 16, 8, 4), 4)
    second = net.conv(first, 4, (2, 2), stride=3)
    chain = select(net.finish(second)).layers
    plan = plan_cascade(chain, Cascade(0, 1, 1, frozenset(), stores=False))
    assert plan.ring_rows[first] == 3


def everything(layers: Sequence[Layer], *inputs: Value) -> Surroundings:
    values = frozenset((*inputs, *(layer.result for layer in layers)))
    return Surroundings(frozenset(), frozenset(inputs), values, frozenset())


def test_candidates_stay_inside_a_chain() -> None:
    net = Network()
    x = net.input(1, 16, 8, 4)
    y = net.conv(net.conv(x, 4), 4)
    z = net.add(net.conv(y, 4), y)  # read twice, so that it must exist whole
    layers = select(net.finish(z)).layers
    found = {(c.first, c.last) for c in candidates(layers, everything(layers, x), 0)}
    assert found == {(0, 0), (0, 1)}


@pytest.mark.parametrize("kind", ["move", "matmul"])
def test_only_layers_with_rows_stream(kind: str) -> None:
    net = Network()
    x, other = net.input(1, 16, 16), net.input(1, 16, 16)
    y = net.transpose(x, 0, 2, 1) if kind == "move" else net.product(x, other)
    layers = select(net.finish(net.table(y))).layers
    assert not list(candidates(layers, everything(layers, x, other), 0))
    assert list(candidates(layers[1:], everything(layers[1:], y), 0))


@pytest.mark.parametrize("dims", [(1, 1, 1, 48), (1, 1, 24, 48), (1, 24, 1, 48), (1, 24, 24, 1)])
@pytest.mark.parametrize("kib", [2, 8, 16])
def test_a_factor_that_repeats_in_a_cascade(dims: tuple[int, ...], kib: int) -> None:
    """One row that stands for all of them is not loaded by rows."""
    net = Network()
    x, factor = net.input(1, 24, 24, 4), net.input(*dims)
    body = net.finish(net.conv(net.mul(net.conv(x, 48), factor), 4))
    segment = assert_runs_as_interpreted(body, machine_of(128).with_spm(kib * 1024))
    assert segment.shape.cascades


@pytest.mark.parametrize("kib", [4, 8, 12, 20, 32])
def test_less_scratchpad_gives_the_same_bytes(kib: int) -> None:
    net = Network()
    x = net.input(1, 32, 32, 3)
    y = net.max_pool(net.conv(net.depthwise(net.conv(x, 16)), 24, (1, 1)))
    z = net.add(net.conv(net.conv(y, 24), 24), y)
    body = net.finish(net.conv(net.concat(3, z, y), 8, stride=2))
    segment = assert_runs_as_interpreted(body, machine_of(256).with_spm(kib * 1024))
    assert bool(segment.shape.cascades) == (kib < 32)


def two_readers() -> tuple[Network, Value, Value, tuple[Layer, ...]]:
    net = Network()
    x = net.input(1, 24, 24, 8)
    y = net.conv(x, 16)
    z = net.add(net.conv(y, 16), net.max_pool(y, 3, 1, 1))
    return net, x, y, select(net.finish(z)).layers


def test_each_reader_of_a_spilled_value_has_a_name() -> None:
    _, x, y, layers = two_readers()
    source = Address(Region.INPUT0, 0)
    spilled = spill(layers, frozenset({x, y}), {x: source})
    names = {value.name for value in spilled.inputs}
    assert names == {f"{x.name}.at0", f"{y.name}.at1", f"{y.name}.at2"}
    assert spilled.outputs == {y: Address(SPILL_REGION, 0)}
    assert spilled.num_bytes == 24 * 24 * 16
    places = {address for value, address in spilled.inputs.items() if value.type == y.type}
    assert places == {Address(SPILL_REGION, 0)}


def test_spilled_values_share_memory_when_they_may() -> None:
    net = Network()
    values = [net.input(1, 16, 16, 4)]
    for _ in range(4):
        values.append(net.conv(values[-1], 4))
    layers = select(net.finish(values[-1])).layers
    spilled = spill(layers, frozenset(values[1:-1]), {})
    assert spilled.num_bytes == 2 * 16 * 16 * 4


def test_what_cannot_be_spilled() -> None:
    net = Network()
    x, row = net.input(1, 24, 24, 8), net.input(1, 1, 24, 8)
    y = net.table(x)
    turned = net.transpose(y, 0, 2, 1, 3)
    square = net.mul(net.conv(turned, 8), row)
    graph = net.finish(net.mul(square, square))
    layers = select(graph).layers
    values = frozenset((x, row, *(layer.result for layer in layers)))
    found = spillable(layers, graph.inputs, values)
    assert not {y, turned, row, square} & found
    assert x in found


def test_an_order_that_keeps_chains_together() -> None:
    net = Network()
    x = net.input(1, 8, 8, 4)
    trunk = net.conv(x, 4)
    side = net.conv(x, 4)
    behind = net.conv(trunk, 4)
    graph = net.finish(net.mul(behind, side))
    ordered = [layer.result for layer in chained_order(select(graph).layers)]
    assert ordered == [side, trunk, behind, graph.outputs[0]]


def test_an_order_is_topological_and_complete() -> None:
    for seed in range(20):
        _, _, layers = chain_of(seed)
        ordered = chained_order(layers[::-1])
        assert set(ordered) == set(layers)
        made: set[Value] = set()
        produced = {layer.result for layer in layers}
        for layer in ordered:
            assert all(value in made for value in layer.inputs if value in produced)
            made.add(layer.result)


def test_weights_that_find_room_stay_for_all_stripes() -> None:
    """The weight buffer is too small for them, and maps leave room in the scratchpad."""
    net = Network()
    graph = net.finish(net.conv(net.input(1, 48, 48, 16), 64, stride=4))
    segment = assert_runs_as_interpreted(graph, machine_of(64).with_spm(32 * 1024))
    (cascade,) = segment.shape.cascades
    assert cascade.stages
    once = sum(len(content) for content in {load.blob.content for load in segment.places.loads})
    assert segment.timeline.counters[Counter.CONSTANT_BYTES] == once > 8 * 1024


def test_what_finds_room_after_all_is_not_spilled() -> None:
    """Spilling goes by size, and so takes more than it must; what is superfluous comes back."""
    net = Network()
    x = net.input(1, 24, 24, 8)
    large = net.conv(x, 16)
    small = net.conv(net.max_pool(net.add(net.conv(large, 16), large), 3, 2, 1), 96)
    y = net.conv(net.add(net.conv(net.conv(small, 96), 96), small), 8)
    layers = select(net.finish(y)).layers
    border = Border({x: Address(Region.INPUT0, 0)}, {y: Address(Region.OUTPUT0, 0)})
    machine = machine_of(64)
    maker = TileMaker(machine, SliceStore(machine))
    fewer, more = choose_shapes(machine, layers, border, maker, 16000)
    assert max(fewer.peak_bytes, more.peak_bytes) <= 16000
    names = [{value.name for value in (*s.border.inputs, *s.border.outputs)} for s in (fewer, more)]
    assert names[0] < names[1]


def test_a_layer_that_streams_takes_as_many_rows_as_find_room() -> None:
    """Each stripe loads the weights again; the peak is in other layers."""
    net = Network()
    x = net.input(1, 32, 32, 32)
    total = net.add(net.conv(net.conv(x, 16), 32), x)
    graph = net.finish(net.conv(net.conv(total, 16), 16, stride=2))
    machine = native(64, load_system("u55-sram", member(64))).with_spm(40 * 1024)
    segment = assert_runs_as_interpreted(graph, machine)
    first = segment.shape.cascades[0]
    assert (first.first, first.last) == (0, 0)
    assert first.rows > 4
