"""Convolutions with constant weights of which many are zero.

Without padding all taps are one segment, whose places count from an output pixel's first input;
with padding each tap is one, and loops run over those that are inside.
"""

import numpy as np

from lepton_cc.codegen.kernel.expr import Expr, Var, index
from lepton_cc.codegen.kernel.ir import Block, Let, Stmt
from lepton_cc.codegen.kernel.schedule import loop
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.conv_matrix import conv_dot
from lepton_cc.codegen.lower.conv_shape import ConvShape, taps_inside
from lepton_cc.codegen.lower.source import delinearize, linearize
from lepton_cc.codegen.lower.sparse_form import choose_sparse, sparse_candidate, stored_weights
from lepton_cc.codegen.lower.sparse_layer import conv_layer
from lepton_cc.codegen.lower.sparse_operands import sparse_operands
from lepton_cc.codegen.lower.sparse_product import (
    Line,
    SegmentBody,
    SparseProduct,
    lower_sparse_product,
)
from lepton_cc.codegen.lower.threads import worth_threads
from lepton_cc.ir.ops.conv import Conv


def lower_sparse_conv(context: KernelContext, kind: Conv, shape: ConvShape) -> Block | None:
    """The loops of a convolution; None if dense ones are better."""
    weights = sparse_candidate(context)
    if weights is None or shape.groups != 1:
        return None
    taps = weights.reshape(-1, shape.channels, shape.filters)
    layer = conv_layer(taps, shape, conv_dot(context, shape))
    choice = choose_sparse(context, layer)
    if choice is None:
        return None
    operands = sparse_operands(context, layer, kind.zero_point)
    sink, stride = context.sink, shape.window.strides[-1] * shape.channels

    def store(line: Line, pixel: Expr, column: Expr, value: Expr) -> Stmt:
        number = linearize((*line, pixel), (shape.batch, *shape.outputs))
        at = (*delinearize(number, sink.type.dims[:-1]), column)
        return sink.store_linear(number * shape.filters + column, at, value)

    def each_segment(line: Line, pixel: Expr, whole: bool, body: SegmentBody) -> Block:
        if layer.is_padded:
            return _taps(context, shape, (*line, pixel), body, whole=whole)
        places = (p * s for p, s in zip((*line[1:], pixel), shape.window.strides, strict=True))
        base = Var(INDEX, context.names.fresh("base"))
        number = linearize((line[0], *places), (shape.batch, *shape.dims)) * shape.channels
        return (Let(base, number), *body(index(0), base))

    num_muladds = shape.num_results // shape.filters * int(np.count_nonzero(weights))
    product = SparseProduct(
        operands,
        (shape.batch, *shape.outputs[:-1]),
        shape.outputs[-1],
        layer.borders,
        each_segment,
        stride,
        store,
        worth_threads(context, num_muladds, shape.num_results),
    )
    stored = stored_weights(context, layer, choice)
    return lower_sparse_product(context, product, stored, choice.most_pixels)


def _taps(
    context: KernelContext, shape: ConvShape, at: Line, body: SegmentBody, *, whole: bool
) -> Block:
    """`body` for the taps of an output pixel that are inside; all those of a row if it is whole."""
    window = shape.window

    def axis_loop(axis: int, taps: Line, inputs: Line) -> Block:
        if axis == window.rank:
            base = Var(INDEX, context.names.fresh("base"))
            number = linearize(inputs, (shape.batch, *shape.dims)) * shape.channels
            return (Let(base, number), *body(linearize(taps, window.size), base))
        origin = at[axis + 1] * window.strides[axis] - window.low[axis]
        bounds: tuple[Expr, Expr] = (index(0), index(window.size[axis]))
        if axis < window.rank - 1 or not whole:
            bounds = taps_inside(shape, axis, origin)
        dilation = window.dilations[axis]
        return loop(
            context.names,
            "y",
            *bounds,
            lambda tap: axis_loop(axis + 1, (*taps, tap), (*inputs, origin + tap * dilation)),
        )

    return axis_loop(0, (), at[:1])
