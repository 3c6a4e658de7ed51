"""Which axis of an op's operands and result is the same axis: what must shrink when one shrinks.

Ports are operand numbers, or `RESULT`. A link says which elements along its axis belong to which
along the axis that it starts from.
"""

import math
from dataclasses import dataclass

from lepton_cc.ir.graph import Op, Value
from lepton_cc.ir.op_kind import Trait
from lepton_cc.ir.ops.conv import Conv
from lepton_cc.ir.ops.matmul import MatMul
from lepton_cc.ir.ops.movement import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose
from lepton_cc.ir.ops.normalization import LayerNorm, RmsNorm
from lepton_cc.ir.ops.pool import AveragePool, MaxPool
from lepton_cc.ir.ops.reduce import Reduce, Softmax

RESULT = -1


@dataclass(frozen=True, slots=True)
class AxisLink:
    """Elements `pairs[n][1]` of a port's axis go with elements `pairs[n][0]` of another's."""

    port: int
    axis: int
    pairs: tuple[tuple[int, int], ...]


def port_value(op: Op, port: int) -> Value | None:
    """The value at a port."""
    return op.results[0] if port == RESULT else op.operands[port]


def axis_links(op: Op, port: int, axis: int) -> tuple[AxisLink, ...] | None:
    """The links from an axis of a port; None if the op cannot lose elements of it.

    Reshapes have links to several axes; only one of them can hold. Of a gather's own axis there are
    none: its result may lose elements while what it reads keeps them.
    """
    value = port_value(op, port)
    assert value is not None
    if isinstance(op.kind, Reshape):
        return _reshaped(op, port, axis)
    if isinstance(op.kind, Gather):
        return _gathered(op, op.kind, port, axis)
    if isinstance(op.kind, Slice):
        return _sliced(op.kind, value.type.dims[axis], port, axis)
    if isinstance(op.kind, Concat) and axis == op.kind.axis:
        return _concatenated(op, port, axis)
    ports = _same_axis(op, port, axis)
    if ports is None:
        return None
    size = value.type.dims[axis]
    everything = tuple((index, index) for index in range(size))
    links = []
    for number, place in ports:
        other = port_value(op, number)
        if other is not None and place >= 0 and other.type.dims[place] == size:
            links.append(AxisLink(number, place, everything))
    return tuple(links)


def _same_axis(op: Op, port: int, axis: int) -> list[tuple[int, int]] | None:
    """The ports and axes that have the same elements; those of broadcast operands among them."""
    kind, rank = op.kind, op.results[0].type.rank
    numbers = range(len(op.operands))
    if Trait.POINTWISE in kind.traits or isinstance(kind, Concat | Broadcast):
        return _aligned(op, port, axis, (*numbers, RESULT))
    if isinstance(kind, Transpose):
        place = kind.permutation
        return [(RESULT, place.index(axis))] if port == 0 else [(0, place[axis])]
    if isinstance(kind, MatMul):
        return _multiplied(op, port, axis)
    if isinstance(kind, Softmax):
        return None if axis == kind.axis else [(-1 - port, axis)]
    if isinstance(kind, LayerNorm | RmsNorm):
        return None if axis >= kind.axis else [(-1 - port, axis)]
    if isinstance(kind, Pad):
        padded = kind.low[axis] or kind.high[axis]
        return None if padded else [(-1 - port, axis)]
    if isinstance(kind, Reduce):
        return _reduced(kind, op.operands[0], port, axis)
    if axis == rank - 1 and isinstance(kind, AveragePool | MaxPool):
        return [(-1 - port, axis)]
    if axis == rank - 1 and isinstance(kind, Conv) and port in (0, RESULT):
        return _convolved(op, kind, port)
    return None


def _aligned(op: Op, port: int, axis: int, ports: tuple[int, ...]) -> list[tuple[int, int]]:
    value = port_value(op, port)
    assert value is not None
    from_end = value.type.rank - axis
    found = []
    for number in ports:
        other = port_value(op, number)
        if number != port and other is not None:
            found.append((number, other.type.rank - from_end))
    return found


def _multiplied(op: Op, port: int, axis: int) -> list[tuple[int, int]] | None:
    """Batch axes are aligned; rows are those of lhs, columns those of rhs; sums join the two."""
    lhs, rhs = op.operands[0], op.operands[1]
    assert lhs is not None
    assert rhs is not None
    ranks = {0: lhs.type.rank, 1: rhs.type.rank, RESULT: op.results[0].type.rank}
    if port == 2:
        return None
    from_end = ranks[port] - axis
    if from_end > 2:
        return [(n, ranks[n] - from_end) for n in (0, 1, RESULT) if n != port]
    if from_end == 2:
        # Rows of rhs are what is summed over.
        return [(0, ranks[0] - 1)] if port == 1 else [(-1 - port, ranks[-1 - port] - 2)]
    if port == 0:
        return [(1, ranks[1] - 2)]
    bias = [(2, 0)] if len(op.operands) > 2 else []
    return [(1 if port == RESULT else RESULT, ranks[1 if port == RESULT else RESULT] - 1), *bias]


def _convolved(op: Op, kind: Conv, port: int) -> list[tuple[int, int]] | None:
    weights, x = op.operands[1], op.operands[0]
    assert weights is not None
    assert x is not None
    last, rank = weights.type.rank - 1, op.results[0].type.rank
    outputs = [(1, last), *([(2, 0)] if len(op.operands) > 2 else [])]
    if kind.groups == 1:
        return [(1, last - 1)] if port == 0 else outputs
    if kind.groups == x.type.dims[-1] == op.results[0].type.dims[-1]:
        return [(-1 - port, rank - 1), *outputs]
    return None


def _reduced(kind: Reduce, x: Value | None, port: int, axis: int) -> list[tuple[int, int]] | None:
    assert x is not None
    stays = [a for a in range(x.type.rank) if kind.keep_dims or a not in kind.axes]
    if port == RESULT:
        return None if stays[axis] in kind.axes else [(0, stays[axis])]
    return None if axis in kind.axes else [(RESULT, stays.index(axis))]


def _sliced(kind: Slice, size: int, port: int, axis: int) -> tuple[AxisLink, ...] | None:
    """Only runs of neighbours; from the result's side to where they lie in the operand."""
    if kind.steps[axis] != 1:
        return None
    first, count = kind.starts[axis], kind.sizes[axis]
    if port == RESULT:
        return (AxisLink(0, axis, tuple((i, first + i) for i in range(size))),)
    return (AxisLink(RESULT, axis, tuple((first + i, i) for i in range(count))),)


def _concatenated(op: Op, port: int, axis: int) -> tuple[AxisLink, ...]:
    links, first = [], 0
    for number, value in enumerate(op.inputs):
        size = value.type.dims[axis]
        inside = tuple((i, first + i) for i in range(size))
        if port == RESULT:
            links.append(AxisLink(number, axis, tuple((b, a) for a, b in inside)))
        elif port == number:
            links.append(AxisLink(RESULT, axis, inside))
        first += size
    return tuple(links)


def _gathered(op: Op, kind: Gather, port: int, axis: int) -> tuple[AxisLink, ...] | None:
    x, indices = op.operands
    assert x is not None
    assert indices is not None
    more = indices.type.rank - 1
    own = kind.axis <= axis <= kind.axis + more if port == RESULT else axis == kind.axis
    if port == 1 or (own and more):
        return None
    if own:
        return ()
    beyond = more if axis > kind.axis else 0
    size = (x if port == 0 else op.results[0]).type.dims[axis]
    pairs = tuple((index, index) for index in range(size))
    place = axis + beyond if port == 0 else axis - beyond
    return (AxisLink(-1 - port, place, pairs),)


def _reshaped(op: Op, port: int, axis: int) -> tuple[AxisLink, ...]:
    """A link to each axis that shares elements: dimensions between equal products are one block."""
    one, other = port_value(op, port), port_value(op, -1 - port)
    assert one is not None
    assert other is not None
    mine, theirs = one.type.dims, other.type.dims
    cuts = sorted(set(_products(mine)) & set(_products(theirs)))
    before, after = math.prod(mine[:axis]), math.prod(mine[: axis + 1])
    low = max(cut for cut in cuts if cut <= before)
    high = min(cut for cut in cuts if cut >= after)
    links = []
    for place, size in enumerate(theirs):
        start, end = math.prod(theirs[:place]), math.prod(theirs[: place + 1])
        if size > 1 and low <= start and end <= high:
            pairs = {
                (e // (high // after) % mine[axis], e // (high // end) % size)
                for e in range(high // low)
            }
            links.append(AxisLink(-1 - port, place, tuple(sorted(pairs))))
    return tuple(links)


def _products(dims: tuple[int, ...]) -> list[int]:
    return [math.prod(dims[:count]) for count in range(len(dims) + 1)]
