"""Weight slices: what is encoded is decoded, in the specified order, never above its bound."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_cc.codegen.npu.isa.packets import Encoding
from lepton_cc.codegen.npu.weights.errors import WeightStreamError
from lepton_cc.codegen.npu.weights.order import arrange
from lepton_cc.codegen.npu.weights.prefix_code import code_lengths
from lepton_cc.codegen.npu.weights.slices import (
    decode_slice,
    encode_slice,
    slice_candidates,
    slice_sizes,
)


@st.composite
def slices(draw):  # type: ignore[no-untyped-def]
    """(weights, scales, biases, tile, groups, lanes)."""
    depthwise = draw(st.booleans())
    groups = 1 if depthwise else draw(st.integers(1, 3))
    outputs = groups * draw(st.integers(1, 20))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    shape = (*kernel, outputs) if depthwise else (*kernel, draw(st.integers(1, 6)), outputs)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.3, 2.0, 20.0, 300.0]))
    weights = np.clip(np.rint(rng.normal(0, spread, shape)), -128, 127).astype(np.int8)
    scales = rng.uniform(1e-4, 1, outputs).astype(np.float32)
    biases = rng.integers(-(2**31), 2**31, outputs).astype(np.int32)
    return weights, scales, biases, draw(st.integers(1, 8)), groups, draw(st.integers(1, 16))


@settings(max_examples=150, deadline=None)
@given(slices())
def test_every_encoding_decodes_to_what_was_encoded(case) -> None:  # type: ignore[no-untyped-def]
    weights, scales, biases, tile, groups, lanes = case
    options = {"tile": tile, "groups": groups, "lanes": lanes}
    sizes = slice_sizes(weights, **options)
    candidates = list(slice_candidates(weights, scales, biases, **options))
    assert {item.encoding: len(item.content) for item in candidates} == sizes
    for item in candidates:
        decoded = decode_slice(item.content, item.encoding, weights.shape, **options)
        assert np.array_equal(decoded.weights, weights)
        assert np.array_equal(decoded.scales, scales)
        assert np.array_equal(decoded.biases, biases)
    best = encode_slice(weights, scales, biases, **options)
    assert len(best.content) == min(sizes.values()) <= weights.size + 8 * scales.size + 3
    assert best.content == next(c.content for c in candidates if c.encoding is best.encoding)


@settings(max_examples=150, deadline=None)
@given(slices(), st.data())
def test_a_damaged_slice_decodes_or_is_refused(case, data) -> None:  # type: ignore[no-untyped-def]
    weights, scales, biases, tile, groups, lanes = case
    options = {"tile": tile, "groups": groups, "lanes": lanes}
    for item in slice_candidates(weights, scales, biases, **options):
        for cut in (item.content[:-4], item.content + bytes(4)):
            with pytest.raises(WeightStreamError):
                decode_slice(cut, item.encoding, weights.shape, **options)
        damaged = bytearray(item.content)
        position = data.draw(st.integers(8 * scales.size, len(damaged) - 1))
        damaged[position] ^= 1 << data.draw(st.integers(0, 7))
        try:
            decoded = decode_slice(bytes(damaged), item.encoding, weights.shape, **options)
        except WeightStreamError:
            continue
        # A code may name symbols that do not occur, a bitmap may hold a 0; else each bit counts.
        if item.encoding in (Encoding.RAW8, Encoding.RAW4):
            assert not np.array_equal(decoded.weights, weights)
        assert decoded.weights.shape == weights.shape


def test_order_is_groups_tiles_taps_channels_outputs() -> None:
    shape, tile, groups = (2, 3, 2, 10), 3, 2
    weights = np.arange(np.prod(shape)).astype(np.int8).reshape(shape)
    expected = []
    for group in range(groups):
        for first in range(0, 5, tile):
            outputs = range(first, min(first + tile, 5))
            for y, x, c, o in itertools.product(range(2), range(3), range(2), outputs):
                expected.append(weights[y, x, c, group * 5 + o])
    assert arrange(weights, tile, groups).tolist() == expected


def test_bytes_of_each_encoding_are_those_of_the_specification() -> None:
    weights = np.array([1, 0, 0, -2, 0, 0, 0, 0, 3], np.int8).reshape(1, 1, 9, 1)
    scales, biases = np.array([1.5], np.float32), np.array([-1], np.int32)
    table = bytes.fromhex("0000c03fffffffff")
    encoded = {
        # -2: one, 0: six, 1: one, 3: one; codes 0: 0, -2: 10, 1: 110, 3: 111 (by length, symbol).
        Encoding.RAW8: "010000fe0000000003000000",
        Encoding.RAW4: "01e0000003" + "000000",
        # Both blocks hold something, the first one at 0 and 3, the second one at 0.
        Encoding.BITMAP: "03" + "0901fe" + "0103" + "0000",
        # lanes 2; weights 0, 2, 4, 6, 8 in lane 0: 110 0 0 0 111; 1, 3, 5, 7 in lane 1: 0 10 0 0
        Encoding.PREFIX: "fe050000" + "02000100" + "02313000" + "c301" + "02" + "00",
    }
    found = {
        item.encoding: item.content
        for item in slice_candidates(weights, scales, biases, tile=4, groups=1, lanes=2)
    }
    lengths = code_lengths(np.array([1, 0, 6, 1, 0, 1]))
    assert lengths.tolist() in ([2, 0, 1, 3, 0, 3], [3, 0, 1, 2, 0, 3], [3, 0, 1, 3, 0, 2])
    for encoding in (Encoding.RAW8, Encoding.RAW4, Encoding.BITMAP):
        assert found[encoding] == table + bytes.fromhex(encoded[encoding])
    decoded = decode_slice(
        table + bytes.fromhex(encoded[Encoding.PREFIX]),
        Encoding.PREFIX,
        weights.shape,
        tile=4,
        groups=1,
        lanes=2,
    )
    assert np.array_equal(decoded.weights, weights)
    assert len(found[Encoding.PREFIX]) == 8 + 16


def test_blocks_of_zeros_take_a_bit() -> None:
    weights = np.zeros((1, 1, 130, 1), np.int8)
    weights[0, 0, [9, 15, 129], 0] = [5, -1, 7]
    scales, biases = np.ones(1, np.float32), np.zeros(1, np.int32)
    found = encode_slice(weights, scales, biases, tile=4, groups=1, lanes=2)
    assert found.encoding is Encoding.BITMAP
    assert found.content[8:] == bytes.fromhex("02" + "8205ff" + "00" + "01" + "0207")
    damaged = found.content[:13] + b"\x03" + found.content[14:]
    with pytest.raises(WeightStreamError):
        decode_slice(damaged, Encoding.BITMAP, weights.shape, tile=4, groups=1, lanes=2)


@pytest.mark.parametrize("limit", [3, 5, 15])
def test_code_lengths_are_complete_limited_and_optimal_for_fibonacci(limit: int) -> None:
    counts = [1, 1]
    while len(counts) < min(24, 1 << limit):
        counts.append(counts[-1] + counts[-2])
    lengths = code_lengths(np.array(counts), limit)
    assert int(lengths.max()) <= limit
    assert sum(2.0**-length for length in lengths) == 1
    if len(counts) - 1 <= limit:
        assert sorted(lengths) == [*range(1, len(counts)), len(counts) - 1]


def brute_force_cost(counts: list[int], limit: int) -> int:
    ordered = sorted(counts, reverse=True)
    costs = [
        sum(c * b for c, b in zip(ordered, bits, strict=True))
        for bits in itertools.combinations_with_replacement(range(1, limit + 1), len(counts))
        if sum(2.0**-b for b in bits) <= 1
    ]
    return min(costs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=7), st.integers(3, 6))
def test_code_lengths_cost_the_minimum(counts: list[int], limit: int) -> None:
    lengths = code_lengths(np.array(counts), limit)
    assert int((lengths * np.array(counts)).sum()) == brute_force_cost(counts, limit)


def test_a_lane_that_its_header_cannot_describe_is_no_candidate() -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(-128, 128, (1, 1, 1024, 80)).astype(np.int8)
    assert Encoding.PREFIX not in slice_sizes(weights, tile=16, groups=1, lanes=1)
    assert Encoding.PREFIX in slice_sizes(weights, tile=16, groups=1, lanes=2)
