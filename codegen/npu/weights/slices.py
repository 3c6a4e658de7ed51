"""A weight slice as bytes: channel table, encoded weights, zeros up to a multiple of 4 bytes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.isa.packets import Encoding
from lepton_cc.codegen.npu.weights.errors import WeightStreamError
from lepton_cc.codegen.npu.weights.order import Weights, arrange, restore
from lepton_cc.codegen.npu.weights.plain import (
    Bytes,
    bitmap_size,
    decode_bitmap,
    decode_raw4,
    encode_bitmap,
    encode_raw4,
    fits_four_bits,
)
from lepton_cc.codegen.npu.weights.prefix_code import PrefixCode, encode_prefix, plan_prefix
from lepton_cc.codegen.npu.weights.prefix_code import decode_prefix as _decode_prefix

CHANNEL_BYTES = 8
ALL_ENCODINGS = frozenset(Encoding)
_CHANNEL = np.dtype([("scale", "<f4"), ("bias", "<i4")])

Scales = npt.NDArray[np.float32]
Biases = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class WeightSlice:
    """What a packet's `weights_address` points to; `content` has `weights_bytes` bytes."""

    encoding: Encoding
    content: bytes
    table_bytes: int  # channel table
    encoded_bytes: int  # weights without padding
    num_weights: int

    @property
    def raw_bytes(self) -> int:
        """What the weights alone would take at a byte each."""
        return self.num_weights


def slice_candidates(
    weights: Weights,
    scales: Scales,
    biases: Biases,
    *,
    tile: int,
    groups: int,
    lanes: int,
    allowed: frozenset[Encoding] = ALL_ENCODINGS,
) -> Iterator[WeightSlice]:
    """The slice in each allowed encoding that can hold it, cheapest to decode first.

    The arguments are those of `encode_slice`; each slice is made when it is asked for.
    """
    stream = arrange(weights, tile, groups)
    table = np.zeros(scales.size, _CHANNEL)
    table["scale"], table["bias"] = scales, biases
    head = table.tobytes()
    for encoding in sorted(allowed):
        body = _encode(stream, encoding, lanes)
        if body is not None:
            content = head + body.tobytes()
            content += bytes(-len(content) % 4)
            yield WeightSlice(encoding, content, len(head), body.size, stream.size)


def encode_slice(
    weights: Weights,
    scales: Scales,
    biases: Biases,
    *,
    tile: int,
    groups: int,
    lanes: int,
    allowed: frozenset[Encoding] = ALL_ENCODINGS,
) -> WeightSlice:
    """The smallest slice; of equal ones that which is cheaper to decode.

    `weights`: i8 `[K_h, K_w, C of a group, O]`, or depthwise `[K_h, K_w, C]` with one group;
    `scales` f32 and `biases` i32, one each for every output. `tile`: outputs of the array mode
    (channels of the depthwise mode); `lanes`: a member's decoder weights / 8. RAW8 is always
    allowed, so that a slice never exceeds a byte a weight, 8 bytes a channel, and padding.
    """
    sizes = slice_sizes(weights, tile=tile, groups=groups, lanes=lanes, allowed=allowed)
    smallest = min(sizes, key=lambda encoding: (sizes[encoding], encoding))
    return slice_as(smallest, weights, scales, biases, tile=tile, groups=groups, lanes=lanes)


def slice_as(
    encoding: Encoding,
    weights: Weights,
    scales: Scales,
    biases: Biases,
    *,
    tile: int,
    groups: int,
    lanes: int,
) -> WeightSlice:
    """The slice in an encoding that can hold it; the arguments are those of `encode_slice`."""
    (made,) = slice_candidates(
        weights,
        scales,
        biases,
        tile=tile,
        groups=groups,
        lanes=lanes,
        allowed=frozenset({encoding}),
    )
    return made


def slice_sizes(
    weights: Weights,
    *,
    tile: int,
    groups: int,
    lanes: int,
    allowed: frozenset[Encoding] = ALL_ENCODINGS,
) -> dict[Encoding, int]:
    """Bytes of the whole slice in RAW8 and in each allowed encoding that can hold it."""
    stream = arrange(weights, tile, groups)
    sizes: dict[Encoding, int] = {Encoding.RAW8: stream.size}
    if Encoding.RAW4 in allowed and fits_four_bits(stream):
        sizes[Encoding.RAW4] = -(-stream.size // 2)
    if Encoding.BITMAP in allowed:
        sizes[Encoding.BITMAP] = bitmap_size(stream)
    plan = plan_prefix(stream, lanes) if Encoding.PREFIX in allowed else None
    if plan is not None:
        sizes[Encoding.PREFIX] = plan.size_bytes
    table = CHANNEL_BYTES * weights.shape[-1]
    return {encoding: -(-(table + size) // 4) * 4 for encoding, size in sizes.items()}


def _encode(stream: Weights, encoding: Encoding, lanes: int) -> Bytes | None:
    if encoding is Encoding.RAW8:
        return stream.view(np.uint8)
    if encoding is Encoding.RAW4:
        return encode_raw4(stream) if fits_four_bits(stream) else None
    if encoding is Encoding.BITMAP:
        return encode_bitmap(stream)
    plan: PrefixCode | None = plan_prefix(stream, lanes)
    return None if plan is None else encode_prefix(stream, plan)


@dataclass(frozen=True, slots=True)
class DecodedSlice:
    """Weights in the shape that was asked for, and the channel table."""

    weights: Weights
    scales: Scales
    biases: Biases


def decode_slice(
    content: bytes,
    encoding: Encoding,
    shape: tuple[int, ...],
    *,
    tile: int,
    groups: int,
    lanes: int,
) -> DecodedSlice:
    """What a slice of weights of this shape (see `encode_slice`) holds.

    Raises:
        WeightStreamError: the bytes are no such slice.
    """
    table_bytes = CHANNEL_BYTES * shape[-1]
    if len(content) < table_bytes:
        raise WeightStreamError(f"{len(content)} bytes do not hold {shape[-1]} channels")
    table = np.frombuffer(content[:table_bytes], _CHANNEL)
    body = np.frombuffer(content, np.uint8)[table_bytes:]
    count = int(np.prod(shape))
    stream, used = _decode(body, encoding, count, lanes)
    padding = -(table_bytes + used) % 4
    if body.size != used + padding or body[used:].any():
        raise WeightStreamError(f"{body.size} bytes hold weights of {used} and {padding} zeros")
    return DecodedSlice(
        restore(stream, shape, tile, groups),
        table["scale"].astype(np.float32),
        table["bias"].astype(np.int32),
    )


def _decode(body: Bytes, encoding: Encoding, count: int, lanes: int) -> tuple[Weights, int]:
    if encoding is Encoding.RAW8:
        if body.size < count:
            raise WeightStreamError(f"{body.size} bytes for {count} weights")
        return body[:count].view(np.int8), count
    if encoding is Encoding.RAW4:
        return decode_raw4(body, count)
    if encoding is Encoding.BITMAP:
        return decode_bitmap(body, count)
    return _decode_prefix(body, count, lanes)
