"""Encodings without a code: a byte or four bits a weight, or bitmaps with the nonzero bytes."""

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.weights.errors import WeightStreamError
from lepton_cc.codegen.npu.weights.order import Weights

Bytes = npt.NDArray[np.uint8]

_BLOCK = 8
_GROUP = 64


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


def _in_blocks(stream: Weights) -> Bytes:
    """The weights with zeros behind them, `[groups, blocks of a group, weights of a block]`."""
    groups = -(-stream.size // _GROUP)
    padded = np.zeros(groups * _GROUP, np.uint8)
    padded[: stream.size] = stream.view(np.uint8)
    return padded.reshape(groups, _BLOCK, _BLOCK)


def bitmap_size(stream: Weights) -> int:
    """Bytes of BITMAP."""
    nonzero = _in_blocks(stream) != 0
    return len(nonzero) + int(nonzero.any(axis=2).sum()) + int(nonzero.sum())


def _pack(bits: npt.NDArray[np.bool_]) -> Bytes:
    return np.packbits(bits, axis=-1, bitorder="little")[..., 0]


def encode_bitmap(stream: Weights) -> Bytes:
    """BITMAP: bytes that say which blocks of 64 weights are not 0; of these masks and weights."""
    blocks = _in_blocks(stream)
    nonzero = blocks != 0
    parts = np.zeros((blocks.shape[0], 1 + _BLOCK * (1 + _BLOCK)), np.uint8)
    stored = np.zeros(parts.shape, np.bool_)
    of_blocks = parts[:, 1:].reshape(-1, _BLOCK, 1 + _BLOCK)  # views of `parts` and `stored`
    stored_of_blocks = stored[:, 1:].reshape(-1, _BLOCK, 1 + _BLOCK)
    parts[:, 0] = _pack(nonzero.any(axis=2))
    of_blocks[:, :, 0] = _pack(nonzero)
    of_blocks[:, :, 1:] = blocks
    stored[:, 0] = True
    stored_of_blocks[:, :, 0] = nonzero.any(axis=2)
    stored_of_blocks[:, :, 1:] = nonzero
    encoded: Bytes = parts[stored]
    return encoded


def decode_bitmap(content: Bytes, count: int) -> tuple[Weights, int]:
    """The weights, and the bytes that they took."""
    known = content.tobytes()
    masks = np.zeros(-(-count // _GROUP) * _BLOCK, np.uint8)
    control: list[int] = []  # positions of bytes that are no weights
    position = 0
    for group in range(-(-count // _GROUP)):
        control.append(position)
        used = _byte(known, position)
        position += 1
        for block in range(_BLOCK):
            if used >> block & 1:
                control.append(position)
                mask = _byte(known, position)
                masks[_BLOCK * group + block] = mask
                position += 1 + mask.bit_count()
        if group == count // _GROUP and used >> -(-(count % _GROUP) // _BLOCK):
            raise WeightStreamError("bits behind the last block are not 0")
    if position > len(known):
        raise WeightStreamError("bitmap ends inside the last block")
    bits = np.unpackbits(masks, bitorder="little").astype(np.bool_)
    if bits[count:].any():
        raise WeightStreamError("bits behind the last weight are not 0")
    is_weight = np.ones(position, np.bool_)
    is_weight[control] = False
    stream = np.zeros(bits.size, np.uint8)
    stream[bits] = content[:position][is_weight]
    return stream[:count].view(np.int8), position


def _byte(known: bytes, position: int) -> int:
    if position >= len(known):
        raise WeightStreamError("bitmap ends too early")
    return known[position]
