"""Lowering of running sums and products: lanes along the last dimension if it is not the axis."""

from collections.abc import Sequence

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Const, Expr, index, load
from lepton_cc.codegen.kernel.ir import Block, Store
from lepton_cc.codegen.kernel.schedule import lanes_of, loop, nest
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.ir.ops.cumulative import Cumulative, CumulativeFunction
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction

_COMBINE = {
    CumulativeFunction.SUM: (BinaryFunction.ADD, 0),
    CumulativeFunction.PROD: (BinaryFunction.MUL, 1),
}


def lower_cumulative(context: KernelContext) -> Block:
    """Lowers Cumulative: one pass along the axis with the running result in registers."""
    kind = context.op.kind
    assert isinstance(kind, Cumulative)
    x = context.source(0)
    dims, axis = x.type.dims, kind.axis
    dtype = compute_type(x.type.dtype)
    combine, identity = _COMBINE[kind.function]
    names = context.names
    last = len(dims) - 1
    outer_axes = [a for a in range(last) if a != axis]

    def line(outer: Sequence[Expr], first: Expr, width: int) -> Block:
        total = context.registers("total", dtype, width)

        def step(number: Expr) -> Block:
            position = (number * -1) + (dims[axis] - 1) if kind.reverse else number

            def element(lane: Expr) -> Block:
                place = dict(zip(outer_axes, outer, strict=True)) | {last: first + lane}
                place[axis] = position
                at = tuple(place[a] for a in range(len(dims)))
                update = Store(
                    total, lane, kernel_math.binary(combine, load(total, lane), x.at(at))
                )
                store = context.sink.store(at, load(total, lane))
                return (store, update) if kind.exclusive else (update, store)

            return lanes_of(names, index(0), width, element)

        start = Const(dtype, identity)
        clear = lanes_of(names, index(0), width, lambda lane: (Store(total, lane, start),))
        return clear + loop(names, "k", 0, dims[axis], step)

    def lines(outer: tuple[Expr, ...]) -> Block:
        if axis == last:
            return line(outer, index(0), 1)
        lanes = context.lanes(dtype)
        whole, rest = divmod(dims[-1], lanes)
        blocks = loop(names, "b", 0, whole, lambda b: line(outer, b * lanes, lanes))
        return blocks + (line(outer, index(whole * lanes), rest) if rest else ())

    return nest(names, [dims[a] for a in outer_axes], lines)
