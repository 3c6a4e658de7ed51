"""The ways to write a contraction as two or three thinner ones: their ops, weights and cost.

With weights w [*K, C, O] and ranks r, p, q:

    OUTPUT         window [*K, C, r], point [r, O]        w = sum a[k c r] b[r o]
    ROWS_FIRST     [i, 1, C, r], [1, j, r, O]             w = sum a[i c r] b[j r o]
    COLUMNS_FIRST  [1, j, C, r], [i, 1, r, O]             w = sum a[j c r] b[i r o]
    CHANNELS       point [C, p], window [*K, p, q], point [q, O]

OUTPUT is the singular value decomposition of a product or a pointwise convolution, and the linear
form of Zhang et al., Accelerating Very Deep Convolutional Networks (2016), section 3.1, of others.
The next two are Jaderberg et al., Speeding up Convolutional Neural Networks with Low Rank
Expansions (2014), scheme 2; the last is Kim et al., Compression of Deep Convolutional Neural
Networks (2016), section 3.1. Only last factors have a bias, so that padding with zeros between
factors is exact; a stride stands where the window's axis does, and in first points it cannot.
"""

import enum
import math
from dataclasses import dataclass, replace

import numpy as np

from lepton_cc.ir.graph import Op
from lepton_cc.ir.op_kind import OpKind
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.window import Window
from lepton_cc.ir.tensor import Array


class Form(enum.Enum):
    """How a contraction is split."""

    OUTPUT = "output"
    ROWS_FIRST = "rows first"
    COLUMNS_FIRST = "columns first"
    CHANNELS = "channels"


@dataclass(frozen=True, slots=True)
class Plan:
    """A form and its ranks: one, or two for CHANNELS; of each group for grouped convolutions."""

    form: Form
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """One of the ops that a contraction becomes, and the shape of its weights."""

    kind: OpKind
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Multiplications of one run, and bytes of f32 weights and biases."""

    num_macs: int
    size_bytes: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.num_macs + other.num_macs, self.size_bytes + other.size_bytes)


def possible_forms(op: Op) -> tuple[Form, ...]:
    """The forms that a contraction can have; none if it is depthwise."""
    weights = op.inputs[1].type.dims
    if isinstance(op.kind, MatMul):
        return (Form.OUTPUT,)
    if not isinstance(op.kind, Conv):
        return ()
    if op.kind.groups > 1:
        is_depthwise = weights[-2] == 1 or weights[-1] == op.kind.groups
        return () if is_depthwise else (Form.OUTPUT,)
    if math.prod(op.kind.window.size) == 1:
        return (Form.OUTPUT,)
    spatial = op.kind.window.rank == 2 and min(op.kind.window.size) > 1
    both = (Form.ROWS_FIRST, Form.COLUMNS_FIRST) if spatial else ()
    return (Form.OUTPUT, *both, Form.CHANNELS)


def factors(op: Op, plan: Plan) -> tuple[Factor, ...]:
    """The ops in whose place the contraction stands, first to last."""
    *taps, channels, outputs = op.inputs[1].type.dims
    rank = plan.ranks[0]
    if not isinstance(op.kind, Conv):
        return Factor(MatMul(), (channels, rank)), Factor(MatMul(), (rank, outputs))
    window, groups = op.kind.window, op.kind.groups
    point, ones = _point(window.rank), (1,) * window.rank
    if plan.form is Form.OUTPUT:
        first = Factor(Conv(window, groups), (*taps, channels, groups * rank))
        return first, Factor(Conv(point, groups), (*ones, rank, outputs))
    if plan.form is Form.CHANNELS:
        narrow, wide = plan.ranks
        return (
            Factor(Conv(point), (*ones, channels, narrow)),
            Factor(Conv(window), (*taps, narrow, wide)),
            Factor(Conv(point), (*ones, wide, outputs)),
        )
    axis = 0 if plan.form is Form.ROWS_FIRST else 1
    one, other = _along(window, axis), _along(window, 1 - axis)
    return (
        Factor(Conv(one), (*one.size, channels, rank)),
        Factor(Conv(other), (*other.size, rank, outputs)),
    )


def _point(rank: int) -> Window:
    ones, zeros = (1,) * rank, (0,) * rank
    return Window(ones, ones, ones, zeros, zeros)


def _along(window: Window, axis: int) -> Window:
    """The window's own extent, stride, dilation and padding in one axis, none in the others."""

    def only(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(value if n == axis else other for n, value in enumerate(values))

    return Window(
        only(window.size, 1),
        only(window.strides, 1),
        only(window.dilations, 1),
        only(window.low, 0),
        only(window.high, 0),
    )


def cost(op: Op, plan: Plan | None) -> Cost:
    """What a contraction costs as it is (no plan), or split; last factors have a bias."""
    if plan is None:
        weights = op.inputs[1].type.dims
        own = _cost(op.result.type.num_elements, weights)
        return replace(own, size_bytes=own.size_bytes + _bias_bytes(op))
    x = op.inputs[0].type
    total = Cost(0, 4 * op.result.type.dims[-1])
    for factor in factors(op, plan):
        (x,) = factor.kind.infer([x, replace(op.inputs[1].type, shape=factor.weights)])
        total += _cost(x.num_elements, factor.weights)
    return total


def _cost(num_results: int, weights: tuple[int, ...]) -> Cost:
    return Cost(num_results * math.prod(weights[:-1]), 4 * math.prod(weights))


def _bias_bytes(op: Op) -> int:
    return 4 * op.inputs[2].type.num_elements if len(op.inputs) > 2 else 0


def composed(op: Op, plan: Plan, arrays: tuple[Array, ...]) -> Array:
    """The weights [G, K, O] that factors stand for; `arrays` as `passes.low_rank.fit` has them."""
    if plan.form is Form.OUTPUT:
        return np.asarray(arrays[0] @ arrays[1])
    taps = op.inputs[1].type.dims[:-2]
    full = np.einsum(EXPRESSIONS[plan.form], *arrays, optimize=True)
    return np.asarray(full.reshape(1, math.prod(taps) * full.shape[-2], full.shape[-1]))


# Weights of factors to weights: i rows, j columns, t taps, c channels, o outputs.
EXPRESSIONS = {
    Form.ROWS_FIRST: "icr,jro->ijco",
    Form.COLUMNS_FIRST: "jcr,iro->ijco",
    Form.CHANNELS: "cp,tpq,qo->tco",
}
