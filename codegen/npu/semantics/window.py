"""CONV, DEPTHWISE, SEPARABLE, POOL: a row of results from the rows of input under the window."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import Encoding, Epilogue, Opcode, Pool
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.semantics.arithmetic import (
    Accumulators,
    Elements,
    Reals,
    add,
    look_up,
    requantize,
    wrap,
)
from lepton_cc.codegen.npu.semantics.legality import is_normal
from lepton_cc.codegen.npu.semantics.memory import (
    TABLE_BYTES,
    FeatureMap,
    Memories,
    Memory,
    maps_of,
)
from lepton_cc.codegen.npu.semantics.packet import EngineFault, HeldPacket
from lepton_cc.codegen.npu.weights.errors import WeightStreamError
from lepton_cc.codegen.npu.weights.slices import CHANNEL_BYTES, DecodedSlice, decode_slice

Wide = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
_WEIGHTS_PER_LANE = 8
_WEIGHTS_PER_BYTE = 8  # of SPM: the limit of a slice


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a window: which input element each tap of each output reads."""

    size: int
    kernel: int
    stride: int
    dilation: int
    upsample: int
    pad: int

    def source(self, position: int, tap: int) -> int | None:
        """The input element under a tap of output `position`; None: it counts as padding."""
        virtual = position * self.stride + tap * self.dilation - self.pad
        inside = virtual % self.upsample == 0 and 0 <= virtual // self.upsample < self.size
        return virtual // self.upsample if inside else None

    def sources(self, count: int, tap: int) -> tuple[Wide, Booleans]:
        """The same of outputs 0 to count; (elements, which are not padding)."""
        virtual = np.arange(count, dtype=np.int64) * self.stride + tap * self.dilation - self.pad
        element = virtual // self.upsample
        inside = (virtual % self.upsample == 0) & (element >= 0) & (element < self.size)
        return np.where(inside, element, 0), inside


def _axis(packet: HeldPacket, side: str, letter: str, pad: str) -> Axis:
    get = packet.integer
    spread = packet.has("dilation_y")
    return Axis(
        get(f"ifm_{side}"),
        get(f"kernel_{side}"),
        get(f"stride_{letter}"),
        get(f"dilation_{letter}") if spread else 1,
        get(f"upsample_{letter}") if spread else 1,
        get(pad),
    )


@dataclass(frozen=True, slots=True)
class Window:
    """The taps over an input map."""

    rows: Axis
    columns: Axis
    ifm: FeatureMap

    @staticmethod
    def of(packet: HeldPacket) -> "Window":
        """The window of a packet."""
        return Window(
            _axis(packet, "height", "y", "pad_top"),
            _axis(packet, "width", "x", "pad_left"),
            maps_of(packet)["ifm"],
        )

    def patches(self, spm: Memory, y: int, width: int, zero_point: int) -> tuple[Wide, Booleans]:
        """Of output row y: elements less the zero point `[width, taps, C]`, and `[width, taps]`.

        The second array says which taps lie inside the input; what does not is 0.
        """
        taps = self.rows.kernel * self.columns.kernel
        values = np.zeros((width, taps, self.ifm.channels), np.int64)
        inside = np.zeros((width, taps), np.bool_)
        for ky in range(self.rows.kernel):
            source = self.rows.source(y, ky)
            if source is None:
                continue
            row = self.ifm.load(spm, source).astype(np.int64) - zero_point
            for kx in range(self.columns.kernel):
                columns, valid = self.columns.sources(width, kx)
                tap = ky * self.columns.kernel + kx
                values[:, tap] = np.where(valid[:, None], row[columns], 0)
                inside[:, tap] = valid
        return values, inside


def read_slice(
    packet: HeldPacket, prefix: str, shape: tuple[int, ...], machine: Machine, memories: Memories
) -> DecodedSlice:
    """The slice whose fields start with `prefix` ("" or "stage_").

    Raises:
        EngineFault: it is too short, holds a bad scale, or does not decode.
    """
    name = f"{prefix}weights_address"
    word, address = packet.word_of(name), packet.raw(name)
    size = packet.integer(f"{prefix}weights_bytes")
    content = memories.take(packet, name, size)
    table_bytes = CHANNEL_BYTES * shape[-1]
    if size < table_bytes:
        raise EngineFault(Fault.WEIGHT_STREAM, word, address)
    scales = np.frombuffer(content[:table_bytes], "<f4")[::2]
    if not all(is_normal(scale) and scale > 0 for scale in scales.tolist()):
        raise EngineFault(Fault.BAD_SCALE, word, address)
    mode = packet.integer(f"{prefix}mode")
    member = machine.member
    tile = member.modes[mode].outputs if len(shape) == 4 else member.depthwise_modes[mode].channels
    groups = packet.integer("groups") if len(shape) == 4 else 1
    if math.prod(shape) > _WEIGHTS_PER_BYTE * member.spm_bytes:
        raise EngineFault(Fault.WEIGHT_STREAM, word, address)
    encoding = Encoding(packet.integer(f"{prefix}encoding"))
    lanes = member.decoder_weights // _WEIGHTS_PER_LANE
    try:
        return decode_slice(content, encoding, shape, tile=tile, groups=groups, lanes=lanes)
    except WeightStreamError as error:
        raise EngineFault(Fault.WEIGHT_STREAM, word, address) from error


@dataclass(frozen=True, slots=True)
class _Convolution:
    """What computes a row of q: the window, then a depthwise stage, a dense one, or both."""

    packet: HeldPacket
    window: Window
    width: int
    depthwise: DecodedSlice | None
    dense: DecodedSlice | None

    def row(self, spm: Memory, y: int) -> Elements:
        """Row y of q, `[width, ofm_channels]`, before the epilogue."""
        get = self.packet.integer
        values, _ = self.window.patches(spm, y, self.width, get("ifm_zero_point"))
        last = ("clamp_low", "clamp_high", "ofm_zero_point")
        if self.depthwise is not None:
            stage = ("stage_low", "stage_high", "stage_zero_point")
            weights = self.depthwise.weights.astype(np.int64)
            sums = (values * weights.reshape(1, *values.shape[1:])).sum(axis=1)
            q = self._scaled(sums, self.depthwise, last if self.dense is None else stage)
            if self.dense is None:
                return q
            values = q.astype(np.int64)[:, None, :] - get("stage_zero_point")
        assert self.dense is not None
        return self._scaled(_contract(values, self.dense.weights, get("groups")), self.dense, last)

    def _scaled(self, sums: Wide, slice_: DecodedSlice, names: tuple[str, str, str]) -> Elements:
        get = self.packet.integer
        low, high, zero_point = (get(name) for name in names)
        acc: Accumulators = wrap(sums + slice_.biases.astype(np.int64))
        scales: Reals = slice_.scales
        return requantize(acc, scales, low, high, zero_point)


def _contract(values: Wide, weights: Elements, groups: int) -> Wide:
    """Sums over taps and the channels of a group: `[width, taps, C]` to `[width, O]`."""
    width, taps, channels = values.shape
    depth, outputs = taps * channels // groups, weights.shape[3]
    by_group = values.reshape(width, taps, groups, -1).transpose(2, 0, 1, 3)
    lhs = by_group.reshape(groups, width, depth).astype(np.float64)
    rhs = weights.reshape(depth, groups, outputs // groups).transpose(1, 0, 2)
    # Below 2^53, where binary64 is exact.
    sums: Wide = np.matmul(lhs, rhs.astype(np.float64)).astype(np.int64)
    return sums.transpose(1, 0, 2).reshape(width, outputs)


def _slices(
    packet: HeldPacket, machine: Machine, memories: Memories
) -> tuple[DecodedSlice | None, DecodedSlice | None]:
    """(depthwise, dense) slices of a packet."""
    get = packet.integer
    taps = (get("kernel_height"), get("kernel_width"))
    channels, outputs = get("ifm_channels"), get("ofm_channels")
    if packet.opcode is Opcode.DEPTHWISE:
        return read_slice(packet, "", (*taps, channels), machine, memories), None
    if packet.opcode is Opcode.CONV:
        shape = (*taps, channels // get("groups"), outputs)
        return None, read_slice(packet, "", shape, machine, memories)
    dense = read_slice(packet, "", (1, 1, channels, outputs), machine, memories)
    return read_slice(packet, "stage_", (*taps, channels), machine, memories), dense


def read_table(packet: HeldPacket, memories: Memories) -> bytes | None:
    """The table of a packet whose epilogue has one."""
    if packet.integer("epilogue") & Epilogue.TABLE:
        return memories.take(packet, "table_address", TABLE_BYTES)
    return None


def run_convolution(packet: HeldPacket, machine: Machine, memories: Memories, spm: Memory) -> None:
    """Execute CONV, DEPTHWISE or SEPARABLE."""
    flags = packet.integer("epilogue")
    pooled = bool(flags & Epilogue.POOL2X2)
    depthwise, dense = _slices(packet, machine, memories)
    table = read_table(packet, memories)
    maps = maps_of(packet)
    ofm = maps["ofm"]
    width = ofm.width * (2 if pooled else 1)
    convolution = _Convolution(packet, Window.of(packet), width, depthwise, dense)
    for y in range(ofm.height):
        if pooled:
            pair = [look_up(table, convolution.row(spm, row)) for row in (2 * y, 2 * y + 1)]
            quads = np.maximum(*pair).reshape(ofm.width, 2, ofm.channels)
            row: Elements = quads.max(axis=1)
        else:
            row = convolution.row(spm, y)
            if flags & Epilogue.RESIDUAL:
                row = _add_residual(packet, row, maps["residual"].load(spm, y))
            row = look_up(table, row)
        ofm.store(spm, y, row)


def _add_residual(packet: HeldPacket, q: Elements, residual: Elements) -> Elements:
    ours = (q, packet.binary32("result_scale"))
    other = (residual, packet.binary32("residual_scale"))
    first = packet.integer("epilogue") & Epilogue.RESIDUAL_FIRST
    lhs, rhs = (other, ours) if first else (ours, other)
    low, high = packet.integer("add_low"), packet.integer("add_high")
    return add(lhs, rhs, packet.binary32("add_offset"), low, high)


def run_pool(packet: HeldPacket, memories: Memories, spm: Memory) -> None:
    """Execute POOL."""
    get = packet.integer
    table = read_table(packet, memories)
    ofm, window = maps_of(packet)["ofm"], Window.of(packet)
    low, high = get("clamp_low"), get("clamp_high")
    for y in range(ofm.height):
        values, inside = window.patches(spm, y, ofm.width, 0)
        if get("kind") == Pool.MAX:
            greatest = np.where(inside[:, :, None], values, -128).max(axis=1)
            row: Elements = np.clip(greatest, low, high).astype(np.int8)
        else:
            acc = wrap(values.sum(axis=1) - get("sum_zero_point"))
            scale = np.asarray(packet.binary32("scale"), np.float32)
            row = requantize(acc, scale, low, high, get("ofm_zero_point"))
        ofm.store(spm, y, look_up(table, row))
