"""ELEMENTWISE, TABLE, MATMUL, DMA: packets without a window."""

import itertools

import numpy as np

from lepton_cc.codegen.npu.isa.packets import Elementwise
from lepton_cc.codegen.npu.semantics.arithmetic import (
    Elements,
    add,
    look_up,
    multiply,
    requantize,
    wrap,
)
from lepton_cc.codegen.npu.semantics.memory import TABLE_BYTES, Memories, Memory, maps_of
from lepton_cc.codegen.npu.semantics.packet import HeldPacket
from lepton_cc.codegen.npu.semantics.window import read_table


def run_elementwise(packet: HeldPacket, memories: Memories, spm: Memory) -> None:
    """Execute ELEMENTWISE."""
    table = read_table(packet, memories)
    maps = maps_of(packet)
    for y in range(maps["ofm"].height):
        lhs = maps["lhs"].load(spm, y)
        rhs = np.broadcast_to(maps["rhs"].load(spm, y), lhs.shape)
        maps["ofm"].store(spm, y, look_up(table, _combine(packet, lhs, rhs)))


def _combine(packet: HeldPacket, lhs: Elements, rhs: Elements) -> Elements:
    get, real = packet.integer, packet.binary32
    low, high = get("clamp_low"), get("clamp_high")
    kind = Elementwise(get("kind"))
    if kind is Elementwise.ADD:
        left, right = (lhs, real("lhs_scale")), (rhs, real("rhs_scale"))
        return add(left, right, real("offset"), low, high)
    if kind is Elementwise.MUL:
        left_part = lhs.astype(np.int32) - get("lhs_zero_point")
        product = left_part * (rhs.astype(np.int32) - get("rhs_zero_point"))
        return multiply(product, real("lhs_scale"), real("offset"), low, high)
    chosen = np.maximum(lhs, rhs) if kind is Elementwise.MAX else np.minimum(lhs, rhs)
    return np.clip(chosen, low, high).astype(np.int8)


def run_table(packet: HeldPacket, memories: Memories, spm: Memory) -> None:
    """Execute TABLE."""
    table = memories.take(packet, "table_address", TABLE_BYTES)
    maps = maps_of(packet)
    for y in range(maps["ofm"].height):
        maps["ofm"].store(spm, y, look_up(table, maps["ifm"].load(spm, y)))


def run_matmul(packet: HeldPacket, memories: Memories, spm: Memory) -> None:
    """Execute MATMUL."""
    get = packet.integer
    table = read_table(packet, memories)
    scale = np.asarray(packet.binary32("scale"), np.float32)
    columns, products = np.arange(get("columns")), np.arange(get("depth"))
    rhs_places = (
        products[:, None] * get("rhs_depth_stride") + columns * get("rhs_column_stride")
    ).astype(np.int64)
    bases = {name: packet.offset_of(f"{name}_address") for name in ("lhs", "rhs", "ofm")}
    for batch, row in itertools.product(range(get("batch")), range(get("rows"))):
        at = {name: bases[name] + batch * get(f"{name}_batch_stride") for name in bases}
        lhs = spm[at["lhs"] + row * get("lhs_row_stride") + products].view(np.int8)
        rhs = spm[at["rhs"] + rhs_places].view(np.int8)
        left = lhs.astype(np.int64) - get("lhs_zero_point")
        sums = left @ (rhs.astype(np.int64) - get("rhs_zero_point"))
        clamps = (get("clamp_low"), get("clamp_high"))
        result = requantize(wrap(sums), scale, *clamps, get("ofm_zero_point"))
        start = at["ofm"] + row * get("ofm_row_stride")
        spm[start + columns] = look_up(table, result).view(np.uint8)


def run_dma(packet: HeldPacket, memories: Memories) -> None:
    """Execute DMA: run after run, each read whole before it is written."""
    get = packet.integer
    size = get("run_bytes")
    target = memories.content[packet.region("target")]
    writes = _starts(packet, "target")
    if get("fill"):
        for write in writes:
            target[write : write + size] = get("fill_byte")
        return
    source = memories.content[packet.region("source")]
    for read, write in zip(_starts(packet, "source"), writes, strict=True):
        target[write : write + size] = source[read : read + size].copy()


def _starts(packet: HeldPacket, name: str) -> list[int]:
    """Offset of each run, in order."""
    get = packet.integer
    loops = [
        np.arange(get(f"count{loop}"), dtype=np.int64) * get(f"{name}_stride{loop}")
        for loop in (3, 2, 1)
    ]
    starts = loops[0][:, None, None] + loops[1][:, None] + loops[2]
    found: list[int] = (starts.reshape(-1) + packet.offset_of(name)).tolist()
    return found
