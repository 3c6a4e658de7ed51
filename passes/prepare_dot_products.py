"""Brings inputs of integer contractions into the form that a target's dot products take.

Runs late, on the way to a target: after all simplification, before fusion, so that what it puts in
becomes part of the kernels that write the inputs.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lepton_cc.ir.builder import GraphBuilder
from lepton_cc.ir.dtype import DType
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.bitcast import Bitcast
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Pad
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.target import DotProduct
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass

# Between i8 and u8: the sign bit.
_SIGN = 128
# What the instructions multiply by; weights of 4 bits become i8 or i16 in registers.
_WEIGHTS = (DType.I8, DType.I4)


@dataclass(frozen=True, slots=True)
class PrepareDotProducts(Pass):
    """Inputs of i8 contractions become u8 (quads) or centered i16 (pairs), padded, whole words.

    An i8 value x is stored as u8 x + 128, which is one exclusive or; pointwise readers of x get it
    back from there, so that only one form is in memory. The zero point moves along; padding is
    the zero point, and channels that fill a word meet zero weights. Results do not change by a
    bit.
    """

    NAME: ClassVar[str] = "prepare-dot-products"
    dot_product: DotProduct = DotProduct.NONE

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        """The graph with prepared inputs; itself if the target has no dot product."""
        if self.dot_product is DotProduct.NONE:
            return graph
        return _Preparation(graph, self.dot_product, statistics).run()


class _Preparation:
    """Rebuilds a graph in order; knows the prepared form of every value that has one."""

    def __init__(self, graph: Graph, dot: DotProduct, statistics: Statistics) -> None:
        self._graph, self._dot, self._statistics = graph, dot, statistics
        names = [value.name for op in graph.ops for value in op.results]
        self._builder = GraphBuilder(graph.name, names)
        self._constants = {
            op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)
        }
        self._values: dict[Value, Value] = {}
        self._prepared: dict[Value, Value] = {}
        self._restored: dict[Value, Value] = {}

    def run(self) -> Graph:
        for value in self._graph.inputs:
            self._values[value] = self._builder.input(value.name, value.type)
        for op in self._graph.ops:
            if self._is_candidate(op):
                self._rebuild_contraction(op)
            else:
                self._copy(op)
        outputs = [self._values[value] for value in self._graph.outputs]
        return self._builder.finish(outputs, self._graph.output_names)

    def _is_candidate(self, op: Op) -> bool:
        kind = op.kind
        if not isinstance(kind, Conv | MatMul) or op.inputs[0].type.dtype is not DType.I8:
            return False
        weights = self._constants.get(op.inputs[1])
        if weights is None or op.inputs[1].type.dtype not in _WEIGHTS:
            return False
        if len(op.inputs) > 2 and op.inputs[2] not in self._constants:
            return False
        if isinstance(kind, Conv):
            return kind.groups == 1 or self._is_depthwise(op, kind)
        return kind.rhs_zero_point == 0 and weights.size == np.prod(weights.shape[-2:])

    def _is_depthwise(self, op: Op, kind: Conv) -> bool:
        """Words of four taps are made in registers; pairs are not worth that."""
        channels = {op.inputs[0].type.dims[-1], op.result.type.dims[-1]}
        return self._dot is DotProduct.QUADS and channels == {kind.groups}

    def _copy(self, op: Op) -> None:
        readable = Trait.POINTWISE in op.kind.traits
        operands = tuple(
            None if value is None else (self._restore(value) if readable else self._values[value])
            for value in op.operands
        )
        self._builder.append(replace(op, operands=operands))
        self._values.update((result, result) for result in op.results)

    def _restore(self, value: Value) -> Value:
        """What a pointwise reader of a value reads: the prepared form, where that is in memory."""
        prepared = self._prepared.get(value)
        if prepared is None or self._dot is not DotProduct.QUADS:
            return self._values[value]
        if value not in self._restored:
            flipped = self._flip(prepared)
            self._restored[value] = self._builder.emit(Bitcast(DType.I8), flipped)
        return self._restored[value]

    def _flip(self, value: Value) -> Value:
        sign = self._builder.constant(np.asarray(_SIGN, dtype=np.uint8))
        return self._builder.emit(Binary(BinaryFunction.XOR), value, sign)

    def _prepare(self, value: Value, zero_point: int) -> tuple[Value, int]:
        """The value in the form that the instruction takes, and its zero point there."""
        if self._dot is DotProduct.QUADS:
            if value not in self._prepared:
                bits = self._builder.emit(Bitcast(DType.U8), self._values[value])
                self._prepared[value] = self._flip(bits)
            return self._prepared[value], zero_point + _SIGN
        if value not in self._prepared:
            wide = self._builder.emit(Cast(DType.I16), self._values[value])
            point = self._builder.constant(np.asarray(zero_point, dtype=np.int16))
            self._prepared[value] = self._builder.emit(Binary(BinaryFunction.SUB), wide, point)
        return self._prepared[value], 0

    def _rebuild_contraction(self, op: Op) -> None:
        kind = op.kind
        assert isinstance(kind, Conv | MatMul)
        point = kind.lhs_zero_point if isinstance(kind, MatMul) else kind.zero_point
        x, zero_point = self._prepare(op.inputs[0], point)
        weights = self._constants[op.inputs[1]]
        if isinstance(kind, Conv) and kind.groups > 1:
            new: Conv | MatMul = Conv(kind.window, kind.groups, zero_point)
            self._replace(op, new, x, self._values[op.inputs[1]])
            return
        if isinstance(kind, Conv):
            extra = self._missing_channels(kind.window, weights.shape[-2])
            window = kind.window
            low, high = (0, *window.low, 0), (0, *window.high, extra)
            plain = replace(window, low=(0,) * window.rank, high=(0,) * window.rank)
            new = Conv(plain, 1, zero_point)
        else:
            extra = -weights.shape[-2] % self._dot.width
            rank = op.inputs[0].type.rank
            low, high = (0,) * rank, (0,) * (rank - 1) + (extra,)
            new = MatMul(zero_point, 0)
        x = self._padded(x, low, high, zero_point)
        filled = self._builder.constant(_with_zero_rows(weights, extra), name="weights")
        self._replace(op, new, x, filled)

    def _replace(self, op: Op, kind: Conv | MatMul, x: Value, weights: Value) -> None:
        rest = [None if value is None else self._values[value] for value in op.operands[2:]]
        self._builder.append(Op(kind, (x, weights, *rest), op.results, op.location))
        self._values.update((result, result) for result in op.results)
        self._statistics.count("contraction by dot products")

    def _missing_channels(self, window: Window, channels: int) -> int:
        """Channels to add so that the runs of reduction steps are whole words."""
        together = window.dilations[-1] == 1 and channels * window.size[-1] % self._dot.width == 0
        return 0 if together else -channels % self._dot.width

    def _padded(
        self, x: Value, low: tuple[int, ...], high: tuple[int, ...], zero_point: int
    ) -> Value:
        if not any(low) and not any(high):
            return x
        fill = self._builder.constant(np.asarray(zero_point, dtype=x.type.dtype.numpy))
        return self._builder.emit(Pad(low, high), x, fill)


def _with_zero_rows(weights: Array, extra: int) -> Array:
    """Weights [..., depth, filters] with `extra` zero rows along the depth."""
    widths = [(0, 0)] * weights.ndim
    widths[-2] = (0, extra)
    return np.pad(weights, widths)
