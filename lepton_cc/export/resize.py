"""Resampling as ONNX: a Resize of one axis where one has the same taps."""

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lepton_cc.export.writer import Attribute, Writer
from lepton_cc.frontend.resize_tables import (
    AxisResize,
    Coordinates,
    Interpolation,
    Rounding,
    TapTable,
    interpolation_table,
    nearest_table,
)
from lepton_cc.ir.graph import Op
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.tensor import Array

_COORDINATES = (
    Coordinates.HALF_PIXEL,
    Coordinates.ASYMMETRIC,
    Coordinates.ALIGN_CORNERS,
    Coordinates.PYTORCH_HALF_PIXEL,
)
_CUBIC_A = -0.75


def _candidates(axis: AxisResize) -> Iterator[tuple[dict[str, Attribute], TapTable]]:
    """Resizes to a size that models have, with their tables."""
    for mode in _COORDINATES:
        x = axis.coordinates(mode)
        common: dict[str, Attribute] = {"coordinate_transformation_mode": mode.value}
        for rounding in Rounding:
            named = {**common, "mode": "nearest", "nearest_mode": rounding.value}
            yield named, nearest_table(axis, x, rounding)
        smooth = (Interpolation.LINEAR, Interpolation.CUBIC)
        for method, antialias in itertools.product(smooth, (False, True)):
            table = interpolation_table(
                axis, x, method, antialias=antialias, cubic_a=_CUBIC_A, exclude_outside=False
            )
            yield {**common, "mode": method.value, "antialias": int(antialias)}, table


def _resize_attributes(size: int, indices: Array, weights: Array) -> dict[str, Attribute] | None:
    """Attributes of the Resize to a size whose taps these are."""
    out = len(indices)
    for attributes, table in _candidates(AxisResize(size, out, out / size)):
        same_taps = np.array_equal(table.indices, indices)
        if same_taps and np.array_equal(table.weights.astype(weights.dtype), weights):
            return attributes
    return None


def write_resample(writer: Writer, op: Op) -> None:
    """Resize to a size, of one axis."""
    kind = op.kind
    assert isinstance(kind, Resample)
    x, indices, weights = op.inputs
    tables = writer.array(indices), writer.array(weights)
    if tables[0] is None or tables[1] is None:
        raise writer.refuse(op, "its table of taps is computed")
    view = writer.view(x)
    attributes = _resize_attributes(x.type.dims[kind.axis], tables[0], tables[1])
    if attributes is None:
        raise writer.refuse(op, "no Resize to a size has its table of taps")
    sizes = writer.integers([op.result.type.dims[axis] for axis in view.order], "sizes")
    y = writer.node("Resize", [view.name, "", "", sizes], op.result.name, attributes)
    writer.bind(op.result, y, view.order)


RULES: Mapping[type[OpKind], Callable[[Writer, Op], None]] = {Resample: write_resample}
