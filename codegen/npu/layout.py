"""Layout: where each value of a segment lies, as a view of a scratchpad buffer.

Values are dense in buffers of their own, but for what movement makes free: reshapes and slices are
views of their operand, operands of a concat are written into its buffer.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_cc.codegen.npu.layers import Layer, MapShape, MoveLayer, map_shape
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.movement import Concat, Gather, Reshape, Slice, Transpose


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Element (y, x, c) is byte `offset + y row_stride + x pixel_stride + c` of a buffer.

    `ring_rows` > 0: the buffer holds that many rows, row y at y mod ring_rows.
    """

    buffer: Value
    offset: int
    row_stride: int
    pixel_stride: int
    shape: MapShape
    ring_rows: int = 0

    @property
    def is_dense(self) -> bool:
        """Whether the elements follow each other without gaps."""
        s = self.shape
        columns = s.width == 1 or self.pixel_stride == s.channels
        rows = s.height == 1 or self.row_stride == s.width * s.channels
        return columns and rows and self.ring_rows == 0

    @property
    def buffer_bytes(self) -> int:
        """Bytes from the start of the buffer to the last element."""
        s = self.shape
        rows = self.ring_rows or s.height
        last = (rows - 1) * self.row_stride + (s.width - 1) * self.pixel_stride
        return self.offset + last + s.channels


def dense_layout(value: Value) -> MapLayout:
    """The value in a buffer of its own."""
    shape = map_shape(value.type)
    return MapLayout(value, 0, shape.width * shape.channels, shape.channels, shape)


@dataclass(frozen=True, slots=True)
class Layouts:
    """The layout of each value, and the movement layers that still have to copy."""

    by_value: Mapping[Value, MapLayout]
    copied: frozenset[Value]

    def buffers(self) -> Mapping[Value, int]:
        """Bytes of each buffer."""
        sizes: dict[Value, int] = {}
        for layout in self.by_value.values():
            sizes[layout.buffer] = max(sizes.get(layout.buffer, 0), layout.buffer_bytes)
        return sizes


def assign_layouts(layers: Sequence[Layer], inputs: Sequence[Value]) -> Layouts:
    """Layouts for the inputs and the results of all layers."""
    return _Assignment(layers, inputs).run()


class _Assignment:
    def __init__(self, layers: Sequence[Layer], inputs: Sequence[Value]) -> None:
        self._layers = layers
        self._inputs = inputs
        self._producers = {layer.result: layer for layer in layers}
        self._layouts: dict[Value, MapLayout] = {}
        self._copied: set[Value] = set()
        self._joined: set[tuple[Value, Value]] = set()  # concats, and what is written into them

    def run(self) -> Layouts:
        for layer in reversed(self._layers):
            if isinstance(layer, MoveLayer) and isinstance(layer.op.kind, Concat):
                self._concat(layer, layer.op.kind)
        for value in self._inputs:
            self._layouts.setdefault(value, dense_layout(value))
        for layer in self._layers:
            if isinstance(layer, MoveLayer):
                self._move(layer)
            else:
                self._layouts.setdefault(layer.result, dense_layout(layer.result))
        return Layouts(self._layouts, frozenset(self._copied))

    def _concat(self, layer: MoveLayer, kind: Concat) -> None:
        """Puts the operands that can be written in place into the result's buffer."""
        whole = self._layouts.setdefault(layer.result, dense_layout(layer.result))
        strides = _strides(layer.result, whole)
        counts = Counter(layer.inputs)
        start = 0
        for part in layer.inputs:
            free = part not in self._layouts and counts[part] == 1
            if free and strides is not None and self._is_writable(part):
                offset = whole.offset + start * strides[kind.axis]
                self._layouts[part] = _strided_layout(part, whole.buffer, offset, strides)
                self._joined.add((layer.result, part))
            start += part.type.dims[kind.axis]

    def _is_writable(self, value: Value) -> bool:
        """Whether whoever makes the value can write it anywhere."""
        producer = self._producers.get(value)
        if producer is None:
            return value in self._inputs
        return not isinstance(producer, MoveLayer) or isinstance(
            producer.op.kind, Transpose | Gather
        )

    def _move(self, layer: MoveLayer) -> None:
        view = self._view(layer)
        taken = self._layouts.get(layer.result)
        if view is not None and taken is None:
            self._layouts[layer.result] = view
            return
        self._layouts.setdefault(layer.result, dense_layout(layer.result))
        kind = layer.op.kind
        parts = layer.inputs if isinstance(kind, Concat) else ()
        if parts and all((layer.result, part) in self._joined for part in parts):
            return
        self._copied.add(layer.result)

    def _view(self, layer: MoveLayer) -> MapLayout | None:
        """The result as a view of the operand; None if it must be copied."""
        given = self._layouts[layer.inputs[0]]
        shape = map_shape(layer.result.type)
        kind = layer.op.kind
        if isinstance(kind, Reshape) or (isinstance(kind, Transpose) and _keeps_order(layer)):
            if not given.is_dense:
                return None
            row = shape.width * shape.channels
            return dataclasses.replace(
                given, row_stride=row, pixel_stride=shape.channels, shape=shape
            )
        strides = _strides(layer.inputs[0], given)
        if not isinstance(kind, Slice) or strides is None or kind.steps[-1] != 1:
            return None
        offset = sum(s * start for s, start in zip(strides, kind.starts, strict=True))
        taken = tuple(s * step for s, step in zip(strides, kind.steps, strict=True))
        return _strided_layout(layer.result, given.buffer, given.offset + offset, taken)


def _strided_layout(value: Value, buffer: Value, offset: int, strides: Sequence[int]) -> MapLayout:
    """The value in a buffer, with bytes a step of each dimension of its type; see `_strides`."""
    shape = map_shape(value.type)
    dims = value.type.dims
    inner = len(dims) == 3 and dims[0] == 1
    row = strides[1] if inner else strides[-3] if len(dims) > 2 else 0
    pixel = shape.channels if shape.width == 1 else strides[-2]
    return MapLayout(
        buffer, offset, shape.width * pixel if shape.height == 1 else row, pixel, shape
    )


def _strides(value: Value, layout: MapLayout) -> tuple[int, ...] | None:
    """Bytes a step of each dimension of the value's type; None if rows join several dimensions."""
    dims = value.type.dims
    if len(dims) == 4 and dims[0] == 1:
        return (0, layout.row_stride, layout.pixel_stride, 1)
    if len(dims) == 3 and dims[0] == 1:
        return (0, layout.row_stride, 1)
    if len(dims) == 3:
        return (layout.row_stride, layout.pixel_stride, 1)
    if len(dims) == 2:
        return (layout.pixel_stride, 1)
    if len(dims) == 1:
        return (1,)
    return None


def _keeps_order(layer: MoveLayer) -> bool:
    """Whether a transpose moves dimensions of size 1 only."""
    kind = layer.op.kind
    assert isinstance(kind, Transpose)
    dims = layer.inputs[0].type.dims
    moved = [axis for axis in kind.permutation if dims[axis] != 1]
    return moved == sorted(moved)
