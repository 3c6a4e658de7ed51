"""What fusion may put into one body: anchors, what may follow them, what may be pulled in.

Code generation computes any element of a fused op's output from elements of its operands. A
producer may be pulled into the body where its consumer asks for single elements; it stays outside
where the consumer walks over a buffer of its own accord (a convolution's operands), and where
pulling would compute elements several times.
"""

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.constant import Constant
from lepton_cc.ir.ops.conv import Conv, ConvTranspose
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.fused import Fused
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast, Pad, PadMode, Reshape, Slice, Transpose
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.quantization import Dequantize
from lepton_cc.ir.ops.reduce import ArgReduce, Reduce, Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.verifier import is_free_of_anchor

# Anchors that read their operands as buffers; only what follows them can be fused.
WINDOWED: tuple[type[OpKind], ...] = (
    Conv,
    ConvTranspose,
    MatMul,
    MaxPool,
    AveragePool,
    Resample,
)
# Anchors that read each element of their operand once (softmax keeps its row), or once in each of
# several walks over a row.
SINGLE_READ: tuple[type[OpKind], ...] = (Reduce, ArgReduce, Softmax)
REPEATED_READ: tuple[type[OpKind], ...] = (LayerNorm, RmsNorm)
REDUCTIONS = SINGLE_READ + REPEATED_READ
# Anchors whose results may be finished by pointwise ops in the same body.
FOLLOWED: tuple[type[OpKind], ...] = (*WINDOWED, Reduce, Softmax, *REPEATED_READ)

_CHEAP = (Clamp, Cast, Select, Dequantize, Constant, Slice, Broadcast, Reshape)
_INDEXED = (Slice, Transpose, Broadcast, Reshape)
_CHEAP_UNARY = frozenset(
    {
        UnaryFunction.ABS,
        UnaryFunction.NEG,
        UnaryFunction.SIGN,
        UnaryFunction.IS_NAN,
        UnaryFunction.IS_INF_POSITIVE,
        UnaryFunction.IS_INF_NEGATIVE,
        UnaryFunction.NOT,
    }
)
_COSTLY_BINARY = frozenset(
    {BinaryFunction.DIV, BinaryFunction.MOD, BinaryFunction.FMOD, BinaryFunction.POW}
)


def parts(op: Op) -> tuple[Op, ...]:
    """The primitive ops of a unit: a fused op's body, or the op itself."""
    return op.kind.body.ops if isinstance(op.kind, Fused) else (op,)


def num_parts(op: Op) -> int:
    """Ops that a unit adds to a body, constants not counted."""
    return sum(not isinstance(part.kind, Constant) for part in parts(op))


def anchor(op: Op) -> Op | None:
    """The part of a unit that is neither pointwise nor movement."""
    return next((part for part in parts(op) if not is_free_of_anchor(part.kind)), None)


def expression_size(op: Op) -> int:
    """Ops of the expression of one element, shared ones counted at each use.

    An anchor ends the expressions of its operands: what follows reads its result once.
    """
    sizes: dict[Value, int] = {}
    largest = 1
    for part in parts(op):
        size = 1 + sum(sizes.get(operand, 1) for operand in part.inputs)
        largest = max(largest, size)
        sizes[part.results[0]] = size if is_free_of_anchor(part.kind) else 1
    return largest


def is_pointwise(op: Op) -> bool:
    """True if all parts are pointwise or constants."""
    return all(isinstance(p.kind, Constant) or Trait.POINTWISE in p.kind.traits for p in parts(op))


def is_movement(op: Op) -> bool:
    """True if no part computes anything."""
    return all(Trait.MOVEMENT in part.kind.traits for part in parts(op))


def is_repeatable(op: Op) -> bool:
    """True for ops that only remap indices at no cost: readers may each have their own."""
    if isinstance(op.kind, Reshape):
        before, after = op.inputs[0].type.shape, op.result.type.shape
        return [dim for dim in before if dim != 1] == [dim for dim in after if dim != 1]
    return isinstance(op.kind, (Broadcast, Slice))


def is_cheap_to_repeat(op: Op) -> bool:
    """True if every part costs about as much as an addition, its reads included."""
    return all(_is_cheap_kind(part.kind) for part in parts(op))


def _is_cheap_kind(kind: OpKind) -> bool:
    if isinstance(kind, Unary):
        return kind.function in _CHEAP_UNARY
    if isinstance(kind, Binary):
        return kind.function not in _COSTLY_BINARY
    return isinstance(kind, _CHEAP)


def is_scalar_constant(op: Op) -> bool:
    """True for constants of one element: they go into bodies, bigger ones stay operands."""
    return isinstance(op.kind, Constant) and op.result.type.num_elements == 1


def wants_constant(consumer: Op, position: int) -> bool:
    """True if a constant scalar at this operand may stand in the body."""
    if isinstance(consumer.kind, Pad) and position == 1:
        return True
    return operand_reads(consumer, 1)[position] is not None


def operand_reads(op: Op, evaluations: int) -> tuple[int | None, ...]:
    """For each operand how many elements are computed when it is pulled in; None: it cannot be.

    `evaluations` is how many elements of the op's result are computed.
    """
    kind = op.kind
    if isinstance(kind, Fused):
        return _body_reads(op, kind, evaluations)
    if Trait.POINTWISE in kind.traits:
        return (evaluations,) * len(op.operands)
    if isinstance(kind, Pad) and kind.mode is PadMode.CONSTANT:
        # Code generation fills around and computes inside: each element of x once.
        return (min(evaluations, op.inputs[0].type.num_elements), *[None] * (len(op.operands) - 1))
    if isinstance(kind, _INDEXED):
        return (evaluations,)
    if isinstance(kind, REDUCTIONS):
        return (op.inputs[0].type.num_elements, *[None] * (len(op.operands) - 1))
    return (None,) * len(op.operands)


def _body_reads(op: Op, kind: Fused, evaluations: int) -> tuple[int | None, ...]:
    needed: dict[Value, int] = {kind.body.outputs[0]: evaluations}
    closed: set[Value] = set()
    for part in reversed(kind.body.ops):
        reads = operand_reads(part, needed.get(part.results[0], 0))
        for operand, count in zip(part.operands, reads, strict=True):
            if operand is None:
                continue
            if count is None:
                closed.add(operand)
            else:
                needed[operand] = max(count, needed.get(operand, 0))
    return tuple(None if v in closed else needed.get(v) for v in kind.body.inputs)


def reads_repeatedly(op: Op, position: int) -> bool:
    """True if the operand ends in an anchor that reads each element more than once."""
    if not isinstance(op.kind, Fused):
        return position == 0 and isinstance(op.kind, REPEATED_READ)
    inside = {op.kind.body.inputs[position]}
    for part in op.kind.body.ops:
        if any(operand in inside for operand in part.inputs):
            if isinstance(part.kind, REPEATED_READ):
                return True
            inside.update(part.results)
    return False
