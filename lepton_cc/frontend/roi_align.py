"""ONNX RoiAlign: regions of a feature map, sampled bilinearly and pooled to one size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.frontend.indexing import index_dtype
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.sampling import (
    column,
    combinations,
    linear_taps,
    pixels,
    summed,
    weighted_pixels,
)
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.movement import Concat, Slice
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction


@dataclass(frozen=True, slots=True)
class _RoiAlign:
    """The attributes of RoiAlign."""

    node: NodeView
    spatial: tuple[int, int]
    height: int
    width: int
    scale: float
    half_pixel: bool
    max_mode: bool

    def bounds(self, rois: Value, axis: int) -> tuple[Value, Value]:
        """Start and extent [R] of the regions on an axis (0: x, 1: y)."""
        offset = 0.5 if self.half_pixel else 0.0
        ends = []
        for index in (axis, axis + 2):
            scaled = self.node.binary(B.MUL, column(self.node, rois, index), self.scale)
            ends.append(self.node.binary(B.SUB, scaled, offset))
        extent = self.node.binary(B.SUB, ends[1], ends[0])
        if not self.half_pixel:
            extent = self.node.emit(Clamp(low=1), extent)
        return ends[0], extent

    def coordinates(self, rois: Value, axis: int, bins: int, samples: int) -> Value:
        """Sampled coordinates [R, bins, samples]."""
        start, extent = (
            self.node.reshape(v, (v.type.num_elements, 1, 1)) for v in self.bounds(rois, axis)
        )
        steps = np.arange(bins)[:, None] + (np.arange(samples) + 0.5) / samples
        dtype = rois.type.dtype
        table = self.node.constant_value((steps / bins).astype(dtype.numpy))
        return self.node.binary(B.ADD, start, self.node.binary(B.MUL, extent, table))

    def pooled(self, table: Value, rois: Value, images: Value, samples: tuple[int, int]) -> Value:
        """The regions' pooled pixels [R, height, width, C]; `samples` per bin on y and x."""
        node, spatial = self.node, self.spatial
        axes = []
        for axis, bins, size in ((1, self.height, spatial[0]), (0, self.width, spatial[1])):
            x = self.coordinates(rois, axis, bins, samples[1 - axis])
            dims = x.type.dims
            shape = (*dims, 1, 1) if axis == 1 else (dims[0], 1, 1, *dims[1:])
            x = node.reshape(x, shape)
            axes.append(linear_taps(node, x, size, low=-1, high=size))
        parts = [weighted_pixels(node, table, images, spatial, taps) for taps in combinations(axes)]
        if not self.max_mode:
            return node.emit(
                Reduce(ReduceFunction.MEAN, (2, 4), keep_dims=False), summed(node, parts)
            )
        best = parts[0]
        for part in parts[1:]:
            best = node.binary(B.MAX, best, part)
        return node.emit(Reduce(ReduceFunction.MAX, (2, 4), keep_dims=False), best)


def import_roi_align(node: NodeView) -> Sequence[Value | None]:
    """RoiAlign; with sampling_ratio 0 the regions must be known at compile time."""
    x, rois, images = (node.operand(index) for index in range(3))
    node.check_rank(x, 4, 4)
    node.check_rank(rois, 2, 2)
    node.check_rank(images, 1, 1)
    batch, _, *spatial = x.type.dims
    default = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    mode = node.string("mode", "avg")
    align = _RoiAlign(
        node,
        (spatial[0], spatial[1]),
        node.int("output_height", 1),
        node.int("output_width", 1),
        node.float("spatial_scale", 1.0),
        node.string("coordinate_transformation_mode", default) == "half_pixel",
        mode == "max",
    )
    node.check_table(max(0, align.height), max(0, align.width))
    if align.height < 1 or align.width < 1:
        node.refuse("the output has no elements", code=Code.MODEL_MALFORMED)
    num_pixels = math.prod(spatial)
    kind = index_dtype(batch * num_pixels)
    first = node.binary(B.MUL, node.cast(images, kind), num_pixels)
    first = node.reshape(first, (first.type.num_elements, 1, 1, 1, 1))
    table, ratio = pixels(node, x), node.int("sampling_ratio", 0)
    if ratio > 0:
        node.check_table(align.height, align.width, ratio, ratio)
        y = align.pooled(table, rois, first, (ratio, ratio))
        return (node.transpose(y, (0, 3, 1, 2)),)
    regions = []
    node.constant(1)
    for index in range(rois.type.dims[0]):
        roi = node.emit(Slice((index, 0), (1, 4), (1, 1)), rois)
        image = node.emit(Slice((index, 0, 0, 0, 0), (1,) * 5, (1,) * 5), first)
        samples = _adaptive_samples(node, align, roi)
        regions.append(align.pooled(table, roi, image, samples))
    y = regions[0] if len(regions) == 1 else node.emit(Concat(0), *regions)
    return (node.transpose(y, (0, 3, 1, 2)),)


def _adaptive_samples(node: NodeView, align: _RoiAlign, roi: Value) -> tuple[int, int]:
    """Samples a bin of one constant region: about one for each pixel."""
    counts = []
    for axis, bins in ((1, align.height), (0, align.width)):
        extent = node.content(align.bounds(roi, axis)[1])
        if extent is None:
            node.refuse_unknown(
                align.bounds(roi, axis)[1], "the regions must be known at compile time"
            )
        pixels_per_bin = float(extent.reshape(-1)[0]) / bins
        if not pixels_per_bin < max(align.spatial) * 16:
            node.refuse(
                f"a region has {pixels_per_bin} pixels for each bin", code=Code.LIMIT_EXCEEDED
            )
        counts.append(max(1, math.ceil(pixels_per_bin)))
    return counts[0], counts[1]


OPERATORS = (Operator("", "RoiAlign", 10, import_roi_align),)
