"""Forward and backward steps of the ops of classifiers, for many samples at once, f32.

Values hold their samples along the first dimension, which is 1 in the graph. A rule is a pair of
functions: operands to a result, and (operands, result, gradient of the result) to the gradients of
the operands. What has no rule is refused by its mnemonic.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.elementwise import Binary, Clamp, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Concat, Reshape, Transpose
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction, UnaryFunction
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction
from lepton_cc.ir.tensor import Array

Forward = Callable[[Op, Sequence[Array]], Array]
Backward = Callable[[Op, Sequence[Array], Array, Array], tuple[Array, ...]]
Constants = Callable[[Op, Sequence[Array], Array], tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How an op is computed and differentiated; `covers` says of which instances.

    `constants` gives the gradients of all operands but the first, where that one's is of no use.
    """

    forward: Forward
    backward: Backward
    covers: Callable[[Op], bool] = lambda _: True
    constants: Constants | None = None


def evaluated(op: Op, operands: Sequence[Array]) -> Array:
    """The op's own meaning, where it does not depend on the number of samples."""
    (result,) = op.kind.evaluate(list(operands))
    return result


def _unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sums a gradient over what was broadcast from `shape`."""
    extra = gradient.ndim - len(shape)
    summed = gradient.sum(axis=tuple(range(extra)))
    axes = tuple(n for n, dim in enumerate(shape) if dim == 1 and summed.shape[n] != 1)
    return np.asarray(summed.sum(axis=axes, keepdims=True) if axes else summed)


def _matmul_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    lhs, rhs = operands[:2]
    if rhs.ndim == 2:
        rows = lhs.reshape(-1, lhs.shape[-1])
        d_rhs = rows.T @ dy.reshape(-1, dy.shape[-1])
    else:
        d_rhs = _unbroadcast(lhs.swapaxes(-1, -2) @ dy, rhs.shape)
    d_lhs = _unbroadcast(dy @ rhs.swapaxes(-1, -2), lhs.shape)
    d_bias = (dy.reshape(-1, dy.shape[-1]).sum(axis=0),) if len(operands) > 2 else ()
    return (d_lhs, d_rhs, *d_bias)


def _clamp_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    assert isinstance(op.kind, Clamp)
    inside = y > op.kind.low
    if op.kind.high != np.inf:
        inside &= y < op.kind.high
    return (dy * inside,)


_BINARY: Mapping[BinaryFunction, Callable[[Array, Array, Array], tuple[Array, Array]]] = {
    BinaryFunction.ADD: lambda lhs, rhs, dy: (dy, dy),
    BinaryFunction.SUB: lambda lhs, rhs, dy: (dy, -dy),
    BinaryFunction.MUL: lambda lhs, rhs, dy: (dy * rhs, dy * lhs),
    BinaryFunction.DIV: lambda lhs, rhs, dy: (dy / rhs, -dy * lhs / (rhs * rhs)),
}


def _binary_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    assert isinstance(op.kind, Binary)
    lhs, rhs = operands
    d_lhs, d_rhs = _BINARY[op.kind.function](lhs, rhs, dy)
    return _unbroadcast(d_lhs, lhs.shape), _unbroadcast(d_rhs, rhs.shape)


_UNARY: Mapping[UnaryFunction, Callable[[Array, Array], Array]] = {
    UnaryFunction.NEG: lambda x, y: -np.ones_like(x),
    UnaryFunction.EXP: lambda x, y: y,
    UnaryFunction.TANH: lambda x, y: 1 - y * y,
    UnaryFunction.SIGMOID: lambda x, y: y * (1 - y),
}


def _unary_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    assert isinstance(op.kind, Unary)
    return (dy * _UNARY[op.kind.function](operands[0], y),)


def _reduce_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    assert isinstance(op.kind, Reduce)
    (x,) = operands
    wide = dy if op.kind.keep_dims else np.expand_dims(dy, op.kind.axes)
    if op.kind.function is ReduceFunction.MEAN:
        wide = wide / np.float32(np.prod([x.shape[axis] for axis in op.kind.axes]))
    return (np.broadcast_to(wide, x.shape),)


def _reshape(op: Op, operands: Sequence[Array]) -> Array:
    return operands[0].reshape(len(operands[0]), *op.result.type.dims[1:])


def _reshape_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    return (dy.reshape(operands[0].shape),)


def _transpose_backward(
    op: Op, operands: Sequence[Array], y: Array, dy: Array
) -> tuple[Array, ...]:
    assert isinstance(op.kind, Transpose)
    return (dy.transpose(np.argsort(op.kind.permutation)),)


def _concat_backward(op: Op, operands: Sequence[Array], y: Array, dy: Array) -> tuple[Array, ...]:
    assert isinstance(op.kind, Concat)
    sizes = np.cumsum([one.shape[op.kind.axis] for one in operands])[:-1]
    return tuple(np.split(dy, sizes, axis=op.kind.axis))


def _is_known_binary(op: Op) -> bool:
    return isinstance(op.kind, Binary) and op.kind.function in _BINARY


def _is_known_unary(op: Op) -> bool:
    return isinstance(op.kind, Unary) and op.kind.function in _UNARY


def _is_linear_reduction(op: Op) -> bool:
    linear = ReduceFunction.SUM, ReduceFunction.MEAN
    return isinstance(op.kind, Reduce) and op.kind.function in linear and 0 not in op.kind.axes


def _keeps_samples(op: Op) -> bool:
    if isinstance(op.kind, Transpose):
        return op.kind.permutation[0] == 0
    return isinstance(op.kind, Concat) and op.kind.axis != 0


ELEMENTARY: Mapping[type[OpKind], Rule] = {
    MatMul: Rule(evaluated, _matmul_backward),
    Clamp: Rule(evaluated, _clamp_backward),
    Binary: Rule(evaluated, _binary_backward, _is_known_binary),
    Unary: Rule(evaluated, _unary_backward, _is_known_unary),
    Reduce: Rule(evaluated, _reduce_backward, _is_linear_reduction),
    Reshape: Rule(_reshape, _reshape_backward),
    Transpose: Rule(evaluated, _transpose_backward, _keeps_samples),
    Concat: Rule(evaluated, _concat_backward, _keeps_samples),
}
