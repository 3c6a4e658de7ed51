"""ONNX operators that sample between elements at computed coordinates: GridSample, AffineGrid.

Coordinates, weights and linear indices are pointwise arithmetic; the reads are gathers of whole
pixels (all channels) from the tensor seen as [pixels, C].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.frontend.indexing import index_dtype, strides
from lepton_cc.frontend.node import NodeView
from lepton_cc.frontend.registry import Operator
from lepton_cc.frontend.windows import spatial_dims
from lepton_cc.ir.diagnostics import Code
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Value
from lepton_cc.ir.ops.elementwise import Clamp
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Gather, Slice
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U


@dataclass(frozen=True, slots=True)
class Tap:
    """One of the positions around a coordinate on one axis: whole, inside the axis, as a float.

    `weight` None stands for 1.
    """

    position: Value
    weight: Value | None


def column(node: NodeView, x: Value, index: int) -> Value:
    """x[..., index]."""
    dims = x.type.dims
    starts = (*[0] * (len(dims) - 1), index)
    part = node.emit(Slice(starts, (*dims[:-1], 1), (1,) * len(dims)), x)
    return node.reshape(part, dims[:-1])


def within(node: NodeView, x: Value, low: float, high: float) -> Value:
    """Low <= x <= high, as bool."""
    above = node.binary(B.GREATER_EQUAL, x, low)
    return node.binary(B.AND, above, node.binary(B.LESS_EQUAL, x, high))


def pixels(node: NodeView, x: Value) -> Value:
    """x [N, C, *S] as [N * prod(S), C]."""
    batch, channels, *spatial = x.type.dims
    moved = node.transpose(x, (0, *range(2, x.type.rank), 1))
    return node.reshape(moved, (batch * math.prod(spatial), channels))


def weighted_pixels(
    node: NodeView, table: Value, batch: Value, spatial: Sequence[int], taps: Sequence[Tap]
) -> Value:
    """The pixel that one tap of each axis addresses, times the taps' weights: [..., C].

    `batch` holds the linear index of each sample's image, in the type of the linear indices.
    """
    rows = batch
    for tap, step in zip(taps, strides(spatial), strict=True):
        position = node.cast(tap.position, batch.type.dtype)
        rows = node.binary(B.ADD, rows, node.binary(B.MUL, position, step))
    picked = node.emit(Gather(0), table, rows)
    weights = [tap.weight for tap in taps if tap.weight is not None]
    if not weights:
        return picked
    total = weights[0]
    for weight in weights[1:]:
        total = node.binary(B.MUL, total, weight)
    total = node.cast(total, picked.type.dtype)
    return node.binary(B.MUL, picked, node.reshape(total, (*total.type.dims, 1)))


def combinations(axes: Sequence[Sequence[Tap]]) -> list[tuple[Tap, ...]]:
    """One tap of each axis, in every combination."""
    combined: list[tuple[Tap, ...]] = [()]
    for taps in axes:
        combined = [(*before, tap) for before in combined for tap in taps]
    return combined


def summed(node: NodeView, values: Sequence[Value]) -> Value:
    """The sum of the values, from left to right."""
    total = values[0]
    for value in values[1:]:
        total = node.binary(B.ADD, total, value)
    return total


@dataclass(frozen=True, slots=True)
class _Grid:
    """How GridSample reads one axis."""

    node: NodeView
    size: int
    align_corners: bool
    padding: str

    @property
    def border(self) -> tuple[float, float]:
        """Where reflection turns around."""
        return (0.0, self.size - 1.0) if self.align_corners else (-0.5, self.size - 0.5)

    def denormalized(self, x: Value) -> Value:
        """[-1, 1] as coordinates of the axis."""
        shifted = self.node.binary(B.ADD, x, 1)
        if self.align_corners:
            return self.node.binary(B.MUL, self.node.binary(B.DIV, shifted, 2), self.size - 1)
        scaled = self.node.binary(B.MUL, shifted, self.size)
        return self.node.binary(B.DIV, self.node.binary(B.SUB, scaled, 1), 2)

    def reflected(self, x: Value) -> Value:
        """Coordinates mirrored at the borders until they lie within."""
        low, high = self.border
        if low == high:
            return self.node.binary(B.MUL, x, 0)
        distance = self.node.unary(U.ABS, self.node.binary(B.SUB, x, low))
        turn = self.node.binary(B.FMOD, distance, 2 * (high - low))
        back = self.node.unary(U.ABS, self.node.binary(B.SUB, turn, high - low))
        mirrored = self.node.binary(B.SUB, self.node.scalar(high, x.type.dtype), back)
        return self.node.select(within(self.node, x, low, high), x, mirrored)

    def padded(self, x: Value) -> Value:
        """Coordinates after the padding mode, before interpolation."""
        if self.padding == "border":
            return self.node.emit(Clamp(0, self.size - 1), x)
        return self.reflected(x) if self.padding == "reflection" else x

    def tap(self, position: Value, weight: Value | None) -> Tap:
        """A tap at a whole position that may lie outside."""
        if self.padding == "zeros":
            inside = self.node.cast(
                within(self.node, position, 0, self.size - 1), position.type.dtype
            )
            weight = inside if weight is None else self.node.binary(B.MUL, weight, inside)
        elif self.padding == "reflection":
            position = self.node.unary(U.TRUNC, self.reflected(position))
        return Tap(self.node.emit(Clamp(0, self.size - 1), position), weight)

    def taps(self, x: Value, mode: str) -> list[Tap]:
        """The taps around normalized coordinates."""
        x = self.denormalized(x)
        if mode == "nearest":
            return [self.tap(self.padded(self.node.unary(U.ROUND, x)), None)]
        x = self.padded(x)
        base = self.node.unary(U.FLOOR, x)
        fraction = self.node.binary(B.SUB, x, base)
        if mode == "linear":
            rest = self.node.binary(B.SUB, self.node.scalar(1, x.type.dtype), fraction)
            weights = {0: rest, 1: fraction}
        else:
            weights = {offset: cubic_weight(self.node, fraction, offset) for offset in range(-1, 3)}
        return [
            self.tap(self.node.binary(B.ADD, base, offset), weight)
            for offset, weight in weights.items()
        ]


def cubic_weight(node: NodeView, fraction: Value, offset: int, a: float = -0.75) -> Value:
    """Keys' kernel at the distance of the tap `offset` from a coordinate's fraction in [0, 1)."""
    sign, shift = (1, -offset) if offset <= 0 else (-1, offset)
    distance = node.binary(B.ADD, node.binary(B.MUL, fraction, sign), shift)

    def horner(*coefficients: float) -> Value:
        total = node.scalar(coefficients[0], fraction.type.dtype)
        for coefficient in coefficients[1:]:
            total = node.binary(B.ADD, node.binary(B.MUL, total, distance), coefficient)
        return total

    return horner(a + 2, -(a + 3), 0, 1) if offset in (0, 1) else horner(a, -5 * a, 8 * a, -4 * a)


def linear_taps(node: NodeView, x: Value, size: int, *, low: float, high: float) -> list[Tap]:
    """Two taps; both are 0 for coordinates outside [low, high], which else are clamped inside."""
    inside = node.cast(within(node, x, low, high), x.type.dtype)
    x = node.emit(Clamp(0, size - 1), x)
    base = node.unary(U.FLOOR, x)
    fraction = node.binary(B.SUB, x, base)
    rest = node.binary(B.SUB, node.scalar(1, x.type.dtype), fraction)
    following = node.emit(Clamp(0, size - 1), node.binary(B.ADD, base, 1))
    return [
        Tap(base, node.binary(B.MUL, rest, inside)),
        Tap(following, node.binary(B.MUL, fraction, inside)),
    ]


_GRID_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def import_grid_sample(node: NodeView) -> Sequence[Value | None]:
    """GridSample in every mode, with any number of spatial dimensions."""
    x, grid = node.operand(0), node.operand(1)
    spatial = spatial_dims(node, x)
    batch = x.type.dims[0]
    mode = node.string("mode", "linear")
    mode = _GRID_MODES.get(mode, mode)
    padding = node.string("padding_mode", "zeros")
    if mode not in ("nearest", "linear", "cubic") or padding not in (
        "zeros",
        "border",
        "reflection",
    ):
        node.refuse(f"mode {mode!r}, padding {padding!r}", code=Code.MODEL_MALFORMED)
    if grid.type.rank != x.type.rank or grid.type.dims[-1] != len(spatial):
        node.refuse(f"grid {grid.type} for {x.type}", code=Code.MODEL_MALFORMED)
    grid = grid if grid.type.dtype is DType.F64 else node.cast(grid, DType.F32)
    align = node.flag("align_corners")
    axes = []
    for axis, size in enumerate(spatial):
        # The grid's last dimension starts with the innermost axis.
        coordinates = column(node, grid, len(spatial) - 1 - axis)
        axes.append(_Grid(node, size, align, padding).taps(coordinates, mode))
    num_pixels = math.prod(spatial)
    kind = index_dtype(batch * num_pixels).numpy
    images = (np.arange(batch) * num_pixels).astype(kind).reshape(-1, *[1] * len(spatial))
    first, table = node.constant_value(images), pixels(node, x)
    parts = [weighted_pixels(node, table, first, spatial, t) for t in combinations(axes)]
    y = summed(node, parts)
    return (node.transpose(y, (0, y.type.rank - 1, *range(1, y.type.rank - 1))),)


def import_affine_grid(node: NodeView) -> Sequence[Value | None]:
    """AffineGrid with a size that is known at compile time."""
    theta = node.operand(0)
    given = node.constant_ints(1)
    if len(given) not in (4, 5) or min(given) < 1:
        node.refuse(f"a grid of size {list(given)}", code=Code.MODEL_MALFORMED)
    batch, _, *sizes = given
    node.check_table(*given)
    spatial = tuple(sizes)
    align = node.flag("align_corners")
    lines = []
    for size in spatial:
        steps = np.arange(size, dtype=np.float64)
        lines.append(steps * (2 / max(size - 1, 1)) - 1 if align else (2 * steps + 1) / size - 1)
    grid = np.stack((*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(spatial)))
    flat = grid.reshape(len(spatial) + 1, -1).astype(theta.type.dtype.numpy)
    product = node.emit(MatMul(), theta, node.constant_value(flat))
    moved = node.transpose(product, (0, 2, 1))
    return (node.reshape(moved, (batch, *spatial, len(spatial))),)


OPERATORS = (
    Operator("", "GridSample", 16, import_grid_sample),
    Operator("", "AffineGrid", 20, import_affine_grid),
)
