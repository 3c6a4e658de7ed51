"""Lowering of the recurrent scans: per step and batch row a product with R, then the cell.

States live in scratch. Constant recurrent weights are packed in blocks of columns, so that a
product reads them in one forward sweep; others are read as they are, [H, G H].
"""

from collections.abc import Callable

import numpy as np

from lepton_cc.codegen.kernel.expr import Const, Expr, index, load, mul_add
from lepton_cc.codegen.kernel.ir import Block, If, Store
from lepton_cc.codegen.kernel.schedule import lanes_of, loop, vectorized
from lepton_cc.codegen.kernel.types import Buffer
from lepton_cc.codegen.lower.cell import activate
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.pointwise import clamp
from lepton_cc.codegen.lower.representation import compute_type, from_storage
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.scan import GruScan, LstmScan, RnnScan

# Vectors of columns that one pass over the state's elements sums at the same time.
_VECTORS_AT_ONCE = 8

# The weight of a block (its number and width), for an element of the state and a column.
Weights = Callable[[Expr, int, Expr, Expr], Expr]


class RecurrentLoops:
    """What all scans share: dimensions, the order of the steps, states, products."""

    def __init__(
        self, context: KernelContext, num_gates: int, *, clip: float, lengths: int, reverse: bool
    ) -> None:
        self.context = context
        self.steps, self.batch, _ = context.source(0).type.dims
        self.hidden = context.source(1).type.dims[0]
        self.dtype: DType = compute_type(context.source(0).type.dtype)
        self.clip, self.reverse = clip, reverse
        self.lengths = context.optional_source(lengths)
        self.sums = context.scratch(self.dtype, num_gates * self.hidden)

    def each(self, body: Callable[[Expr], Block]) -> Block:
        """`body` for every element of a state's row, in vectors."""
        return self.every(self.hidden, body)

    def every(self, count: int, body: Callable[[Expr], Block]) -> Block:
        """`body` for `count` elements, in vectors."""
        return vectorized(self.context.names, count, self.context.lanes(self.dtype), body)

    def state(self, operand: int) -> tuple[Buffer, Block]:
        """Scratch [B, H] for a state, and the statements that begin it."""
        buffer = self.context.scratch(self.dtype, self.batch * self.hidden)
        source = self.context.optional_source(operand)

        def begin(i: Expr) -> Block:
            initial = Const(self.dtype, 0.0) if source is None else source.at_linear(i)
            return (Store(buffer, i, initial),)

        return buffer, self.every(self.batch * self.hidden, begin)

    def products(
        self, step: Expr, row: Expr, begin: int, end: int, vector: Callable[[Expr], Expr]
    ) -> Block:
        """sums[begin:end] = gates[step, row, begin:end] + vector R[:, begin:end]."""
        gates = self.context.source(0)
        return self._summed(begin, end, lambda column: gates.at((step, row, column)), vector)

    def bare_products(
        self, begin: int, end: int, bias: Callable[[Expr], Expr], vector: Callable[[Expr], Expr]
    ) -> Block:
        """sums[begin:end] = bias + vector R[:, begin:end]."""
        return self._summed(begin, end, bias, vector)

    def _summed(
        self, begin: int, end: int, first: Callable[[Expr], Expr], vector: Callable[[Expr], Expr]
    ) -> Block:
        names, lanes = self.context.names, self.context.lanes(self.dtype)
        width = lanes * (_VECTORS_AT_ONCE if self.context.options.tile else 1)
        whole, rest = divmod(end - begin, width)
        weights = self._weights(begin, end, width)

        def block(number: Expr, size: int) -> Block:
            start = number * width + begin
            total = self.context.registers("total", self.dtype, size)

            def term(k: Expr, column: Expr) -> Expr:
                weight = weights(number, size, k, column)
                return mul_add(vector(k), weight.cast(self.dtype), load(total, column))

            return self._block(total, start, lambda column: first(start + column), term)

        blocks = loop(names, "b", 0, whole, lambda number: block(number, width))
        return blocks + (block(index(whole), rest) if rest else ())

    def _weights(self, begin: int, end: int, width: int) -> Weights:
        """Columns [begin, end) of the recurrent weights, in blocks of `width`."""
        source, content = self.context.source(1), self.context.constant_array(1)
        if content is None or not self.context.options.tile:
            return lambda block, size, k, column: source.at((k, block * width + begin + column))
        columns = content[:, begin:end]
        full = (end - begin) // width * width
        panels = columns[:, :full].reshape(self.hidden, -1, width).transpose(1, 0, 2)
        packed = np.concatenate((panels.reshape(-1), columns[:, full:].reshape(-1)))
        buffer = self.context.constant(packed)
        panel = self.hidden * width

        def at(block: Expr, size: int, k: Expr, column: Expr) -> Expr:
            return from_storage(
                load(buffer, block * panel + (k * size + column)), source.type.dtype
            )

        return at

    def _block(
        self,
        total: Buffer,
        start: Expr,
        first: Callable[[Expr], Expr],
        term: Callable[[Expr, Expr], Expr],
    ) -> Block:
        """Sums of the columns from `start` on, as many as `total` holds."""
        names, lanes = self.context.names, self.context.lanes(self.dtype)

        def vectors(body: Callable[[Expr], Block]) -> Block:
            statements: Block = ()
            for offset in range(0, total.size, lanes):
                count = min(lanes, total.size - offset)
                statements += lanes_of(names, index(offset), count, body)
            return statements

        def add(k: Expr) -> Block:
            return vectors(lambda column: (Store(total, column, term(k, column)),))

        return (
            *vectors(lambda column: (Store(total, column, first(column)),)),
            *loop(names, "k", 0, self.hidden, add),
            *vectors(lambda column: (Store(self.sums, start + column, load(total, column)),)),
        )

    def sum(self, gate: int, i: Expr) -> Expr:
        """Element i of a gate's sums."""
        return load(self.sums, i + gate * self.hidden)

    def clipped(self, x: Expr) -> Expr:
        """The input of an activation."""
        return clamp(x, -self.clip, self.clip)

    def run(self, step: Callable[[Expr, Expr], Block]) -> Block:
        """`step` for every step and batch row, in the scan's order; skipped rows give zeros."""
        names = self.context.names

        def one(number: Expr) -> Block:
            t = (number * -1) + (self.steps - 1) if self.reverse else number
            return loop(names, "r", 0, self.batch, lambda row: self._active(t, row, step))

        return loop(names, "t", 0, self.steps, one)

    def _active(self, t: Expr, row: Expr, step: Callable[[Expr, Expr], Block]) -> Block:
        body = step(t, row)
        if self.lengths is None:
            return body
        sink = self.context.sinks[0]
        zero = Const(compute_type(sink.type.dtype), 0)
        cleared = self.each(lambda i: (sink.store((t, row, i), zero),))
        active = self.lengths.at((row,)) > t.cast(DType.I32)
        return (If(active, body, cleared),)

    def stored(self, result: int, state: Buffer) -> Block:
        """Writes a last state to its result."""
        sink = self.context.sinks[result]

        def row(number: Expr) -> Block:
            return self.each(
                lambda i: (sink.store((number, i), load(state, number * self.hidden + i)),)
            )

        return loop(self.context.names, "r", 0, self.batch, row)


def lower_rnn_scan(context: KernelContext) -> Block:
    """Lowers RnnScan."""
    kind = context.op.kind
    assert isinstance(kind, RnnScan)
    scan = RecurrentLoops(context, 1, clip=kind.clip, lengths=3, reverse=kind.reverse)
    h, begin = scan.state(2)

    def step(t: Expr, row: Expr) -> Block:
        base = row * scan.hidden

        def cell(i: Expr) -> Block:
            value = activate(kind.activation, scan.clipped(scan.sum(0, i)))
            return (Store(h, base + i, value), _emit(context, t, row, i, load(h, base + i)))

        products = scan.products(t, row, 0, scan.hidden, lambda k: load(h, base + k))
        return products + scan.each(cell)

    return begin + scan.run(step) + scan.stored(1, h)


def _emit(context: KernelContext, t: Expr, row: Expr, i: Expr, value: Expr) -> Store:
    statement = context.sinks[0].store((t, row, i), value)
    assert isinstance(statement, Store)
    return statement


def lower_gru_scan(context: KernelContext) -> Block:
    """Lowers GruScan; the candidate's product comes after the reset gate, or beside it."""
    kind = context.op.kind
    assert isinstance(kind, GruScan)
    scan = RecurrentLoops(context, 3, clip=kind.clip, lengths=4, reverse=kind.reverse)
    h, begin = scan.state(2)
    reset = context.scratch(scan.dtype, scan.hidden)
    size, zero = scan.hidden, Const(scan.dtype, 0.0)
    gate, candidate = kind.activations
    bias, gates = context.optional_source(3), context.source(0)

    def step(t: Expr, row: Expr) -> Block:
        base = row * size

        def keep_reset(i: Expr) -> Block:
            r = activate(gate, scan.clipped(scan.sum(1, i)))
            return (Store(reset, i, r if kind.linear_before_reset else r * load(h, base + i)),)

        def update(i: Expr) -> Block:
            inner = scan.sum(2, i)
            if kind.linear_before_reset:
                inner = gates.at((t, row, i + 2 * size)) + load(reset, i) * inner
            n = activate(candidate, scan.clipped(inner))
            z = activate(gate, scan.clipped(scan.sum(0, i)))
            value = (1.0 - z) * n + z * load(h, base + i)
            return (Store(h, base + i, value), _emit(context, t, row, i, load(h, base + i)))

        def first(column: Expr) -> Expr:
            return zero if bias is None else bias.at((column - 2 * size,))

        both = scan.products(t, row, 0, 2 * size, lambda k: load(h, base + k))
        if kind.linear_before_reset:
            third = scan.bare_products(2 * size, 3 * size, first, lambda k: load(h, base + k))
        else:
            third = scan.products(t, row, 2 * size, 3 * size, lambda k: load(reset, k))
        return both + scan.each(keep_reset) + third + scan.each(update)

    return begin + scan.run(step) + scan.stored(1, h)


def lower_lstm_scan(context: KernelContext) -> Block:
    """Lowers LstmScan."""
    kind = context.op.kind
    assert isinstance(kind, LstmScan)
    scan = RecurrentLoops(context, 4, clip=kind.clip, lengths=5, reverse=kind.reverse)
    h, begin_h = scan.state(2)
    c, begin_c = scan.state(3)
    peepholes = context.optional_source(4)
    gate, candidate, output = kind.activations

    # The gates i, o, f are numbered as ONNX orders them, in the sums and in the peepholes.
    def with_peephole(number: int, i: Expr, cell: Expr) -> Expr:
        total = scan.sum(number, i)
        if peepholes is not None:
            total = total + peepholes.at((index(number), i)) * cell
        return activate(gate, scan.clipped(total))

    def step(t: Expr, row: Expr) -> Block:
        base = row * scan.hidden

        def update(i: Expr) -> Block:
            before = load(c, base + i)
            enter = with_peephole(0, i, before)
            forget = 1.0 - enter if kind.input_forget else with_peephole(2, i, before)
            value = forget * before + enter * activate(candidate, scan.clipped(scan.sum(3, i)))
            return (Store(c, base + i, value),)

        def emit(i: Expr) -> Block:
            now = load(c, base + i)
            value = with_peephole(1, i, now) * activate(output, now)
            return (Store(h, base + i, value), _emit(context, t, row, i, load(h, base + i)))

        products = scan.products(t, row, 0, 4 * scan.hidden, lambda k: load(h, base + k))
        return products + scan.each(update) + scan.each(emit)

    return begin_h + begin_c + scan.run(step) + scan.stored(1, h) + scan.stored(2, c)
