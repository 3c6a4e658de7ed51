"""Laws that carry a transpose from an op's operand to its result; layout propagation applies them.

Each law is op(transpose(x, p)) = transpose(op'(x), p'), for ops with one operand that has a layout.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.cumulative import Cumulative
from lepton_cc.ir.ops.integer import QuantizedSoftmax
from lepton_cc.ir.ops.integer_norm import QuantizedNorm
from lepton_cc.ir.ops.movement import Broadcast, Gather, Pad, Slice
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.reduce import ArgReduce, Reduce, Softmax
from lepton_cc.ir.ops.resample import Resample
from lepton_cc.ir.ops.wide_functions import WideSoftmax
from lepton_cc.ir.types import TensorType
from lepton_cc.passes.permutation import Permutation, between, extended, identity, inverse

Operands = tuple[TensorType | None, ...]


@dataclass(frozen=True, slots=True)
class TransposedOp:
    """op': what runs on the operand before its transpose, and the transpose of its result."""

    kind: OpKind
    permutation: Permutation


def transposed_op(
    kind: OpKind, operands: Operands, permutation: Permutation
) -> TransposedOp | None:
    """op' and p' for an op whose first operand is transposed by p; None if no law is known.

    `operands` are the types that the op has now, after the transpose.
    """
    law = _LAWS.get(type(kind))
    return None if law is None else law(kind, operands, permutation)


def _ordered(values: tuple[int, ...], permutation: Permutation) -> tuple[int, ...]:
    """Per-dimension attributes in the order of the dimensions before the transpose."""
    return tuple(values[axis] for axis in inverse(permutation))


def _slice(kind: OpKind, _: Operands, p: Permutation) -> TransposedOp:
    assert isinstance(kind, Slice)
    fields = (kind.starts, kind.sizes, kind.steps)
    return TransposedOp(Slice(*(_ordered(field, p) for field in fields)), p)


def _pad(kind: OpKind, _: Operands, p: Permutation) -> TransposedOp:
    assert isinstance(kind, Pad)
    return TransposedOp(replace(kind, low=_ordered(kind.low, p), high=_ordered(kind.high, p)), p)


def _broadcast(kind: OpKind, _: Operands, p: Permutation) -> TransposedOp:
    assert isinstance(kind, Broadcast)
    wide = extended(p, len(kind.shape))
    return TransposedOp(Broadcast(_ordered(kind.shape, wide)), wide)


def _reduced(p: Permutation, axes: tuple[int, ...], *, keep: bool) -> Permutation:
    if keep:
        return p
    left = [axis for axis in range(len(p)) if axis not in axes]
    return between(sorted(p[axis] for axis in left), [p[axis] for axis in left])


def _reduce(kind: OpKind, _: Operands, p: Permutation) -> TransposedOp:
    assert isinstance(kind, Reduce)
    axes = tuple(sorted(p[axis] for axis in kind.axes))
    return TransposedOp(replace(kind, axes=axes), _reduced(p, kind.axes, keep=kind.keep_dims))


def _arg_reduce(kind: OpKind, _: Operands, p: Permutation) -> TransposedOp:
    assert isinstance(kind, ArgReduce)
    after = _reduced(p, (kind.axis,), keep=kind.keep_dims)
    return TransposedOp(replace(kind, axis=p[kind.axis]), after)


def _along_axis(kind: OpKind, _: Operands, p: Permutation) -> TransposedOp:
    assert isinstance(kind, (Softmax, QuantizedSoftmax, WideSoftmax, Resample, Cumulative))
    return TransposedOp(replace(kind, axis=p[kind.axis]), p)


def _norm(kind: OpKind, _: Operands, p: Permutation) -> TransposedOp | None:
    assert isinstance(kind, (LayerNorm, RmsNorm, QuantizedNorm))
    if p[kind.axis :] != identity(len(p))[kind.axis :]:
        return None
    return TransposedOp(kind, p)


def _gather(kind: OpKind, operands: Operands, p: Permutation) -> TransposedOp | None:
    assert isinstance(kind, Gather)
    indices = operands[1]
    if indices is None:
        return None
    new = [("index", axis) for axis in range(indices.rank)]

    def gathered(axes: Permutation) -> list[tuple[str, int]]:
        at = axes.index(p[kind.axis])
        labels = [("x", axis) for axis in axes]
        return labels[:at] + new + labels[at + 1 :]

    after = between(gathered(identity(len(p))), gathered(p))
    return TransposedOp(Gather(p[kind.axis]), after)


_LAWS: Mapping[type[OpKind], Callable[[OpKind, Operands, Permutation], TransposedOp | None]] = {
    Slice: _slice,
    Pad: _pad,
    Broadcast: _broadcast,
    Reduce: _reduce,
    ArgReduce: _arg_reduce,
    Softmax: _along_axis,
    QuantizedSoftmax: _along_axis,
    WideSoftmax: _along_axis,
    Resample: _along_axis,
    Cumulative: _along_axis,
    LayerNorm: _norm,
    RmsNorm: _norm,
    QuantizedNorm: _norm,
    Gather: _gather,
}
