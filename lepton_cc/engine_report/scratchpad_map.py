"""The scratchpad over time, from the stream alone: who owns which bytes, from when to when.

Bytes belong to whom wrote them last: a layer's result, what was loaded for a layer, constants
staged for it. They are alive until the last read before they are overwritten.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.isa.assemble import Packet
from lepton_cc.codegen.npu.isa.packets import Opcode
from lepton_cc.codegen.npu.isa.regions import Region
from lepton_cc.codegen.npu.touched import Touched, touched_bytes
from lepton_cc.engine_report.document import BufferFigures, BufferKind
from lepton_cc.engine_report.layer_figures import Stream

_NOBODY = -1
_MAX_SLICES = 64  # more intervals than these are gathered at once
Owners = npt.NDArray[np.int32]


@dataclass(slots=True)
class _Piece:
    """Bytes of one kind and layer while they are written and read."""

    kind: BufferKind
    layer: int
    low: int
    high: int
    begin: int
    end: int


class _Map:
    """Owner of each byte: the number of a piece."""

    def __init__(self, spm_bytes: int) -> None:
        self.pieces: list[_Piece] = []
        self._owners: Owners = np.full(spm_bytes, _NOBODY, np.int32)
        self._current: dict[tuple[BufferKind, int], int] = {}

    def read(self, touched: Touched, completion: int) -> None:
        for part in _parts(touched, self._owners):
            # One of each run of equal owners: sorting all bytes would take far longer.
            firsts = np.flatnonzero(np.diff(part, prepend=-2))
            for owner in set(part[firsts].tolist()) - {_NOBODY}:
                piece = self.pieces[owner]
                piece.end = max(piece.end, completion)

    def write(
        self, touched: Touched, key: tuple[BufferKind, int], begin: int, completion: int
    ) -> None:
        number = self._piece(key, touched, begin)
        piece = self.pieces[number]
        piece.low, piece.high = min(piece.low, touched.low), max(piece.high, touched.high)
        piece.end = max(piece.end, completion)
        if touched.starts.size <= _MAX_SLICES:
            for part in _parts(touched, self._owners):
                part[:] = number
        else:
            self._owners[_positions(touched)] = number

    def _piece(self, key: tuple[BufferKind, int], touched: Touched, begin: int) -> int:
        """The piece that a write goes on with, or a new one.

        Constants are one slice after the other, each a piece of its own; a layer may load several
        maps, which do not meet.
        """
        if key in self._current and key[0] is not BufferKind.CONSTANTS:
            piece = self.pieces[self._current[key]]
            meets = touched.low <= piece.high and piece.low <= touched.high
            if key[0] is BufferKind.RESULT or meets:
                return self._current[key]
        self._current[key] = len(self.pieces)
        self.pieces.append(_Piece(*key, touched.low, touched.high, begin, begin))
        return self._current[key]


def _parts(touched: Touched, owners: Owners) -> Iterator[Owners]:
    if touched.starts.size > _MAX_SLICES:
        yield owners[_positions(touched)]
        return
    for start in touched.starts:
        yield owners[start : start + touched.size]


def _positions(touched: Touched) -> npt.NDArray[np.int64]:
    """All bytes of all intervals."""
    return (touched.starts[:, None] + np.arange(touched.size, dtype=np.int64)).reshape(-1)


def scratchpad_map(stream: Stream, spm_bytes: int) -> tuple[BufferFigures, ...]:
    """Pieces of the scratchpad in the order of their first write; `name` is left empty."""
    map_ = _Map(spm_bytes)
    order = sorted(range(len(stream.packets)), key=lambda i: (stream.begins[i], i))
    for i in order:
        packet = stream.packets[i]
        touched = [t for t in touched_bytes(packet) if t.region is Region.SPM]
        for one in touched:
            if not one.writes:
                map_.read(one, stream.completions[i])
        key = (_kind(packet), stream.served[i])
        for one in touched:
            if one.writes:
                for part in _pixels(packet, one):
                    map_.write(part, key, stream.begins[i], stream.completions[i])
    return tuple(
        BufferFigures(p.kind, "", p.layer, p.low, p.high - p.low, p.begin, p.end)
        for p in map_.pieces
    )


def _kind(packet: Packet) -> BufferKind:
    if packet.opcode is not Opcode.DMA or packet.layer or packet.integer("fill"):
        return BufferKind.RESULT
    source = packet.address("source").region
    return BufferKind.CONSTANTS if source is Region.CONSTANTS else BufferKind.LOADED


def _pixels(packet: Packet, touched: Touched) -> Iterator[Touched]:
    """A result whose pixels are apart (an operand of a concat) pixel by pixel: others own the rest.

    Rows of such results lie apart or continue each other, so the row stride tells them.
    """
    get = packet.integer
    width, channels, pixel = get("ofm_width"), get("ofm_channels"), get("ofm_pixel_stride")
    if touched.what != "ofm" or not width or pixel <= channels:
        yield touched
        return
    rows = np.arange(get("ofm_height"), dtype=np.int64)
    if ring := get("ofm_ring_rows"):
        rows = (rows + get("ofm_ring_start")) % ring
    starts = rows[:, None] * get("ofm_row_stride") + np.arange(width, dtype=np.int64) * pixel
    address = packet.address("ofm_address").offset
    yield Touched(
        touched.what, touched.region, np.sort(starts.reshape(-1)) + address, channels, writes=True
    )
