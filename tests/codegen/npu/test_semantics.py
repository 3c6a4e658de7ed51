"""The device's semantics: its arithmetic against the graph's interpreter, rings, time, faults."""

import dataclasses
import struct

import numpy as np
import pytest

from lepton_cc.codegen.npu.isa.assemble import FieldValue, Packet, encode_stream
from lepton_cc.codegen.npu.isa.crc import crc32c
from lepton_cc.codegen.npu.isa.faults import Fault
from lepton_cc.codegen.npu.isa.packets import FORMATS, Epilogue, Opcode, Pool
from lepton_cc.codegen.npu.isa.regions import Address, Region
from lepton_cc.codegen.npu.isa.registers import Counter, Interrupt, RegionAttribute
from lepton_cc.codegen.npu.machine import Machine
from lepton_cc.codegen.npu.semantics.device import Device, RunResult
from lepton_cc.codegen.npu.semantics.memory import FeatureMap
from lepton_cc.codegen.npu.timeline import estimate
from lepton_cc.codegen.npu.weights.slices import encode_slice
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.integer import QuantizedAdd, QuantizedMul, Range, Requantize, Table
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pool import MaxPool
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array, Tensor
from tests.codegen.npu.random_streams import check_packet, machine_of, random_stream

MACHINE: Machine = machine_of(128)
END = Packet(Opcode.END, {})
RESULT, RESIDUAL, TABLE, SECOND = 8192, 16384, 24576, 28672


def spm(offset: int) -> Address:
    return Address(Region.SPM, offset)


def run(device: Device, *packets: Packet, regions: dict[Region, bytes] | None = None) -> RunResult:
    """Run packets and END on a device that has these regions."""
    return device.run(encode_stream(check_packet(device.machine, regions or {}), (*packets, END)))


def execute(packet: Packet, content: dict[int, Array], wbuf: bytes = b"") -> Array:
    """The scratchpad, as i8, after one packet; `content`: what lies at which offset before."""
    device = Device(MACHINE, {})
    for offset, array in content.items():
        device.spm[offset : offset + array.size] = array.reshape(-1).view(np.uint8)
    device.wbuf[: len(wbuf)] = np.frombuffer(wbuf, np.uint8)
    assert run(device, packet).fault is None
    return device.spm.view(np.int8)


def dense(prefix: str, offset: int, array_shape: tuple[int, int, int]) -> dict[str, FieldValue]:
    _, width, channels = array_shape
    return {
        f"{prefix}_address": spm(offset),
        f"{prefix}_row_stride": width * channels,
        f"{prefix}_pixel_stride": channels,
    }


def elements(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-128, 128, shape).astype(np.int8)


def convolve(seed: int, opcode: Opcode, flags: Epilogue, stride: int) -> tuple[Array, Array]:
    """(device's result, interpreter's result) of a random convolution."""
    rng = np.random.default_rng(seed)
    groups = 2 if opcode is Opcode.CONV else 1
    channels, outputs = 6, 6 if opcode is Opcode.DEPTHWISE else 10
    pad, kernel, zero_point = (1, 2), (3, 4), int(rng.integers(-128, 128))
    x = elements(rng, 1, 8, 10, channels)
    shape = (
        (*kernel, channels)
        if opcode is Opcode.DEPTHWISE
        else (*kernel, channels // groups, outputs)
    )
    weights = elements(rng, *shape)
    scales = rng.uniform(1e-4, 2e-3, outputs).astype(np.float32)
    bias = rng.integers(-9999, 9999, outputs).astype(np.int32)
    content = encode_slice(weights, scales, bias, tile=16, groups=groups, lanes=2)
    window = Window(kernel, (stride,) * 2, (1, 1), pad, (2, 1))
    full = weights[:, :, None, :] if opcode is Opcode.DEPTHWISE else weights
    conv_groups = channels if opcode is Opcode.DEPTHWISE else groups
    (acc,) = Conv(window, conv_groups, zero_point).evaluate([x, full, bias])
    clamps = Range(DType.I8, -7, -100, 90)
    (q,) = Requantize(clamps).evaluate([acc, scales])
    height, width = q.shape[1:3]
    residual = elements(rng, *q.shape)
    table = elements(rng, 256)
    adds = QuantizedAdd(0.75, -0.5625, 3.5, Range(DType.I8, 0, -90, 120))
    if flags & Epilogue.RESIDUAL:
        operands = [residual, q] if flags & Epilogue.RESIDUAL_FIRST else [q, residual]
        (q,) = adds.evaluate(operands)
    if flags & Epilogue.TABLE:
        (q,) = Table(Tensor(table)).evaluate([q])
    if flags & Epilogue.POOL2X2:
        height, width = height // 2, width // 2
        q = q[:, : 2 * height, : 2 * width]
        (q,) = MaxPool(Window((2, 2), (2, 2), (1, 1), (0, 0), (0, 0))).evaluate([q])
    first = bool(flags & Epilogue.RESIDUAL_FIRST)
    fields: dict[str, FieldValue] = {
        **dense("ifm", 0, x.shape[1:]),
        **dense("ofm", RESULT, q.shape[1:]),
        **dense("residual", RESIDUAL, q.shape[1:]),
        **dict(zip(("ifm_height", "ifm_width", "ifm_channels"), x.shape[1:], strict=True)),
        **dict(zip(("ofm_height", "ofm_width", "ofm_channels"), q.shape[1:], strict=True)),
        **{"kernel_height": kernel[0], "kernel_width": kernel[1]},
        **{f"stride_{a}": stride for a in "yx"},
        **{f"dilation_{a}": 1 for a in "yx"},
        **{f"upsample_{a}": 1 for a in "yx"},
        **{"pad_top": pad[0], "pad_left": pad[1]},
        **{"ofm_zero_point": -7, "ifm_zero_point": zero_point},
        **{"clamp_low": -100, "clamp_high": 90, "groups": groups},
        **{"weights_address": Address(Region.WBUF, 0), "weights_bytes": len(content.content)},
        **{"encoding": int(content.encoding), "epilogue": int(flags)},
        **{
            "result_scale": -0.5625 if first else 0.75,
            "residual_scale": 0.75 if first else -0.5625,
        },
        **{"add_offset": 3.5, "add_low": -90, "add_high": 120, "table_address": spm(TABLE)},
    }
    before = {0: x, RESIDUAL: residual, TABLE: table}
    after = execute(Packet(opcode, fields), before, content.content)
    return after[RESULT : RESULT + q.size].reshape(q.shape), q


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.DEPTHWISE])
@pytest.mark.parametrize(
    "flags",
    [
        Epilogue(0),
        Epilogue.TABLE,
        Epilogue.RESIDUAL,
        Epilogue.RESIDUAL | Epilogue.RESIDUAL_FIRST | Epilogue.TABLE,
        Epilogue.POOL2X2 | Epilogue.TABLE,
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_equal_the_interpreter(opcode: Opcode, flags: Epilogue, stride: int) -> None:
    found, expected = convolve(stride, opcode, flags, stride)
    assert np.array_equal(found, expected)
    assert np.unique(found).size > 5


def test_upsampling_is_a_transposed_convolution() -> None:
    rng = np.random.default_rng(3)
    x, weights = elements(rng, 1, 4, 5, 3), elements(rng, 3, 2, 3, 7)
    window = Window((3, 2), (2, 3), (1, 1), (1, 0), (0, 1))
    scales, bias = np.full(7, 1e-3, np.float32), np.arange(7, dtype=np.int32)
    (acc,) = ConvTranspose(window, (0, 0), zero_point=9).evaluate([x, weights, bias])
    (expected,) = Requantize(Range.whole(DType.I8, 0)).evaluate([acc, scales])
    turned = np.ascontiguousarray(weights[::-1, ::-1])
    content = encode_slice(turned, scales, bias, tile=16, groups=1, lanes=2)
    fields: dict[str, FieldValue] = {
        **dense("ifm", 0, x.shape[1:]),
        **dense("ofm", RESULT, expected.shape[1:]),
        **dict(zip(("ifm_height", "ifm_width", "ifm_channels"), x.shape[1:], strict=True)),
        **dict(zip(("ofm_height", "ofm_width", "ofm_channels"), expected.shape[1:], strict=True)),
        **{"kernel_height": 3, "kernel_width": 2, "pad_top": 2 - 1, "pad_left": 1 - 0},
        **{f"{name}_{a}": 1 for name in ("stride", "dilation") for a in "yx"},
        **{"upsample_y": 2, "upsample_x": 3, "ifm_zero_point": 9, "groups": 1},
        **{"clamp_low": -128, "clamp_high": 127, "encoding": int(content.encoding)},
        **{"weights_address": Address(Region.WBUF, 0), "weights_bytes": len(content.content)},
    }
    after = execute(Packet(Opcode.CONV, fields), {0: x}, content.content)
    assert np.array_equal(after[RESULT : RESULT + expected.size].reshape(expected.shape), expected)


def test_separable_is_a_depthwise_and_a_dense_packet() -> None:
    rng = np.random.default_rng(5)
    x, first, second = elements(rng, 1, 6, 7, 5), elements(rng, 3, 3, 5), elements(rng, 1, 1, 5, 9)
    window = Window((3, 3), (2, 1), (1, 1), (1, 1), (1, 1))
    scales = [rng.uniform(1e-3, 4e-3, n).astype(np.float32) for n in (5, 9)]
    biases = [rng.integers(-500, 500, n).astype(np.int32) for n in (5, 9)]
    (acc,) = Conv(window, 5, 4).evaluate([x, first[:, :, None, :], biases[0]])
    (middle,) = Requantize(Range(DType.I8, -20, -70, 100)).evaluate([acc, scales[0]])
    point = Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))
    (acc,) = Conv(point, 1, -20).evaluate([middle, second, biases[1]])
    (expected,) = Requantize(Range(DType.I8, 11, -128, 127)).evaluate([acc, scales[1]])
    slices = [
        encode_slice(second, scales[1], biases[1], tile=16, groups=1, lanes=2),
        encode_slice(first, scales[0], biases[0], tile=8, groups=1, lanes=2),
    ]
    fields: dict[str, FieldValue] = {
        **dense("ifm", 0, x.shape[1:]),
        **dense("ofm", RESULT, expected.shape[1:]),
        **dict(zip(("ifm_height", "ifm_width", "ifm_channels"), x.shape[1:], strict=True)),
        **dict(zip(("ofm_height", "ofm_width", "ofm_channels"), expected.shape[1:], strict=True)),
        **{"kernel_height": 3, "kernel_width": 3, "pad_top": 1, "pad_left": 1},
        **{"stride_y": 2, "stride_x": 1, "groups": 1, "ofm_zero_point": 11, "ifm_zero_point": 4},
        **{f"{name}_{a}": 1 for name in ("dilation", "upsample") for a in "yx"},
        **{"clamp_low": -128, "clamp_high": 127, "stage_low": -70, "stage_high": 100},
        **{"weights_address": Address(Region.WBUF, 0), "weights_bytes": len(slices[0].content)},
        **{"encoding": int(slices[0].encoding), "stage_encoding": int(slices[1].encoding)},
        "stage_weights_address": Address(Region.WBUF, len(slices[0].content)),
        **{"stage_weights_bytes": len(slices[1].content), "stage_zero_point": -20},
    }
    wbuf = slices[0].content + slices[1].content
    after = execute(Packet(Opcode.SEPARABLE, fields), {0: x}, wbuf)
    assert np.array_equal(after[RESULT : RESULT + expected.size].reshape(expected.shape), expected)


def test_matmul_equals_the_interpreter() -> None:
    rng = np.random.default_rng(6)
    lhs, rhs = elements(rng, 2, 3, 20), elements(rng, 2, 20, 9)
    (acc,) = MatMul(5, -3).evaluate([lhs, rhs])
    scale = np.float32(1e-3)
    (expected,) = Requantize(Range.whole(DType.I8, 8)).evaluate([acc, np.asarray(scale)])
    fields: dict[str, FieldValue] = {
        **{"lhs_address": spm(0), "lhs_row_stride": 20, "lhs_batch_stride": 60},
        **{"rhs_address": spm(SECOND), "rhs_depth_stride": 1, "rhs_column_stride": 20},
        **{"rhs_batch_stride": 180, "ofm_address": spm(RESULT), "ofm_row_stride": 9},
        **{"ofm_batch_stride": 27, "batch": 2, "rows": 3, "columns": 9, "depth": 20},
        **{"lhs_zero_point": 5, "rhs_zero_point": -3, "ofm_zero_point": 8, "scale": float(scale)},
        **{"clamp_low": -128, "clamp_high": 127},
    }
    after = execute(Packet(Opcode.MATMUL, fields), {0: lhs, SECOND: rhs.transpose(0, 2, 1).copy()})
    assert np.array_equal(after[RESULT : RESULT + 54].reshape(2, 3, 9), expected)


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_elementwise_equals_the_interpreter(kind: int) -> None:
    rng = np.random.default_rng(kind)
    lhs, rhs = elements(rng, 4, 5, 6), elements(rng, 1, 5, 1)
    fields: dict[str, FieldValue] = {
        **dense("lhs", 0, lhs.shape),
        **dense("ofm", RESULT, lhs.shape),
        **{"rhs_address": spm(SECOND), "rhs_row_stride": 0, "rhs_pixel_stride": 1},
        **{"height": 4, "width": 5, "channels": 6, "rhs_repeats_channel": 1, "kind": kind},
        **{"clamp_low": -90, "clamp_high": 100},
    }
    range_ = Range(DType.I8, -6, -90, 100)
    if kind == 0:
        fields |= {"lhs_scale": 0.7001953125, "rhs_scale": -1.25, "offset": 3.3330078125}
        (expected,) = QuantizedAdd(0.7001953125, -1.25, 3.3330078125, range_).evaluate([lhs, rhs])
    elif kind == 1:
        scale = float(np.float32(0.0123))
        fields |= {"lhs_scale": scale, "offset": -6.0, "lhs_zero_point": 9, "rhs_zero_point": -5}
        (expected,) = QuantizedMul(9, -5, scale, range_).evaluate([lhs, rhs])
    else:
        expected = (np.maximum if kind == 2 else np.minimum)(lhs, rhs).clip(-90, 100)
    after = execute(Packet(Opcode.ELEMENTWISE, fields), {0: lhs, SECOND: rhs})
    assert np.array_equal(after[RESULT : RESULT + 120].reshape(4, 5, 6), expected)


@pytest.mark.parametrize("kind", [Pool.MAX, Pool.SUM])
def test_pool_equals_the_interpreter(kind: Pool) -> None:
    rng = np.random.default_rng(8)
    x = elements(rng, 1, 7, 8, 5)
    window = Window((3, 2), (2, 3), (1, 1), (1, 1), (1, 0))
    scale = np.asarray(0.18, np.float32)
    if kind is Pool.MAX:
        (expected,) = MaxPool(window).evaluate([x])
    else:
        total = sum(view for _, view in window.taps(x.astype(np.int32), 0))
        shifted = np.asarray(total - 30)
        (expected,) = Requantize(Range.whole(DType.I8, 4)).evaluate([shifted, scale])
    fields: dict[str, FieldValue] = {
        **dense("ifm", 0, x.shape[1:]),
        **dense("ofm", RESULT, expected.shape[1:]),
        **dict(zip(("ifm_height", "ifm_width", "ifm_channels"), x.shape[1:], strict=True)),
        **dict(zip(("ofm_height", "ofm_width", "ofm_channels"), expected.shape[1:], strict=True)),
        **{"kernel_height": 3, "kernel_width": 2, "stride_y": 2, "stride_x": 3},
        **{"pad_top": 1, "pad_left": 1, "clamp_low": -128, "clamp_high": 127, "kind": int(kind)},
        **({"scale": float(scale), "sum_zero_point": 30, "ofm_zero_point": 4} if kind else {}),
    }
    after = execute(Packet(Opcode.POOL, fields), {0: x})
    assert np.array_equal(after[RESULT : RESULT + expected.size].reshape(expected.shape), expected)


def test_a_ring_is_the_same_rows_in_another_place() -> None:
    map_ = FeatureMap("ifm", 100, 40, 5, 6, 4, 5, 7, 3)
    rows = [int(map_.places(y)[0, 0]) for y in range(5)]
    assert rows == [100 + 40 * row for row in (4, 5, 0, 1, 2)]
    assert map_.places(0)[2].tolist() == [270, 271, 272]
    assert map_.end == 100 + 5 * 40 + 6 * 5 + 3


def test_a_result_may_lie_on_its_operand() -> None:
    rng = np.random.default_rng(9)
    x, table = elements(rng, 3, 4, 5), elements(rng, 256)
    fields = dense("ifm", 0, x.shape) | dense("ofm", 0, x.shape)
    fields |= {"height": 3, "width": 4, "channels": 5, "table_address": spm(TABLE)}
    after = execute(Packet(Opcode.TABLE, fields), {0: x, TABLE: table})
    assert np.array_equal(after[:60], table[x.reshape(-1).astype(np.int64) + 128])


def test_an_overlapping_copy_goes_run_by_run() -> None:
    fields: dict[str, FieldValue] = {
        **{"source": spm(0), "target": spm(1), "run_bytes": 2},
        **{"count1": 3, "count2": 1, "count3": 1, "source_stride1": 2, "target_stride1": 2},
    }
    after = execute(Packet(Opcode.DMA, fields), {0: np.arange(8, dtype=np.int8)})
    assert after[:8].tolist() == [0, 0, 1, 1, 3, 3, 5, 7]


@pytest.mark.parametrize("seed", range(40))
def test_random_streams_take_the_time_of_the_estimate(seed: int) -> None:
    machine = machine_of((64, 128, 256, 1024)[seed % 4])
    case = random_stream(seed, machine)
    memory = case.memory()
    device = Device(machine, memory)
    result = device.run(case.stream)
    assert result.fault is None
    assert bytes(memory[Region.OUTPUT0]) == device.spm[: len(memory[Region.OUTPUT0])].tobytes()
    timeline = estimate(machine, case.packets)
    assert result.counters == timeline.counters
    expected = zip(timeline.begins, timeline.completions, strict=True)
    assert [result.times[i + 1] for i in range(len(case.packets))] == list(expected)


def test_trace_is_a_ring_of_records() -> None:
    memory = {Region.TRACE: bytearray(32 + 7)}
    traces = [Packet(Opcode.TRACE, {"tag": 0xABC0 + i}, layer=7) for i in range(3)]
    result = run(Device(MACHINE, memory), *traces)
    records = [struct.unpack_from("<IIQ", memory[Region.TRACE], 16 * i) for i in range(2)]
    assert records == [(7 << 16 | 3, 0xABC2, 72), (7 << 16 | 2, 0xABC1, 48)]
    assert result.interrupts == Interrupt.DONE | Interrupt.TRACE_FULL


TABLE_FIELDS: dict[str, FieldValue] = {
    **dense("ifm", 0, (2, 3, 4)),
    **dense("ofm", RESULT, (2, 3, 4)),
    **{"height": 2, "width": 3, "channels": 4, "table_address": spm(TABLE)},
}
COPY: dict[str, FieldValue] = {
    **{"source": spm(0), "target": spm(100), "run_bytes": 8},
    **{"count1": 1, "count2": 1, "count3": 1},
}
SPM_BYTES = MACHINE.member.spm_bytes


@pytest.mark.parametrize(
    ("packet", "code", "field"),
    [
        (Packet(Opcode.TABLE, TABLE_FIELDS | {"width": 0}), Fault.ILLEGAL_FIELD, "width"),
        (
            Packet(Opcode.TABLE, TABLE_FIELDS | {"ifm_address": Address(Region.ARENA, 0)}),
            Fault.ILLEGAL_FIELD,
            "ifm_address",
        ),
        (
            Packet(Opcode.TABLE, TABLE_FIELDS | {"ifm_ring_rows": 2, "ifm_ring_start": 2}),
            Fault.ILLEGAL_FIELD,
            "ifm_ring_start",
        ),
        (
            Packet(Opcode.TABLE, TABLE_FIELDS | {"ifm_address": spm(SPM_BYTES - 23)}),
            Fault.READ_OUT_OF_BOUNDS,
            "ifm_address",
        ),
        (
            Packet(Opcode.TABLE, TABLE_FIELDS | {"ofm_address": spm(SPM_BYTES - 23)}),
            Fault.WRITE_OUT_OF_BOUNDS,
            "ofm_address",
        ),
        (Packet(Opcode.DMA, COPY | {"count2": 0}), Fault.ILLEGAL_FIELD, "count2"),
        (
            Packet(Opcode.DMA, COPY | {"count1": 2, "source_stride1": -1}),
            Fault.READ_OUT_OF_BOUNDS,
            "source",
        ),
        (
            Packet(Opcode.DMA, COPY | {"target": Address(Region.INPUT0, 0)}),
            Fault.WRITE_TO_READ_ONLY,
            "target",
        ),
        (Packet(Opcode.NOP, {}, wait=1), Fault.TOKEN_DEADLOCK, None),
    ],
)
def test_a_bad_packet_stops_the_engine_and_writes_nothing(
    packet: Packet, code: Fault, field: str | None
) -> None:
    device = Device(MACHINE, {Region.INPUT0: bytearray(64)})
    device.spm[:] = np.arange(SPM_BYTES) % 251
    before = device.spm.copy()
    result = run(device, Packet(Opcode.NOP, {}), packet)
    assert result.fault is not None
    assert result.fault.code is code
    assert result.fault.pc == 144 + 16
    if field is not None:
        assert result.fault.word == FORMATS[packet.opcode].field_by_name[field].word
    assert np.array_equal(device.spm, before)
    assert result.interrupts == Interrupt.FAULT


def test_scales_capacity_and_slices_are_checked() -> None:
    content = encode_slice(
        np.ones((1, 1, 4, 4), np.int8),
        np.full(4, 0.5, np.float32),
        np.zeros(4, np.int32),
        tile=16,
        groups=1,
        lanes=2,
    )
    fields: dict[str, FieldValue] = {
        **dense("ifm", 0, (2, 2, 4)),
        **dense("ofm", RESULT, (2, 2, 4)),
        **{f"{m}fm_{side}": 2 for m in "io" for side in ("height", "width")},
        **{"ifm_channels": 4, "ofm_channels": 4, "kernel_height": 1, "kernel_width": 1},
        **{f"{name}_{a}": 1 for name in ("stride", "dilation", "upsample") for a in "yx"},
        **{"clamp_low": -128, "clamp_high": 127, "groups": 1, "encoding": int(content.encoding)},
        **{"weights_address": Address(Region.WBUF, 0), "weights_bytes": len(content.content)},
    }

    def fault(changes: dict[str, FieldValue], wbuf: bytes = content.content) -> Fault | None:
        device = Device(MACHINE, {})
        device.wbuf[: len(wbuf)] = np.frombuffer(wbuf, np.uint8)
        result = run(device, Packet(Opcode.CONV, fields | changes))
        return result.fault.code if result.fault else None

    residual: dict[str, FieldValue] = dense("residual", 0, (2, 2, 4)) | {
        "epilogue": 1,
        "add_high": 5,
    }
    assert fault({}) is None
    assert fault({"weights_address": Address(Region.WBUF, 2)}) is Fault.MISALIGNED
    assert fault({"weights_bytes": len(content.content) + 4}) is Fault.WEIGHT_STREAM
    assert fault({"weights_bytes": 16}) is Fault.WEIGHT_STREAM
    assert fault({}, struct.pack("<f", 1e-40) + content.content[4:]) is Fault.BAD_SCALE
    assert fault(residual | {"result_scale": 1.0, "residual_scale": -1.0}) is None
    assert fault(residual | {"result_scale": 1.0}) is Fault.BAD_SCALE
    nan: dict[str, FieldValue] = {
        "result_scale": 1.0,
        "residual_scale": 1.0,
        "add_offset": float("nan"),
    }
    assert fault(residual | nan) is Fault.BAD_SCALE
    wide: dict[str, FieldValue] = {"ofm_channels": 3000, "weights_bytes": 36000}
    assert fault(wide) is Fault.ILLEGAL_FIELD
    assert fault(wide | {"ofm_pixel_stride": 3000}) is Fault.EXCEEDS_CAPACITY


def stream_of(*packets: Packet) -> bytes:
    return encode_stream(check_packet(MACHINE, {}), packets)


def sealed(stream: bytes, offset: int, words: int) -> bytes:
    """The stream with the CRC of the packet at `offset` and of CHECK made right again."""
    content = bytearray(stream)

    def seal(start: int, count: int) -> None:
        end = start + 4 * count - 4
        struct.pack_into("<I", content, end, crc32c(bytes(content[start:end])))

    seal(offset, words)
    struct.pack_into("<I", content, 32, crc32c(bytes(content[144:])))
    seal(0, 36)
    return bytes(content)


def changed(stream: bytes, offset: int, value: int, *, packet: int, words: int) -> bytes:
    content = bytearray(stream)
    content[offset] = value
    return sealed(bytes(content), packet, words)


NOP = Packet(Opcode.NOP, {})
GOOD = stream_of(NOP, NOP, END)


@pytest.mark.parametrize(
    ("stream", "code", "pc"),
    [
        (b"", Fault.STREAM_END, 0),
        (GOOD[144:], Fault.CHECK_MISSING, 0),
        (GOOD[:100], Fault.STREAM_END, 0),
        (GOOD[:-16], Fault.STREAM_END, 0),
        (changed(GOOD, 8, 9, packet=0, words=36), Fault.INCOMPATIBLE, 0),
        (changed(GOOD, 12, 9, packet=0, words=36), Fault.INCOMPATIBLE, 0),
        (changed(GOOD, 23, 9, packet=0, words=36), Fault.REGION_TOO_SMALL, 0),
        (changed(GOOD, 100, 2, packet=0, words=36), Fault.REGION_TOO_SMALL, 0),
        (changed(GOOD, 110, 1, packet=0, words=36), Fault.RESERVED_BITS, 0),
        (changed(GOOD, 163, 0x10, packet=160, words=4), Fault.BAD_OPCODE, 160),
        (changed(GOOD, 162, 2, packet=160, words=4), Fault.BAD_OPCODE, 160),
        (changed(GOOD, 160, 3, packet=160, words=4), Fault.SEQUENCE_GAP, 160),
        (changed(GOOD, 168, 1, packet=160, words=4), Fault.RESERVED_BITS, 160),
        (changed(GOOD, 172, 1, packet=144, words=4), Fault.PACKET_CRC, 160),
        (changed(GOOD, 163, 0x0F, packet=160, words=4), Fault.STREAM_END, 160),
        (changed(GOOD, 179, 0x0C, packet=176, words=4), Fault.STREAM_END, 176),
        (stream_of(NOP, check_packet(MACHINE, {}), END), Fault.CHECK_MISSING, 160),
    ],
)
def test_structure_is_checked_before_anything_runs(stream: bytes, code: Fault, pc: int) -> None:
    result = Device(MACHINE, {}).run(stream)
    assert result.fault is not None
    assert (result.fault.code, result.fault.pc) == (code, pc)
    assert result.counters[Counter.PACKETS] == 0


def test_the_watchdog_stops_what_would_end_too_late() -> None:
    device = Device(MACHINE, {}, watchdog=48)
    result = run(device, NOP, NOP, NOP)
    assert result.fault is not None
    assert (result.fault.code, result.fault.pc) == (Fault.WATCHDOG, 160)
    assert result.cycles == 48
    assert result.counters[Counter.TOKEN_STALLS] == 24
    assert run(Device(MACHINE, {}, watchdog=73), NOP, NOP, NOP).fault is None


def test_a_region_that_is_not_bound_cannot_be_written() -> None:
    check = check_packet(MACHINE, {})
    fields = {**check.fields, "write_mask": 1 << Region.STATE}
    stream = encode_stream(dataclasses.replace(check, fields=fields), [END])
    result = Device(MACHINE, {}).run(stream)
    assert result.fault is not None
    assert (result.fault.code, result.fault.word) == (Fault.REGION_TOO_SMALL, 25)
    assert Device(MACHINE, {Region.STATE: bytearray(4)}).run(stream).fault is None


def test_attributes_can_be_taken_away() -> None:
    attributes: dict[int, RegionAttribute] = {Region.ARENA: RegionAttribute.WRITE}
    device = Device(MACHINE, {Region.ARENA: bytearray(64)}, attributes=attributes)
    result = run(device, Packet(Opcode.DMA, COPY | {"source": Address(Region.ARENA, 0)}))
    assert result.fault is not None
    assert result.fault.code is Fault.READ_OUT_OF_BOUNDS
    written = dataclasses.replace(NOP, opcode=Opcode.DMA, fields=COPY)
    assert run(device, written).fault is None
