"""Loading ahead: constants where the maps leave room, for as long as they are needed."""

import dataclasses
import random

from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.prefetch import Occupied, load_ahead
from lepton_cc.codegen.npu.tasks import Blob
from tests.codegen.npu.random_streams import machine_of
from tests.codegen.npu.run_segment import assert_runs_as_interpreted
from tests.codegen.npu.small_networks import Network

_BLOCK = 64
_MACHINE = machine_of(64)


def rectangles(seed: int) -> tuple[list[Occupied], dict[Blob, tuple[int, int]]]:
    """Maps that do not overlap, and constants with their uses in order."""
    rng = random.Random(seed)
    maps = [
        Occupied(_BLOCK * column, _BLOCK * (column + rng.randint(1, 2)), first, first + 3)
        for column in range(0, 8, 2)
        for first in range(rng.randint(0, 4), 60, rng.randint(5, 9))
    ]
    uses = {}
    for first in sorted(rng.randint(0, 60) for _ in range(30)):
        uses[Blob(bytes(16 * rng.randint(1, 5)))] = (first, first + rng.randint(0, 2))
    return maps, uses


def test_nothing_shares_bytes_and_loads_are_in_order() -> None:
    member = dataclasses.replace(_MACHINE.member, spm_bytes=10 * _BLOCK, wbuf_bytes=32)
    machine = dataclasses.replace(_MACHINE, member=member)
    placed = 0
    for seed in range(60):
        maps, uses = rectangles(seed)
        loads = load_ahead(machine, uses, maps)
        if loads is None:
            continue
        assert [load.blob for load in loads] == list(uses)
        placed += len(loads)
        taken = list(maps)
        for load in loads:
            first, last = uses[load.blob]
            assert load.before <= first == load.first_use
            low, size = load.address.offset, len(load.blob.content)
            if load.address.region is Region.WBUF:
                assert low + size <= 32
                continue
            assert low + size <= 10 * _BLOCK
            for other in taken:
                apart = other.high <= low or low + size <= other.low
                assert apart or other.last < load.before or last < other.first
            taken.append(Occupied(low, low + size, load.before, last))
    assert placed > 500


def test_the_room_of_maps_that_are_done_with_is_used() -> None:
    """Room above the largest map is free throughout; below it only once the map is consumed."""
    blobs = [Blob(bytes(_BLOCK)) for _ in range(3)]
    uses = {blob: (4 + i, 4 + i) for i, blob in enumerate(blobs)}
    member = dataclasses.replace(_MACHINE.member, spm_bytes=3 * _BLOCK, wbuf_bytes=16)
    machine = dataclasses.replace(_MACHINE, member=member)
    loads = load_ahead(machine, uses, [Occupied(0, 2 * _BLOCK, 0, 1)])
    assert loads is not None
    assert [(load.address.offset, load.before) for load in loads] == [
        (2 * _BLOCK, 0),
        (0, 2),
        (_BLOCK, 2),
    ]


def test_late_weights_are_loaded_while_early_layers_run() -> None:
    """The first layers compute for long, the last one waits for weights unless they are there."""
    net = Network()
    x = net.conv(net.conv(net.input(1, 32, 32, 16), 32), 16)
    y = net.conv(net.conv(net.max_pool(x, 8), 256), 64)
    segment = assert_runs_as_interpreted(net.finish(y), machine_of(64))
    assert segment.places.spare_bytes > 0 or any(
        load.address.region is Region.SPM for load in segment.places.loads
    )
    transfers = sum(len(load.blob.content) for load in segment.places.loads)
    busy = sum(term.total for term in segment.timeline.terms if term.setup)
    assert segment.timeline.cycles < busy + transfers // 2
