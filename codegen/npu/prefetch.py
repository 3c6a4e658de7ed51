"""Loading ahead: constants in whatever the maps leave free of the scratchpad at the time.

A map takes a rectangle of time and addresses, and so does a constant from its load to its last
reader. In the order of their use constants get the place whose load may begin first, in the weight
buffer or in the scratchpad.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.npu.constant_ring import BlobLoad, ConstantRing, aligned
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.tasks import Blob


@dataclass(frozen=True, slots=True)
class Occupied:
    """Bytes [low, high) of the scratchpad, taken from task `first` to task `last`."""

    low: int
    high: int
    first: int
    last: int


def load_ahead(
    machine: Machine, uses: Mapping[Blob, tuple[int, int]], maps: Sequence[Occupied]
) -> list[BlobLoad] | None:
    """Loads of all constants, in the order of their use; None if one of them finds no place.

    `uses`: first and last task that reads each, in the order of the first.
    """
    wbuf = ConstantRing(Address(Region.WBUF, 0), machine.member.wbuf_bytes)
    free = _Free(maps, machine.member.spm_bytes)
    loads: list[BlobLoad] = []
    floor = 0  # loads are in order: none begins before the one in front of it
    for blob, (first, last) in uses.items():
        in_wbuf = wbuf.earliest(blob, first)
        if in_wbuf is not None and in_wbuf <= floor:
            load = wbuf.add(blob, first, last)
        else:
            place = free.earliest(len(blob.content), first, last, floor)
            if place is not None and (in_wbuf is None or place[1] < in_wbuf):
                load = free.add(blob, place, first, last)
            else:
                load = wbuf.add(blob, first, last)
        if load is None:
            return None
        floor = max(floor, load.before)
        loads.append(load)
    return loads


class _Free:
    """The scratchpad: what is taken of it, and when."""

    def __init__(self, maps: Sequence[Occupied], size_bytes: int) -> None:
        self._taken = list(maps)
        self._size = size_bytes

    def earliest(
        self, size_bytes: int, first: int, last: int, floor: int
    ) -> tuple[int, int] | None:
        """The lowest offset at which the load may begin first, and the task that it waits for."""
        # What is done with before `floor` hinders nobody any more.
        self._taken = [taken for taken in self._taken if taken.last >= floor]
        size = aligned(size_bytes)
        rows = [(t.low, aligned(t.high), t.last) for t in self._taken if t.first <= last]
        low, high, end = np.array(rows, np.int64).reshape(-1, 3).T
        offsets = np.unique(np.concatenate(([0], high, low - size)))
        offsets = offsets[(offsets >= 0) & (offsets + size <= self._size)]
        met = (low < offsets[:, None] + size) & (high > offsets[:, None])
        possible = ~(met & (end >= first)).any(axis=1)
        offsets, met = offsets[possible], met[possible]
        if not offsets.size:
            return None
        before = np.where(met, end + 1, floor).max(axis=1, initial=floor)
        best = int(before.argmin())
        return int(offsets[best]), int(before[best])

    def add(self, blob: Blob, place: tuple[int, int], first: int, last: int) -> BlobLoad:
        """The load of a constant to a place that `earliest` found."""
        offset, before = place
        size = aligned(len(blob.content))
        self._taken.append(Occupied(offset, offset + size, before, last))
        return BlobLoad(blob, before, first, Address(Region.SPM, offset))
