"""The ops of a graph as PyTorch computes them: what training differentiates.

Each rule is the op's meaning (ir/ops) on tensors [N, ...] in the graph's own layout, channels last.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.elementwise import Binary, Cast, Clamp, Select, Unary
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import (
    Broadcast,
    Concat,
    Pad,
    PadMode,
    Reshape,
    Slice,
    Transpose,
)
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pointwise_functions import BinaryFunction as B
from lepton_cc.ir.ops.pointwise_functions import UnaryFunction as U
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import Reduce, ReduceFunction, Softmax
from lepton_cc.ir.ops.window import Window

Tensors = Sequence[torch.Tensor]
# The batch axis of the result, if it has one, and the batch.
Batch = tuple[int | None, int]
Rule = Callable[[OpKind, Tensors, Batch], torch.Tensor]

_UNARY: Mapping[U, Callable[[torch.Tensor], torch.Tensor]] = {
    U.ABS: torch.abs,
    U.NEG: torch.neg,
    U.RECIPROCAL: torch.reciprocal,
    U.SQRT: torch.sqrt,
    U.RSQRT: torch.rsqrt,
    U.EXP: torch.exp,
    U.LOG: torch.log,
    U.LOG1P: torch.log1p,
    U.SIN: torch.sin,
    U.COS: torch.cos,
    U.TANH: torch.tanh,
    U.ERF: torch.erf,
    U.SIGMOID: torch.sigmoid,
    U.GELU: functional.gelu,
}
_BINARY: Mapping[B, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    B.ADD: torch.add,
    B.SUB: torch.sub,
    B.MUL: torch.mul,
    B.DIV: torch.div,
    B.POW: torch.pow,
    B.MIN: torch.minimum,
    B.MAX: torch.maximum,
    B.LESS: torch.lt,
    B.LESS_EQUAL: torch.le,
    B.GREATER: torch.gt,
    B.GREATER_EQUAL: torch.ge,
}
_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
_MAX_POOLS = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_AVERAGE_POOLS = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


def rule(kind: OpKind) -> Rule:
    """The rule of an op.

    Raises:
        ValueError: there is none; with the reason.
    """
    found = _RULES.get(type(kind))
    if found is None:
        raise ValueError("it has no form that is trained")
    reason = _reason(kind)
    if reason:
        raise ValueError(reason)
    return found


def _reason(kind: OpKind) -> str:
    match kind:
        case Unary() if kind.function not in _UNARY:
            return f"the function {kind.mnemonic} has no form that is trained"
        case Binary() if kind.function not in _BINARY:
            return f"the function {kind.mnemonic} has no form that is trained"
        case Reduce() if kind.function not in (ReduceFunction.SUM, ReduceFunction.MEAN):
            return "only sums and means are trained"
        case Cast() if not kind.dtype.is_float:
            return "it has no gradient"
        case Pad() if kind.mode is not PadMode.CONSTANT:
            return f"padding of mode {kind.mode.value} has no form that is trained"
        case Slice() if min(kind.steps, default=1) < 1:
            return "it runs backward"
        case AveragePool() if max(kind.window.dilations, default=1) > 1:
            return "its window is dilated"
        case Conv() | MaxPool() | AveragePool() if not 1 <= kind.window.rank <= 3:
            return f"its window has {kind.window.rank} dimensions"
        case Conv() if kind.zero_point:
            return "it is of integers"
    return ""


def _channels_second(x: torch.Tensor) -> torch.Tensor:
    """[N, *S, C] as [N, C, *S], in the memory order that convolutions are fast in."""
    moved = x.movedim(-1, 1)
    return moved.contiguous(memory_format=torch.channels_last) if moved.ndim == 4 else moved


def _padded(x: torch.Tensor, window: Window, fill: float) -> torch.Tensor:
    """The window's padding around [N, C, *S]."""
    if not any((*window.low, *window.high)):
        return x
    amounts = zip(reversed(window.low), reversed(window.high), strict=True)
    return functional.pad(x, [side for pair in amounts for side in pair], value=fill)


def convolution(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Conv: weights [*K, C / groups, O] stay in that order in the graph."""
    assert isinstance(kind, Conv)
    window = kind.window
    weights = operands[1].movedim(-1, 0).movedim(-1, 1)
    x, padding = _channels_second(operands[0]), window.low
    if window.low != window.high:
        x, padding = _padded(x, window, 0.0), (0,) * window.rank
    y = _CONVOLUTIONS[window.rank - 1](
        x,
        weights,
        operands[2] if len(operands) > 2 else None,
        window.strides,
        padding,
        window.dilations,
        kind.groups,
    )
    return y.movedim(1, -1)


def matmul(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """MatMul with its bias."""
    if len(operands) > 2 and operands[0].ndim == operands[1].ndim == 2:
        return torch.addmm(operands[2], operands[0], operands[1])
    y = torch.matmul(operands[0], operands[1])
    return y + operands[2] if len(operands) > 2 else y


def max_pool(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """MaxPool."""
    assert isinstance(kind, MaxPool)
    window = kind.window
    x = _padded(_channels_second(operands[0]), window, -math.inf)
    pool = _MAX_POOLS[window.rank - 1]
    return pool(x, window.size, window.strides, 0, window.dilations).movedim(1, -1)


def average_pool(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """AveragePool: means of all taps, corrected where not all of them count."""
    assert isinstance(kind, AveragePool)
    window = kind.window
    x = _channels_second(operands[0])
    pool = _AVERAGE_POOLS[window.rank - 1]
    y = pool(_padded(x, window, 0.0), window.size, window.strides).movedim(1, -1)
    taps, counts = math.prod(window.size), kind.counts(tuple(x.shape[2:]))
    if np.all(counts == taps):
        return y
    return y * torch.from_numpy((taps / counts[..., None]).astype(np.float32))


def unary(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Functions of one element."""
    assert isinstance(kind, Unary)
    return _UNARY[kind.function](operands[0])


def binary(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Functions of two elements."""
    assert isinstance(kind, Binary)
    return _BINARY[kind.function](operands[0], operands[1])


def select(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Select, as leaky relus are written."""
    return torch.where(operands[0], operands[1], operands[2])


def clamp(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Relu and clip."""
    assert isinstance(kind, Clamp)
    if (kind.low, kind.high) == (0.0, math.inf):
        return functional.relu(operands[0])
    return torch.clamp(operands[0], kind.low, kind.high)


def same(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Casts between floats: all of training is in binary32."""
    return operands[0]


def _with_batch(shape: Sequence[int], batch: Batch) -> list[int]:
    axis, size = batch
    return [size if number == axis else dim for number, dim in enumerate(shape)]


def reshape(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Reshape."""
    assert isinstance(kind, Reshape)
    return operands[0].reshape(_with_batch(kind.shape, batch))


def broadcast(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Broadcast."""
    assert isinstance(kind, Broadcast)
    return operands[0].expand(_with_batch(kind.shape, batch))


def transpose(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Transpose."""
    assert isinstance(kind, Transpose)
    return operands[0].permute(kind.permutation)


def concat(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Concat."""
    assert isinstance(kind, Concat)
    return torch.cat(tuple(operands), kind.axis)


def slice_(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Slice; all of the batch stays."""
    assert isinstance(kind, Slice)
    parts = zip(kind.starts, kind.sizes, kind.steps, strict=True)
    index = tuple(
        slice(None) if axis == batch[0] else slice(start, start + size * step, step)
        for axis, (start, size, step) in enumerate(parts)
    )
    return operands[0][index]


def pad(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Pad with a number."""
    assert isinstance(kind, Pad)
    amounts = zip(reversed(kind.low), reversed(kind.high), strict=True)
    fill = float(operands[1].reshape(())) if len(operands) > 1 else 0.0
    return functional.pad(operands[0], [side for pair in amounts for side in pair], value=fill)


def reduce(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Sums and means."""
    assert isinstance(kind, Reduce)
    if not kind.axes:
        return operands[0]
    function = torch.sum if kind.function is ReduceFunction.SUM else torch.mean
    return function(operands[0], kind.axes, kind.keep_dims)


def softmax(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """Softmax and its logarithm."""
    assert isinstance(kind, Softmax)
    function = functional.log_softmax if kind.log else functional.softmax
    return function(operands[0], kind.axis)


def norm(kind: OpKind, operands: Tensors, batch: Batch) -> torch.Tensor:
    """LayerNorm and RmsNorm that have all their parameters, or the first of them."""
    assert isinstance(kind, LayerNorm | RmsNorm)
    x = operands[0]
    axes = tuple(range(kind.axis, x.ndim))
    if isinstance(kind, LayerNorm):
        x = x - x.mean(axes, keepdim=True)
    y = x * torch.rsqrt(torch.square(x).mean(axes, keepdim=True) + kind.epsilon)
    for number, parameter in enumerate(operands[1:]):
        y = y + parameter if number else y * parameter
    return y


_RULES: Mapping[type[OpKind], Rule] = {
    AveragePool: average_pool,
    Binary: binary,
    Broadcast: broadcast,
    Cast: same,
    Clamp: clamp,
    Concat: concat,
    Conv: convolution,
    LayerNorm: norm,
    MatMul: matmul,
    MaxPool: max_pool,
    Pad: pad,
    Reduce: reduce,
    Reshape: reshape,
    RmsNorm: norm,
    Select: select,
    Slice: slice_,
    Softmax: softmax,
    Transpose: transpose,
    Unary: unary,
}
