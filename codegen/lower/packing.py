"""Weights as a contraction's tiles read them: constants are packed at compile time.

Packed order is [group][block][tap][channel][column of the block], every block padded with zeros to
whole vectors: a tile then reads its weights in one forward sweep. Weights of 4 bits stay so: there
two neighbouring (tap, channel) rows of a block share a row of bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_cc.codegen.kernel.expr import Expr, index, load
from lepton_cc.codegen.kernel.tile import Tile, padded_columns
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import from_storage
from lepton_cc.codegen.lower.source import Source, buffer_source
from lepton_cc.codegen.lower.subbyte import (
    elements_a_byte,
    packed_rows,
    split,
    stored_elements,
    unpacked,
)
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.tensor import Array
from lepton_cc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class ConvWeights:
    """Access to weights [taps, channels, groups * filters] and bias, packed or as they lie.

    `packed`: every block is padded to whole vectors, so that full vectors may be read. Depthwise
    weights are one group of one channel whose filters are all the channels; they stay as they are.
    steps_a_byte: channels (or taps, if there is one channel) whose weights share a byte.
    """

    groups: int
    packed: bool
    at: Callable[[Expr, Expr, int, Expr, Expr, Expr], Expr]
    bias: Callable[[Expr, Expr], Callable[[Expr], Expr] | None]
    steps_a_byte: int = 1


def conv_weights(
    context: KernelContext,
    *,
    groups: int,
    channels: int,
    filters: int,
    taps: int,
    tile: Tile,
    groups_first: bool = False,
    in_floats: bool = False,
) -> ConvWeights:
    """The weights of the context's op (operand 1, and the bias, operand 2) for a tile.

    They lie as [taps, channels, groups, filters], with `groups_first` as [taps, groups, channels,
    filters]. `in_floats`: integers become floats that stand for them, without the bias.
    """
    sizes = _Sizes(taps, groups, channels, filters, groups_first)
    content = context.constant_array(1)
    content = None if content is None else stored_elements(content)
    narrow = content is not None and elements_a_byte(DType.from_numpy(content.dtype)) > 1
    if in_floats and content is not None and not narrow:
        floats = content.astype(np.float32)
        type_ = TensorType(DType.F32, tuple(floats.shape))
        source = buffer_source(type_, lambda: context.constant(floats))
        return _as_they_lie(source, None, sizes, tile)
    bias_source = None if in_floats else context.optional_source(2)
    bias_content = None if in_floats else context.constant_array(2)
    can_pack = content is not None and (bias_source is None or bias_content is not None)
    lies_in_vectors = channels == 1 and groups == 1 and filters % tile.lanes == 0
    if not can_pack or (lies_in_vectors and not narrow):
        return _as_they_lie(context.source(1), bias_source, sizes, tile)
    assert content is not None
    array = sizes.in_order(content)
    panels = context.constant(_pack(array, tile))
    dtype = DType.from_numpy(content.dtype)
    padded = padded_columns(filters, tile)
    steps_a_byte = elements_a_byte(dtype)
    rows = -(-taps * channels // steps_a_byte)

    def at(group: Expr, block: Expr, width: int, tap: Expr, channel: Expr, column: Expr) -> Expr:
        first = group * (rows * padded) + block * (rows * tile.columns)
        step = tap * channels + channel
        if not narrow:
            return from_storage(load(panels, first + (step * width + column)), dtype)
        row, place = split(step, steps_a_byte)
        return unpacked(load(panels, first + (row * width + column)), place, dtype)

    def bias(group: Expr, block: Expr) -> Callable[[Expr], Expr] | None:
        if bias_content is None:
            return None
        widened = np.zeros((groups, padded), dtype=bias_content.dtype)
        widened[:, :filters] = bias_content.reshape(groups, filters)
        buffer = context.constant(widened)
        first = group * padded + block * tile.columns
        bias_dtype = DType.from_numpy(bias_content.dtype)
        return lambda column: from_storage(load(buffer, first + column), bias_dtype)

    return ConvWeights(groups, True, at, bias, steps_a_byte)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How the weights lie: [taps, channels, groups, filters], or groups before channels."""

    taps: int
    groups: int
    channels: int
    filters: int
    groups_first: bool

    def in_order(self, array: Array) -> Array:
        """The weights as [taps, channels, groups, filters]."""
        if not self.groups_first:
            return array.reshape(self.taps, self.channels, self.groups, self.filters)
        lying = array.reshape(self.taps, self.groups, self.channels, self.filters)
        return lying.transpose(0, 2, 1, 3)

    def row(self, group: Expr, tap: Expr, channel: Expr) -> Expr:
        """The number of the first of a group's filters for a tap and channel."""
        if self.groups_first:
            return ((tap * self.groups + group) * self.channels + channel) * self.filters
        return (tap * self.channels + channel) * (self.groups * self.filters) + group * self.filters


def _as_they_lie(
    weights: Source, bias_source: Source | None, sizes: _Sizes, tile: Tile
) -> ConvWeights:
    is_matrix = sizes.taps == 1 and sizes.groups == 1
    outer = (index(0),) * (weights.type.rank - 2)

    def at(group: Expr, block: Expr, width: int, tap: Expr, channel: Expr, column: Expr) -> Expr:
        if is_matrix and weights.linear is None:
            return weights.at((*outer, channel, block * tile.columns + column))
        first = sizes.row(group, tap, channel) + block * tile.columns
        return weights.at_linear(first + column)

    def bias(group: Expr, block: Expr) -> Callable[[Expr], Expr] | None:
        if bias_source is None:
            return None
        first = group * sizes.filters + block * tile.columns
        return lambda column: bias_source.at_linear(first + column)

    return ConvWeights(sizes.groups, False, at, bias)


def _pack(array: Array, tile: Tile) -> Array:
    """[taps, channels, groups, filters] -> [group][block][tap][channel][column], flat."""
    taps, channels, groups, filters = array.shape
    dtype = DType.from_numpy(array.dtype)
    parts: list[Array] = []
    for group in range(groups):
        for start in range(0, filters, tile.columns):
            block = array[:, :, group, start : start + tile.columns]
            width = -(-block.shape[-1] // tile.lanes) * tile.lanes
            widened = np.zeros((taps, channels, width), dtype=array.dtype)
            widened[:, :, : block.shape[-1]] = block
            if elements_a_byte(dtype) > 1:
                widened = packed_rows(widened.reshape(taps * channels, width), dtype.bits)
            parts.append(widened.reshape(-1))
    return np.concatenate(parts)
