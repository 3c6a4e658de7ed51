"""Where the batch is: the axis of each value that grows when a graph of batch 1 is given many.

Training looks at many samples at once, while the graph's shapes are of one. No op that is trained
may mix samples; those that do, or that do not keep apart where the batch is, are refused.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import OpKind, Trait
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast, Concat, Pad, Reshape, Slice, Transpose
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import Reduce, Softmax

Axes = Sequence[int | None]
_Rule = Callable[[Op, Axes], int | None]


def batch_axis(op: Op, axes: Axes) -> int | None:
    """The batch axis of an op's result, for those of its operands (None: what has no batch).

    Raises:
        ValueError: the op mixes samples, or may.
    """
    if all(axis is None for axis in axes):
        return None
    found = _rule(op.kind)(op, axes)
    if found is None or op.result.type.dims[found] != 1:
        raise ValueError("it mixes the samples of a batch")
    return found


def input_axis(value: Value) -> int:
    """The batch axis of a graph input, the first.

    Raises:
        ValueError: it has another batch than 1.
    """
    if not value.type.rank or value.type.dims[0] != 1:
        raise ValueError(f"input {value.name!r} ({value.type}) has no batch of 1 in front")
    return 0


def _rule(kind: OpKind) -> _Rule:
    if Trait.POINTWISE in kind.traits:
        return _aligned
    return _RULES.get(type(kind), _unknown)


def _unknown(op: Op, axes: Axes) -> int | None:
    return None


def _kept(op: Op, axes: Axes) -> int | None:
    """Convolutions, pools and norms: the axis of the first operand, which must be in front."""
    return 0 if axes[0] == 0 and all(axis is None for axis in axes[1:]) else None


def _aligned(op: Op, axes: Axes) -> int | None:
    """Pointwise: counted from the end, operands have it at one place."""
    rank = op.result.type.rank
    places = {
        axis + rank - value.type.rank
        for value, axis in zip(op.inputs, axes, strict=True)
        if axis is not None
    }
    return places.pop() if len(places) == 1 else None


def _multiplied(op: Op, axes: Axes) -> int | None:
    lhs, rhs = op.inputs[:2]
    if axes[0] == lhs.type.rank - 1 or (axes[1] is not None and axes[1] >= rhs.type.rank - 2):
        return None
    if axes[1] is not None and axes[0] == lhs.type.rank - 2:
        return None
    return _aligned(Op(op.kind, op.operands[:2], op.results), axes[:2])


def _reshaped(op: Op, axes: Axes) -> int | None:
    """A dimension of 1 with as many elements before it."""
    before = math.prod(op.inputs[0].type.dims[: axes[0]])
    dims = op.result.type.dims
    places = [a for a, dim in enumerate(dims) if dim == 1 and math.prod(dims[:a]) == before]
    return places[0] if places else None


def _transposed(op: Op, axes: Axes) -> int | None:
    kind, axis = op.kind, axes[0]
    assert isinstance(kind, Transpose)
    assert axis is not None
    return kind.permutation.index(axis)


def _concatenated(op: Op, axes: Axes) -> int | None:
    kind = op.kind
    assert isinstance(kind, Concat)
    return axes[0] if len(set(axes)) == 1 and axes[0] != kind.axis else None


def _sliced(op: Op, axes: Axes) -> int | None:
    kind, axis = op.kind, axes[0]
    assert isinstance(kind, Slice)
    assert axis is not None
    return axis if min(kind.steps, default=1) > 0 and kind.sizes[axis] == 1 else None


def _padded(op: Op, axes: Axes) -> int | None:
    return axes[0]


def _reduced(op: Op, axes: Axes) -> int | None:
    kind, axis = op.kind, axes[0]
    assert isinstance(kind, Reduce)
    if axis is None or axis in kind.axes:
        return None
    return axis if kind.keep_dims else axis - sum(gone < axis for gone in kind.axes)


def _normalized(op: Op, axes: Axes) -> int | None:
    kind, axis = op.kind, axes[0]
    if isinstance(kind, LayerNorm | RmsNorm):
        return axis if axis is not None and axis < kind.axis else None
    assert isinstance(kind, Softmax)
    return axis if axis != kind.axis else None


_RULES: Mapping[type[OpKind], _Rule] = {
    AveragePool: _kept,
    Broadcast: _aligned,
    Concat: _concatenated,
    Conv: _kept,
    LayerNorm: _normalized,
    MatMul: _multiplied,
    MaxPool: _kept,
    Pad: _padded,
    Reduce: _reduced,
    Reshape: _reshaped,
    RmsNorm: _normalized,
    Slice: _sliced,
    Softmax: _normalized,
    Transpose: _transposed,
}
