"""The proof that no integer accumulator overflows, whatever the activations are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary, Cast
from lepton_cc.ir.ops.integer_scan import QuantizedGruScan, QuantizedLstmScan, hidden_limit
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.quantize.accumulator_bound import LIMIT, Integers, accumulator_bound


@dataclass(frozen=True, slots=True)
class ProveAccumulators(Pass):
    """Refuses graphs in which sum |w| * max |x - zero point| + |bias| can reach 2^31.

    Accepts any static graph and leaves it as it is. Only contractions of narrow integers are
    looked at: i32 operands wrap by definition. Names every layer that fails.
    """

    NAME: ClassVar[str] = "prove-accumulators"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        producers = graph.producers()
        failed: list[Diagnostic] = []
        for op in graph.ops:
            bound = contraction_bound(op, producers)
            if bound is None:
                continue
            statistics.count("accumulator proved to fit 32 bits", bound < LIMIT)
            if bound >= LIMIT:
                failed.append(_overflow(op, bound))
        if failed:
            raise Refused(failed)
        return graph


def contraction_bound(op: Op, producers: Mapping[Value, Op]) -> int | None:
    """The largest accumulator of a contraction of narrow integers; None for other ops.

    A bias that is computed at run time can be anything, so it counts as 2^31.
    """
    kind = op.kind
    if isinstance(kind, QuantizedLstmScan | QuantizedGruScan):
        return _scan_bound(op, kind, producers)
    if not isinstance(kind, Conv | ConvTranspose | MatMul):
        return None
    x, weights, *bias = op.inputs
    if not x.type.dtype.is_integer or max(x.type.dtype.bits, weights.type.dtype.bits) > 16:
        return None
    offsets = _content(bias[0], producers) if bias else None
    if bias and offsets is None:
        return LIMIT
    content = _content(weights, producers)
    second = _integers(weights, producers) if content is None else content
    return accumulator_bound(kind, _integers(x, producers), second, offsets)


def _scan_bound(
    op: Op, kind: QuantizedLstmScan | QuantizedGruScan, producers: Mapping[Value, Op]
) -> int:
    """That of the product with h, whose elements are at most 1."""
    weights, limit = op.inputs[1], hidden_limit(kind.hidden_bits)
    bias = op.operands[5] if isinstance(kind, QuantizedGruScan) and len(op.operands) > 5 else None
    offsets = None if bias is None else _content(bias, producers)
    if bias is not None and offsets is None:
        return LIMIT
    content = _content(weights, producers)
    h = Integers((1, weights.type.dims[0]), -limit, limit)
    second = _integers(weights, producers) if content is None else content
    widest = None if offsets is None else np.abs(offsets.astype(np.int64)).max()
    return accumulator_bound(MatMul(), h, second, widest)


def _content(value: Value, producers: Mapping[Value, Op]) -> Array | None:
    op = producers.get(value)
    return op.kind.value.array if op is not None and isinstance(op.kind, Constant) else None


def _integers(value: Value, producers: Mapping[Value, Op]) -> Integers:
    """What a value can hold: less than its type where it is a difference of narrower ones."""
    known = Integers.of(value.type)
    op = producers.get(value)
    while op is not None and Trait.MOVEMENT in op.kind.traits and len(op.inputs) == 1:
        op = producers.get(op.inputs[0])
    if op is None:
        return known
    if isinstance(op.kind, Cast) and op.inputs[0].type.dtype.is_integer:
        source = Integers.of(op.inputs[0].type)
        if known.low <= source.low and source.high <= known.high:
            return Integers(known.dims, source.low, source.high)
    if op.kind == Binary(BinaryFunction.SUB):
        lhs, rhs = (_integers(side, producers) for side in op.inputs)
        low, high = lhs.low - rhs.high, lhs.high - rhs.low
        if known.low <= low and high <= known.high:
            return Integers(known.dims, low, high)
    return known


def _overflow(op: Op, bound: int) -> Diagnostic:
    return Diagnostic(
        Code.LIMIT_EXCEEDED,
        f"the integer accumulator can reach {bound}, beyond 2^31",
        node=str(op.location) or op.kind.mnemonic,
        hint="quantize this layer's weights or activations to fewer bits, or keep it in float",
    )
