"""Which operands an op's result may overwrite: read at the same element, before it is written."""

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.reduce import Softmax


def overwritable_operands(op: Op) -> tuple[Value, ...]:
    """Operands of the result's size that every kernel of the op reads only at the index it writes.

    These are operands of pointwise ops with the result's own shape, in chains, before a softmax or
    behind an anchor; and softmax's input, whose row is copied before it is written.
    """
    result = op.results[0].type
    if isinstance(op.kind, Fused):
        inner = _pointwise_only(op.kind.body.ops)
        pairs = zip(op.kind.body.inputs, op.inputs, strict=True)
        candidates = [given for value, given in pairs if value in inner]
    elif Trait.POINTWISE in op.kind.traits or isinstance(op.kind, Softmax):
        candidates = list(op.inputs)
    else:
        return ()
    return tuple(
        dict.fromkeys(
            value
            for value in candidates
            if value.type.dims == result.dims
            and value.type.dtype.size_bytes == result.dtype.size_bytes
        )
    )


def _pointwise_only(ops: tuple[Op, ...]) -> set[Value]:
    """Body values that only pointwise ops and softmax read, at the final result's index."""
    shape = ops[-1].result.type.dims
    pointwise: set[Value] = set()
    other: set[Value] = set()
    # A value is read at the result's own index if its readers are pointwise, or a softmax, which
    # has read its row before it writes it; if they have the result's shape and are themselves read
    # so (other anchors and movement ops read elsewhere).
    exact = {ops[-1].result}
    for op in reversed(ops):
        if isinstance(op.kind, Constant):
            continue
        reads_exactly = (
            (Trait.POINTWISE in op.kind.traits or isinstance(op.kind, Softmax))
            and op.result in exact
            and op.result not in other
            and op.result.type.dims == shape
        )
        for operand in op.inputs:
            if reads_exactly and operand.type.dims == shape:
                pointwise.add(operand)
                exact.add(operand)
            else:
                other.add(operand)
    return pointwise - other
