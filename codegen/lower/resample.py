"""Lowering of resampling: lanes along the last dimension, a loop over the taps."""

from collections.abc import Sequence

from lepton_cc.codegen.kernel.expr import Const, Expr, index, load
from lepton_cc.codegen.kernel.ir import Block, Store
from lepton_cc.codegen.kernel.schedule import lanes_of, loop, nest
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.movement import clamp_index
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.ir.ops.resample import Resample


def lower_resample(context: KernelContext) -> Block:
    """Lowers Resample: each result element is summed over its taps, in order."""
    kind = context.op.kind
    assert isinstance(kind, Resample)
    x, indices, weights = (context.source(number) for number in range(3))
    axis, taps = kind.axis, indices.type.dims[1]
    size = x.type.dims[axis]
    dims = context.sink.type.dims
    dtype = compute_type(context.op.result.type.dtype)
    names, lanes = context.names, context.lanes(dtype)

    def vector(outer: Sequence[Expr], first: Expr, width: int) -> Block:
        total = context.registers("total", dtype, width)

        def add(tap: Expr, lane: Expr) -> Block:
            at = (*outer, first + lane)
            source = clamp_index(indices.at((at[axis], tap)).cast(INDEX), size)
            value = x.at((*at[:axis], source, *at[axis + 1 :]))
            term = value * weights.at((at[axis], tap))
            return (Store(total, lane, load(total, lane) + term),)

        def store(lane: Expr) -> Block:
            return (context.sink.store((*outer, first + lane), load(total, lane)),)

        zero = Const(dtype, 0.0)
        clear = lanes_of(names, index(0), width, lambda lane: (Store(total, lane, zero),))
        summed = loop(
            names,
            "t",
            0,
            taps,
            lambda tap: lanes_of(names, index(0), width, lambda lane: add(tap, lane)),
        )
        return clear + summed + lanes_of(names, index(0), width, store)

    def row(outer: tuple[Expr, ...]) -> Block:
        whole, rest = divmod(dims[-1], lanes)
        blocks = loop(names, "b", 0, whole, lambda b: vector(outer, b * lanes, lanes))
        return blocks + (vector(outer, index(whole * lanes), rest) if rest else ())

    return nest(names, dims[:-1], row, parallel=context.options.parallelize)
