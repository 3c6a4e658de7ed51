"""Gathers by constant indices: their loops, and the packets that copy by them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_cc.codegen.npu.index_nests import IndexNest, index_nests
from lepton_cc.codegen.npu.isa.family import FAMILY
from lepton_cc.codegen.npu.machine import native
from lepton_cc.codegen.npu.systems.loader import load_system
from lepton_cc.ir.graph import Value
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network

MACHINE = native(FAMILY[2].macs, load_system("embedded", FAMILY[2]))


def expanded(nests: tuple[IndexNest, ...]) -> dict[int, int]:
    """Which index stands where."""
    return {
        nest.position + i * nest.inner_count + j: nest.first
        + i * nest.outer_step
        + j * nest.inner_step
        for nest in nests
        for i in range(nest.outer_count)
        for j in range(nest.inner_count)
    }


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_nests_are_the_indices(indices: list[int]) -> None:
    assert expanded(index_nests(indices)) == dict(enumerate(indices))


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 3))
def test_a_nearest_resize_is_one_nest(size: int, times: int, down: int) -> None:
    up = [i // times for i in range(size * times)]
    for indices in (up, list(range(0, size, down)), up[::-1]):
        assert len(index_nests(indices)) == 1


def _doubled(net: Network, x: Value, times: int = 2) -> Value:
    for axis in (1, 2):
        x = net.gather(x, axis, *(i // times for i in range(x.type.dims[axis] * times)))
    return x


def _rows_into_concat(net: Network, x: Value) -> Value:
    return net.concat(3, net.conv(x, 4), net.gather(x, 1, 4, 3, 0, 0, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda net, x: net.conv(_doubled(net, x), 3),
        lambda net, x: net.conv(_doubled(net, x, 3), 3),
        lambda net, x: net.conv(net.gather(x, 3, 5, 0, -1, 2, 2), 3),
        lambda net, x: net.conv(_rows_into_concat(net, x), 3),
    ],
)
def test_gathers_run_as_interpreted(make: Callable[[Network, Value], Value]) -> None:
    net = Network()
    x = net.conv(net.input(1, 5, 7, 6), 6)
    assert_runs_as_interpreted(net.finish(make(net, x)), MACHINE)
