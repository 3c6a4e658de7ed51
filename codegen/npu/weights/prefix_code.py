"""PREFIX: a canonical prefix code of at most 15 bits, in lanes that are decoded side by side."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lepton_cc.codegen.npu.weights.errors import WeightStreamError
from lepton_cc.codegen.npu.weights.order import Weights
from lepton_cc.codegen.npu.weights.plain import Bytes, pack_nibbles, unpack_nibbles

MAX_BITS = 15
_MAX_LANE_BYTES = (1 << 16) - 1
_HEAD_BYTES = 4

Integers = npt.NDArray[np.int64]


def code_lengths(counts: Integers, limit: int = MAX_BITS) -> Integers:
    """Bits of each symbol's code, 0 of those that do not occur; minimal for codes up to `limit`.

    Package-merge (Larmore, Hirschberg 1990), of which only the numbers of leaves are kept: on
    each level the leaves that are taken are the rarest symbols. A single symbol has one bit.
    """
    lengths = np.zeros(counts.size, np.int64)
    symbols = np.flatnonzero(counts)
    if symbols.size == 1:
        lengths[symbols] = 1
        return lengths
    rarest_first = symbols[np.argsort(counts[symbols], kind="stable")]
    leaves = counts[rarest_first]
    merged = leaves
    leaf_of_level = [np.ones(leaves.size, np.bool_)]
    for _ in range(limit - 1):
        pairs = merged[: merged.size // 2 * 2].reshape(-1, 2).sum(axis=1)
        both = np.concatenate((leaves, pairs))
        order = np.argsort(both, kind="stable")
        leaf_of_level.append(order < leaves.size)
        merged = both[order]
    taken = 2 * (leaves.size - 1)
    for is_leaf in reversed(leaf_of_level):
        num_leaves = int(np.count_nonzero(is_leaf[:taken]))
        lengths[rarest_first[:num_leaves]] += 1
        taken = 2 * (taken - num_leaves)
    return lengths


def canonical_codes(lengths: Integers) -> Integers:
    """The code of each symbol: shorter first, then by symbol (RFC 1951, 3.2.2)."""
    codes = np.zeros(lengths.size, np.int64)
    code = 0
    for length in range(1, MAX_BITS + 1):
        symbols = np.flatnonzero(lengths == length)
        codes[symbols] = code + np.arange(symbols.size)
        code = (code + symbols.size) << 1
    return codes


def _reversed_bits(codes: Integers, lengths: Integers) -> Integers:
    result = np.zeros_like(codes)
    for bit in range(MAX_BITS):
        result |= (codes >> bit & 1) << np.maximum(lengths - 1 - bit, 0)
    return result


@dataclass(frozen=True, slots=True)
class PrefixCode:
    """The code of a stream: symbols from `least` on, and the bytes of each lane."""

    least: int
    lengths: Integers
    lane_bytes: Integers

    @property
    def size_bytes(self) -> int:
        """Bytes of the encoded weights, header included."""
        nibbles = -(-self.lengths.size // 8) * 4
        return _HEAD_BYTES + 2 * self.lane_bytes.size + nibbles + int(self.lane_bytes.sum())


def _bits_by_lane(stream: Weights, code: Integers, least: int, lanes: int) -> Integers:
    """Length of each weight's code, `[ceil(n / lanes), lanes]`, 0 behind the last weight."""
    rows = -(-stream.size // lanes)
    bits = np.zeros(rows * lanes, np.int64)
    bits[: stream.size] = code[stream.astype(np.int64) - least]
    return bits.reshape(rows, lanes)


def plan_prefix(stream: Weights, lanes: int) -> PrefixCode | None:
    """The best code; None where a lane would be longer than its header can say."""
    least = int(stream.min())
    lengths = code_lengths(np.bincount(stream.astype(np.int64) - least))
    lane_bits = _bits_by_lane(stream, lengths, least, lanes).sum(axis=0)
    lane_bytes = (lane_bits + 7) // 8
    if lane_bytes.max() > _MAX_LANE_BYTES:
        return None
    return PrefixCode(least, lengths, lane_bytes)


def encode_prefix(stream: Weights, plan: PrefixCode) -> Bytes:
    """Header and lanes: a code's bits fill bytes from bit 0 up, its most significant bit first."""
    lanes = plan.lane_bytes.size
    bits = _bits_by_lane(stream, plan.lengths, plan.least, lanes)
    codes = _reversed_bits(canonical_codes(plan.lengths), plan.lengths)
    lane_starts = np.cumsum(plan.lane_bytes) - plan.lane_bytes
    ends = np.cumsum(bits, axis=0) + 8 * lane_starts
    positions = (ends - bits).reshape(-1)[: stream.size]
    values = codes[stream.astype(np.int64) - plan.least].astype(np.uint64)
    shifted = values << (positions & 31).astype(np.uint64)
    words = positions >> 5
    num_words = int(plan.lane_bytes.sum()) // 4 + 2
    # Fields do not overlap, so that their sum is their union; each half word sum stays exact.
    low = np.bincount(words, (shifted & np.uint64(0xFFFFFFFF)).astype(np.float64), num_words)
    high = np.bincount(words + 1, (shifted >> np.uint64(32)).astype(np.float64), num_words)
    body = (low + high).astype("<u4").view(np.uint8)[: int(plan.lane_bytes.sum())]
    nibbles = np.zeros(-(-plan.lengths.size // 8) * 8, np.uint8)
    nibbles[: plan.lengths.size] = plan.lengths
    head = np.array([plan.least & 0xFF, plan.lengths.size - 1, 0, 0], np.uint8)
    lane_sizes = plan.lane_bytes.astype("<u2").view(np.uint8)
    return np.concatenate((head, lane_sizes, pack_nibbles(nibbles), body))


def _read_header(content: Bytes, lanes: int) -> tuple[PrefixCode, int]:
    if content.size < _HEAD_BYTES + 2 * lanes:
        raise WeightStreamError(f"{content.size} bytes do not hold the header of {lanes} lanes")
    least, count = int(content[:1].view(np.int8)[0]), int(content[1]) + 1
    if content[2] or content[3]:
        raise WeightStreamError("bytes 2 and 3 are not 0")
    if least + count - 1 > 127:
        raise WeightStreamError(f"symbols {least} to {least + count - 1} exceed 127")
    start = _HEAD_BYTES + 2 * lanes
    lane_bytes = np.frombuffer(content[_HEAD_BYTES:start].tobytes(), "<u2").astype(np.int64)
    nibble_bytes = -(-count // 8) * 4
    if content.size < start + nibble_bytes:
        raise WeightStreamError("the stream ends inside the code lengths")
    nibbles = unpack_nibbles(content[start : start + nibble_bytes], 2 * nibble_bytes)
    if nibbles[count:].any():
        raise WeightStreamError("code lengths behind the last symbol are not 0")
    lengths = nibbles[:count].astype(np.int64)
    used = lengths[lengths > 0]
    single = used.size == 1 and used[0] == 1
    if not single and int((1 << (MAX_BITS - used)).sum()) != 1 << MAX_BITS:
        raise WeightStreamError("the code is not complete")
    return PrefixCode(least, lengths, lane_bytes), start + nibble_bytes


def _window_table(plan: PrefixCode) -> tuple[Integers, Integers]:
    """(symbol, code length) for each 15 bits as they lie in the stream; length 0: no code."""
    symbols = np.zeros(1 << MAX_BITS, np.int64)
    bits = np.zeros(1 << MAX_BITS, np.int64)
    reversed_codes = _reversed_bits(canonical_codes(plan.lengths), plan.lengths)
    for symbol in np.flatnonzero(plan.lengths):
        length = int(plan.lengths[symbol])
        bits[int(reversed_codes[symbol]) :: 1 << length] = length
        symbols[int(reversed_codes[symbol]) :: 1 << length] = plan.least + symbol
    return symbols, bits


def _decode_lane(lane: Bytes, count: int, table: tuple[Integers, Integers]) -> Weights:
    bits = np.zeros(8 * lane.size + MAX_BITS, np.int64)
    bits[: 8 * lane.size] = np.unpackbits(lane, bitorder="little")
    windows = np.zeros(8 * lane.size + 1, np.int64)
    for bit in range(MAX_BITS):
        windows |= bits[bit : bit + windows.size] << bit
    steps = table[1][windows].tolist()
    starts, position = [], 0
    for _ in range(count):
        if position >= 8 * lane.size or not steps[position]:
            raise WeightStreamError("a lane ends too early or holds an undefined code")
        starts.append(position)
        position += steps[position]
    if (position + 7) // 8 != lane.size or bits[position:].any():
        raise WeightStreamError("a lane does not end with its last code")
    return table[0][windows[starts]].astype(np.int8)


def decode_prefix(content: Bytes, count: int, lanes: int) -> tuple[Weights, int]:
    """The weights, and the bytes that they took."""
    plan, position = _read_header(content, lanes)
    table = _window_table(plan)
    stream = np.zeros(count, np.int8)
    for index, size in enumerate(plan.lane_bytes.tolist()):
        lane = content[position : position + size]
        if lane.size < size:
            raise WeightStreamError(f"the slice ends inside lane {index}")
        in_lane = len(range(index, count, lanes))
        stream[index::lanes] = _decode_lane(lane, in_lane, table)
        position += size
    return stream, position
