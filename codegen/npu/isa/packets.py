"""The packets: opcodes, lengths and fields. Words 0, 1 and the last one are the same in all."""

import enum
from dataclasses import dataclass
from functools import cached_property

from lepton_cc.codegen.npu.isa.field import Coding, Field


class Opcode(enum.IntEnum):
    """Bits 31:24 of word 0; all others fault: 0x10 to 0x7F are reserved, 0x80 on are for tests."""

    NOP = 0x00
    CHECK = 0x01
    DMA = 0x02
    CONV = 0x03
    DEPTHWISE = 0x04
    MATMUL = 0x05
    ELEMENTWISE = 0x06
    POOL = 0x07
    TABLE = 0x08
    SEPARABLE = 0x09
    FENCE = 0x0C
    TRACE = 0x0D
    IRQ = 0x0E
    END = 0x0F


class Queue(enum.Enum):
    """Which queue executes a packet. BOTH: a barrier between the two."""

    DMA = "dma"
    COMPUTE = "compute"
    BOTH = "both"


class Encoding(enum.IntEnum):
    """How a weight slice is stored."""

    RAW8 = 0
    RAW4 = 1
    BITMAP = 2
    PREFIX = 3


class Elementwise(enum.IntEnum):
    """Kinds of ELEMENTWISE."""

    ADD = 0
    MUL = 1
    MAX = 2
    MIN = 3


class Pool(enum.IntEnum):
    """Kinds of POOL."""

    MAX = 0
    SUM = 1


class Epilogue(enum.IntFlag):
    """Bits of the field `epilogue`."""

    RESIDUAL = 1 << 0
    RESIDUAL_FIRST = 1 << 1
    TABLE = 1 << 2
    POOL2X2 = 1 << 3


HEADER = (
    Field("opcode", 0, 24, 8, Coding.UNSIGNED, "what the packet does"),
    Field("length", 0, 16, 8, Coding.UNSIGNED, "length in units of 16 bytes"),
    Field("sequence", 0, 0, 16, Coding.UNSIGNED, "0 in the first packet, then 1 more, mod 65536"),
    Field("layer", 1, 16, 16, Coding.UNSIGNED, "layer of the payload's layer map"),
    Field("wait", 1, 8, 8, Coding.UNSIGNED, "token counters to take one from"),
    Field("signal", 1, 0, 8, Coding.UNSIGNED, "token counters to add one to"),
)


@dataclass(frozen=True)  # no slots: `field_by_name` is cached
class PacketFormat:
    """Length in words (header and CRC included), queue and fields of one opcode."""

    opcode: Opcode
    words: int
    queue: Queue
    fields: tuple[Field, ...]
    description: str

    @cached_property
    def field_by_name(self) -> dict[str, Field]:
        """Name -> field."""
        return {field.name: field for field in self.fields}

    @cached_property
    def reserved_masks(self) -> tuple[int, ...]:
        """For each word the bits that must be 0; nothing of the header and the CRC is reserved."""
        used = [0] * self.words
        used[0] = used[1] = used[-1] = 0xFFFFFFFF
        for field in self.fields:
            used[field.word] |= field.mask
        return tuple(0xFFFFFFFF & ~word for word in used)


def _unsigned(name: str, word: int, description: str, low: int = 0, width: int = 32) -> Field:
    return Field(name, word, low, width, Coding.UNSIGNED, description)


def _signed(name: str, word: int, low: int, description: str) -> Field:
    return Field(name, word, low, 16, Coding.SIGNED, description)


def _address(name: str, word: int, description: str) -> Field:
    return Field(name, word, 0, 32, Coding.ADDRESS, description)


def _binary32(name: str, word: int, description: str) -> Field:
    return Field(name, word, 0, 32, Coding.BINARY32, description)


def _pair(word: int, high: tuple[str, str], low: tuple[str, str]) -> tuple[Field, Field]:
    """Two unsigned halves of a word: (name, description) of bits 31:16 and of 15:0."""
    return (_unsigned(high[0], word, high[1], 16, 16), _unsigned(low[0], word, low[1], 0, 16))


def _map(prefix: str, word: int, what: str) -> tuple[Field, ...]:
    """Address and strides of a feature map: three words."""
    return (
        _address(f"{prefix}_address", word, f"{what}: element (0, 0, 0)"),
        _unsigned(f"{prefix}_row_stride", word + 1, "bytes from a row to the next"),
        _unsigned(f"{prefix}_pixel_stride", word + 2, "bytes from a pixel to the next"),
    )


def _ring(prefix: str, word: int) -> tuple[Field, ...]:
    """Ring of rows of a feature map: one word."""
    return _pair(
        word,
        (f"{prefix}_ring_rows", "rows of the ring that holds the map, 0: it is no ring"),
        (f"{prefix}_ring_start", "row of the ring that holds row 0, below ring_rows"),
    )


def _clamp(word: int, low: str = "clamp_low", high: str = "clamp_high") -> tuple[Field, ...]:
    return (
        _signed(low, word, 16, "least result, -128 to 127"),
        _signed(high, word, 0, "greatest result, -128 to 127, not below the least"),
    )


_IFM_SHAPE = (
    *_pair(5, ("ifm_height", "rows of the input"), ("ifm_width", "columns of the input")),
    _unsigned("ifm_channels", 6, "channels of the input, all groups", 0, 16),
)
_OFM_SHAPE = (
    *_pair(10, ("ofm_height", "rows that are stored"), ("ofm_width", "columns that are stored")),
    _unsigned("ofm_channels", 6, "channels of the result", 16, 16),
)
_WINDOW = (
    _unsigned("kernel_height", 11, "1 to 255", 24, 8),
    _unsigned("kernel_width", 11, "1 to 255", 16, 8),
    _unsigned("stride_y", 11, "1 to 255", 8, 8),
    _unsigned("stride_x", 11, "1 to 255", 0, 8),
    _unsigned("dilation_y", 12, "1 to 255", 24, 8),
    _unsigned("dilation_x", 12, "1 to 255", 16, 8),
    _unsigned("upsample_y", 12, "1 to 4: zero_point rows put between input rows, plus 1", 8, 8),
    _unsigned("upsample_x", 12, "1 to 4: the same of columns", 0, 8),
    _signed("pad_top", 13, 16, "rows before the input; negative: rows skipped"),
    _signed("pad_left", 13, 0, "columns before the input; negative: columns skipped"),
)
_ZERO_POINTS = (
    _signed("ofm_zero_point", 14, 16, "added after rounding"),
    _signed("ifm_zero_point", 14, 0, "taken from each input element; what padding counts as"),
)
_WEIGHTS = (
    _address("weights_address", 16, "weight slice, in WBUF or SPM, 4-byte aligned"),
    _unsigned("weights_bytes", 17, "bytes of the slice, channel table included"),
)
_CONTROL = (
    _unsigned("mode", 18, "array mode of the member", 28, 4),
    _unsigned("encoding", 18, "Encoding of the slice", 24, 4),
    _unsigned("epilogue", 18, "Epilogue flags", 16, 8),
    _unsigned("groups", 18, "groups of channels; 1 in DEPTHWISE and SEPARABLE", 0, 16),
)
_RESIDUAL = (
    *_map("residual", 19, "operand of the fused addition"),
    _binary32("result_scale", 22, "scale of the convolution's result in the addition"),
    _binary32("residual_scale", 23, "scale of the residual in the addition"),
    _binary32("add_offset", 24, "offset of the addition"),
    *_clamp(25, "add_low", "add_high"),
)
_RINGS = (*_ring("ifm", 27), *_ring("ofm", 28), *_ring("residual", 29))
_TABLE_ADDRESS = _address("table_address", 26, "256 bytes in WBUF or SPM")

_CONVOLUTION = (
    *_map("ifm", 2, "input, in SPM"),
    *_IFM_SHAPE,
    *_map("ofm", 7, "result, in SPM"),
    *_OFM_SHAPE,
    *_WINDOW,
    *_ZERO_POINTS,
    *_clamp(15),
    *_WEIGHTS,
    *_CONTROL,
    *_RESIDUAL,
    _TABLE_ADDRESS,
    *_RINGS,
)
_DEPTHWISE_STAGE = (
    _address("stage_weights_address", 31, "depthwise slice, in WBUF or SPM, 4-byte aligned"),
    _unsigned("stage_weights_bytes", 32, "bytes of the depthwise slice"),
    _unsigned("stage_mode", 33, "depthwise mode of the member", 28, 4),
    _unsigned("stage_encoding", 33, "Encoding of the depthwise slice", 24, 4),
    _signed("stage_zero_point", 33, 0, "zero point of the depthwise result"),
    *_clamp(34, "stage_low", "stage_high"),
)

FORMATS: dict[Opcode, PacketFormat] = {
    format_.opcode: format_
    for format_ in (
        PacketFormat(Opcode.NOP, 4, Queue.COMPUTE, (), "Does nothing; waits and signals as others"),
        PacketFormat(
            Opcode.CHECK,
            36,
            Queue.BOTH,
            (
                *_pair(2, ("abi_major", "equal to the device's"), ("abi_minor", "at most its own")),
                _unsigned("macs", 3, "MACs a cycle, equal to the device's", 0, 16),
                _unsigned("capabilities", 4, "bits of CAPS0 that the stream needs"),
                _unsigned("spm_bytes", 5, "scratchpad that the stream uses"),
                _unsigned("wbuf_bytes", 6, "weight buffer that the stream uses"),
                _unsigned("stream_bytes", 7, "bytes of the stream, this packet included"),
                _unsigned("stream_crc", 8, "CRC-32C of the stream after this packet"),
                *(
                    _unsigned(f"region{i}_bytes", 9 + i, f"least size of region {i}")
                    for i in range(16)
                ),
                _unsigned("write_mask", 25, "regions that the stream writes", 0, 16),
            ),
            "Must be the first packet, and no other: what the stream needs of the device",
        ),
        PacketFormat(
            Opcode.DMA,
            20,
            Queue.DMA,
            (
                _address("source", 2, "first byte read; not used if fill is 1"),
                _address("target", 3, "first byte written"),
                _unsigned("run_bytes", 4, "contiguous bytes of the innermost loop, at least 1"),
                *(_unsigned(f"count{i}", 4 + i, f"iterations of loop {i}") for i in (1, 2, 3)),
                *(
                    Field(f"source_stride{i}", 7 + i, 0, 32, Coding.SIGNED, "bytes a step")
                    for i in (1, 2, 3)
                ),
                *(
                    Field(f"target_stride{i}", 10 + i, 0, 32, Coding.SIGNED, "bytes a step")
                    for i in (1, 2, 3)
                ),
                _unsigned("fill", 14, "1: write fill_byte instead of what is read", 8, 1),
                _unsigned("fill_byte", 14, "the byte", 0, 8),
            ),
            "Copies or fills bytes between regions: runs in three loops, loop 3 outermost",
        ),
        PacketFormat(
            Opcode.CONV,
            32,
            Queue.COMPUTE,
            _CONVOLUTION,
            "Convolution with its epilogue; a fully connected layer is a 1x1 convolution",
        ),
        PacketFormat(
            Opcode.DEPTHWISE,
            32,
            Queue.COMPUTE,
            _CONVOLUTION,
            "Convolution of each channel by itself: ofm_channels = ifm_channels, groups = 1",
        ),
        PacketFormat(
            Opcode.SEPARABLE,
            36,
            Queue.COMPUTE,
            (*_CONVOLUTION, *_DEPTHWISE_STAGE),
            "Depthwise convolution by the window, then a 1x1 convolution of its result, which is "
            "never stored",
        ),
        PacketFormat(
            Opcode.MATMUL,
            28,
            Queue.COMPUTE,
            (
                _address("lhs_address", 2, "[batch, rows, depth], in SPM"),
                _unsigned("lhs_row_stride", 3, "bytes"),
                _unsigned("lhs_batch_stride", 4, "bytes"),
                _address("rhs_address", 5, "[batch, depth, columns], in SPM"),
                _unsigned("rhs_depth_stride", 6, "bytes from a product to the next"),
                _unsigned("rhs_column_stride", 7, "bytes from a column to the next"),
                _unsigned("rhs_batch_stride", 8, "bytes"),
                _address("ofm_address", 9, "[batch, rows, columns], in SPM"),
                _unsigned("ofm_row_stride", 10, "bytes"),
                _unsigned("ofm_batch_stride", 11, "bytes"),
                *_pair(12, ("batch", "matrices"), ("rows", "rows of lhs and the result")),
                *_pair(13, ("columns", "columns of rhs and the result"), ("depth", "products")),
                _signed("lhs_zero_point", 14, 16, "taken from each element of lhs"),
                _signed("rhs_zero_point", 14, 0, "taken from each element of rhs"),
                _signed("ofm_zero_point", 15, 16, "added after rounding"),
                _unsigned("mode", 15, "array mode of the member", 0, 4),
                *_clamp(16),
                _binary32("scale", 17, "scale of the sums"),
                _unsigned("epilogue", 18, "Epilogue flags: TABLE or none", 0, 8),
                _address("table_address", 19, "256 bytes in WBUF or SPM"),
            ),
            "Product of two activations, each i8 with a zero point",
        ),
        PacketFormat(
            Opcode.ELEMENTWISE,
            28,
            Queue.COMPUTE,
            (
                *_map("lhs", 2, "first operand, in SPM"),
                *_map("rhs", 5, "second operand, in SPM; a stride of 0 repeats"),
                *_map("ofm", 8, "result, in SPM"),
                *_pair(11, ("height", "rows"), ("width", "columns")),
                _unsigned("channels", 12, "channels", 0, 16),
                _unsigned("kind", 13, "Elementwise", 24, 8),
                _unsigned("epilogue", 13, "Epilogue flags: TABLE or none", 16, 8),
                _unsigned("rhs_repeats_channel", 13, "1: rhs has one channel", 0, 1),
                _binary32("lhs_scale", 14, "ADD: scale of lhs. MUL: scale of the product"),
                _binary32("rhs_scale", 15, "ADD: scale of rhs; else 0"),
                _binary32("offset", 16, "ADD: offset. MUL: zero point of the result; else 0"),
                _signed("lhs_zero_point", 17, 16, "MUL only"),
                _signed("rhs_zero_point", 17, 0, "MUL only"),
                *_clamp(18),
                _address("table_address", 19, "256 bytes in WBUF or SPM"),
                *_ring("lhs", 20),
                *_ring("rhs", 21),
                *_ring("ofm", 22),
            ),
            "Element by element of two maps",
        ),
        PacketFormat(
            Opcode.POOL,
            24,
            Queue.COMPUTE,
            (
                *_map("ifm", 2, "input, in SPM"),
                *_IFM_SHAPE,
                *_map("ofm", 7, "result, in SPM"),
                *_OFM_SHAPE,
                *_WINDOW[:4],
                *_WINDOW[-2:],
                _signed("ofm_zero_point", 14, 16, "SUM: added after rounding"),
                *_clamp(15),
                Field("sum_zero_point", 16, 0, 32, Coding.SIGNED, "SUM: taken from the sum"),
                _binary32("scale", 17, "SUM: scale of the sum"),
                _unsigned("mode", 18, "depthwise mode of the member", 28, 4),
                _unsigned("kind", 18, "Pool", 24, 4),
                _unsigned("epilogue", 18, "Epilogue flags: TABLE or none", 16, 8),
                _address("table_address", 19, "256 bytes in WBUF or SPM"),
                *_ring("ifm", 20),
                *_ring("ofm", 21),
            ),
            "Greatest element or scaled sum of each window; what lies outside counts nothing",
        ),
        PacketFormat(
            Opcode.TABLE,
            20,
            Queue.COMPUTE,
            (
                *_map("ifm", 2, "input, in SPM"),
                *_map("ofm", 5, "result, in SPM"),
                *_pair(8, ("height", "rows"), ("width", "columns")),
                _unsigned("channels", 9, "channels", 0, 16),
                _address("table_address", 10, "256 bytes in WBUF or SPM: entry x + 128"),
                *_ring("ifm", 11),
                *_ring("ofm", 12),
            ),
            "Any function of one element",
        ),
        PacketFormat(
            Opcode.FENCE, 4, Queue.BOTH, (), "Both queues end what they have before either goes on"
        ),
        PacketFormat(
            Opcode.TRACE,
            4,
            Queue.COMPUTE,
            (_unsigned("tag", 2, "number to record"),),
            "Appends 16 bytes to TRACE: layer and sequence, tag, cycle (64 bits)",
        ),
        PacketFormat(
            Opcode.IRQ,
            4,
            Queue.BOTH,
            (_unsigned("tag", 2, "number for the host"),),
            "Raises USER, sets IRQ_TAG",
        ),
        PacketFormat(Opcode.END, 4, Queue.BOTH, (), "The last packet: state DONE, interrupt DONE"),
    )
}
