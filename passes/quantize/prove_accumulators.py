"""The proof that no integer accumulator overflows, whatever the activations are."""

from dataclasses import dataclass
from typing import ClassVar

from lepton_cc.ir.diagnostics import Code, Diagnostic, Refused
from lepton_cc.ir.graph import Graph, Op, Value
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.rewrite import Statistics
from lepton_cc.ir.tensor import Array
from lepton_cc.passes.manager import Pass
from lepton_cc.passes.quantize.accumulator_bound import LIMIT, accumulator_bound


@dataclass(frozen=True, slots=True)
class ProveAccumulators(Pass):
    """Refuses graphs in which sum |w| * max |x - zero point| + |bias| can reach 2^31.

    Accepts any static graph and leaves it as it is. Only contractions of narrow integers are
    looked at: i32 operands wrap by definition. Names every layer that fails.
    """

    NAME: ClassVar[str] = "prove-accumulators"

    def run(self, graph: Graph, statistics: Statistics) -> Graph:
        constants = {
            op.result: op.kind.value.array for op in graph.ops if isinstance(op.kind, Constant)
        }
        failed: list[Diagnostic] = []
        for op in graph.ops:
            bound = contraction_bound(op, constants)
            if bound is None:
                continue
            statistics.count("accumulator proved to fit 32 bits", bound < LIMIT)
            if bound >= LIMIT:
                failed.append(_overflow(op, bound))
        if failed:
            raise Refused(failed)
        return graph


def contraction_bound(op: Op, constants: dict[Value, Array]) -> int | None:
    """The largest accumulator of a contraction of narrow integers; None for other ops.

    A bias that is computed at run time can be anything, so it counts as 2^31.
    """
    kind = op.kind
    if not isinstance(kind, Conv | ConvTranspose | MatMul):
        return None
    x, weights, *bias = op.inputs
    if not x.type.dtype.is_integer or max(x.type.dtype.bits, weights.type.dtype.bits) > 16:
        return None
    content = constants.get(weights, weights.type)
    if not bias:
        return accumulator_bound(kind, x.type.dtype, content, None)
    known = constants.get(bias[0])
    return LIMIT if known is None else accumulator_bound(kind, x.type.dtype, content, known)


def _overflow(op: Op, bound: int) -> Diagnostic:
    return Diagnostic(
        Code.LIMIT_EXCEEDED,
        f"the integer accumulator can reach {bound}, beyond 2^31",
        node=str(op.location) or op.kind.mnemonic,
        hint="quantize this layer's weights or activations to fewer bits, or keep it in float",
    )
