"""Convolutions of bytes as dot products, and on a matrix unit: lines of output pixels by channels.

The input has its padding in memory (`prepare-dot-products`), so that the words of a tap row lie at
a fixed distance from a pixel's first, wherever the pixel is.
"""

import math

from lepton_cc.codegen.kernel.expr import Expr
from lepton_cc.codegen.kernel.ir import Block, Stmt
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.conv_shape import ConvShape
from lepton_cc.codegen.lower.dot import usable_dot
from lepton_cc.codegen.lower.matrix import Product, lower_product, matrix_grid, result_lanes
from lepton_cc.codegen.lower.matrix_grid import Contraction
from lepton_cc.codegen.lower.source import delinearize, linearize
from lepton_cc.codegen.lower.threads import Rate, worth_threads
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.target import DotProduct


def conv_dot(context: KernelContext, shape: ConvShape) -> DotProduct:
    """The dot product that a convolution can use: one group, no padding, runs of whole words."""
    window = shape.window
    if shape.groups != 1 or any(window.low) or any(window.high):
        return DotProduct.NONE
    return usable_dot(context, _run_length(shape))


def lower_conv_by_matrices(context: KernelContext, kind: Conv, shape: ConvShape) -> Block | None:
    """The loops of a convolution on the target's matrix unit; None if others are faster."""
    if conv_dot(context, shape) is not DotProduct.QUADS:
        return None
    window, run = shape.window, _run_length(shape) // DotProduct.QUADS.width
    words = math.prod(window.size) * shape.channels // DotProduct.QUADS.width
    lines = (shape.batch, *shape.outputs[:-1])
    results = result_lanes(context)
    extents = Contraction(math.prod(lines), shape.outputs[-1], words, run, shape.filters, results)
    grid = matrix_grid(context, extents)
    if grid is None:
        return None
    sink = context.sink

    def origin(line: Expr, pixel: Expr) -> Expr:
        batch, *outer = delinearize(line, lines)
        at = (*outer, pixel)
        place = tuple(p * stride for p, stride in zip(at, window.strides, strict=True))
        return linearize((batch, *place), (shape.batch, *shape.dims)) * shape.channels

    def store(line: Expr, pixel: Expr, column: Expr, value: Expr) -> Stmt:
        number = line * shape.outputs[-1] + pixel
        at = (*delinearize(number, sink.type.dims[:-1]), column)
        return sink.store_linear(number * shape.filters + column, at, value)

    stride = window.strides[-1] * shape.channels
    product = Product(extents, kind.zero_point, origin, stride, _taps(shape), store)
    parallel = worth_threads(context, shape.num_muladds, shape.num_results, Rate.MATRICES)
    return lower_product(context, product, grid, parallel=parallel)


def _run_length(shape: ConvShape) -> int:
    """Neighbouring inputs that reduction steps take: a row of taps, or one if they are apart."""
    together = shape.window.dilations[-1] == 1
    return shape.channels * (shape.window.size[-1] if together else 1)


def _taps(shape: ConvShape) -> tuple[tuple[int, int], ...]:
    """(count, distance in elements) of the runs of an output pixel, outermost first."""
    window = shape.window
    taps: list[tuple[int, int]] = []
    for axis in range(window.rank):
        is_run = axis == window.rank - 1 and window.dilations[axis] == 1
        pixels = math.prod(shape.dims[axis + 1 :])
        if not is_run:
            taps.append((window.size[axis], window.dilations[axis] * pixels * shape.channels))
    return tuple(taps)
