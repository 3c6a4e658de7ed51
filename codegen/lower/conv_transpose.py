"""Lowering of transposed convolution: each output element sums the taps that reach it (gather).

Output column o is reached by input column (o + low - tap * dilation) / stride where that is whole.
Columns with the same remainder of (o + low) by the stride, a *phase*, are reached by the same taps
at fixed distances: each phase of the last dimension is a plain convolution with tiles of its own.
In the other dimensions, where nothing is to be tiled, a condition in the loop picks the taps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lepton_cc.codegen.kernel.expr import Expr, Var, index, load
from lepton_cc.codegen.kernel.ir import Block, If, Let
from lepton_cc.codegen.kernel.schedule import loop, nest
from lepton_cc.codegen.kernel.tile import Tile, balanced_parts, choose_tile, narrowed_lanes
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.contraction import (
    Accumulators,
    Steps,
    accumulate,
    accumulators,
    each_vector,
    initialize,
)
from lepton_cc.codegen.lower.packing import ConvWeights, conv_weights
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import linearize
from lepton_cc.ir.ops.conv import ConvTranspose

# More phases, or more taps in one, make too much code: all dimensions are then done in loops.
_MAX_PHASES = 8
_MAX_PHASE_TAPS = 12
# Below this many multiply-adds a second thread does not pay.
_PARALLEL_MULADDS = 1 << 18


@dataclass(frozen=True, slots=True)
class _Axis:
    """One spatial dimension: input and output size, and the window's numbers along it."""

    size_in: int
    size_out: int
    taps: int
    stride: int
    dilation: int
    low: int

    @property
    def is_plain(self) -> bool:
        """Every output position is reached by the one tap, from the same position."""
        return (
            self.taps == 1 and self.stride == 1 and not self.low and self.size_out <= self.size_in
        )


# The dimension that is added behind those of an op none of whose own can be split in phases.
_POINT = _Axis(1, 1, 1, 1, 1, 0)


@dataclass(frozen=True, slots=True)
class _Phase:
    """Output columns `first`, first + stride, ...: column number j reads input j + distance.

    taps: (tap, distance) of each tap that reaches the phase.
    """

    first: int
    stride: int
    count: int
    taps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """`count` equal tiles of `rows` columns of a phase from `start`; inside[row][tap]."""

    start: int
    count: int
    rows: int
    inside: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tile stands: batch and outer output positions, group, block of output channels."""

    outer: tuple[Expr, ...]
    group: Expr
    block: Expr


def _axes(
    kind: ConvTranspose, dims: tuple[int, ...], outputs: tuple[int, ...]
) -> tuple[_Axis, ...]:
    w = kind.window
    fields = zip(dims, outputs, w.size, w.strides, w.dilations, w.low, strict=True)
    axes = tuple(_Axis(*values) for values in fields)
    last = axes[-1]
    small = last.stride <= _MAX_PHASES and last.taps <= _MAX_PHASE_TAPS * last.stride
    return axes if small else (*axes, _POINT)


def _phases(axis: _Axis) -> tuple[_Phase, ...]:
    phases = []
    for first in range(min(axis.stride, axis.size_out)):
        reach = first + axis.low
        taps = tuple(
            (tap, (reach - tap * axis.dilation) // axis.stride)
            for tap in range(axis.taps)
            if (reach - tap * axis.dilation) % axis.stride == 0
        )
        count = -(-(axis.size_out - first) // axis.stride)
        phases.append(_Phase(first, axis.stride, count, taps))
    return tuple(phases)


def _runs(phase: _Phase, size_in: int, rows: int) -> tuple[_Run, ...]:
    """The tiles of a phase, neighbours with the same borders joined."""
    runs: list[_Run] = []
    start = 0
    for width in balanced_parts(phase.count, rows):
        inside = tuple(
            tuple(0 <= start + row + distance < size_in for _, distance in phase.taps)
            for row in range(width)
        )
        last = runs[-1] if runs else None
        if last is not None and (last.rows, last.inside) == (width, inside):
            runs[-1] = _Run(last.start, last.count + 1, width, inside)
        else:
            runs.append(_Run(start, 1, width, inside))
        start += width
    return tuple(runs)


def lower_conv_transpose(context: KernelContext) -> Block:
    """Lowers ConvTranspose; lanes are output channels, constant weights are packed for the tile."""
    kind = context.op.kind
    assert isinstance(kind, ConvTranspose)
    return _ConvTransposeLowering(context, kind).body()


class _ConvTransposeLowering:
    """The loops of one transposed convolution, from outside in."""

    def __init__(self, context: KernelContext, kind: ConvTranspose) -> None:
        x, result = context.source(0).type.dims, context.sink.type.dims
        self.context, self.zero_point = context, kind.zero_point
        self.batch, self.total_channels = x[0], x[-1]
        self.axes = _axes(kind, x[1:-1], result[1:-1])
        self.phases = _phases(self.axes[-1])
        self.channels, filters = x[-1] // kind.groups, result[-1] // kind.groups
        self.depthwise = self.channels == 1 and filters == 1
        self.columns = kind.groups if self.depthwise else filters
        self.dtype = compute_type(context.op.result.type.dtype)
        lanes = narrowed_lanes(self.columns, context.lanes(self.dtype))
        self.tile = Tile(1, 1, lanes)
        if context.options.tile:
            longest = max(phase.count for phase in self.phases)
            self.tile = choose_tile(longest, self.columns, lanes, context.target)
        self.weights: ConvWeights = conv_weights(
            context,
            groups=1 if self.depthwise else kind.groups,
            channels=self.channels,
            filters=self.columns,
            taps=math.prod(axis.taps for axis in self.axes),
            tile=self.tile,
            groups_first=True,
        )
        pixels = self.batch * math.prod(x[1:-1])
        self.num_muladds = pixels * math.prod(kind.window.size) * x[-1] * filters

    def body(self) -> Block:
        """Batch and outer output dimensions, groups, channel blocks, phases, tiles."""
        names = self.context.names
        parallel = self.context.options.parallelize and self.num_muladds >= _PARALLEL_MULADDS
        whole, rest = divmod(self.columns, self.tile.columns)

        def row(outer: tuple[Expr, ...]) -> Block:
            def group_body(group: Expr) -> Block:
                def block_body(block: Expr, width: int) -> Block:
                    return self._row(_Place(outer, group, block), width)

                blocks = loop(names, "f", 0, whole, lambda b: block_body(b, self.tile.columns))
                return blocks + (block_body(index(whole), rest) if rest else ())

            return loop(names, "g", 0, self.weights.groups, group_body)

        extents = (self.batch, *(axis.size_out for axis in self.axes[:-1]))
        return nest(names, extents, row, parallel=parallel)

    def _row(self, place: _Place, width: int) -> Block:
        statements: Block = ()
        for phase in self.phases:
            for run in _runs(phase, self.axes[-1].size_in, self.tile.rows):

                def one(number: Expr, phase: _Phase = phase, run: _Run = run) -> Block:
                    return self._tile(place, phase, run, number * run.rows + run.start, width)

                statements += loop(self.context.names, "t", 0, run.count, one)
        return statements

    def _tile(self, place: _Place, phase: _Phase, run: _Run, column: Expr, width: int) -> Block:
        context = self.context
        tile = Tile(run.rows, -(-width // self.tile.lanes), self.tile.lanes)
        registers = accumulators(context, tile, self.dtype)
        readable = tile.columns if self.weights.packed else width
        bias = self.weights.bias(place.group, place.block)
        statements = initialize(context, registers, bias, readable)
        if any(any(row) for row in run.inside):

            def taps(chosen: tuple[Expr, ...], inputs: tuple[Expr, ...]) -> Block:
                base = Var(INDEX, context.names.fresh("base"))
                steps = self._steps(place, phase, run, base, chosen, readable)
                let = Let(base, self._first_element(place, (*inputs, column)))
                return (let, *accumulate(context, registers, steps))

            statements += self._outer_taps(place, taps)
        store = self._store(place, phase, registers, column)
        return statements + each_vector(context, tile, store, width)

    def _outer_taps(
        self, place: _Place, body: Callable[[tuple[Expr, ...], tuple[Expr, ...]], Block]
    ) -> Block:
        """`body(taps, input positions)` for the taps of the outer dimensions that reach a place."""

        def along(number: int, taps: tuple[Expr, ...], inputs: tuple[Expr, ...]) -> Block:
            if number == len(self.axes) - 1:
                return body(taps, inputs)
            axis, position = self.axes[number], place.outer[number + 1]
            if axis.is_plain:
                return along(number + 1, (*taps, index(0)), (*inputs, position))

            def one(tap: Expr) -> Block:
                reach = position + axis.low - tap * axis.dilation
                inside = (reach >= 0) & (reach < axis.size_in * axis.stride)
                if axis.stride > 1:
                    inside = inside & (reach % axis.stride).equals(0)
                inner = along(number + 1, (*taps, tap), (*inputs, reach // axis.stride))
                return (If(inside, inner),)

            return loop(self.context.names, "y", 0, axis.taps, one)

        return along(0, (), ())

    def _first_element(self, place: _Place, inputs: tuple[Expr, ...]) -> Expr:
        """The number of the input element that column 0 of a tile reads at distance 0."""
        pixel = place.outer[0]
        # At a distance the column may lie outside the row: no dimension may be left out.
        for position, axis in zip(inputs, self.axes, strict=True):
            pixel = pixel * axis.size_in + position
        first = place.block * self.tile.columns if self.depthwise else place.group * self.channels
        return pixel * self.total_channels + first

    def _steps(
        self,
        place: _Place,
        phase: _Phase,
        run: _Run,
        base: Expr,
        outer_taps: tuple[Expr, ...],
        readable: int,
    ) -> Steps:
        x = self.context.source(0)
        sizes = tuple(axis.taps for axis in self.axes)

        def row_input(row: int, number: int, step: Expr, lane: Expr) -> Expr | None:
            if not run.inside[row][number]:
                return None
            distance = (phase.taps[number][1] + row) * self.total_channels
            value = x.at_linear(base + step + lane + distance).cast(self.dtype)
            return value - self.zero_point if self.zero_point else value

        def weights(number: int, step: Expr, column: Expr) -> Expr:
            tap = linearize((*outer_taps, index(phase.taps[number][0])), sizes)
            return self.weights.at(place.group, place.block, readable, tap, step, column)

        taps = len(phase.taps)
        return Steps(
            self.channels,
            taps,
            row_input,
            weights,
            readable,
            by_column=self.depthwise,
            together=self.weights.steps_a_byte,
        )

    def _store(
        self, place: _Place, phase: _Phase, registers: Accumulators, column: Expr
    ) -> Callable[[Expr], Block]:
        sink = self.context.sink
        first_channel = place.group * self.columns + place.block * self.tile.columns

        def store(lane: Expr) -> Block:
            stores: Block = ()
            for row in range(registers.tile.rows):
                at = (*place.outer, (column + row) * phase.stride + phase.first)
                value = load(registers.buffer, registers.at(row, lane))
                element = (*at[: sink.type.rank - 1], first_channel + lane)
                stores += (sink.store(element, value),)
            return stores

        return store
