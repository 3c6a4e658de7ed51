"""Laws of broadcast: pointwise ops and batches repeat their operands anyway."""

from lepton_cc.ir.diagnostics import TypeInferenceError
from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast
from lepton_cc.ir.rewrite import Replacement, Rewriter, Rule, rule, same_type


@rule("broadcast(x, shape of x) = x", Broadcast)
def broadcast_to_same_shape(op: Op, rewriter: Rewriter) -> Replacement:
    return same_type(op, op.inputs[0])


@rule("broadcast(broadcast(x, a), b) = broadcast(x, b)", Broadcast)
def merge_broadcasts(op: Op, rewriter: Rewriter) -> Replacement:
    inner = rewriter.match(op.inputs[0], Broadcast)
    return None if inner is None else (rewriter.emit(op.kind, inner[1].inputs[0]),)


@rule("op(broadcast(x), y) = op(x, y) where y alone gives the shape", Binary, Select, MatMul)
def drop_broadcast_operand(op: Op, rewriter: Rewriter) -> Replacement:
    for position, operand in enumerate(op.operands):
        found = rewriter.match(operand, Broadcast)
        if found is not None:
            operands = list(op.operands)
            operands[position] = found[1].inputs[0]
            if _gives_result_type(op, operands):
                return (rewriter.emit(op.kind, *operands),)
    return None


def _gives_result_type(op: Op, operands: list[Value | None]) -> bool:
    try:
        inferred = op.kind.infer([None if v is None else v.type for v in operands])
    except TypeInferenceError:
        return False
    return inferred == (op.result.type,)


@rule("f(broadcast(x)) = broadcast(f(x))", Unary, Clamp, Cast)
def broadcast_after_function(op: Op, rewriter: Rewriter) -> Replacement:
    """Fewer elements to compute; only where nobody else reads the broadcast."""
    (x,) = op.inputs
    found = rewriter.match(x, Broadcast)
    if found is None or not rewriter.has_single_use(x):
        return None
    computed = rewriter.emit(op.kind, found[1].inputs[0])
    return same_type(op, rewriter.emit(found[0], computed))


RULES: tuple[Rule, ...] = (
    broadcast_to_same_shape,
    merge_broadcasts,
    drop_broadcast_operand,
    broadcast_after_function,
)
