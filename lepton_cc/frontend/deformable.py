"""ONNX DeformConv: taps sampled at learned offsets, and then one matrix product a group."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.frontend.indexing import index_dtype
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.sampling import (
    combinations,
    linear_taps,
    pixels,
    summed,
    weighted_pixels,
)
from lepton_cc.frontend.windows import spatial_dims, window_of
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Pad, Slice
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.window import Window


@dataclass(frozen=True, slots=True)
class _Sampling:
    """Where the taps of every window are read: K taps, P output positions."""

    node: NodeView
    window: Window
    dims: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def num_taps(self) -> int:
        """Taps of a window."""
        return math.prod(self.window.size)

    def regular(self, axis: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Coordinates on an axis without offsets, [K, *out]."""
        window, rank = self.window, self.window.rank
        taps = np.indices(window.size)[axis].reshape(-1, *[1] * rank) * window.dilations[axis]
        starts = np.indices(self.out)[axis] * window.strides[axis] - window.low[axis]
        line: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (taps + starts).astype(np.float32)
        return line

    def coordinates(self, offsets: Value, axis: int) -> Value:
        """Coordinates [N, K, *out] with the offsets [N, K, axes, *out] of the axis."""
        node, dims = self.node, offsets.type.dims
        starts = (0, 0, axis, *[0] * len(self.out))
        part = Slice(starts, (dims[0], dims[1], 1, *self.out), (1,) * len(dims))
        own = node.reshape(node.emit(part, offsets), (dims[0], dims[1], *self.out))
        table = self.regular(axis).astype(offsets.type.dtype.numpy)
        return node.binary(B.ADD, own, node.constant_value(table))

    def sampled(self, x: Value, offsets: Value) -> Value:
        """Samples [N, K, *out, C] of x [N, C, *S], padded with zeros."""
        node = self.node
        # One element of zeros around x makes every tap within reach right at the edge.
        rank = len(self.dims)
        ring = (0, 0, *[1] * rank)
        padded = node.emit(Pad(ring, ring), x)
        spatial = tuple(dim + 2 for dim in self.dims)
        axes = []
        for axis, size in enumerate(spatial):
            place = node.binary(B.ADD, self.coordinates(offsets, axis), 1)
            axes.append(linear_taps(node, place, size, low=0, high=size - 1))
        num_pixels = math.prod(spatial)
        batch = x.type.dims[0]
        kind = index_dtype(batch * num_pixels).numpy
        images = (np.arange(batch) * num_pixels).astype(kind).reshape(-1, *[1] * (rank + 1))
        first, table = node.constant_value(images), pixels(node, padded)
        parts = [weighted_pixels(node, table, first, spatial, taps) for taps in combinations(axes)]
        return summed(node, parts)


def _part(node: NodeView, x: Value, axis: int, index: int, count: int) -> Value:
    """The index-th of `count` equal parts along an axis."""
    if count == 1:
        return x
    dims = x.type.dims
    size = dims[axis] // count
    starts = tuple(index * size if a == axis else 0 for a in range(len(dims)))
    sizes = tuple(size if a == axis else dim for a, dim in enumerate(dims))
    return node.emit(Slice(starts, sizes, (1,) * len(dims)), x)


def _joined(node: NodeView, parts: Sequence[Value], axis: int) -> Value:
    return parts[0] if len(parts) == 1 else node.emit(Concat(axis), *parts)


def _samples(node: NodeView, sampling: _Sampling, groups: int) -> Value:
    """The samples of all offset groups [N, K, *out, C], masked."""
    x, offsets, mask = node.operand(0), node.operand(2), node.optional(4)
    batch, taps = x.type.dims[0], sampling.num_taps
    rank = sampling.window.rank
    parts = []
    for group in range(groups):
        own = node.reshape(
            _part(node, offsets, 1, group, groups), (batch, taps, rank, *sampling.out)
        )
        part = sampling.sampled(_part(node, x, 1, group, groups), own)
        if mask is not None:
            weights = _part(node, mask, 1, group, groups)
            part = node.binary(B.MUL, part, node.reshape(weights, (*weights.type.dims, 1)))
        parts.append(part)
    return _joined(node, parts, rank + 2)


def import_deform_conv(node: NodeView) -> Sequence[Value | None]:
    """DeformConv of any rank, grouped, with offset groups and a mask."""
    x, weights, offsets = (node.operand(index) for index in range(3))
    size = weights.type.dims[2:]
    dims = spatial_dims(node, x)
    if len(size) != len(dims):
        node.refuse(f"weights {weights.type} for {x.type}", code=Code.MODEL_MALFORMED)
    window, _ = window_of(node, dims, size)
    out = window.output_dims(dims)
    groups, offset_groups = node.int("group", 1), node.int("offset_group", 1)
    if min(groups, offset_groups) < 1:
        node.refuse("a number of groups is not positive", code=Code.MODEL_MALFORMED)
    expected = (x.type.dims[0], offset_groups * math.prod(size) * len(dims), *out)
    channels = x.type.dims[1]
    if offsets.type.dims != expected or channels % groups or channels % offset_groups:
        node.refuse(f"offsets {offsets.type} for {x.type}", code=Code.MODEL_MALFORMED)
    mask = node.optional(4)
    if mask is not None and mask.type.dims != (
        x.type.dims[0],
        offset_groups * math.prod(size),
        *out,
    ):
        node.refuse(f"mask {mask.type} for offsets {offsets.type}", code=Code.MODEL_MALFORMED)
    samples = _samples(node, _Sampling(node, window, dims, out), offset_groups)
    # [N, K, *out, C] as rows [N * P] of K by C.
    rank, taps = len(dims), math.prod(size)
    order = (0, *range(2, rank + 2), 1, rank + 2)
    rows = node.transpose(samples, order)
    results = []
    for group in range(groups):
        own = _part(node, rows, rank + 2, group, groups)
        depth = taps * own.type.dims[-1]
        flat = node.reshape(own, (x.type.dims[0] * math.prod(out), depth))
        kernel = _part(node, weights, 0, group, groups)
        kernel = node.transpose(kernel, (*range(2, rank + 2), 1, 0))
        kernel = node.folded(node.reshape(kernel, (depth, kernel.type.dims[-1])))
        results.append(node.emit(MatMul(), flat, kernel))
    y = _joined(node, results, 1)
    if node.optional(3) is not None:
        y = node.binary(B.ADD, y, node.operand(3))
    y = node.reshape(y, (x.type.dims[0], *out, y.type.dims[1]))
    return (node.transpose(y, (0, rank + 1, *range(1, rank + 1))),)


OPERATORS = (Operator("", "DeformConv", 19, import_deform_conv),)
