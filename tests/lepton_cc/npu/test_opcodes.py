"""Each opcode on random data against its formula (docs/lepton-npu.md, section 6) in NumPy."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet
from lepton_cc.codegen.npu.isa.packets import Elementwise, Epilogue, Opcode, Pool
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.npu import Engine
from tests.lepton_cc.npu.engine_streams import (
    convolution,
    copy,
    dense_map,
    engine,
    fill,
    raw_slice,
    spm,
    stream,
    wbuf,
)

I8 = npt.NDArray[np.int8]
OFM, RESIDUAL, TABLE = 4096, 8192, 12288


@pytest.fixture(params=range(6))
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(int(request.param))


def bytes_of(rng: np.random.Generator, *shape: int) -> I8:
    return rng.integers(-128, 128, shape).astype(np.int8)


def rounded(real: npt.NDArray[np.floating], low: int = -128, high: int = 127, zero: int = 0) -> I8:
    clamped = np.clip(np.rint(real.astype(np.float64)) + zero, low, high)
    result: I8 = clamped.astype(np.int8)
    return result


def result_of(device: Engine, packet: Packet, *shape: int, at: int = OFM) -> I8:
    """Runs one packet; what then lies at `at`."""
    run = device.run(stream(packet))
    assert run.fault is None, run.fault
    size = int(np.prod(shape))
    return device.scratchpad[at : at + size].view(np.int8).reshape(shape)


def padded(x: I8, zero: int, pad: int) -> npt.NDArray[np.int32]:
    wide = x.astype(np.int32) - zero
    return np.pad(wide, ((pad, pad), (pad, pad), (0, 0)))


def conv3x3(x: npt.NDArray[np.int32], w: I8, stride: int) -> npt.NDArray[np.int32]:
    """`x` [H, W, C] padded, `w` [3, 3, C, O]."""
    rows, columns = (x.shape[0] - 3) // stride + 1, (x.shape[1] - 3) // stride + 1
    acc = np.zeros((rows, columns, w.shape[3]), np.int32)
    for y in range(rows):
        for z in range(columns):
            window = x[y * stride : y * stride + 3, z * stride : z * stride + 3]
            acc[y, z] = np.tensordot(window, w.astype(np.int32), 3)
    return acc


WINDOW: dict[str, FieldValue] = {
    "kernel_height": 3, "kernel_width": 3, "pad_top": 1, "pad_left": 1
}  # fmt: skip


def test_conv(rng: np.random.Generator) -> None:
    x, w = bytes_of(rng, 7, 6, 5), bytes_of(rng, 3, 3, 5, 8)
    bias = rng.integers(-5000, 5000, 8).astype(np.int32)
    slice_ = raw_slice(w.reshape(-1, 8), 1 / 700, bias)
    device = engine()
    fill(device.scratchpad, x)
    fill(device.weight_buffer, slice_)
    fields = {**WINDOW, "stride_y": 2, "stride_x": 2, "ifm_zero_point": 3, "ofm_zero_point": -9}
    packet = convolution((7, 6, 5), (4, 3, 8), len(slice_), clamp_low=-100, **fields)
    acc = conv3x3(padded(x, 3, 1), w, 2) + bias
    expected = rounded(acc.astype(np.float32) * np.float32(1 / 700), -100, 127, -9)
    assert np.array_equal(result_of(device, packet, 4, 3, 8), expected)


def test_epilogue(rng: np.random.Generator) -> None:
    x, w, r = bytes_of(rng, 2, 4, 6), bytes_of(rng, 6, 8), bytes_of(rng, 2, 4, 8)
    table = bytes_of(rng, 256)
    slice_ = raw_slice(w, 0.01, 7)
    device = engine()
    for content, offset in ((x, 0), (r, RESIDUAL), (table, TABLE)):
        fill(device.scratchpad, content, offset)
    fill(device.weight_buffer, slice_)
    fields: dict[str, FieldValue] = {
        **dense_map("residual", RESIDUAL, 4, 8),
        "result_scale": 0.75, "residual_scale": -1.25, "add_offset": 2.5,
        "add_low": -90, "add_high": 101, "table_address": spm(TABLE),
        "epilogue": int(Epilogue.RESIDUAL | Epilogue.TABLE),
    }  # fmt: skip
    acc = x.astype(np.int32) @ w.astype(np.int32) + 7
    q = rounded(acc.astype(np.float32) * np.float32(0.01))
    # These scales and operands make every step exact.
    q = rounded(q * 0.75 + (r * -1.25 + 2.5), -90, 101)
    packet = convolution((2, 4, 6), (2, 4, 8), len(slice_), **fields)
    assert np.array_equal(result_of(device, packet, 2, 4, 8), table[q.astype(np.int32) + 128])


def test_pooled_epilogue(rng: np.random.Generator) -> None:
    x, w = bytes_of(rng, 4, 6, 3), bytes_of(rng, 3, 8)
    slice_ = raw_slice(w, 0.01, 0)
    device = engine()
    fill(device.scratchpad, x)
    fill(device.weight_buffer, slice_)
    acc = x.astype(np.int32) @ w.astype(np.int32)
    q = rounded(acc.astype(np.float32) * np.float32(0.01))
    greatest = q.reshape(2, 2, 3, 2, 8).max(axis=(1, 3))
    packet = convolution((4, 6, 3), (2, 3, 8), len(slice_), epilogue=int(Epilogue.POOL2X2))
    assert np.array_equal(result_of(device, packet, 2, 3, 8), greatest)


def test_transposed_conv(rng: np.random.Generator) -> None:
    x, w = bytes_of(rng, 3, 3, 2), bytes_of(rng, 3, 3, 2, 4)
    slice_ = raw_slice(w.reshape(-1, 4), 0.002, 0)
    device = engine()
    fill(device.scratchpad, x)
    fill(device.weight_buffer, slice_)
    fields = {**WINDOW, "upsample_y": 2, "upsample_x": 2, "mode": 0}
    spread = np.full((6, 6, 2), 0, np.int32)
    spread[::2, ::2] = x.astype(np.int32)
    acc = conv3x3(np.pad(spread, ((1, 1), (1, 1), (0, 0))), w, 1)
    expected = rounded(acc.astype(np.float32) * np.float32(0.002))
    packet = convolution((3, 3, 2), (6, 6, 4), len(slice_), **fields)
    assert np.array_equal(result_of(device, packet, 6, 6, 4), expected)


def depthwise_sums(x: I8, w: I8, zero: int) -> npt.NDArray[np.int32]:
    wide = padded(x, zero, 1)
    height, width, channels = x.shape
    acc = np.zeros((height, width, channels), np.int32)
    for ky in range(3):
        for kx in range(3):
            acc += wide[ky : ky + height, kx : kx + width] * w[ky, kx].astype(np.int32)
    return acc


def test_depthwise(rng: np.random.Generator) -> None:
    x, w = bytes_of(rng, 4, 5, 4), bytes_of(rng, 3, 3, 4)
    slice_ = raw_slice(w.reshape(9, 4), 0.01, 11)
    device = engine()
    fill(device.scratchpad, x)
    fill(device.weight_buffer, slice_)
    conv = convolution((4, 5, 4), (4, 5, 4), len(slice_), **WINDOW, ifm_zero_point=-128)
    acc = depthwise_sums(x, w, -128) + 11
    expected = rounded(acc.astype(np.float32) * np.float32(0.01))
    assert np.array_equal(
        result_of(device, Packet(Opcode.DEPTHWISE, conv.fields), 4, 5, 4), expected
    )


def test_separable(rng: np.random.Generator) -> None:
    x, w, v = bytes_of(rng, 4, 5, 4), bytes_of(rng, 3, 3, 4), bytes_of(rng, 4, 8)
    stage, dense = raw_slice(w.reshape(9, 4), 0.01, 5), raw_slice(v, 0.02, -3)
    device = engine()
    fill(device.scratchpad, x)
    fill(device.weight_buffer, dense)
    fill(device.weight_buffer, stage, 256)
    fields: dict[str, FieldValue] = {
        "stage_weights_address": wbuf(256), "stage_weights_bytes": len(stage),
        "stage_zero_point": 4, "stage_low": -128, "stage_high": 99,
    }  # fmt: skip
    conv = convolution((4, 5, 4), (4, 5, 8), len(dense), **WINDOW, ifm_zero_point=17)
    middle = rounded(
        (depthwise_sums(x, w, 17) + 5).astype(np.float32) * np.float32(0.01), -128, 99, 4
    )
    acc = (middle.astype(np.int32) - 4) @ v.astype(np.int32) - 3
    expected = rounded(acc.astype(np.float32) * np.float32(0.02))
    packet = Packet(Opcode.SEPARABLE, {**conv.fields, **fields})
    assert np.array_equal(result_of(device, packet, 4, 5, 8), expected)


@pytest.mark.parametrize("column_major", [False, True])
def test_matmul(rng: np.random.Generator, column_major: bool) -> None:
    lhs, rhs = bytes_of(rng, 2, 5, 9), bytes_of(rng, 2, 9, 8)
    device = engine()
    fill(device.scratchpad, lhs)
    fill(device.scratchpad, rhs.transpose(0, 2, 1).copy() if column_major else rhs, RESIDUAL)
    fields: dict[str, FieldValue] = {
        "lhs_address": spm(0), "lhs_row_stride": 9, "lhs_batch_stride": 45,
        "rhs_address": spm(RESIDUAL), "rhs_batch_stride": 72,
        "rhs_depth_stride": 1 if column_major else 8,
        "rhs_column_stride": 9 if column_major else 1,
        "ofm_address": spm(OFM), "ofm_row_stride": 8, "ofm_batch_stride": 40,
        "batch": 2, "rows": 5, "columns": 8, "depth": 9, "scale": 0.003,
        "lhs_zero_point": -20, "rhs_zero_point": 30, "ofm_zero_point": 2,
        "clamp_low": -128, "clamp_high": 127,
    }  # fmt: skip
    acc = (lhs.astype(np.int32) + 20) @ (rhs.astype(np.int32) - 30)
    expected = rounded(acc.astype(np.float32) * np.float32(0.003), zero=2)
    assert np.array_equal(result_of(device, Packet(Opcode.MATMUL, fields), 2, 5, 8), expected)


KINDS: dict[Elementwise, Callable[[I8, I8], I8]] = {
    Elementwise.ADD: lambda a, b: rounded(a * 0.5 + (b * -2.25 + 1.75), -77, 88),
    Elementwise.MUL: lambda a, b: rounded(
        ((a.astype(np.int32) - 5) * (b.astype(np.int32) + 6)).astype(np.float32)
        * np.float32(2.0**-7)
        + np.float32(3),
        -77,
        88,
    ),
    Elementwise.MAX: lambda a, b: np.clip(np.maximum(a, b), -77, 88),
    Elementwise.MIN: lambda a, b: np.clip(np.minimum(a, b), -77, 88),
}
SCALES: dict[Elementwise, dict[str, FieldValue]] = {
    Elementwise.ADD: {"lhs_scale": 0.5, "rhs_scale": -2.25, "offset": 1.75},
    Elementwise.MUL: {"lhs_scale": 2.0**-7, "offset": 3.0},
    Elementwise.MAX: {},
    Elementwise.MIN: {},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("repeats", ["nothing", "rows", "pixels", "channels"])
def test_elementwise(rng: np.random.Generator, kind: Elementwise, repeats: str) -> None:
    shape = {"nothing": (3, 4, 5), "rows": (1, 4, 5), "pixels": (1, 1, 5), "channels": (3, 4, 1)}
    a, b = bytes_of(rng, 3, 4, 5), bytes_of(rng, *shape[repeats])
    device = engine()
    fill(device.scratchpad, a)
    fill(device.scratchpad, b, RESIDUAL)
    rhs = dense_map("rhs", RESIDUAL, 4, b.shape[2])
    if b.shape[0] == 1:
        rhs["rhs_row_stride"] = 0
    if b.shape[1] == 1:
        rhs["rhs_pixel_stride"] = 0
    fields: dict[str, FieldValue] = {
        **dense_map("lhs", 0, 4, 5), **dense_map("ofm", OFM, 4, 5), **rhs, **SCALES[kind],
        "height": 3, "width": 4, "channels": 5, "kind": int(kind),
        "rhs_repeats_channel": int(repeats == "channels"),
        "lhs_zero_point": 5, "rhs_zero_point": -6, "clamp_low": -77, "clamp_high": 88,
    }  # fmt: skip
    expected = KINDS[kind](a, np.broadcast_to(b, a.shape))
    assert np.array_equal(result_of(device, Packet(Opcode.ELEMENTWISE, fields), 3, 4, 5), expected)


@pytest.mark.parametrize("kind", list(Pool))
def test_pool(rng: np.random.Generator, kind: Pool) -> None:
    x = bytes_of(rng, 5, 6, 3)
    device = engine()
    fill(device.scratchpad, x)
    fields: dict[str, FieldValue] = {
        **dense_map("ifm", 0, 6, 3), **dense_map("ofm", OFM, 3, 3),
        **WINDOW, "stride_y": 2, "stride_x": 2,
        "ifm_height": 5, "ifm_width": 6, "ifm_channels": 3,
        "ofm_height": 3, "ofm_width": 3, "ofm_channels": 3,
        "kind": int(kind), "clamp_low": -128, "clamp_high": 100,
    }  # fmt: skip
    if kind is Pool.SUM:
        fields |= {"scale": 0.125, "sum_zero_point": -50, "ofm_zero_point": 6}
    expected = np.zeros((3, 3, 3), np.int8)
    for y in range(3):
        for z in range(3):
            window = x[max(0, 2 * y - 1) : 2 * y + 2, max(0, 2 * z - 1) : 2 * z + 2]
            inside = window.reshape(-1, 3).astype(np.int32)
            if kind is Pool.SUM:
                scaled = (inside.sum(axis=0) + 50).astype(np.float32) * np.float32(0.125)
                expected[y, z] = rounded(scaled, -128, 100, 6)
            else:
                expected[y, z] = np.clip(inside.max(axis=0), -128, 100)
    assert np.array_equal(result_of(device, Packet(Opcode.POOL, fields), 3, 3, 3), expected)


def test_table_in_a_ring(rng: np.random.Generator) -> None:
    x, table = bytes_of(rng, 3, 2, 4), bytes_of(rng, 256)
    device = engine()
    fill(device.scratchpad, x)
    fill(device.weight_buffer, table)
    fields: dict[str, FieldValue] = {
        **dense_map("ifm", 0, 2, 4), **dense_map("ofm", OFM, 2, 4),
        "height": 3, "width": 2, "channels": 4, "table_address": wbuf(0),
        "ofm_ring_rows": 4, "ofm_ring_start": 2,
    }  # fmt: skip
    ring = result_of(device, Packet(Opcode.TABLE, fields), 4, 2, 4)
    looked_up = table[x.astype(np.int32) + 128]
    assert np.array_equal(ring[[2, 3, 0]], looked_up)
    assert not ring[1].any()


def test_each_row_sees_those_stored_before_it() -> None:
    """A result one row below its input: row y is computed from what row y - 1 has become."""
    device = engine()
    fill(device.scratchpad, np.arange(6 * 8, dtype=np.int8))
    fill(device.weight_buffer, (np.arange(-128, 128) + 1).clip(-128, 127).astype(np.int8))
    fields: dict[str, FieldValue] = {
        **dense_map("ifm", 0, 2, 4), **dense_map("ofm", 8, 2, 4),
        "height": 5, "width": 2, "channels": 4, "table_address": wbuf(0),
    }  # fmt: skip
    result = result_of(device, Packet(Opcode.TABLE, fields), 6, 8, at=0)
    assert np.array_equal(result, np.arange(8) + np.arange(6)[:, None])


def test_dma_strides(rng: np.random.Generator) -> None:
    """A transposition on the way in, and the way out reversed."""
    source, target = bytes_of(rng, 6, 5, 4), np.zeros((5, 6, 4), np.int8)
    out = np.zeros(480, np.uint8)
    device = engine(constants=source.reshape(-1).view(np.uint8).copy(), output0=out)
    transposed = copy(
        Address(Region.CONSTANTS, 0), spm(0), 4,
        count1=5, source_stride1=4, target_stride1=24,
        count2=6, source_stride2=20, target_stride2=4,
    )  # fmt: skip
    reverse = copy(
        spm(0), Address(Region.OUTPUT0, 4 * 29), 4, count1=30, source_stride1=4, target_stride1=-4
    )
    run = device.run(stream(transposed, reverse, write_mask=1 << Region.OUTPUT0))
    assert run.fault is None
    target = source.transpose(1, 0, 2)
    assert np.array_equal(device.scratchpad[:120].view(np.int8), target.reshape(-1))
    assert np.array_equal(out[:120].view(np.int8).reshape(30, 4), target.reshape(30, 4)[::-1])
    assert run.counters.constant_bytes == 120
    assert run.counters.system_write_bytes == 120


@pytest.mark.parametrize("region", [Region.SPM, Region.ARENA])
def test_runs_that_overlap_are_read_whole(region: Region) -> None:
    arena = np.zeros(200_000, np.uint8)
    device = engine(arena=arena)
    memory = device.scratchpad if region is Region.SPM else arena
    size = 100_000 if region is Region.ARENA else 40_000
    memory[:size] = np.arange(size) % 251
    before = memory[:size].copy()
    run = device.run(stream(copy(Address(region, 0), Address(region, 1000), size)))
    assert run.fault is None
    assert np.array_equal(memory[1000 : 1000 + size], before)
    run = device.run(stream(copy(Address(region, 1000), Address(region, 900), size)))
    assert run.fault is None
    assert np.array_equal(memory[900 : 900 + size], before)


def test_fill_outside(rng: np.random.Generator) -> None:
    out = bytes_of(rng, 100).view(np.uint8)
    before = out.copy()
    device = engine(output0=out)
    fill_ = copy(
        spm(0), Address(Region.OUTPUT0, 10), 3, count1=4, target_stride1=20, fill=1, fill_byte=0xAB
    )
    assert device.run(stream(fill_)).fault is None
    for first in (10, 30, 50, 70):
        before[first : first + 3] = 0xAB
    assert np.array_equal(out, before)
