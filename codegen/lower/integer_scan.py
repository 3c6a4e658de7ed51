"""Lowering of the quantized scans: per step and batch row an integer product with R, then the cell.

States live in scratch; the formulas are those of `ir.ops.integer_scan`.
"""

from collections.abc import Callable

from lepton_cc.codegen.kernel.expr import Const, Expr, NarrowingCast, load, maximum, minimum
from lepton_cc.codegen.kernel.integer_expr import RoundedProduct
from lepton_cc.codegen.kernel.ir import Block, Store
from lepton_cc.codegen.kernel.math.significant import divided
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.integer import interpolated, largest_step
from lepton_cc.codegen.lower.scan import RecurrentLoops
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.fixed_point import CURVE_FRACTION, Curve
from lepton_cc.ir.ops.integer_scan import (
    CELL_FRACTION,
    CELL_LIMIT,
    GATE_FRACTION,
    GATE_LIMIT,
    ONE,
    STATE_FRACTION,
    QuantizedGruScan,
    QuantizedLstmScan,
    hidden_limit,
)

_LENGTHS = 6


def _clamped(x: Expr, limit: int) -> Expr:
    return minimum(maximum(x, -limit), limit)


class _Cells:
    """What both cells are made of: gates' inputs, curves, the state h."""

    def __init__(self, context: KernelContext, num_gates: int, hidden_bits: int) -> None:
        kind = context.op.kind
        assert isinstance(kind, QuantizedLstmScan | QuantizedGruScan)
        self.context = context
        self.loops = RecurrentLoops(
            context, num_gates, clip=float("inf"), lengths=_LENGTHS, reverse=kind.reverse
        )
        self.clip = kind.clip
        self.hidden = self.loops.hidden
        self.limit = hidden_limit(hidden_bits)
        self.h = context.scratch(DType.I16, self.loops.batch * self.hidden)

    def begun(self, operand: int, begin: Callable[[Expr, Expr | None], Block]) -> Block:
        """The statements that begin a state, from the initial element if there is one."""
        source, size = self.context.optional_source(operand), self.loops.batch * self.hidden

        def element(i: Expr) -> Block:
            return begin(i, None if source is None else source.at_linear(i))

        return self.loops.every(size, element)

    def first_h(self, initial: Expr | None) -> Expr:
        """h before the first step, as i32."""
        zero = Const(DType.I32, 0)
        return zero if initial is None else _clamped(initial.cast(DType.I32), self.limit)

    def store_h(self, at: Expr, value: Expr) -> Store:
        """h of a batch row's element, from an i32 or i64 of any size."""
        narrow = _clamped(value, self.limit).cast(DType.I32)
        return Store(self.h, at, NarrowingCast(DType.I16, narrow))

    def emit(self, t: Expr, row: Expr, i: Expr) -> Store:
        """Writes an element of y."""
        stored = load(self.h, row * self.hidden + i)
        statement = self.context.sinks[0].store((t, row, i), stored)
        assert isinstance(statement, Store)
        return statement

    def share_of_x(self, t: Expr, row: Expr, column: Expr) -> Expr:
        """What x gives to a gate's input."""
        total = self.context.source(0).at((t, row, column))
        return self._requantized(total, self.context.source(2).at_linear(column))

    def share_of_h(self, column: Expr) -> Expr:
        """What h gives to a gate's input."""
        total = load(self.loops.sums, column)
        return self._requantized(total, self.context.source(3).at_linear(column))

    def _requantized(self, total: Expr, scale: Expr) -> Expr:
        return RoundedProduct(DType.I32, total, scale, -GATE_LIMIT, GATE_LIMIT)

    def gate(self, curve: Curve, total: Expr) -> Expr:
        """The curve of a gate's input."""
        return self.curve(curve, _clamped(total, self.clip), GATE_FRACTION)

    def curve(self, curve: Curve, x: Expr, fraction: int) -> Expr:
        """The curve of an i32 in steps of 2^-fraction, in steps of 2^-15."""
        bound = 1 << (fraction + curve.reach)
        position = minimum(maximum(x, -bound), bound - 1) + bound
        array = curve.entries.array
        entries = self.context.constant(array)
        return interpolated(entries, largest_step(array), position, curve.step_bits(fraction))


def lower_quantized_lstm_scan(context: KernelContext) -> Block:
    """Lowers QuantizedLstmScan."""
    kind = context.op.kind
    assert isinstance(kind, QuantizedLstmScan)
    cells = _Cells(context, 4, kind.hidden_bits)
    loops, hidden = cells.loops, cells.hidden
    c = context.scratch(DType.I32, loops.batch * hidden)
    gate, candidate, output = kind.curves

    def begin_c(i: Expr, initial: Expr | None) -> Block:
        if initial is None:
            return (Store(c, i, Const(DType.I32, 0)),)
        scaled = (initial.cast(DType.I64) - kind.cell.zero_point) * kind.cell.multiplier
        value = _clamped(divided(scaled, kind.cell.shift), CELL_LIMIT)
        return (Store(c, i, value.cast(DType.I32)),)

    def step(t: Expr, row: Expr) -> Block:
        base = row * hidden

        def gated(curve: Curve, number: int, i: Expr) -> Expr:
            column = i + number * hidden
            total = cells.share_of_x(t, row, column) + cells.share_of_h(column)
            return cells.gate(curve, total).cast(DType.I64)

        def update(i: Expr) -> Block:
            enter = gated(gate, 0, i)
            forget = Const(DType.I64, ONE) - enter if kind.input_forget else gated(gate, 2, i)
            added = (enter * gated(candidate, 3, i)) << (CELL_FRACTION - CURVE_FRACTION)
            total = forget * load(c, base + i).cast(DType.I64) + added
            value = _clamped(divided(total, CURVE_FRACTION), CELL_LIMIT)
            return (Store(c, base + i, value.cast(DType.I32)),)

        def emit(i: Expr) -> Block:
            shown = cells.curve(output, load(c, base + i), CELL_FRACTION).cast(DType.I64)
            product = gated(gate, 1, i) * shown
            value = divided(product, 2 * CURVE_FRACTION - kind.hidden_bits)
            return (cells.store_h(base + i, value), cells.emit(t, row, i))

        products = _products(cells, 0, 4 * hidden, lambda k: load(cells.h, base + k))
        return products + loops.each(update) + loops.each(emit)

    begin_h = cells.begun(4, lambda i, initial: (cells.store_h(i, cells.first_h(initial)),))
    begin = begin_h + cells.begun(5, begin_c)
    return begin + loops.run(step) + loops.stored(1, cells.h) + loops.stored(2, c)


def _products(
    cells: _Cells,
    begin: int,
    end: int,
    vector: Callable[[Expr], Expr],
    first: Callable[[Expr], Expr] | None = None,
) -> Block:
    """sums[begin:end] = first + vector R[:, begin:end], in i32."""
    zero = Const(DType.I32, 0)
    start = (lambda column: zero) if first is None else first
    return cells.loops.bare_products(begin, end, start, lambda k: vector(k).cast(DType.I32))


def lower_quantized_gru_scan(context: KernelContext) -> Block:
    """Lowers QuantizedGruScan; the candidate's product comes after the reset gate, or beside it."""
    kind = context.op.kind
    assert isinstance(kind, QuantizedGruScan)
    cells = _Cells(context, 3, kind.hidden_bits)
    loops, hidden = cells.loops, cells.hidden
    state = context.scratch(DType.I32, loops.batch * hidden)
    reset = context.scratch(DType.I16, hidden)
    gate, candidate = kind.curves
    bias = context.optional_source(5)
    dropped = STATE_FRACTION - kind.hidden_bits

    def begin(i: Expr, initial: Expr | None) -> Block:
        h = cells.first_h(initial)
        return (cells.store_h(i, h), Store(state, i, h << dropped))

    def step(t: Expr, row: Expr) -> Block:
        base = row * hidden

        def gated(number: int, i: Expr) -> Expr:
            column = i + number * hidden
            total = cells.share_of_x(t, row, column) + cells.share_of_h(column)
            return cells.gate(gate, total)

        def keep_reset(i: Expr) -> Block:
            r = gated(1, i)
            if not kind.linear_before_reset:
                product = r * load(cells.h, base + i).cast(DType.I32)
                r = divided(product, CURVE_FRACTION)
            return (Store(reset, i, NarrowingCast(DType.I16, r)),)

        def update(i: Expr) -> Block:
            column = i + 2 * hidden
            share = cells.share_of_h(column)
            if kind.linear_before_reset:
                product = load(reset, i).cast(DType.I64) * share.cast(DType.I64)
                share = divided(product, CURVE_FRACTION).cast(DType.I32)
            n = cells.gate(candidate, cells.share_of_x(t, row, column) + share)
            z = gated(0, i).cast(DType.I64)
            entering = (Const(DType.I64, ONE) - z) * n.cast(DType.I64)
            kept = z * load(state, base + i).cast(DType.I64)
            blend = (entering << (STATE_FRACTION - CURVE_FRACTION)) + kept
            value = divided(blend, CURVE_FRACTION).cast(DType.I32)
            return (Store(state, base + i, value),)

        def emit(i: Expr) -> Block:
            value = divided(load(state, base + i), dropped)
            return (cells.store_h(base + i, value), cells.emit(t, row, i))

        def offset(column: Expr) -> Expr:
            return Const(DType.I32, 0) if bias is None else bias.at((column - 2 * hidden,))

        both = _products(cells, 0, 2 * hidden, lambda k: load(cells.h, base + k))

        def third_vector(k: Expr) -> Expr:
            return load(cells.h, base + k) if kind.linear_before_reset else load(reset, k)

        third = _products(cells, 2 * hidden, 3 * hidden, third_vector, offset)
        return both + loops.each(keep_reset) + third + loops.each(update) + loops.each(emit)

    return cells.begun(4, begin) + loops.run(step) + loops.stored(1, cells.h)
