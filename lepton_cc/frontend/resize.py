"""ONNX Resize and Upsample: one gather or resample op for each axis that changes."""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lepton_cc.frontend.limits import MAX_RESIZE_TAPS
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.resize_tables import (
    AxisResize,
    Coordinates,
    Interpolation,
    Rounding,
    TapTable,
    interpolation_table,
    nearest_table,
)
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Gather
from lepton_cc.ir.ops.resample import Resample

_E = TypeVar("_E", bound=enum.Enum)


def _choice(node: NodeView, name: str, choices: type[_E], default: _E) -> _E:
    given = node.string(name, default.value)
    for choice in choices:
        if choice.value == given:
            return choice
    node.refuse(f"{name} {given!r} is unknown", code=Code.MODEL_MALFORMED)


@dataclass(frozen=True, slots=True)
class _Method:
    """What all axes share."""

    mode: Interpolation
    coordinates: Coordinates
    rounding: Rounding | None
    antialias: bool = False
    exclude_outside: bool = False
    cubic_a: float = -0.75

    def table(self, axis: AxisResize) -> TapTable:
        """The taps of one axis."""
        x = axis.coordinates(self.coordinates)
        if self.mode is Interpolation.NEAREST:
            # Before opset 11: to the left when enlarging, to the right when shrinking.
            shrinking = Rounding.CEIL if axis.scale < 1 else Rounding.FLOOR
            return nearest_table(axis, x, self.rounding or shrinking)
        return interpolation_table(
            axis,
            x,
            self.mode,
            antialias=self.antialias,
            cubic_a=self.cubic_a,
            exclude_outside=self.exclude_outside,
        )


def _resized(node: NodeView, x: Value, axes: dict[int, AxisResize], method: _Method) -> Value:
    """The axes resized one after the other, those that shrink first (it saves work)."""
    dtype = x.type.dtype
    computes = method.mode is not Interpolation.NEAREST and not dtype.is_float
    y = node.cast(x, DType.F32) if computes else x
    for resize in axes.values():
        reach = 4 / min(resize.scale, 1.0) if method.antialias else 4
        node.check_table(resize.out, math.ceil(reach), most=MAX_RESIZE_TAPS)
    for axis, resize in sorted(axes.items(), key=lambda item: (item[1].out / item[1].size, item)):
        table = method.table(resize)
        if table.is_gather:
            line = table.indices.reshape(-1)
            if line.shape != (resize.size,) or np.any(line != np.arange(resize.size)):
                y = node.emit(Gather(axis), y, node.constant_value(line.astype(np.int32)))
            continue
        indices = node.constant_value(table.indices.astype(np.int32))
        weights = node.constant_value(table.weights.astype(y.type.dtype.numpy))
        y = node.emit(Resample(axis), y, indices, weights)
    return node.cast(y, dtype)


def _from_scales(
    node: NodeView, x: Value, scales: Sequence[float], axes: Sequence[int]
) -> dict[int, AxisResize]:
    if len(scales) != len(axes) or any(not 0 < scale < math.inf for scale in scales):
        node.refuse(f"scales {list(scales)} for {x.type}", code=Code.MODEL_MALFORMED)
    sizes = [x.type.dims[axis] for axis in axes]
    if 0 in sizes:
        node.refuse(f"input {x.type} is empty")
    return {
        axis: AxisResize(size, math.floor(size * scale), scale)
        for axis, size, scale in zip(axes, sizes, scales, strict=True)
    }


def _from_sizes(
    node: NodeView, x: Value, sizes: Sequence[int], axes: Sequence[int]
) -> dict[int, AxisResize]:
    if len(sizes) != len(axes) or any(size < 1 for size in sizes):
        node.refuse(f"sizes {list(sizes)} for {x.type}", code=Code.MODEL_MALFORMED)
    dims = [x.type.dims[axis] for axis in axes]
    if any(dim == 0 for dim in dims):
        node.refuse(f"input {x.type} is empty")
    policy = node.string("keep_aspect_ratio_policy", "stretch")
    scales = [size / dim for size, dim in zip(sizes, dims, strict=True)]
    if policy == "stretch":
        return {
            axis: AxisResize(dim, size, scale)
            for axis, dim, size, scale in zip(axes, dims, sizes, scales, strict=True)
        }
    if policy not in ("not_larger", "not_smaller"):
        node.refuse(f"keep_aspect_ratio_policy {policy!r} is unknown", code=Code.MODEL_MALFORMED)
    scale = min(scales) if policy == "not_larger" else max(scales)
    return {
        axis: AxisResize(dim, math.floor(dim * scale + 0.5), scale)
        for axis, dim in zip(axes, dims, strict=True)
    }


def _constant_floats(node: NodeView, index: int) -> tuple[float, ...]:
    array = node.optional_constant(index)
    return () if array is None else tuple(float(element) for element in array.reshape(-1))


def import_resize_11(node: NodeView) -> Sequence[Value | None]:
    """Resize in every mode; scales, sizes and region must be known at compile time."""
    x = node.operand(0)
    rank = x.type.rank
    axes = [node.axis(axis, rank) for axis in node.ints("axes", range(rank))]
    scales = _constant_floats(node, 2)
    if scales:
        resizes = _from_scales(node, x, scales, axes)
    else:
        resizes = _from_sizes(node, x, node.constant_ints(3), axes)
    coordinates = _choice(
        node, "coordinate_transformation_mode", Coordinates, Coordinates.HALF_PIXEL
    )
    method = _Method(
        _choice(node, "mode", Interpolation, Interpolation.NEAREST),
        coordinates,
        _choice(node, "nearest_mode", Rounding, Rounding.ROUND_PREFER_FLOOR),
        node.flag("antialias"),
        node.flag("exclude_outside"),
        node.float("cubic_coeff_a", -0.75),
    )
    if coordinates is not Coordinates.TF_CROP_AND_RESIZE:
        return (_resized(node, x, resizes, method),)
    roi = _constant_floats(node, 1)
    if len(roi) != 2 * len(axes) or not all(map(math.isfinite, roi)):
        node.refuse(f"the region is {list(roi)}", code=Code.MODEL_MALFORMED)
    cropped = {
        axis: AxisResize(r.size, r.out, r.scale, (roi[i], roi[len(axes) + i]))
        for i, (axis, r) in enumerate(resizes.items())
    }
    return (_extrapolated(node, _resized(node, x, cropped, method), cropped),)


def _extrapolated(node: NodeView, y: Value, axes: dict[int, AxisResize]) -> Value:
    """y with the extrapolation value where a coordinate lies outside the input."""
    inside = np.ones([1] * y.type.rank, np.bool_)
    for axis, resize in axes.items():
        x = resize.coordinates(Coordinates.TF_CROP_AND_RESIZE)
        line = (x >= 0) & (x <= resize.size - 1)
        inside = inside & line.reshape(-1, *[1] * (y.type.rank - axis - 1))
    if np.all(inside):
        return y
    fill = node.scalar(node.float("extrapolation_value", 0.0), y.type.dtype)
    return node.select(node.constant_value(inside), y, fill)


def _import_upsample(node: NodeView, scales: Sequence[float]) -> Sequence[Value | None]:
    x = node.operand(0)
    mode = _choice(node, "mode", Interpolation, Interpolation.NEAREST)
    method = _Method(mode, Coordinates.ASYMMETRIC, None)
    return (_resized(node, x, _from_scales(node, x, scales, range(x.type.rank)), method),)


def import_upsample_7(node: NodeView) -> Sequence[Value | None]:
    """Upsample with its scales as an attribute."""
    return _import_upsample(node, node.floats("scales"))


def import_upsample_9(node: NodeView) -> Sequence[Value | None]:
    """Upsample and Resize-10; the scales must be known at compile time."""
    return _import_upsample(node, _constant_floats(node, 1))


OPERATORS = (
    Operator("", "Upsample", 7, import_upsample_7),
    Operator("", "Upsample", 9, import_upsample_9),
    Operator("", "Resize", 10, import_upsample_9),
    Operator("", "Resize", 11, import_resize_11),
)
