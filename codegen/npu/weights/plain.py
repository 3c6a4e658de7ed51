"""Encodings without a code: a byte or four bits a weight, or a bitmap with the nonzero bytes."""

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.weights.errors import WeightStreamError
from lepton_cc.codegen.npu.weights.order import Weights

Bytes = npt.NDArray[np.uint8]

_BLOCK = 8


def fits_four_bits(stream: Weights) -> bool:
    """Whether RAW4 can hold the weights."""
    return bool(stream.min() >= -8 and stream.max() <= 7)


def pack_nibbles(values: Bytes) -> Bytes:
    """Two values of four bits to a byte, the first in bits 3:0."""
    padded = np.zeros(values.size + values.size % 2, np.uint8)
    padded[: values.size] = values & 15
    return padded[::2] | (padded[1::2] << np.uint8(4))


def unpack_nibbles(content: Bytes, count: int) -> Bytes:
    """The first `count` values of `pack_nibbles`."""
    pairs = np.stack((content & 15, content >> 4), axis=1)
    return pairs.reshape(-1)[:count]


def encode_raw4(stream: Weights) -> Bytes:
    """RAW4 of weights in -8..7."""
    return pack_nibbles(stream.view(np.uint8))


def decode_raw4(content: Bytes, count: int) -> tuple[Weights, int]:
    """The weights, and the bytes that they took."""
    size = -(-count // 2)
    if content.size < size:
        raise WeightStreamError(f"{content.size} bytes for {count} weights of 4 bits")
    if count % 2 and content[size - 1] >> 4:
        raise WeightStreamError("bits behind the last weight are not 0")
    nibbles = unpack_nibbles(content[:size], count)
    stream: Weights = (nibbles << 4).view(np.int8) >> 4
    return stream, size


def bitmap_size(stream: Weights) -> int:
    """Bytes of BITMAP."""
    return -(-stream.size // _BLOCK) + int(np.count_nonzero(stream))


def encode_bitmap(stream: Weights) -> Bytes:
    """BITMAP: of each block of 8 a mask byte, then its nonzero weights."""
    blocks = -(-stream.size // _BLOCK)
    rows = np.zeros((blocks, 1 + _BLOCK), np.uint8)
    padded = np.zeros(blocks * _BLOCK, np.uint8)
    padded[: stream.size] = stream.view(np.uint8)
    rows[:, 1:] = padded.reshape(blocks, _BLOCK)
    stored = rows != 0
    rows[:, 0] = np.packbits(stored[:, 1:], axis=1, bitorder="little")[:, 0]
    stored[:, 0] = True
    encoded: Bytes = rows[stored]
    return encoded


def decode_bitmap(content: Bytes, count: int) -> tuple[Weights, int]:
    """The weights, and the bytes that they took."""
    blocks = -(-count // _BLOCK)
    masks, position = bytearray(), 0
    known = content.tobytes()
    for _ in range(blocks):
        if position >= len(known):
            raise WeightStreamError(f"bitmap ends before block {len(masks)} of {blocks}")
        masks.append(known[position])
        position += 1 + known[position].bit_count()
    if position > len(known):
        raise WeightStreamError("bitmap ends inside the last block")
    bits = np.unpackbits(np.frombuffer(masks, np.uint8), bitorder="little").astype(np.bool_)
    if bits[count:].any():
        raise WeightStreamError("bits behind the last weight are not 0")
    sizes = np.frombuffer(masks, np.uint8)
    counts = np.bitwise_count(sizes).astype(np.int64)
    mask_positions = np.cumsum(counts + 1) - counts - 1
    nonzero = np.ones(position, np.bool_)
    nonzero[mask_positions] = False
    stream = np.zeros(blocks * _BLOCK, np.uint8)
    stream[bits] = content[:position][nonzero]
    return stream[:count].view(np.int8), position
