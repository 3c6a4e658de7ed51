"""Lowering of layer norm and RMS norm: statistics of a row, then the row again."""

import math
from collections.abc import Callable

from lepton_cc.codegen.kernel import math as kernel_math
from lepton_cc.codegen.kernel.expr import Const, Expr, Var
from lepton_cc.codegen.kernel.ir import Block, Let
from lepton_cc.codegen.kernel.schedule import nest, vectorized
from lepton_cc.codegen.kernel.types import INDEX
from lepton_cc.codegen.lower.context import KernelContext
from lepton_cc.codegen.lower.reduce import reduce_row
from lepton_cc.codegen.lower.representation import compute_type
from lepton_cc.codegen.lower.source import Source, delinearize
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction


class _Row:
    """One row of the axes that are normalized together."""

    def __init__(self, context: KernelContext, axis: int, number: Expr) -> None:
        self.context = context
        self.x = context.source(0)
        self.dtype: DType = compute_type(self.x.type.dtype)
        self.dims = self.x.type.dims
        self.extent = math.prod(self.dims[axis:])
        self.inner_dims = self.dims[axis:]
        self.base = Var(INDEX, context.names.fresh("base"))
        self.start = Let(self.base, number * self.extent)

    def element(self, i: Expr) -> Expr:
        """The row's element i."""
        return self.x.at_linear(self.base + i)

    def mean(self, term: Callable[[Expr], Expr]) -> tuple[Block, Expr]:
        """The statements that compute the mean of term(element), and the mean."""
        statements, total = reduce_row(
            self.context,
            self.dtype,
            self.extent,
            0,
            lambda lhs, rhs: lhs + rhs,
            [],
            lambda _, i: term(self.element(i)),
        )
        mean = Var(self.dtype, self.context.names.fresh("mean"))
        return (*statements, Let(mean, total / Const(self.dtype, float(self.extent)))), mean

    def reciprocal_root(self, variance: Expr, epsilon: float) -> tuple[Let, Expr]:
        """1 / sqrt(variance + epsilon)."""
        factor = Var(self.dtype, self.context.names.fresh("factor"))
        shifted = variance + Const(self.dtype, epsilon)
        return Let(factor, kernel_math.unary(UnaryFunction.RSQRT, shifted)), factor

    def parameter(self, source: Source | None, i: Expr) -> Expr | None:
        """The element of scale or bias that belongs to the row's element i."""
        if source is None:
            return None
        if source.type.num_elements == self.extent:
            return source.at_linear(i)
        return source.broadcast_at(delinearize(i, self.inner_dims))

    def store(self, normalized: Callable[[Expr], Expr]) -> Block:
        """Writes normalized(element) * scale + bias for the whole row."""
        context = self.context

        def one(i: Expr) -> Block:
            y = normalized(self.element(i))
            scale = self.parameter(context.optional_source(1), i)
            bias = self.parameter(context.optional_source(2), i)
            y = y if scale is None else y * scale
            y = y if bias is None else y + bias
            number = self.base + i
            return (context.sink.store_linear(number, delinearize(number, self.dims), y),)

        return vectorized(context.names, self.extent, context.lanes(self.dtype), one)


def lower_layer_norm(context: KernelContext) -> Block:
    """Lowers LayerNorm: the mean, then the mean of the squared differences, then the row."""
    kind = context.op.kind
    assert isinstance(kind, LayerNorm)

    def one(at: tuple[Expr, ...]) -> Block:
        row = _Row(context, kind.axis, at[0])
        mean_code, mean = row.mean(lambda x: x)

        def square(x: Expr) -> Expr:
            difference = x - mean
            return difference * difference

        variance_code, variance = row.mean(square)
        root, factor = row.reciprocal_root(variance, kind.epsilon)
        stores = row.store(lambda x: (x - mean) * factor)
        return (row.start, *mean_code, *variance_code, root, *stores)

    return nest(context.names, [_num_rows(context, kind.axis)], one, parallel=_parallel(context))


def lower_rms_norm(context: KernelContext) -> Block:
    """Lowers RmsNorm: the mean square, then the row."""
    kind = context.op.kind
    assert isinstance(kind, RmsNorm)

    def one(at: tuple[Expr, ...]) -> Block:
        row = _Row(context, kind.axis, at[0])
        square_code, square = row.mean(lambda x: x * x)
        root, factor = row.reciprocal_root(square, kind.epsilon)
        return (row.start, *square_code, root, *row.store(lambda x: x * factor))

    return nest(context.names, [_num_rows(context, kind.axis)], one, parallel=_parallel(context))


def _num_rows(context: KernelContext, axis: int) -> int:
    return math.prod(context.source(0).type.dims[:axis])


def _parallel(context: KernelContext) -> bool:
    # Below this a thread costs more than it gives.
    enough = context.source(0).type.num_elements >= 16384
    return context.options.parallelize and enough
